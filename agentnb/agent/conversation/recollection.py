"""Read a conversation's steps whole from the journal, those too that its requests send no more."""

from __future__ import annotations

from collections.abc import Iterator

from agentnb.agent.conversation.threads import Threads
from agentnb.agent.state import AgentState, is_agents
from agentnb.durable.machine import AgentStateMachine
from agentnb.models.layers import Block

CONDENSING = "CONDENSING"
"""The state whose steps take blocks out of a run's record: the record before holds them as they were sent."""


class Recollection:
    """Finds what the conversation of a run has said and found, by the numbers of its steps."""

    def __init__(self, machine: AgentStateMachine, threads: Threads) -> None:
        self._machine = machine
        self._threads = threads

    def steps(self, run_id: str) -> dict[int, tuple[Block, ...]]:
        """Return the blocks of each step up to now, as they came; under 0 the tasks of all turns."""
        path = self._threads.path_of(AgentState.from_json(self._machine.get(run_id).context))
        found: dict[int, tuple[Block, ...]] = {}
        tasks: dict[str, Block] = {}
        for each in (*(turn.run_id for turn in path), run_id):
            for blocks in self._records(each):
                tasks |= {block.digest: block for block in blocks if block.label == "task"}
                new = [block for block in blocks if block.step and block.step not in found]
                found |= {step: tuple(b for b in new if b.step == step) for step in {b.step for b in new}}
        return {0: tuple(tasks.values())} | dict(sorted(found.items()))

    def _records(self, run_id: str, upto: int | None = None) -> Iterator[tuple[Block, ...]]:
        """Return the blocks of a run at each time before some of them went, oldest first, and as they stand."""
        run = self._machine.get(run_id)
        if run.origin is not None:  # a fork: what went before it was made
            yield from self._records(run.origin[0], run.origin[1])
        last = run.step if upto is None else upto
        condensed = (event.step for event in self._machine.history(run_id) if event.state == CONDENSING)
        before = sorted({step - 1 for step in condensed if step <= last})
        for number, step in enumerate((*before, last)):
            context = self._machine.context_at(run_id, step)
            if not is_agents(context):
                return
            state = AgentState.from_json(context)
            if number == 0 and state.source:
                source, _, at = state.source.rpartition(":")
                yield from self._records(source, int(at))
            yield state.blocks
