"""Read a conversation's steps whole from the journal, those too that its requests send no more."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from agentnb.agent.conversation.threads import Threads
from agentnb.agent.state import AgentState, is_agents
from agentnb.durable.machine import AgentStateMachine
from agentnb.models.layers import Block

CONDENSING = "CONDENSING"
"""The state whose steps take blocks out of a run's record: the record before holds them as they were sent."""


class KeptAt(NamedTuple):
    """Names a record that holds all that came since the one before, up to the reply of this number.

    Where the journal does not say which that is, `replies` is None.
    """

    run_id: str
    step: int
    replies: int | None = None


class Recollection:
    """Finds what the conversation of a run has said and found, by the numbers of its steps."""

    def __init__(self, machine: AgentStateMachine, threads: Threads) -> None:
        self._machine = machine
        self._threads = threads
        self._settled: dict[KeptAt, tuple[Block, ...]] = {}
        """Blocks of the conversation searched last, by the place of their record: all but the newest never change."""

    def step(self, run_id: str, number: int) -> tuple[Block, ...]:
        """Return one step's blocks as they came, from the one record that holds them; () where there is none."""
        places = self._places(run_id)
        at = bisect_left(places, number, hi=len(places) - 1, key=self._replies)
        blocks = self._record(places[at]).blocks if number else ()
        return tuple(block for block in blocks if block.step == number)

    def steps(self, run_id: str) -> dict[int, tuple[Block, ...]]:
        """Return the blocks of each step up to now, as they came; under 0 the tasks of all turns."""
        found: dict[int, tuple[Block, ...]] = {}
        tasks: dict[str, Block] = {}
        *settled, newest = self._places(run_id)
        self._settled = {place: self._settled.get(place) or self._record(place).blocks for place in settled}
        for blocks in (*self._settled.values(), self._record(newest).blocks):
            known = set(found)
            for block in blocks:
                if block.step and block.step not in known:
                    found[block.step] = (*found.get(block.step, ()), block)
                elif block.label == "task":
                    tasks[block.digest] = block
        return {0: tuple(tasks.values())} | dict(sorted(found.items()))

    def _record(self, place: KeptAt) -> AgentState:
        return self._threads.numbered(AgentState.from_json(self._machine.context_at(place.run_id, place.step)))

    def _replies(self, place: KeptAt) -> int:
        return self._record(place).replies if place.replies is None else place.replies

    def _places(self, run_id: str) -> list[KeptAt]:
        """Return where the conversation stands in the journal, oldest first."""
        path = self._threads.path_of(self._record(KeptAt(run_id, 0)))
        return [place for each in (*(turn.run_id for turn in path), run_id) for place in self._places_of(each)]

    def _places_of(self, run_id: str, upto: int | None = None) -> Iterator[KeptAt]:
        """Yield the places of a run before some of its blocks went, and where it stands: at `upto`, or now."""
        summary = self._machine.journal.row(run_id).summary
        last = summary.step if upto is None else upto
        if summary.origin is not None:  # a fork: what went before it was made
            yield from self._places_of(*summary.origin)
        begun = self._machine.context_at(run_id, 0)
        if not is_agents(begun):
            return
        if source := begun.get("source"):
            taken_up, _, at = source.rpartition(":")
            yield from self._places_of(taken_up, int(at))
        for event in self._machine.history(run_id, state=CONDENSING):
            if event.kind == "step" and event.step <= last:
                yield KeptAt(run_id, event.step - 1, event.data.get("condensed", {}).get("replies"))
        yield KeptAt(run_id, last)
