"""Choose whether to cache, for how long, and whether to keep warm: from the gaps between calls and the prices. Pure.

All rates are multiples of the plain input price, per token. A prefix that n + 1 calls begin with, with the gaps
g1 … gn (seconds) between them, costs

    not cached         1 + n
    cached for T       w + sum(r if g <= T else w)
    kept warm by pings w + sum(r * (pings(g) + 1) if pings(g) <= most else r * most + w)

where w is the rate of a write and r that of a read. pings(g) = ceil(g / period) - 1 is
how many calls in between it takes so that no pause outlives T.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agentnb.models import prices
from agentnb.models.catalog import LOCAL, CacheKind, Model
from agentnb.models.messages import Usage

TTL_SECONDS = {"5m": 300.0, "30m": 1800.0, "1h": 3600.0, "12h": 43200.0, "24h": 86400.0}
SLACK = 30.0  # seconds: a TTL counts from the start of a call, and the next call takes a moment to arrive
NEXT_CALL = 10.0  # the gap that is expected where none has been seen: a tool's result, or the next question
THINKING = 600.0  # the pause of a person between two turns, where none has been seen
A_LOOP = 30  # so many calls without such a pause are a loop, not a person
_IMPLICIT_TTL = "5m"  # what prefixes cached unasked are trusted to last before anything was seen; see trust.py
UNASKED = TTL_SECONDS[_IMPLICIT_TTL]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Holds rates: `write`, `read` per token and `storage` per token and hour, in multiples of the plain input
    price."""

    write: float
    read: float
    storage: float = 0.0


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """Tells what pays. `reuses`: reads from which a write has paid for itself. `pings`: the most that one pause is
    worth. `idle`: seconds for which keeping warm pays. `calls_per_hour`: reads from which storage pays (0: there is
    none)."""

    reuses: float
    pings: int
    idle: float
    calls_per_hour: float


def break_even(rates: Rates, *, ttl: float) -> BreakEven:
    """Return where each way of caching begins, or ceases, to pay.

    A write and k reads cost w + k r. The same calls uncached cost 1 + k: equal at k = (w - 1) / (1 - r). A pause
    bridged by k pings costs k r + r. One that is not costs w: equal at k = (w - r) / r. With a ping every ttl - SLACK
    seconds, k of them carry the prefix over k (ttl - SLACK) + ttl seconds. An hour's storage s pays from s / (1 - r)
    reads on, if each would have been paid in full.
    """
    saved = 1.0 - rates.read
    if saved <= 0:
        return BreakEven(reuses=math.inf, pings=0, idle=ttl, calls_per_hour=math.inf)
    # A hair of tolerance: (1.1 - 0.1) / 0.1 must count as ten, whatever binary fractions make of it.
    pings = math.floor((rates.write - rates.read) / rates.read + 1e-9) if rates.read > 0 else 0
    pings = max(pings, 0)
    return BreakEven(
        reuses=max(0.0, (rates.write - 1.0) / saved),
        pings=pings,
        idle=pings * (ttl - SLACK) + ttl,
        calls_per_hour=rates.storage / saved,
    )


@dataclass(frozen=True, kw_only=True)
class CachingOption:
    """Holds one way to cache. `ttl` "" means: not at all. `pings` is the most calls that may keep it warm in one
    pause."""

    ttl: str
    rates: Rates
    pings: int = 0

    @property
    def seconds(self) -> float:
        return TTL_SECONDS.get(self.ttl, 0.0)


def cost(option: CachingOption, gaps: Sequence[float]) -> float:
    """Return a prefix token's cost over one call and one more after each gap, by the module's formula."""
    if not option.ttl:
        return 1.0 + len(gaps)
    return option.rates.write + sum(_after_gap(option, gap) for gap in gaps)


def _after_gap(option: CachingOption, gap: float) -> float:
    w, r = option.rates.write, option.rates.read
    if gap <= option.seconds:
        return r
    needed = pings_needed(option.seconds, gap)
    return r * (needed + 1) if needed <= option.pings else r * option.pings + w


