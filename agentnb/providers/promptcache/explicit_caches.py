"""Manage cache objects at a provider that keeps such: made when they pay, bound, extended, replaced, deleted.

An object holds what every call of a segment begins with. It costs storage by the hour. So it is made by one rule (RULE)
and within a budget that the user set. Ours are known by their label, which says who made them; the ledger
says who uses them. The last one to leave an object deletes it; one that nobody asks for lapses. A vanished one is
forgotten; the call goes out without it.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from agentnb.canonical import Clock, JsonMapping, JsonObject
from agentnb.errors import AgentnbError, ProviderError
from agentnb.models import catalog, prices
from agentnb.models.catalog import LOCAL, CacheKind, Model
from agentnb.models.layers import Prompt
from agentnb.models.messages import Usage
from agentnb.providers.base import Mark
from agentnb.providers.promptcache.breakpoints import last_frame_index
from agentnb.providers.promptcache.calls import Call
from agentnb.providers.promptcache.ledger import HeldObject, Ledger, User, kept_at
from agentnb.providers.promptcache.policy import UNASKED, break_even, rates_of

LABEL = "agentnb"
HOUR = 3600.0  # seconds: what the user asks for by hand, and the most that an object is made or extended for
WEEK = 7 * 24 * HOUR  # an object that costs nothing lives so long after its last use
LOOKED_AT = 5  # pauses that outlasted what is cached unasked, the last ones
SHORTEST = 60.0  # seconds: the provider makes none for less
RENEW = 0.9  # it is extended when less of its life is left, so that it outlasts nearly every pause worth it
_GONE = (403, 404)  # what the provider answers for an object that it no longer has
_LABELLED = re.compile(rf"{LABEL}(?: (?P<maker>[0-9a-f]+\.\d+\.\d+\.\d+))?(?: .*)?")


@runtime_checkable
class ObjectProvider(Protocol):
    """Does what a provider with cache objects can do. `scope` names the place where it keeps them."""

    scope: str

    def make_object(self, prompt: Prompt, last: int, *, seconds: int, label: str) -> JsonMapping: ...

    def extend_cache(self, name: str, *, seconds: int) -> JsonMapping: ...

    def delete_cache(self, name: str) -> None: ...

    def list_caches(self) -> list[JsonObject]: ...


def is_free(model: Model) -> bool:
    """Tell whether objects cost nothing: those of a model on this machine are files on the user's own disk."""
    return model.provider == LOCAL


def life_of(model: Model) -> float:
    """Return the seconds that an object lives by itself: as long as storage costs less than a read saves.

    Nobody knows how long a pause will be. So where a pause outlasts an object, its storage costs no more than the write
    it was to spare. A kernel that dies leaves its objects no longer than that.
    """
    if is_free(model):
        return WEEK
    per_hour = break_even(rates_of(model, "1h"), ttl=HOUR).calls_per_hour
    return max(SHORTEST, math.floor(min(HOUR, HOUR / per_hour))) if per_hour else HOUR


def pays(model: Model, pauses: Sequence[float], *, unasked: float = UNASKED) -> bool:
    """Tell whether an object is worth its storage, by RULE. `pauses` in seconds are those between calls with its text.
    `unasked` is how long such a text is expected to stay cached without it.

    The longest pause seen stands for the next one. On 200 drawn sessions this costs 2 % more than weighing all pauses.
    Where pauses are alike it costs up to a quarter less (tests/benchmarks/bench_objects.py).
    """
    outlasted = [pause for pause in pauses if pause > unasked][-LOOKED_AT:]
    return is_free(model) or (len(outlasted) >= 2 and max(outlasted) <= life_of(model))


RULE = (
    "A cache object pays once two pauses outlasted what is cached unasked, none of the last five lasting over {life}. "
    "So long storing costs less than sending anew."
)


