"""Keep a long run to its task: tell task and plan again, and notice calls that go in circles. Pure.

What is told again is a block at the tail like any other. It is journaled as sent, and no prefix changes by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from agentnb.agent.state import AgentState
from agentnb.agent.tools.plan import PlanItem, plan_text
from agentnb.agent.tools.tool import shorten
from agentnb.models.framing import framed
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Role, Text, ToolCall, ToolResult

REMINDER = "reminder"
LONGEST_TASK = 2_000
"""Characters of the task that are told again."""
TIMES = 3
"""So often may a call give the same result before the model is told; once more stops the run."""
TOLD = (
    f"\n\n[This same call has given this same result {TIMES} times. Go another way, or end here and say what is "
    "missing: once more stops the run.]"
)


def reminded(state: AgentState) -> AgentState:
    """Return the state with the task and the plan told again, if that is due."""
    return told_again(state) if is_due(state.blocks, state.options.remind_every) else state


def told_again(state: AgentState) -> AgentState:
    """Return the state with task and plan at its tail, unless they stand there or a reply goes on."""
    here = state.paused or not state.options.remind_every or state.blocks[-1].label in (REMINDER, "task")
    return state if here else replace(state, blocks=(*state.blocks, reminder(state.task, state.plan)))


def reminder(task: str, plan: Sequence[PlanItem]) -> Block:
    """Make the block that tells the task and the plan again."""
    steps = f"\n\nYour plan:\n{plan_text(plan)}" if plan else ""
    text = framed(REMINDER, f"The task, as it was asked:\n{shorten(task, LONGEST_TASK)}{steps}")
    return Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(text), label=REMINDER)


def is_due(blocks: Sequence[Block], every: int) -> bool:
    """Tell whether `every` replies came since the task, or the last reminder; 0: never."""
    replies, after = 0, None
    for block in reversed(blocks):
        if block.label in (REMINDER, "task") or not every:
            return False
        replies += block.role is Role.ASSISTANT and after is not Role.ASSISTANT
        after = block.role
        if replies >= every:
            return True
    return False


def times_before(
    blocks: Sequence[Block], call: ToolCall, same: Collection[str], acts: Collection[str], *, after: int = -1
) -> int:
    """Count how often this call gave the `same`, back to the last other one that `acts`.

    Only steps `after` the given one count, and results that still stand there: what was condensed may be read again.
    """
    count = 0
    for earlier, result in reversed(list(_carried_out(block for block in blocks if block.step > after))):
        if (earlier.name, earlier.arguments) == (call.name, call.arguments):
            count += result.removesuffix(TOLD) in same
        elif earlier.name in acts:
            break
    return count


def _carried_out(blocks: Iterable[Block]) -> Iterator[tuple[ToolCall, str]]:
    """Yield the calls with the texts of their results, in order."""
    waiting: list[ToolCall] = []
    for part in (block.content for block in blocks):
        if isinstance(part, ToolCall):
            waiting.append(part)
        elif isinstance(part, ToolResult) and (made := _first(waiting, part.call_id)):
            waiting.remove(made)
            yield made, part.text


def _first(calls: Iterable[ToolCall], call_id: str) -> ToolCall | None:
    return next((call for call in calls if call.call_id == call_id), None)
