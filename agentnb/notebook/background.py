"""Runs that go on while the notebook goes on: `--bg`. Tools that touch the namespace run between cells.

The agent works in a thread. The kernel's own loop paints the view, and runs there what must run on the main thread. So
a long cell holds such a tool back until it ends. `%agent_runs pause RUN` stops it between two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from agentnb.agent.run_document import AgentRun
from agentnb.notebook.approving import Asked
from agentnb.notebook.kernel import Notebook
from agentnb.notebook.live.live_view import View
from agentnb.notebook.loop import Loop, drive, noted

if TYPE_CHECKING:
    from agentnb.agent.built_in import BuiltInAgent


def begin(
    notebook: Notebook,
    *,
    prepare: Callable[[BuiltInAgent], object],
    run_id: str,
    finish: Callable[[AgentRun], None],
    again: Callable[[BuiltInAgent, str], object] | None = None,
) -> None:
    """Begin a run in the background and come back at once; its view goes on under the cell."""
    session = notebook.session
    loop = Loop(notebook.shell)
    agent = session.agent(on_main=loop.run_here, alone=True)
    prepare(agent)
    # The notebook is read now, while no cell runs; the thread only asks and acts.
    agent.machine.execute_step(run_id)
    view = View(notebook, agent.machine.get(run_id), since=notebook.asked_at)
    view.paint()
    notebook.on_page.began(run_id, notebook.whole_cell_id)
    asked = Asked(notebook, run_id, view=view, finish=finish, again=again)
    if agent.may_ask(run_id):
        asked.place()
    drive(agent, run_id, view, loop, end=lambda: asked.over(noted(session, agent.as_it_stands(run_id))))
