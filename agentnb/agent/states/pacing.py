"""Hold a fleet's calls back where their provider asked for it, for each key and model.

A refusal that asks for a wait is told to all through their journal. So is a limit that is more than half used up.
From then on each call takes a turn, one interval after the one before it. A minute after the last turn the pace is
forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentnb.agent.deps import Services
from agentnb.agent.money.costs import LOST
from agentnb.agent.money.shared_record import SharedRecord
from agentnb.agent.state import AgentState
from agentnb.canonical import JsonObject
from agentnb.errors import Overloaded, ProviderError, RateLimited, RunDelayed
from agentnb.providers.transport import FIRST_WAIT

REMEMBERED = 60.0  # seconds after the last turn: limits are those of a minute
SPARE = 1.05  # of a limit's interval: a call that comes a moment early is refused
SLOWER, FASTER = 1.5, 0.97
"""Factors of an interval that no header names: after a refusal in turn, and after an answer."""
NEWS = 0.01  # of an interval: a smaller change is not told
PER_CALL = ("anthropic-ratelimit-requests-limit", "x-ratelimit-limit-requests")
CALLS_LEFT = ("anthropic-ratelimit-requests-remaining", "x-ratelimit-remaining-requests")
PER_TOKEN = ("anthropic-ratelimit-input-tokens-limit", "x-ratelimit-limit-tokens")

PaceState = JsonObject
"""The time `free` of the next turn, and the `interval` in seconds after it; `measured` where a header named it."""

NO_PACE: PaceState = {"free": -REMEMBERED, "interval": 0.0, "measured": False}


def interval_of(headers: Mapping[str, str], tokens: int) -> float:
    """Return the seconds between two calls of so many tokens that the limits allow; 0 where no header names one."""
    limits = [(headers.get(name, ""), 1) for name in PER_CALL] + [(headers.get(name, ""), tokens) for name in PER_TOKEN]
    return max((60 * amount / int(limit) for limit, amount in limits if limit.isdigit() and int(limit)), default=0.0)


def is_scarce(headers: Mapping[str, str]) -> bool:
    """Tell whether less than half of the calls of a minute are left."""
    left, limit = (next((headers[name] for name in names if name in headers), "") for names in (CALLS_LEFT, PER_CALL))
    return left.isdigit() and limit.isdigit() and 2 * int(left) < int(limit)


def is_kept(pace: PaceState | None, now: float) -> bool:
    """Tell whether calls take turns. Pure."""
    return pace is not None and now < pace["free"] + REMEMBERED


def begun(pace: PaceState, now: float) -> PaceState:
    """Return a pace that is kept from now on. Pure."""
    return pace if is_kept(pace, now) else {**NO_PACE, "free": now}


def turn(pace: PaceState, now: float) -> tuple[float, PaceState]:
    """Return when the next call may be made, and the pace after it. Pure."""
    at = max(now, pace["free"])
    return at, {**pace, "free": at + pace["interval"] * SPARE}


def learned(pace: PaceState, interval: float) -> PaceState:
    """Return the pace after an answer whose headers named this interval; with 0, none. Pure."""
    if interval:
        return {**pace, "interval": interval, "measured": True}
    return pace if pace["measured"] else {**pace, "interval": pace["interval"] * FASTER}


def refused(pace: PaceState, now: float, wait: float, *, in_turn: bool) -> PaceState:
    """Return the pace after a refusal that asked to wait so many seconds. Pure.

    Where the call came `in_turn`, the interval was too short.
    """
    if not is_kept(pace, now):
        pace = {"free": now, "interval": wait, "measured": False}
    elif in_turn and not pace["measured"]:
        pace = {**pace, "interval": max(pace["interval"], FIRST_WAIT / 10) * SLOWER}
    return {**pace, "free": max(pace["free"], now + wait)}


class Pacing:
    """Keeps the pace of one agent's calls, where it may let a run wait; anywhere else nothing is held back."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def _record(self, state: AgentState) -> SharedRecord:
        provider = self._services.provider_for(state.address)
        name = f"pace/{provider.account}/{provider.model.name}"
        return SharedRecord(self._services.machine.journal, name, task=f"the pace of calls to {provider.model.name}")

    def hold_back(self, state: AgentState) -> None:
        """Raise RunDelayed where the call has to wait for its turn. A run that has waited has its turn now."""
        if not self._applies(state) or self._services.machine.current.due is not None:
            return
        record, now = self._record(state), self._services.machine.journal.clock.now()
        if not is_kept(record.read(), now):
            return
        at = record.change(lambda pace: turn(pace, now), call=self._services.machine.current.run_id)
        if at > now:
            raise RunDelayed("it waits for its turn: the provider limits calls", seconds=at - now)

    def refuse(self, state: AgentState, error: ProviderError) -> None:
        """Tell all of a refusal, and raise RunDelayed until the next turn. Return where the run should fail.

        That is where the waits that were asked of this call add up to more than `retry_wait`.
        """
        current, now = self._services.machine.current, self._services.machine.journal.clock.now()
        lost = LOST in (current.attached or {})
        if not self._applies(state) or lost or not isinstance(error, RateLimited | Overloaded):
            return
        asked = self._asked_before()
        wait = FIRST_WAIT * 2 ** len(asked) if error.asked_wait is None else error.asked_wait
        if sum(asked) + wait > state.options.retry_wait:
            return
        record = self._record(state)
        record.make(NO_PACE)
        in_turn = current.due is not None

        def push_back(pace: PaceState) -> tuple[float, PaceState]:
            return turn(refused(pace, now, wait, in_turn=in_turn), now)

        at = record.change(push_back, refused=current.run_id)
        why = f"{error.what}; it asks again in {at - now:.1f} s"
        raise RunDelayed(why, seconds=at - now, data={"asked": wait}) from error

    def learn(self, state: AgentState, headers: Mapping[str, str], tokens: int) -> None:
        """Learn from an answer how fast calls may come, while they take turns."""
        if not self._applies(state):
            return
        record, interval = self._record(state), interval_of(headers, tokens)
        pace, now = record.read(), self._services.machine.journal.clock.now()
        if pace is None or not is_kept(pace, now):
            if is_scarce(headers):
                record.make(NO_PACE)
                record.change(lambda pace: (None, learned(begun(pace, now), interval)), scarce=True)
        elif abs(learned(pace, interval)["interval"] - pace["interval"]) > NEWS * pace["interval"]:
            record.change(lambda pace: (None, learned(pace, interval)), interval=interval)

    def _applies(self, state: AgentState) -> bool:
        return self._services.may_wait and state.options.replay == "live"

    def _asked_before(self) -> list[float]:
        """Return the waits that were asked of this call so far."""
        current = self._services.machine.current
        if current.due is None:
            return []
        events = [event for event in self._services.machine.history(current.run_id) if event.step == current.step - 1]
        return [event.data["asked"] for event in events if event.kind == "delayed" and "asked" in event.data]
