"""Serve a run from the main thread: the agent works in a thread of its own, this one stays interruptible.

The main thread waits on a queue, paints the view, and runs there every tool that touches the user's namespace.
An interrupt ends the call in flight at once; a second one stops waiting for it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, wait
from dataclasses import dataclass
from typing import Any

from agentnb.agent.tools.tool import Outcome
from agentnb.errors import RunInterrupted
from agentnb.notebook.interrupts import Held

TICK = 0.125
"""Seconds between repaints while nothing happens, for the elapsed time moves; and between looks for an interrupt."""


@dataclass(frozen=True, slots=True)
class _MainThreadCall:
    """Holds one piece of work that the worker waits for."""

    work: Callable[[], Outcome]
    future: Future[Outcome]

    def carry_out(self) -> None:
        try:
            if self.future.set_running_or_notify_cancel():
                self.future.set_result(self.work())
        except KeyboardInterrupt:
            with contextlib.suppress(InvalidStateError):  # it had ended
                self.future.set_exception(RunInterrupted("a tool was interrupted"))
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the worker, which is waiting for it
            self.future.set_exception(error)


class MainThread:
    """Holds the main thread's side of one run."""

    def __init__(self, *, cancel: Callable[[], None]) -> None:
        self._queue: queue.SimpleQueue[_MainThreadCall | None] = queue.SimpleQueue()
        self._cancel = cancel
        self._done = threading.Event()
        self.interrupted = False

    def run_here(self, work: Callable[[], Outcome]) -> Outcome:
        """Called in the worker: run `work` on the main thread and wait for its outcome."""
        wanted = _MainThreadCall(work, Future())
        self._queue.put(wanted)
        while not wait([wanted.future], TICK).done:
            if self.interrupted and wanted.future.cancel():  # nobody may look there any more
                raise RunInterrupted("a tool was interrupted")
        return wanted.future.result()

    def touch(self) -> None:
        """Called in the worker: something changed, paint soon."""
        self._queue.put(None)

    def serve(self, work: Callable[[], Any], *, paint: Callable[[], None]) -> Any:
        """Run `work` in a worker thread and serve it until it ends. Raises what it raised.

        `paint` is called here, on the main thread, whenever something may have changed.
        """
        future: Future[Any] = Future()

        def in_worker() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - carried over to the main thread, where it is raised
                future.set_exception(error)
            finally:
                self._done.set()
                self._queue.put(None)

        worker = threading.Thread(target=in_worker, name="agentnb-run", daemon=True)
        try:
            with Held() as held:  # one that is interrupted while it starts may run or not
                worker.start()
            if held.interrupted:
                self._interrupt()
            self._wait(worker, paint)
        finally:
            if not self._done.is_set():
                self._interrupt()  # nobody serves it from here on, so it must not go on by itself
        if not self._done.is_set():
            raise RunInterrupted(
                "the run was interrupted, and its call has not ended yet",
                todo="It is left behind; what was committed is kept.",
            )
        return future.result()

    def _wait(self, worker: threading.Thread, paint: Callable[[], None]) -> None:
        while not self._done.is_set():
            try:
                self._serve_one()
                paint()
            except KeyboardInterrupt:
                if self.interrupted:
                    return
                self._interrupt()
        worker.join(timeout=1.0)

    def _interrupt(self) -> None:
        self.interrupted = True
        self._cancel()

    def _serve_one(self) -> None:
        try:
            wanted = self._queue.get(timeout=TICK)
        except queue.Empty:
            wanted = None
        if wanted is not None:
            wanted.carry_out()
