"""Hold the calls of a fleet's runs back where their provider asked for it, for each key and model.

A refusal that asks for a wait is told to all through their journal. From then on each call takes a turn, one interval
after the one before it. A minute after the last turn the pace is forgotten.
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
"""Factors of an interval that no header names: after a refusal, and after each turn."""
NEWS = 0.1  # of an interval: a smaller change is not told
PER_CALL = ("anthropic-ratelimit-requests-limit", "x-ratelimit-limit-requests")
PER_TOKEN = ("anthropic-ratelimit-input-tokens-limit", "x-ratelimit-limit-tokens")

PaceState = JsonObject
"""The time `free` of the next turn, and the `interval` in seconds after it; `measured` where a header named it."""


def interval_of(headers: Mapping[str, str], tokens: int) -> float:
    """Return the seconds between two calls of so many tokens that the limits allow; 0 where no header names one."""
    limits = [(headers.get(name, ""), 1) for name in PER_CALL] + [(headers.get(name, ""), tokens) for name in PER_TOKEN]
    return max((60 * amount / int(limit) for limit, amount in limits if limit.isdigit() and int(limit)), default=0.0)


def is_kept(pace: PaceState | None, now: float) -> bool:
    """Tell whether calls take turns. Pure."""
    return pace is not None and now < pace["free"] + REMEMBERED


def turn(pace: PaceState, now: float) -> tuple[float, PaceState]:
    """Return when the next call may be made, and the pace after it. Pure."""
    at, interval = max(now, pace["free"]), pace["interval"]
    faster = interval if pace["measured"] else interval * FASTER
    return at, {**pace, "free": at + interval * SPARE, "interval": faster}


def refused(pace: PaceState, now: float, wait: float) -> PaceState:
    """Return the pace after a refusal that asked to wait so many seconds. Pure."""
    if not is_kept(pace, now):
        pace = {"free": now, "interval": wait, "measured": False}
    elif not pace["measured"]:
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
        record, now = self._record(state), self._services.clock.now()
        if not is_kept(record.read(), now):
            return
        at = record.change(lambda pace: turn(pace, now), call=self._services.machine.current.run_id)
        if at > now:
            raise RunDelayed("it waits for its turn: the provider limits calls", seconds=at - now)

    def refuse(self, state: AgentState, error: ProviderError) -> None:
        """Tell all of a refusal, and raise RunDelayed until the next turn. Return where the run should fail.

        That is where the waits that were asked of this call add up to more than `retry_wait`.
        """
        current, now = self._services.machine.current, self._services.clock.now()
        lost = LOST in (current.attached or {})
        if not self._applies(state) or lost or not isinstance(error, RateLimited | Overloaded):
            return
        asked = self._asked_before()
        wait = FIRST_WAIT * 2 ** len(asked) if error.asked_wait is None else error.asked_wait
        if sum(asked) + wait > state.options.retry_wait:
            return
        record = self._record(state)
        record.make({"free": 0.0, "interval": 0.0, "measured": False})
        at = record.change(lambda pace: turn(refused(pace, now, wait), now), refused=current.run_id)
        why = f"{error.what}; it asks again in {at - now:.1f} s"
        raise RunDelayed(why, seconds=at - now, data={"asked": wait}) from error

    def learn(self, state: AgentState, headers: Mapping[str, str], tokens: int) -> None:
        """Take over the interval that an answer's headers name, while calls take turns."""
        interval = interval_of(headers, tokens) if self._applies(state) else 0.0
        if not interval:
            return
        record = self._record(state)
        pace = record.read()
        if pace is None or not is_kept(pace, self._services.clock.now()):
            return
        if abs(interval - pace["interval"]) > NEWS * interval:
            record.change(lambda pace: (None, {**pace, "interval": interval, "measured": True}), measured=interval)

    def _applies(self, state: AgentState) -> bool:
        return self._services.may_wait and state.options.replay == "live"

    def _asked_before(self) -> list[float]:
        """Return the waits that were asked of this call so far."""
        current = self._services.machine.current
        if current.due is None:
            return []
        events = [event for event in self._services.machine.history(current.run_id) if event.step == current.step - 1]
        return [event.data["asked"] for event in events if event.kind == "delayed" and "asked" in event.data]
