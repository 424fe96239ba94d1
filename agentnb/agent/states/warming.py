"""Let the first call of a shared prefix stream before the others of a fleet begin. They read what it wrote.

Who is first stands in a record that all workers share. The others begin once it has its first token: by then the
provider has the prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agentnb.agent.deps import Services
from agentnb.agent.money.shared_record import SharedRecord
from agentnb.agent.state import AgentState
from agentnb.canonical import JsonObject
from agentnb.errors import RunInterrupted
from agentnb.models.layers import Layer
from agentnb.providers.promptcache import Call

WARM = 270.0  # seconds after its first token for which a prefix counts as warm
PAUSE, MOST = 0.05, 30.0
"""Seconds between two looks at whether the first call streams, and in all: then it is thought to be dead."""
SHARED = (Layer.STATIC, Layer.SEMI_STATIC)

PrefixStates = JsonObject
"""Digests of prefixes, each with when its first call began, `at`, and whether it has streamed by now, `ready`."""


def shared_prefix(call: Call) -> str:
    """Return the digest of the blocks that other runs send too; empty where the provider would not keep so few."""
    count = sum(1 for block in call.prompt.blocks if block.layer in SHARED)
    kept = sum(call.tokens[:count]) >= call.model.cache.minimum
    return call.prompt.chain[count - 1] if count and kept else ""


def is_settled(states: PrefixStates | None, prefix: str, now: float) -> bool | None:
    """Tell whether the prefix is warm. None where nobody has it or is about to: the next call is the first one."""
    found = (states or {}).get(prefix)
    if found is None or now > found["at"] + (WARM if found["ready"] else MOST):
        return None
    return bool(found["ready"])


def taken(states: PrefixStates, prefix: str, now: float) -> tuple[bool, PrefixStates]:
    """Return whether this call is the first, and the record then. Pure."""
    if is_settled(states, prefix, now) is not None:
        return False, states
    kept = {name: found for name, found in states.items() if now < found["at"] + WARM}
    return True, {**kept, prefix: {"at": now, "ready": False}}


class WarmFirst:
    """Keeps one agent's calls behind the first of their prefix, where it may let a run wait."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._warm_until: dict[str, float] = {}

    @contextmanager
    def behind_the_first(self, state: AgentState, call: Call) -> Iterator[Callable[[], None]]:
        """Wait until the prefix is warm, or be the first. Gives what is to be called at the reply's first token."""
        applies = self._services.may_wait and state.options.replay == "live"
        prefix = shared_prefix(call) if applies else ""
        record = SharedRecord(
            self._services.machine.journal,
            f"warm/{call.scope}/{call.model.name}",
            task=f"prefixes of {call.model.name} that are warm",
        )
        if not prefix or not self._is_first(record, prefix):
            yield lambda: None
            return
        told: list[bool] = []

        def streams() -> None:
            if not told:
                told.append(True)
                entry = {"at": self._services.machine.journal.clock.now(), "ready": True}
                record.change(lambda states: (None, {**states, prefix: entry}), ready=prefix)

        try:
            yield streams
        finally:
            if not told:  # it failed: another call is the first
                record.change(lambda states: (None, {k: v for k, v in states.items() if k != prefix}), failed=prefix)

    def _is_first(self, record: SharedRecord, prefix: str) -> bool:
        waited = 0.0
        while (now := self._services.machine.journal.clock.now()) > self._warm_until.get(prefix, 0.0) and waited < MOST:
            states = record.read()
            settled = is_settled(states, prefix, now)
            if settled:
                self._warm_until[prefix] = (states or {})[prefix]["at"] + WARM
                return False
            if settled is None:
                if states is None:
                    record.make({})
                if record.change(lambda found: taken(found, prefix, now), first=prefix):
                    return True
            elif self._services.cancelled.wait(PAUSE):
                raise RunInterrupted("the run was interrupted before the call")
            waited += PAUSE
        return False