class CacheObjects:
    """Holds the objects that one session uses. `budget` in US dollars bounds what it may spend on them. `spent` is what
    it did, including storage until the end of each object's life. `owner` names the session; `is_gone` tells of another
    one's name whether it has certainly ended."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Clock,
        owner: str,
        budget: float,
        is_gone: Callable[[str], bool] = lambda owner: False,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._owner = owner
        self._is_gone = is_gone
        self.budget = budget
        self.spent = 0.0

    # --- binding: no I/O but the ledger's -------------------------------------------------------------------------

    def find(self, prompt: Prompt, model: Model, scope: str) -> HeldObject | None:
        """Return the live object that holds exactly what this prompt begins with."""
        last = last_frame_index(prompt)
        if model.cache.kind is not CacheKind.EXPLICIT_OBJECT or last < 0:
            return None
        prefix, now = prompt.chain[last], self._clock.now()
        found = (h for h in self._ledger.held(scope) if h.model == model.name and h.prefix == prefix)
        return next((h for h in found if h.until > now), None)

    def bind(self, marks: tuple[Mark, ...], prompt: Prompt, held: HeldObject | None) -> tuple[Mark, ...]:
        """Return the marks with the object's name at the end of what it holds."""
        if held is None:
            return marks
        last = last_frame_index(prompt)
        bound = Mark(index=last, ttl="1h", why="end of semi-static", holder=held.name)
        return tuple(sorted((*(m for m in marks if m.index != last), bound), key=lambda mark: mark.index))

    # --- making, extending, replacing: at the provider --------------------------------------------------------------

    def ensure(
        self, provider: object, call: Call, *, thread: str, worth: bool, warm: bool = False, replaced: bool = False
    ) -> HeldObject | None:
        """Return the object for this call, made or extended as the budget allows. `worth`: by RULE it pays. None is
        made of what is `warm`, since this call reads that anyway. `replaced`: this thread's frame changed for good. Its
        earlier objects are deleted, and where one was in use, another takes its place.

        None where there is none and none pays. A provider that refuses costs the object, not the call.
        """
        if not isinstance(provider, ObjectProvider) or call.model.cache.kind is not CacheKind.EXPLICIT_OBJECT:
            return None
        if replaced and self._leave_replaced(provider, call, thread):
            worth = True
        held = self.find(call.prompt, call.model, call.scope)
        if held is not None:
            return self._use(provider, held, call.model, thread, longer=worth)
        if not worth or warm or self.price_of_making(call) is None:
            return None
        with contextlib.suppress(ProviderError):  # no object, no harm: the call goes out whole
            return self.make(provider, call, thread, seconds=life_of(call.model))
        return None

    def price_of_making(self, call: Call) -> float | None:
        """Return the US dollars that an object for this call would cost. None where it is too small, or costs an
        unknown sum or more than is left."""
        tokens = call.prefix_tokens(last_frame_index(call.prompt))
        if call.model.cache.kind is not CacheKind.EXPLICIT_OBJECT or tokens < call.model.cache.minimum:
            return None
        if is_free(call.model):
            return None  # it is made of what a call has read, see `keep`
        price = _price(call.model, tokens, life_of(call.model), fresh=True)
        return None if price is None or self.spent + price > self.budget else price

    def keep(self, provider: object, call: Call, *, thread: str) -> None:
        """Make an object of what a model on this machine has just read, where there is none: it costs nothing."""
        if not is_free(call.model) or not isinstance(provider, ObjectProvider):
            return
        if last_frame_index(call.prompt) >= 0 and self.find(call.prompt, call.model, call.scope) is None:
            with contextlib.suppress(AgentnbError):  # a full disk, a server that has ended: the reply is here
                self.make(provider, call, thread, seconds=life_of(call.model))

    def make(self, provider: ObjectProvider, call: Call, thread: str, *, seconds: float = HOUR) -> HeldObject:
        """Make an object of what this call begins with, whatever it costs. Raises what the provider answers."""
        last = last_frame_index(call.prompt)
        label = f"{LABEL} {self._owner} {call.prompt.chain[last]}"
        seconds = max(seconds, WEEK) if is_free(call.model) else seconds
        made = provider.make_object(call.prompt, last, seconds=int(seconds), label=label)
        now = self._clock.now()
        tokens = (made.get("usageMetadata") or {}).get("totalTokenCount") or call.prefix_tokens(last)
        held = HeldObject(
            name=str(made["name"]),
            scope=kept_at(call.scope),
            model=call.model.name,
            prefix=call.prompt.chain[last],
            tokens=int(tokens),
            made=now,
            until=now + seconds,
            users=(User(owner=self._owner, thread=thread),),
            payer=self._owner,
        )
        self.spent += _price(call.model, held.tokens, seconds, fresh=True) or 0.0
        self._ledger.hold(held, now)
        first = self.find(call.prompt, call.model, call.scope)
        if first is None or first.name == held.name:
            return held
        self.delete(provider, held)  # another kernel was making the same one, and was sooner
        return self._use(provider, first, call.model, thread, longer=True) or first

    def _use(
        self, provider: ObjectProvider, held: HeldObject, model: Model, thread: str, *, longer: bool
    ) -> HeldObject | None:
        """Return the object, used by this thread too and extended where it is to live `longer`. None: it is gone."""
        me, now = User(owner=self._owner, thread=thread), self._clock.now()
        used = held if me in held.users else replace(held, users=(*held.users, me))
        if used is not held:
            self._ledger.hold(used, now)
        life, left = life_of(model), held.until - now
        more = _price(model, held.tokens, life - left, fresh=False)
        if not longer or left >= life * RENEW or more is None or self.spent + more > self.budget:
            return used
        try:
            return self.extend(provider, used, model, seconds=life)
        except ProviderError as error:
            return None if error.status in _GONE else used  # it lives on for what it has

    def extend(self, provider: ObjectProvider, held: HeldObject, model: Model, *, seconds: float = HOUR) -> HeldObject:
        """Let an object live for so long from now. Raises a ProviderError; where it is gone, it is forgotten too."""
        now, seconds = self._clock.now(), max(seconds, WEEK) if is_free(model) else seconds
        try:
            provider.extend_cache(held.name, seconds=int(seconds))
        except ProviderError as error:
            if error.status in _GONE:
                self.vanished(held.name)
            raise
        self.spent += _price(model, held.tokens, now + seconds - held.until, fresh=False) or 0.0
        longer = replace(held, until=now + seconds, payer=self._owner)
        self._ledger.hold(longer, now)
        return longer

    def _leave_replaced(self, provider: ObjectProvider, call: Call, thread: str) -> bool:
        """Let go of what this thread used before its frame changed for good, whichever kernel made it. Tell whether one
        of these was still live.

        Any other frame of the thread may be asked with again, by an older cell: its object lapses by itself.
        """
        prefix, live = call.prompt.chain[last_frame_index(call.prompt)], False
        for held in self._ledger.held(call.scope):
            own = [user for user in held.users if user.thread == thread]
            if own and held.model == call.model.name and held.prefix != prefix:
                live = live or held.until > self._clock.now()
                with contextlib.suppress(ProviderError):  # it is still in the ledger: the next call tries again
                    self._leave(provider, held, own)
        return live

    def _leave(self, provider: ObjectProvider, held: HeldObject, users: Sequence[User], *, stays: bool = False) -> bool:
        """Take users off an object; where nobody else uses it and it does not `stay`, delete it, and say so."""
        others = tuple(user for user in held.users if user not in users and not self._ended(user.owner))
        if others or stays:
            self._ledger.hold(replace(held, users=others), self._clock.now())
            return False
        return self.delete(provider, held)

    # --- ending ---------------------------------------------------------------------------------------------------

    def vanished(self, name: str) -> None:
        """Forget an object that the provider no longer knows."""
        self._ledger.drop(name)

    def delete(self, provider: ObjectProvider, held: HeldObject) -> bool:
        """Delete it at the provider and forget it. False where it was gone already; raises a ProviderError where it
        may be there still.

        Storage was put down as spent until the object's end. If this session paid it, what is left is taken off.
        """
        try:
            provider.delete_cache(held.name)
        except ProviderError as error:
            if error.status not in _GONE:
                raise
            self.vanished(held.name)
            return False
        self.vanished(held.name)
        if held.payer == self._owner:
            unused = max(held.until - self._clock.now(), 0.0)
            self.spent -= prices.storage_cost(catalog.lookup(address_of(held)), tokens=held.tokens, seconds=unused)
        return True

    def mine(self) -> list[HeldObject]:
        """Return the objects that this session uses and that still live."""
        now = self._clock.now()
        return [held for held in self._ledger.held() if held.until > now and self._used_here(held)]

    def leave(self, provider: ObjectProvider, held: HeldObject, *, cleared: bool = False) -> bool:
        """Delete what this session needs no more, or leave it to the others that use it. Tell whether it was deleted.

        One that costs nothing stays for sessions to come, unless a person has `cleared` it.
        """
        mine = [user for user in held.users if user.owner == self._owner]
        return self._leave(provider, held, mine, stays=held.scope == LOCAL and not cleared)

    def abandoned(self, listed: JsonMapping, scope: str) -> bool | None:
        """Tell whether a listed object is ours and nobody uses it. None where the ledger does not know it: whoever made
        it may be alive, in any kernel or machine."""
        if not ours(listed):
            return False
        held = next((held for held in self._ledger.held(scope) if held.name == listed["name"]), None)
        if held is not None and held.scope == LOCAL:
            return held.until <= self._clock.now()
        if held is not None:
            return all(self._ended(user.owner) for user in held.users)
        made_by = maker(listed)
        return True if not made_by or made_by == self._owner or self._ended(made_by) else None

    def used_by(self, held: HeldObject) -> str:
        """Tell who uses an object, in words."""
        if self._used_here(held):
            return "this kernel"
        alive = any(not self._ended(user.owner) for user in held.users)
        return "another kernel" if alive else "an ended kernel"

    def _used_here(self, held: HeldObject) -> bool:
        return any(user.owner == self._owner for user in held.users)

    def _ended(self, owner: str) -> bool:
        return owner != self._owner and self._is_gone(owner)


def _price(model: Model, tokens: int, seconds: float, *, fresh: bool) -> float | None:
    """US dollars: storage for so long, and for a fresh one the input that it is made from. None if unknown."""
    made = prices.cost_of(model, Usage(input=tokens)).total
    if is_free(model):
        return 0.0
    if made is None or not prices.storage_price(model):
        return None
    return (made if fresh else 0.0) + prices.storage_cost(model, tokens=tokens, seconds=max(seconds, 0.0))


def address_of(held: HeldObject) -> str:
    """Return the model's address, without telling whether it is simulated."""
    return f"{LOCAL if held.scope == LOCAL else 'google'}:{held.model}"


def ours(listed: JsonMapping) -> bool:
    """Tell whether a listed cache object carries our label."""
    return _LABELLED.fullmatch(str(listed.get("displayName") or "")) is not None


def maker(listed: JsonMapping) -> str:
    """Return the session that made an object of ours, by its label; empty where the label does not say."""
    found = _LABELLED.fullmatch(str(listed.get("displayName") or ""))
    return (found["maker"] or "") if found else ""
