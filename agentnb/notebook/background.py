"""Runs that go on while the notebook goes on: `--bg`. Tools that touch the namespace run between cells.

The agent works in a thread; the kernel's own loop paints the view and runs there what must run on the main thread, so
a long cell holds such a tool back until it ends. `%agent_runs pause RUN` stops it between two steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from agentnb.errors import AgentnbError, InputError
from agentnb.notebook.kernel import Notebook
from agentnb.notebook.viewing import View
from agentnb.runs.record import AgentRun, LiveDocument
from agentnb.runs.tools import Outcome

if TYPE_CHECKING:
    from agentnb.runs.agent import BuiltInAgent
    from agentnb.runs.session import Session

LAST_WORDS = 0.1  # seconds that the end of a run waits for the bus, so that its note comes with the run


class Loop:
    """The kernel's loop as the place where the main thread's work is done, between cells."""

    def __init__(self, shell: Any) -> None:
        kernel = getattr(shell, "kernel", None)
        if kernel is None:
            raise InputError(
                "--bg needs a Jupyter kernel; a terminal has no loop to go on with", todo="Leave --bg out."
            )
        self._loop = kernel.io_loop
        self._painting = threading.Event()

    def later(self, work: Callable[[], object]) -> None:
        """Do `work` on the main thread when it is free."""
        self._loop.add_callback(work)

    def paint(self, work: Callable[[], object]) -> None:
        """Like `later`, but at most one painting waits at a time."""

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


def begin(
    notebook: Notebook, *, prepare: Callable[[BuiltInAgent], None], run_id: str, finish: Callable[[AgentRun], None]
) -> None:
    """Begin a run in the background and come back at once; its view goes on under the cell."""
    session = notebook.session
    loop = Loop(notebook.shell)
    agent = session.agent(on_main=loop.run_here, alone=True)
    prepare(agent)
    # The notebook is read now, while no cell runs; the thread only asks and acts.
    agent.machine.execute_step(run_id)
    begun = agent.machine.get(run_id)
    live = LiveDocument(run_id, begun.context, session.clock.monotonic(), state=begun.state)
    view = View(live, clock=session.clock, widgets=notebook.config.live, beside=session.indexing)
    view.paint()

    def hear(event: Any) -> None:
        view.feed(event)
        loop.paint(view.paint)

    def end() -> None:
        run = noted(session, agent.as_it_stands(run_id))
        finish(run)
        view.finish(run.receipt)

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


def noted(session: Session, run: AgentRun) -> AgentRun:
    """The run, with a note where the bus could not tell others of it."""
    if session.bus is None:
        return run
    session.bus.flush(LAST_WORDS)
    note = session.bus.take_note()
    return AgentRun(run.receipt | {"notes": [*run.receipt["notes"], note]}) if note else run
