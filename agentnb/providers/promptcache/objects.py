"""The life of cache objects at a provider that keeps such: made when they pay, bound, extended, replaced, deleted.

An object holds what every call of a segment begins with. It costs storage by the hour, so it is made only within a
budget that the user set. Ours are known by their label. A vanished one is forgotten; the call goes out without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from agentnb.canonical import Clock
from agentnb.errors import ProviderError
from agentnb.prompt.layers import Prompt
from agentnb.providers import catalog, prices
from agentnb.providers.base import Mark
from agentnb.providers.catalog import CacheKind, Model
from agentnb.providers.messages import Usage
from agentnb.providers.promptcache.calls import Call
from agentnb.providers.promptcache.ledger import Held, Ledger
from agentnb.providers.promptcache.placement import last_frame_index
from agentnb.providers.promptcache.policy import UNASKED, Option, cost, rates_of

LABEL = "agentnb"
LIFE = 3600.0  # seconds that an object is made or extended for; a kernel that dies leaves it no longer than that
RENEW = LIFE / 2  # it is extended when less than this is left


@runtime_checkable
class ObjectProvider(Protocol):
    """What a provider with cache objects can do."""

    def make_object(self, prompt: Prompt, last: int, *, seconds: int, label: str) -> Mapping[str, Any]: ...

    def extend_cache(self, name: str, *, seconds: int) -> Mapping[str, Any]: ...

    def delete_cache(self, name: str) -> None: ...

    def list_caches(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """How often what an object would hold is asked with: `pauses` in seconds between such calls. Prefixes cached
    unasked are `trusted` for so many seconds; `warm` says that what the object would hold is expected to hit now."""

    pauses: Sequence[float]
    trusted: float = UNASKED
    warm: bool = False


def pays(model: Model, reuse: Reuse) -> bool:
    """Whether an object costs less than trusting to what the provider caches unasked, if pauses go on like this.

    The object is made at the plain price, read by every call, this one too, and pays storage. Where the prefix is warm
    anyway, making it now costs more than this call alone would.
    """
    gaps = tuple(reuse.pauses)
    if not gaps:
        return False
    rates = rates_of(model, "1h")
    stored = rates.read + cost(Option(ttl="1h", rates=rates, stored=True), gaps)
    unasked = cost(Option(ttl="5m", rates=rates_of(model, "5m"), lasts=reuse.trusted), gaps)
    return stored < unasked - (rates.write - rates.read if reuse.warm else 0.0)


class CacheObjects:
    """The objects of one session. `budget` in US dollars bounds what it may spend on them; `spent` is what it did,
    storage until the end of each object's life included."""

    def __init__(self, ledger: Ledger, *, clock: Clock, owner: str, budget: float) -> None:
        self._ledger = ledger
        self._clock = clock
        self._owner = owner
        self.budget = budget
        self.spent = 0.0

    # --- binding: no I/O but the ledger's -------------------------------------------------------------------------

    def find(self, prompt: Prompt, model: Model, scope: str) -> Held | None:
        """The live object that holds exactly what this prompt begins with."""
        last = last_frame_index(prompt)
        if model.cache.kind is not CacheKind.EXPLICIT_OBJECT or last < 0:
            return None
        prefix, now = prompt.chain[last], self._clock.now()
        found = (h for h in self._ledger.held(scope) if h.model == model.name and h.prefix == prefix)
        return next((h for h in found if h.until > now), None)

    def bind(self, marks: tuple[Mark, ...], prompt: Prompt, held: Held | None) -> tuple[Mark, ...]:
        """The marks with the object's name at the end of what it holds."""
        if held is None:
            return marks
        last = last_frame_index(prompt)
        bound = Mark(index=last, ttl="1h", why="end of SEMI_STATIC", holder=held.name)
        return tuple(sorted((*(m for m in marks if m.index != last), bound), key=lambda mark: mark.index))

    # --- making, extending, replacing: at the provider --------------------------------------------------------------

    def ensure(self, provider: object, call: Call, *, thread: str, reuse: Reuse) -> Held | None:
        """The object for this call, made or extended as the budget allows; this thread's outdated ones are deleted.

        None where there is none and none pays. A provider that refuses costs a note in the ledger, not the call.
        """
        if not isinstance(provider, ObjectProvider) or call.model.cache.kind is not CacheKind.EXPLICIT_OBJECT:
            return None
        self._leave_outdated(provider, call, thread)
        held = self.find(call.prompt, call.model, call.scope)
        try:
            if held is not None:
                return self._use(provider, held, call.model, thread)
            worth = self._affordable(call) and pays(call.model, reuse)
            return self.make(provider, call, thread) if worth else None
        except ProviderError:
            return None  # no object, no harm: the call goes out whole

    def _affordable(self, call: Call) -> bool:
        tokens = call.prefix_tokens(last_frame_index(call.prompt))
        within = self.spent + _price(call.model, tokens, LIFE, fresh=True) <= self.budget
        return tokens >= call.model.cache.minimum and within

    def make(self, provider: ObjectProvider, call: Call, thread: str) -> Held:
        """Make an object of what this call begins with, whatever it costs. Raises what the provider answers."""
        last = last_frame_index(call.prompt)
        label = f"{LABEL} {call.prompt.chain[last]}"
        made = provider.make_object(call.prompt, last, seconds=int(LIFE), label=label)
        now = self._clock.now()
        tokens = (made.get("usageMetadata") or {}).get("totalTokenCount") or call.prefix_tokens(last)
        held = Held(
            name=str(made["name"]),
            scope=call.scope,
            model=call.model.name,
            prefix=call.prompt.chain[last],
            tokens=int(tokens),
            made=now,
            until=now + LIFE,
            threads=(thread,),
            by=self._owner,
        )
        self.spent += _price(call.model, held.tokens, LIFE, fresh=True)
        self._ledger.hold(held)
        return held

    def _use(self, provider: ObjectProvider, held: Held, model: Model, thread: str) -> Held:
        used = held if thread in held.threads else replace(held, threads=(*held.threads, thread))
        left = held.until - self._clock.now()
        more = _price(model, held.tokens, LIFE - left, fresh=False)
        if left < RENEW and self.spent + more <= self.budget:
            used = self.extend(provider, used, model)
        elif used is not held:
            self._ledger.hold(used)
        return used

    def extend(self, provider: ObjectProvider, held: Held, model: Model) -> Held:
        """Let an object live for an hour from now. Raises a ProviderError where it is gone."""
        now = self._clock.now()
        provider.extend_cache(held.name, seconds=int(LIFE))
        self.spent += _price(model, held.tokens, now + LIFE - held.until, fresh=False)
        longer = replace(held, until=now + LIFE)
        self._ledger.hold(longer)
        return longer

    def _leave_outdated(self, provider: ObjectProvider, call: Call, thread: str) -> None:
        prefix = call.prompt.chain[last_frame_index(call.prompt)]
        for held in self._ledger.held(call.scope):
            if held.model == call.model.name and thread in held.threads and held.prefix != prefix:
                others = tuple(name for name in held.threads if name != thread)
                if others:
                    self._ledger.hold(replace(held, threads=others))
                else:
                    self.delete(provider, held)

    # --- ending ---------------------------------------------------------------------------------------------------

    def vanished(self, name: str) -> None:
        """The provider no longer knows it."""
        self._ledger.drop(name)

    def delete(self, provider: ObjectProvider, held: Held) -> bool:
        """Delete it at the provider and forget it. False where it was gone already.

        Storage was put down as spent until the object's end; what is left of it is not, if this session made it.
        """
        self._ledger.drop(held.name)
        try:
            provider.delete_cache(held.name)
        except ProviderError:
            return False
        if held.by == self._owner:
            unused = max(held.until - self._clock.now(), 0.0)
            self.spent -= _price(catalog.lookup(f"google:{held.model}"), held.tokens, unused, fresh=False)
        return True

    def mine(self) -> list[Held]:
        """The objects that this session made and that still live."""
        now = self._clock.now()
        return [held for held in self._ledger.held() if held.by == self._owner and held.until > now]


def _price(model: Model, tokens: int, seconds: float, *, fresh: bool) -> float:
    """US dollars: storage for so long, and for a fresh one the input that it is made from. 0 if unknown."""
    made = prices.cost_of(model, Usage(input=tokens)).total or 0.0 if fresh else 0.0
    return made + prices.storage_cost(model, tokens=tokens, seconds=max(seconds, 0.0))


def ours(listed: Mapping[str, Any]) -> bool:
    """Whether a listed cache object carries our label."""
    return str(listed.get("displayName") or "").startswith(LABEL)