def pings_needed(ttl: float, gap: float) -> int:
    """Count the calls in between so that no pause outlives the TTL, one each ttl - SLACK seconds."""
    return max(0, math.ceil(gap / (ttl - SLACK)) - 1) if gap > ttl else 0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Holds a layer of the prompt as the policy sees it: its tokens, and the seconds between its calls.

    Every call of a conversation is also one of its frame, so an earlier layer's gaps are never longer. `supposed` of
    the gaps were not seen but are expected.
    """

    layer: str
    tokens: int
    gaps: tuple[float, ...]
    supposed: int = 0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Says how one layer is cached: `ttl` "" means no mark. `pings`: the most calls that keep it warm in one pause.

    `costs` is what a token of the layer costs over the gaps, in input prices, by the way's name.
    """

    layer: str
    ttl: str
    pings: int
    why: str
    costs: Mapping[str, float]

    @property
    def kept_warm(self) -> float:
        """Return the seconds for which a pause is bridged: the TTL, longer by the pings that are worth it."""
        seconds = TTL_SECONDS.get(self.ttl, 0.0)
        return self.pings * (seconds - SLACK) + seconds if self.ttl else 0.0


LAYERS = ("STATIC", "SEMI_STATIC", "THREAD")
"""Layers that the policy decides on: tools and instructions, the project, and the conversation with its definitions."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Holds what is chosen for each of LAYERS, in that order."""

    choices: tuple[Choice, Choice, Choice]

    @property
    def static(self) -> str:
        return self.choices[0].ttl

    @property
    def semi_static(self) -> str:
        return self.choices[1].ttl

    @property
    def tail(self) -> str:
        return self.choices[2].ttl

    @property
    def pings(self) -> int:
        """Return the most calls that may keep the whole prompt warm in one pause."""
        return self.choices[2].pings

    @property
    def why(self) -> str:
        return self.choices[2].why


def plan_for(model: Model, pauses: Sequence[float], *, notebook: bool = False, pings: bool = False) -> Plan:
    """Return the cheapest plan where every layer sees the same pauses (seconds): one thread, nobody else."""
    return plan_layers(model, [seen(layer, 1, pauses, notebook=notebook) for layer in LAYERS], pings=pings)


def seen(layer: str, tokens: int, gaps: Sequence[float], *, notebook: bool = False) -> Seen:
    """Return a layer with its gaps, and those that are expected beside them.

    In a `notebook` a person reads, thinks and edits between the turns. Such a pause is expected until 30 calls have
    gone by without one.
    """
    supposed = (NEXT_CALL, NEXT_CALL, THINKING) if notebook and len(gaps) < A_LOOP else ()
    expected = (*supposed, *gaps) or (NEXT_CALL,)
    return Seen(layer=layer, tokens=max(tokens, 1), gaps=expected, supposed=len(expected) - len(gaps))


def plan_layers(model: Model, layers: Sequence[Seen], *, pings: bool = False) -> Plan:
    """Return the cheapest way of each layer, if the pauses to come are like those seen.

    All combinations are tried whose TTLs do not grow from layer to layer. Anthropic wants long ones first, and a layer
    without a mark ends what is cached. So the plan is never dearer than the best that treats all layers alike. With
    `pings` (the user's budget allows them) a short TTL may be kept warm instead of a long one paid.
    """
    options = _options(model, pings=pings)
    tables = [{option: cost(option, layer.gaps) for option in options} for layer in layers]
    allowed = (
        combination
        for combination in itertools.product(options, repeat=len(layers))
        if all(a.seconds >= b.seconds for a, b in itertools.pairwise(combination))
    )
    best = min(allowed, key=lambda c: (round(_together(c, layers, tables), 9), sum(option.seconds for option in c)))
    first, second, third = (_choice(*each) for each in zip(best, layers, tables, strict=True))
    return Plan(choices=(first, second, third))


