"""Run a session's code on the main thread, one piece at a time, so that a client can stop it.

A signal reaches the main thread alone, also while code sleeps. What code prints is caught for the whole process, so
pieces of two sessions never run side by side.
"""

from __future__ import annotations

import _thread
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

from agentnb.agent.tools.tool import Outcome
from agentnb.errors import RunInterrupted


@dataclass(frozen=True, slots=True)
class Piece:
    """Holds one piece of work of a session, and where its outcome goes."""

    session: str
    work: Callable[[], Outcome]
    outcome: Future[Outcome] = field(default_factory=Future)


class CodeRunner:
    """Takes pieces from any thread and runs them where `serve` is called."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._given: list[Piece] = []
        self._at_work: Piece | None = None
        self._interrupting = False
        self._main = threading.get_ident()

    def run(self, session: str, work: Callable[[], Outcome]) -> Outcome:
        """Run `work` on the main thread and wait for it. Raises RunInterrupted where it was stopped."""
        piece = Piece(session, work)
        with self._lock:
            self._given.append(piece)
        self._queue.put(piece)
        try:
            return piece.outcome.result()
        except CancelledError as error:
            raise RunInterrupted("a tool was stopped before it began") from error
        finally:
            with self._lock:
                self._given.remove(piece)

    def interrupt(self, session: str) -> None:
        """Stop what this session runs, and what it has given to run."""
        with self._lock:
            for piece in self._given:
                if piece.session == session:
                    piece.outcome.cancel()
            if self._at_work is not None and self._at_work.session == session:
                self._interrupting = True
                _signal(self._main)

    def end(self) -> None:
        self._queue.put(None)

    def serve(self) -> None:
        """Run what comes until `end`. An interrupt that no client asked for is the terminal's, and raised."""
        self._main = threading.get_ident()
        while True:
            try:
                piece = self._queue.get()
                if piece is None:
                    return
                if piece.outcome.set_running_or_notify_cancel():
                    self._carry_out(piece)
            except KeyboardInterrupt:
                if not self._interrupting:
                    raise
                self._interrupting = False

    def _carry_out(self, piece: Piece) -> None:
        try:
            outcome = self._done(piece)
        except BaseException as error:
            by_hand = isinstance(error, KeyboardInterrupt)
            piece.outcome.set_exception(RunInterrupted("a tool was interrupted") if by_hand else error)
            if by_hand:
                raise
        else:
            piece.outcome.set_result(outcome)

    def _done(self, piece: Piece) -> Outcome:
        try:
            with self._lock:
                self._at_work = piece
            return piece.work()
        finally:
            with self._lock:
                self._at_work = None


def _signal(thread: int) -> None:
    """Interrupt the main thread, also where it sleeps in a call of the system."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        _thread.interrupt_main()
