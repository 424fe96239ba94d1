"""Work on the kernel's own loop: do the main thread's work between cells, and drive a run beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING

from agentnb.agent.run_document import AgentRun, with_note
from agentnb.agent.tools.tool import Outcome
from agentnb.errors import ActionUnsure, AgentnbError, InputError

if TYPE_CHECKING:
    from agentnb.agent.built_in import BuiltInAgent
    from agentnb.notebook.live.live_view import View
    from agentnb.session import Session

LAST_WORDS = 0.1  # seconds that the end of a run waits for the bus, so that its note comes with the run


class Loop:
    """Holds the kernel's loop as the place where the main thread's work is done, between cells.

    The work is done in the name of the cell that made this object. ipykernel sends a page's answers on a comm to the
    subshell in whose name it spoke last (7.4). That of a page which was loaded anew is gone, and a click with it.
    """

    def __init__(self, shell: object) -> None:
        kernel = getattr(shell, "kernel", None)
        if kernel is None:
            raise InputError(
                "--bg needs a Jupyter kernel; a terminal has no loop to go on with", todo="Leave --bg out."
            )
        self._loop = kernel.io_loop
        self._cell = copy_context()
        self._painting = threading.Event()

    def later(self, work: Callable[[], object]) -> None:
        """Do `work` on the main thread when it is free."""
        self._loop.add_callback(lambda: self._cell.copy().run(work))

    def after(self, seconds: float, work: Callable[[], object]) -> None:
        """Do the same, not before so many seconds have gone by."""
        self.later(lambda: self._loop.call_later(seconds, work))

    def paint(self, work: Callable[[], object]) -> None:
        """Do as `later`, but at most one painting waits at a time."""

        def paint() -> None:
            self._painting.clear()
            work()

        if not self._painting.is_set():
            self._painting.set()
            self.later(paint)

    def run_here(self, work: Callable[[], Outcome]) -> Outcome:
        """Called in the worker: run `work` on the main thread and wait for its outcome."""
        future: Future[Outcome] = Future()

        def carry_out() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it belongs to the worker, which is waiting for it
                future.set_exception(error)

        self.later(carry_out)
        return future.result()


def drive(agent: BuiltInAgent, run_id: str, view: View, loop: Loop, *, end: Callable[[], object]) -> None:
    """Drive a run in a thread of its own and come back at once. When it stops, `end` is called on the main thread."""

    def hear(event: object) -> None:
        view.feed(event)
        loop.paint(view.paint)

    def work() -> None:
        stop = agent.machine.events.subscribe(hear, run_id=run_id)
        try:
            agent.drive(run_id)
        except AgentnbError as error:
            agent.raised = error  # nobody waits for it: the view tells it
        finally:
            stop()
            loop.later(end)

    threading.Thread(target=work, name=f"agentnb-{run_id}", daemon=True).start()


def noted(session: Session, run: AgentRun, raised: Exception | None = None) -> AgentRun:
    """Return the run with notes: that the bus could not tell others, and that a call was cut off."""
    run = with_note(run, str(raised)) if isinstance(raised, ActionUnsure) else run
    if session.bus is None:
        return run
    session.bus.flush(LAST_WORDS)
    return with_note(run, session.bus.take_note())
