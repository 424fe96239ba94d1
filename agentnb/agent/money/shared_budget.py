"""Keep a sum of money that many runs share, wherever they run. What a call may cost is set aside first, then settled.

The purse is a run of its own in their journal; each change of it is one step. So two workers never set aside the same
dollar. A call that was cut off with its worker counts as spent with all that was set aside for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from agentnb.agent.money.budget import Budget, Quote, affordable_output
from agentnb.canonical import JsonObject
from agentnb.durable.journal.protocol import Journal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import BudgetExceeded, LeaseHeld, RunExists, StepConflict

OPEN = "OPEN"
LEASE = 10.0  # seconds: a change takes milliseconds, and who died in one should not be waited for long
PAUSE, MOST = 0.05, 120.0
"""Seconds between two attempts, and in all: for the purse itself, and for others' calls to be settled."""

PurseState = JsonObject
"""The purse's context: `limit` and `spent` in US dollars, and sums set aside for calls in flight, by their keys."""
T = TypeVar("T")


def set_aside(purse: PurseState, key: str, quote: Quote | None) -> tuple[int | BudgetExceeded, PurseState]:
    """Return the output tokens that the purse pays for, or why it pays for none; and the purse after that. Pure.

    What an earlier attempt at the same call had set aside is spent: nobody knows how far that call came.
    """
    purse = settled(purse, key, purse["held"].get(key, 0.0))
    budget = Budget(limit=purse["limit"], spent=purse["spent"] + sum(purse["held"].values()))
    try:
        tokens = affordable_output(budget, quote)
    except BudgetExceeded as error:
        what = error.what.replace("--budget", "the budget that the runs share")
        todo = "Nothing was sent. Begin the rest under a larger budget, or with fewer tokens a call."
        return BudgetExceeded(what, about=error.about, todo=todo), purse
    assert quote is not None, "without a price nothing is affordable"
    worst = replace(quote, max_tokens=tokens).worst
    return tokens, purse | {"held": {**purse["held"], key: worst}}


def settled(purse: PurseState, key: str, cost: float) -> PurseState:
    """Return the purse after the call has cost this. Pure."""
    left = {name: dollars for name, dollars in purse["held"].items() if name != key}
    return purse | {"spent": purse["spent"] + cost, "held": left}


class Purse:
    """The purse of one name in a journal, as one process holds it open."""

    def __init__(self, journal: Journal, name: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._journal, self._name, self._wait = journal, name, wait

    def make(self, limit: float) -> None:
        """Begin it; where there is one of this name already, `limit` is the whole sum from now on."""
        machine = AgentStateMachine(self._journal)
        machine.register_state(OPEN, lambda purse: (OPEN, purse))
        first = {"limit": limit, "spent": 0.0, "held": {}}
        try:
            machine.initialize_run(self._name, OPEN, first, tags={"task": "the budget of several runs"})
        except RunExists:
            self._change(lambda purse: (None, purse | {"limit": limit}), "limit", "")

    def reserve(self, key: str, quote: Quote | None) -> int:
        """Return the output tokens that the call `key` may bring; what it may cost is set aside. Raises BudgetExceeded.

        Where the sum would do and only others' calls in flight hold it, waits for them to be settled.
        """
        waited = 0.0
        while True:
            found, others = self._change(lambda purse: _with_others(purse, key, quote), "reserve", key)
            if isinstance(found, int):
                return found
            if not others or waited >= MOST:
                raise found
            self._wait(PAUSE)
            waited += PAUSE

    def settle(self, key: str, cost: float) -> None:
        """Note what the call has cost; the rest of what was set aside is free again."""
        self._change(lambda purse: (None, settled(purse, key, cost)), "settle", key)

    @property
    def state(self) -> PurseState:
        """Return the purse as it stands."""
        return dict(AgentStateMachine(self._journal).get(self._name).context)

    def _change(self, change: Callable[[PurseState], tuple[T, PurseState]], what: str, key: str) -> T:
        """Make one step of the purse's run, and return what `change` gave beside the purse."""
        answers: list[T] = []
        machine = AgentStateMachine(self._journal, lease=LEASE)

        def step(purse: PurseState) -> tuple[str, PurseState]:
            answer, after = change(purse)
            answers.append(answer)
            machine.current.attach(what=what, call=key)
            return OPEN, after

        machine.register_state(OPEN, step)
        for _ in range(int(MOST / PAUSE)):
            try:
                machine.execute_step(self._name)
            except (LeaseHeld, StepConflict):
                self._wait(PAUSE)
            else:
                return answers[-1]
            finally:
                machine.release(self._name)
        raise LeaseHeld("the purse of these runs is not to be had", about=self._name, todo="Resume the run later.")


def _with_others(
    purse: PurseState, key: str, quote: Quote | None
) -> tuple[tuple[int | BudgetExceeded, bool], PurseState]:
    """`set_aside`, and whether others' calls in flight are what stands in its way."""
    found, after = set_aside(purse, key, quote)
    if isinstance(found, int):
        return (found, False), after
    alone, _ = set_aside(after | {"held": {}}, key, quote)
    return (found, isinstance(alone, int)), after
