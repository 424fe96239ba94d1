"""Find the answer that a cell need not ask for again.

It is kept where the cell asks the same, in the same way, of what has not changed. Its conversation stands as it did.
Where the run did anything, or read files, servers or the user's own tools, the cell asks again. So does a cell that
asked more than once, in a loop or on two lines.
"""

from __future__ import annotations

from dataclasses import replace

from agentnb.agent.conversation.threads import Threads
from agentnb.agent.deps import Services
from agentnb.agent.request import Request
from agentnb.agent.stale_answers import still_holds
from agentnb.agent.state import AgentState, is_agents
from agentnb.durable.journal.records import COMPLETED, RunSummary
from agentnb.models.messages import ToolCall
from agentnb.prompt.thread import path_to
from agentnb.settings import RunOptions

LOOKS_ONLY = frozenset({"answer", "ask_user", "inspect", "plan", "propose_cell", "read_cell", "recall", "variables"})
"""Tools that change nothing, and read nothing but the notebook."""


def kept_answer(services: Services, request: Request, asked: AgentState) -> RunSummary | None:
    """Return the run whose answer to this request still holds; None where it has to be asked.

    `asked` is the state that a run of the request would begin with.
    """
    run = _asked_last(services, request)
    if run is None or run.status != COMPLETED or run.tags.get("kind") != asked.kind:
        return None
    if services.hydrator.pins.files or not _goes_on(services.threads, request.thread, run):
        return None
    context = services.machine.get(run.run_id).context
    if not is_agents(context):
        return None
    state = AgentState.from_json(context)
    same = (state.task, _way(state.options)) == (asked.task, _way(asked.options))
    looked = all(block.content.name in LOOKS_ONLY for block in state.blocks if isinstance(block.content, ToolCall))
    return run if same and looked and still_holds(services.hydrator, state) else None


def _asked_last(services: Services, request: Request) -> RunSummary | None:
    """Return the only run of the cell's last execution; None where the present one has asked already."""
    asks = not request.cell or request.origin is not None or request.replay != "live"
    runs = [] if asks else services.machine.journal.find(cell=str(request.cell))
    if not runs or runs[-1].tags.get("execution") == request.execution:
        return None
    last = [run for run in runs if run.tags.get("execution") == runs[-1].tags.get("execution")]
    return last[0] if len(last) == 1 else None


def _goes_on(threads: Threads, thread: str, run: RunSummary) -> bool:
    """Tell whether the conversation stands where it did: the run is on its newest path.

    After a restart the kernel's own conversation has not begun yet. Then the run's is the one that goes on.
    """
    its = run.tags.get("thread", "")
    if its != thread and threads.turns(thread):
        return False
    turns = threads.turns(its)
    newest = next((turn for turn in reversed(turns) if turn.complete), None)
    return any(turn.run_id == run.run_id for turn in path_to(turns, newest))


def _way(options: RunOptions) -> RunOptions:
    """Return the options without those that only limit a run, or say how it is carried out."""
    same = RunOptions()
    changes = {name: getattr(options, name) for name in ("effort", "context", "context_tokens", "max_tokens", "allow")}
    return replace(same, **changes)
