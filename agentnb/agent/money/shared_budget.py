"""Keep a sum of money that many runs share, wherever they run. What a call may cost is set aside first, then settled.

Each change of the purse is one step of its record. So two workers never set aside the same dollar. Who has to wait for
others' calls only reads. A call that was cut off with its worker counts as spent with all that was set aside for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from agentnb.agent.money.budget import Budget, Quote, affordable_output
from agentnb.agent.money.shared_record import SharedRecord
from agentnb.canonical import JsonObject
from agentnb.durable.journal.protocol import Journal
from agentnb.errors import BudgetExceeded, RunUnknown

PAUSE, MOST = 0.05, 120.0
"""Seconds between two looks at whether others' calls are settled, and in all."""

PurseState = JsonObject
"""The purse's context: `limit` and `spent` in US dollars, and sums set aside for calls in flight, by their keys."""


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


def purse_of(fleet: str) -> str:
    """Return the name of the purse that a fleet's runs share."""
    return f"{fleet}/purse"


class Purse:
    """Holds the purse of one name in a journal, as one process holds it open."""

    def __init__(self, journal: Journal, name: str, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._record = SharedRecord(journal, name, task="the budget of several runs", wait=wait)
        self._wait = wait

    def make(self, limit: float) -> None:
        """Begin it; where there is one of this name already, `limit` is the whole sum from now on."""
        if not self._record.make({"limit": limit, "spent": 0.0, "held": {}}):
            self._record.change(lambda purse: (None, purse | {"limit": limit}), what="limit", call="")

    def reserve(self, key: str, quote: Quote | None) -> int:
        """Return the output tokens that the call `key` may bring; what it may cost is set aside. Raises BudgetExceeded.

        Where the sum would do and only others' calls in flight hold it, waits for them to be settled. A step is made
        only once there is something to set aside.
        """
        waited = 0.0
        while True:
            found, others = _with_others(self.state, key, quote)
            if isinstance(found, int):
                found = self._record.change(lambda purse: set_aside(purse, key, quote), what="reserve", call=key)
                if isinstance(found, int):
                    return found
            elif not others or waited >= MOST:
                raise found
            self._wait(PAUSE)
            waited += PAUSE

    def settle(self, key: str, cost: float) -> None:
        """Note what the call has cost; the rest of what was set aside is free again."""
        self._record.change(lambda purse: (None, settled(purse, key, cost)), what="settle", call=key)

    @property
    def state(self) -> PurseState:
        """Return the purse as it stands. Raises RunUnknown."""
        found = self._record.read()
        if found is None:
            raise RunUnknown("there is no shared budget of this name", about=self._record.name)
        return found


def _with_others(purse: PurseState, key: str, quote: Quote | None) -> tuple[int | BudgetExceeded, bool]:
    """Return what could be set aside, and whether others' calls in flight are what stands in its way."""
    found, after = set_aside(purse, key, quote)
    if isinstance(found, int):
        return found, False
    alone, _ = set_aside(after | {"held": {}}, key, quote)
    return found, isinstance(alone, int)
