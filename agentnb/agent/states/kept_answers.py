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
from agentnb.agent.states.acting import said_once
from agentnb.agent.tools.tool import carry_out
from agentnb.durable.journal.records import COMPLETED, RunSummary
from agentnb.models.messages import ToolCall, ToolResult
from agentnb.prompt.thread import path_to
from agentnb.settings import RunOptions

LOOKS = frozenset({"inspect", "read_cell", "variables"})
"""Tools that read the notebook: what they gave is looked at again."""
HARMLESS = frozenset({"answer", "ask_user", "plan", "propose_cell", "recall"})
"""Tools that change nothing, and read nothing that could change."""


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
    return run if same and still_holds(services.hydrator, state) and _looks_alike(services, state) else None


def _asked_last(services: Services, request: Request) -> RunSummary | None:
    """Return the only run of the cell's last execution; None where the present one has asked already."""
    asks = not request.cell or request.origin is not None or request.replay != "live"
    runs = [] if asks else services.machine.journal.find(cell=str(request.cell))
    runs = [
        run for run in runs if run.tags.get("notebook") == request.tags.get("notebook")
    ]  # a copy has the same cells
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


def _looks_alike(services: Services, state: AgentState) -> bool:
    """Tell whether the run's tools changed nothing, and would give the same again."""
    contents = [block.content for block in state.blocks]
    results = {content.call_id: content.text for content in contents if isinstance(content, ToolResult)}
    calls = [content for content in contents if isinstance(content, ToolCall) and content.name not in HARMLESS]
    return all(call.name in LOOKS and results.get(call.call_id) in _looked(services, state, call) for call in calls)


def _looked(services: Services, state: AgentState, call: ToolCall) -> set[str]:
    """Return what the look gives now, as a model is told it at first and later."""
    outcome = carry_out(services.tools[call.name], call)
    scrub = services.scrub if outcome.holds else services.scrub.of_output
    outcome = replace(outcome, text=scrub(outcome.text))
    return {outcome.text, said_once(outcome, state.definitions).text}


def _way(options: RunOptions) -> RunOptions:
    """Return the options without those that only limit a run, or say how it is carried out."""
    same = RunOptions()
    changes = {name: getattr(options, name) for name in ("effort", "context", "context_tokens", "max_tokens", "allow")}
    return replace(same, **changes)
