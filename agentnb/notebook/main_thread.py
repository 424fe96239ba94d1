"""Serve a run from the main thread: the agent works in a thread of its own, this one stays interruptible.

The main thread waits on a queue, paints the view, and runs there every tool that touches the user's namespace.
An interrupt ends the call in flight at once; a second one stops waiting for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from agentnb.agent.tools.tool import Outcome
from agentnb.errors import RunInterrupted

TICK = 0.125  # seconds between repaints while nothing happens; the elapsed time moves


class MainThread:
    """Holds the main thread's side of one run."""

    def __init__(self, *, cancel: Callable[[], None]) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._cancel = cancel
        self._done = threading.Event()
        self.interrupted = False

    def run_here(self, work: Callable[[], Outcome]) -> Outcome:
        """Called in the worker: run `work` on the main thread and wait for its outcome."""
        future: Future[Outcome] = Future()
        self._queue.put(lambda: self._carry_out(work, future))
        return future.result()

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
        worker.start()
        self._wait(worker, paint)
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
                self.interrupted = True
                self._cancel()
        worker.join(timeout=1.0)

    def _serve_one(self) -> None:
        try:
            item = self._queue.get(timeout=TICK)
        except queue.Empty:
            item = None
        if item is not None:
            item()

    def _carry_out(self, work: Callable[[], Outcome], future: Future[Outcome]) -> None:
        try:
            future.set_result(work())
        except KeyboardInterrupt:
            future.set_exception(RunInterrupted("a tool was interrupted"))
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the worker, which is waiting for it
            future.set_exception(error)