def _together(
    combination: Sequence[CachingOption], layers: Sequence[Seen], tables: Sequence[Mapping[CachingOption, float]]
) -> float:
    """Return what all layers cost over their gaps, in input prices times tokens. A ping reads all before it too."""
    total, read_again = 0.0, 0
    for option, layer, table in reversed(list(zip(combination, layers, tables, strict=True))):
        own = sum(min(option.pings, pings_needed(option.seconds, gap)) for gap in layer.gaps) if option.pings else 0
        total += layer.tokens * (table[option] + option.rates.read * max(0, read_again - own))
        read_again = max(read_again, own)
    return total


def _choice(option: CachingOption, layer: Seen, table: Mapping[CachingOption, float]) -> Choice:
    return Choice(
        layer=layer.layer,
        ttl=option.ttl,
        pings=option.pings,
        why=_why(option, layer.gaps, guessed=layer.supposed),
        costs={_name(way): price for way, price in table.items()},
    )


def kept_longer(plan: Plan, model: Model) -> Plan:
    """Return the plan with OpenAI's longest retention. The user has to ask for it: it keeps data at the provider."""
    if model.provider != "openai":
        return plan
    ttl = "12h" if model.cache.breakpoints else "24h"
    why = f"{ttl}: asked for by the setting cache_retention"
    first, second, third = (replace(choice, ttl=ttl, pings=0, why=why) for choice in plan.choices)
    return Plan(choices=(first, second, third))


def _options(model: Model, *, pings: bool) -> list[CachingOption]:
    rules = model.cache
    none = CachingOption(ttl="", rates=Rates(write=1.0, read=1.0))
    if not rules.breakpoints:
        told = rules.kind is CacheKind.AUTOMATIC or model.provider == LOCAL
        ttl = rules.ttls[0] if told else _IMPLICIT_TTL
        return [CachingOption(ttl=ttl, rates=rates_of(model, ttl))]  # it happens unasked and writes cost nothing
    options = [CachingOption(ttl=ttl, rates=rates_of(model, ttl)) for ttl in rules.ttls]
    if pings:
        first = options[0]
        most = break_even(first.rates, ttl=first.seconds).pings
        options.append(CachingOption(ttl=first.ttl, rates=first.rates, pings=most))
    return [none, *options]


def _name(option: CachingOption) -> str:
    return f"{option.ttl or 'not cached'}{' kept warm' if option.pings else ''}"


def _why(best: CachingOption, gaps: Sequence[float], *, guessed: int) -> str:
    short = sum(gap <= TTL_SECONDS["5m"] for gap in gaps)
    lasted = f"of {len(gaps)} pause{'s' if len(gaps) != 1 else ''} {short} lasted at most 5 min"
    supposed = f"; until more are seen, {guessed} are assumed" if guessed else ""
    return f"{_name(best)}: {lasted}, the longest {span(max(gaps, default=0.0))}{supposed}"


def span(seconds: float) -> str:
    """Return `90 s`, `45 min`, `3 h`: how long something lasts, for people; what is over lasts `0 s`."""
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def rates_of(model: Model, ttl: str) -> Rates:
    """Return a model's rates for one TTL from its prices; Anthropic's published ones where the price is unknown."""
    some = 100_000  # below the size from which some prices rise
    plain = prices.cost_of(model, Usage(input=some)).total
    if not plain:
        return Rates(write={"5m": 1.25, "1h": 2.0, "12h": 2.5}.get(ttl, 1.25), read=0.1)
    written = prices.cost_of(model, written_for(model, ttl, some)).total or plain
    read = prices.cost_of(model, Usage(cache_read=some)).total or plain
    return Rates(
        write=written / plain, read=read / plain, storage=prices.storage_price(model) * some / 1_000_000 / plain
    )


def written_for(model: Model, ttl: str, tokens: int) -> Usage:
    """Return so many tokens written to the prompt cache with this TTL; plain input where nothing is charged for
    writing."""
    if not model.cache.breakpoints:
        return Usage(input=tokens)
    if ttl == "12h":
        return Usage(cache_write_12h=tokens)
    return Usage(cache_write_1h=tokens) if ttl == "1h" else Usage(cache_write_5m=tokens)
