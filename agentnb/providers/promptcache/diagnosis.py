"""Predict what a call reads from the prompt cache, and tell the difference in words, dollars and seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from agentnb.canonical import JsonObject
from agentnb.models import prices
from agentnb.models.catalog import LOCAL, CacheKind, Model
from agentnb.models.messages import Usage
from agentnb.providers.promptcache.breakpoints import last_frame_index
from agentnb.providers.promptcache.calls import Call, known_tokens, warm_entries
from agentnb.providers.promptcache.hit_rates import PRIOR, Trust
from agentnb.providers.promptcache.ledger import Ledger, Sent, Warm
from agentnb.providers.promptcache.policy import TTL_SECONDS, span, written_for
from agentnb.providers.promptcache.prompt_diff import Earlier, first_change, shared

STEP = 128  # tokens: OpenAI's automatic prompt cache works in whole steps


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Expected hit in tokens, and in words why it is not more."""

    tokens: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class CacheReport:
    """Prediction and proof of one call. Tokens; `warm_until` in seconds since the epoch (None: nothing warm).

    `missed` tokens were expected, or the thread's previous request sent them too, and were not read. What that cost is
    `lost_dollars` and `lost_seconds` (modelled).
    """

    expected: int
    read: int
    written: int
    prefix: int
    minimum: int
    reason: str
    warm_until: float | None = None
    marks: tuple[str, ...] = ()
    missed: int = 0
    lost_dollars: float | None = None
    lost_seconds: float | None = None

    def to_json(self) -> JsonObject:
        return asdict(self) | {"marks": list(self.marks)}


def predict(call: Call, ledger: Ledger, trust: Trust = PRIOR, *, previous: Sent | None = None) -> Prediction:
    """Return the longest warm prefix that this call can reach, in tokens. `previous` is what was sent last, which may
    begin alike.

    With breakpoints: from a mark, at most `lookback` blocks back. Without, it is any prefix that an earlier call
    began with, as far as `trust` goes. It is in whole steps where the provider counts so. The last block is always
    read anew.
    """
    held = next((mark for mark in call.marks if mark.holder), None)
    certain = _held_tokens(call, ledger, held.holder) if held else 0
    unasked = not call.model.cache.breakpoints
    found = 0 if held else _unasked(call, ledger, trust, previous) if unasked else _from_marks(call, ledger)
    best = max(certain, found)
    return Prediction(tokens=best, reason=_why_expected(call, ledger, best, certain=certain, trust=trust))


def _held_tokens(call: Call, ledger: Ledger, name: str) -> int:
    return next((held.tokens for held in ledger.held(call.scope) if held.name == name), 0)


def _from_marks(call: Call, ledger: Ledger) -> int:
    best = 0
    reach = max(call.model.cache.lookback, 1)
    for mark in call.marks:
        for index in range(mark.index, max(-1, mark.index - reach), -1):
            entry = ledger.warm(call.scope, call.model.name, call.prompt.chain[index], call.at)
            if entry is not None:
                best = max(best, entry.tokens)
                break
    return best


def _unasked(call: Call, ledger: Ledger, trust: Trust, previous: Sent | None) -> int:
    step = STEP if call.model.cache.kind is CacheKind.AUTOMATIC else 1
    marked = (entry for entry in sent_before(call, ledger) if trust.expects(*_age(call, entry)))
    branch = (entry for entry in _begun_alike(call, ledger, previous) if trust.expects(*_age(call, entry)))
    tokens = max(next((entry.tokens for entry in marked), 0), next((entry.tokens for entry in branch), 0))
    return tokens // step * step


def _begun_alike(call: Call, ledger: Ledger, previous: Sent | None) -> Iterator[Warm]:
    """Yield what the last request shares with this call, block by block: where they part, no mark may have stood."""
    alike = known_tokens(call.prompt.chain[:-1], previous)
    if previous is None or previous.model != call.model.name or sum(alike) < call.model.cache.minimum:
        return
    whole = ledger.remembered(call.scope, call.model.name, previous.chain[-1])
    if whole is not None:
        yield replace(whole, prefix=previous.chain[len(alike) - 1], tokens=sum(alike))


def worth_unasked(call: Call, ledger: Ledger, trust: Trust) -> float:
    """Return the tokens that the call is expected to hit unasked: those sent before, times the hit rate seen. At first
    the rate is one half at most. It is what a cache object, whose hit is certain, has to beat."""
    return max(
        (entry.tokens * trust.share(*_age(call, entry), at_first=0.5) for entry in sent_before(call, ledger)),
        default=0.0,
    )


def sent_before(call: Call, ledger: Ledger) -> Iterator[Warm]:
    """Yield what earlier calls sent of this call's prefix, longest first, whether or not it can still be warm. Of a
    prompt that was sent as it is, all but its last block, on this machine its last token."""
    *before, whole = call.prompt.chain
    to_the_token = call.model.provider == LOCAL
    tokens = call.total - 1 if to_the_token else call.prefix_tokens(len(before) - 1)
    for entry in ledger.longest_first(call.scope, call.model.name, call.prompt.chain):
        if entry.prefix != whole:
            yield entry
        elif tokens >= call.model.cache.minimum:
            yield replace(entry, tokens=tokens)


def _age(call: Call, entry: Warm) -> tuple[float, float]:
    ttl = TTL_SECONDS[entry.ttl]
    return call.at - (entry.until - ttl), ttl


def observed_hit(call: Call, ledger: Ledger, usage: Usage) -> tuple[float, int] | None:
    """Return what this reply teaches of prefixes cached unasked: (seconds since last sent, 1 for a hit or 0).

    None where nothing was to be hit, or breakpoints decide. None beside a cache object too: no provider says whether
    such a call hits anything beyond it. Before the call is recorded.
    """
    if call.model.cache.breakpoints or any(mark.holder for mark in call.marks):
        return None
    entry = next(sent_before(call, ledger), None)
    if entry is None or entry.tokens < call.model.cache.minimum:
        return None
    return _age(call, entry)[0], int(usage.cache_read >= entry.tokens / 2)


def _why_expected(call: Call, ledger: Ledger, best: int, *, certain: int, trust: Trust) -> str:
    if certain and best == certain:
        return f"a cache object holds {best:,} tokens"
    unasked = not call.model.cache.breakpoints
    before = next(sent_before(call, ledger), None) if unasked else None
    if best:
        seen = trust.words(_age(call, before)[0]) if before else ""
        return f"warm prefix of {best:,} tokens" + (f", cached unasked: likely, not promised ({seen})" if seen else "")
    if before is not None:
        age, ttl = _age(call, before)
        if age > ttl:
            gone = f"sent {span(age)} ago and cached unasked: not expected to be there still ({trust.words(age)})"
            return _ended(call, ledger) + gone
    expired = _expired(call, ledger)
    if expired is not None:
        return f"expired {span(call.at - expired.until)} ago ({expired.ttl} TTL)"
    if call.total < call.model.cache.minimum:
        return f"below the minimum: ≈ {call.total:,} of {call.model.cache.minimum:,} tokens"
    if _died(call, ledger):
        return DIED[call.scope.partition(":")[0]]
    return "first call with this prefix, nothing is warm yet"


DIED = {
    "sim": "the simulated prompt cache that held it ended with its kernel; a provider's goes on",
    LOCAL: "the model's server on this machine that held it has ended",
}


def _died(call: Call, ledger: Ledger) -> bool:
    """Tell whether another simulator or local server, which has ended, was sent what this call begins with."""
    kind = call.scope.partition(":")[0]
    if kind not in DIED:
        return False
    others = (entry for entry in ledger.entries() if entry.scope.startswith(f"{kind}:") and entry.scope != call.scope)
    return any(entry.prefix in call.prompt.chain for entry in others)


def _ended(call: Call, ledger: Ledger) -> str:
    """Return the end of the cache object that held what this call begins with, as the beginning of a sentence."""
    held = (h for h in ledger.held(call.scope) if h.model == call.model.name and h.prefix in call.prompt.chain)
    ended = max((h.until for h in held if h.until <= call.at), default=None)
    return "" if ended is None else f"the cache object ended {span(call.at - ended)} ago; the rest was "


def _expired(call: Call, ledger: Ledger) -> Warm | None:
    """Return the longest prefix of this call that was warm once."""
    found = ledger.longest_first(call.scope, call.model.name, call.prompt.chain)
    return next((entry for entry in found if entry.until <= call.at), None)


def compare(
    call: Call,
    prediction: Prediction,
    usage: Usage,
    *,
    previous: Sent | None,
    diagnosis: str | None = None,
    earlier: Earlier = tuple,
    vanished: bool = False,
    cut: Sent | None = None,
) -> CacheReport:
    """Prediction against proof, with the reason in words. `earlier` gives the blocks that `previous` sent. `vanished`:
    the call named a cache object that the provider no longer had. `cut` is what the thread's last call sent that
    brought no reply."""
    warm = warm_entries(call, usage)
    short = _missing(call, prediction, usage, previous)
    dollars, seconds = _lost(call, short, usage)
    known = Known(
        shared=_shared_tokens(call, previous),
        first=previous is None,
        change=first_change(call.prompt, previous, earlier),
        diagnosis=diagnosis,
        missed=short,
        vanished=vanished,
        warmed=_warmed(call, previous, cut),
    )
    return CacheReport(
        expected=min(prediction.tokens, usage.input_total),
        read=usage.cache_read,
        written=usage.cache_write,
        prefix=usage.input_total,
        minimum=call.model.cache.minimum,
        reason=_reason(call, prediction, usage, known),
        warm_until=max((entry.until for entry in warm), default=None),
        marks=tuple(
            f"{mark.why} ({f'cache object {mark.holder}' if mark.holder else mark.ttl})"
            for mark in call.marks
            if call.model.cache.breakpoints or mark.holder
        ),
        missed=short,
        lost_dollars=dollars,
        lost_seconds=seconds,
    )


@dataclass(frozen=True, kw_only=True)
class Known:
    """Holds what may explain a miss of `missed` tokens. These are the tokens that the thread's previous request sent
    too; whether this is the `first`; the first change since. The provider's own reason counts, and whether a cache
    object had `vanished`. `warmed`: by which call of ours that ended without a reply."""

    shared: int
    first: bool
    change: str
    diagnosis: str | None
    missed: int
    vanished: bool
    warmed: str = ""

    @property
    def cause(self) -> str:
        """Return the change that we see and the provider's own reason, as far as there are."""
        known = self.diagnosis and not any(no in self.diagnosis for no in _NO_REASON)
        said = f"the provider says {self.diagnosis}" if known else ""
        return "; ".join(part for part in (self.change, said) if part)


_NO_REASON = ("not_found", "unavailable", "prompt_cache_key_changed")
"""Answers that explain nothing: the key is our own, and follows tools and instructions."""


def _shared_tokens(call: Call, previous: Sent | None) -> int:
    if previous is None or previous.model != call.model.name:
        return 0
    return sum(call.tokens[: shared(call.prompt.chain, previous)])


def _warmed(call: Call, previous: Sent | None, cut: Sent | None) -> str:
    newer = cut is not None and (previous is None or cut.at > previous.at)
    if cut is None or not newer or not _shared_tokens(call, cut):
        return ""
    return f"warmed by the call of {span(call.at - cut.at)} ago, which ended without a reply"


def _missing(call: Call, prediction: Prediction, usage: Usage, previous: Sent | None) -> int:
    """Return the tokens that the previous request sent too, or that were expected, and that were not read.

    Where the frame changed (tools, instructions, project), all that the previous request sent could have been read.
    Small differences are the estimate's.
    """
    common = _shared_tokens(call, previous)
    if previous is not None and previous.model == call.model.name and _frame_changed(call, previous):
        common = sum(previous.tokens)
    if call.model.cache.kind is CacheKind.AUTOMATIC and not call.model.cache.breakpoints:
        common = common // STEP * STEP
    wanted = max(prediction.tokens, common if common >= call.model.cache.minimum else 0)
    short = min(wanted, usage.input_total) - usage.cache_read
    return short if short > max(STEP, wanted // 20) else 0


def _frame_changed(call: Call, previous: Sent) -> bool:
    same = shared(call.prompt.chain, previous)
    return same <= last_frame_index(call.prompt) and same < len(previous.chain)


def _lost(call: Call, short: int, usage: Usage) -> tuple[float | None, float | None]:
    """US dollars and modelled seconds to first token that the missing tokens cost; (None, None) where none miss."""
    if not short:
        return None, None
    total, uncached, profile = usage.input_total, usage.input_total - usage.cache_read, call.model.latency
    slower = profile.ttft(tokens=total, uncached=uncached) - profile.ttft(
        tokens=total, uncached=max(uncached - short, 0)
    )
    return lost_dollars(call.model, short, usage, at=call.at), round(slower, 3)


def lost_dollars(model: Model, short: int, usage: Usage | None, *, at: float | None = None) -> float | None:
    """Return what so many tokens cost more than read: as written where the call wrote, else as plain input. None where
    a price is unknown."""
    used = usage or Usage()
    ttl = "5m" if used.cache_write_5m else "1h" if used.cache_write_1h else "12h"
    paid = written_for(model, ttl, short) if used.cache_write else Usage(input=short)
    as_paid, as_read = (
        prices.cost_of(model, paid, at=at).total,
        prices.cost_of(model, Usage(cache_read=short), at=at).total,
    )
    return None if as_paid is None or as_read is None else round(as_paid - as_read, 8)


def _reason(call: Call, prediction: Prediction, usage: Usage, known: Known) -> str:
    if usage.cache_read:
        return _hit(call, prediction, usage, known)
    total, minimum = usage.input_total, call.model.cache.minimum
    if total < minimum:
        return f"below the minimum: {total:,} of {minimum:,} tokens"
    if prediction.tokens:
        return f"miss: {min(prediction.tokens, total):,} tokens were expected; {known.cause or _let_go(call, known)}"
    return f"{'written' if usage.cache_write else 'nothing read'}: {_why_nothing(call, prediction, known)}"


def _let_go(call: Call, known: Known) -> str:
    """Tell why what nothing changed in was not there before its time was over: only the provider can know."""
    if known.vanished:
        return "the cache object had vanished at the provider"
    if not call.model.cache.breakpoints:
        return "the provider promises no hit of what it caches unasked"
    answer = f" (asked why, it says {known.diagnosis})" if known.diagnosis else ""
    return f"nothing changed and the TTL was not over: the provider let it go{answer}"


def _why_nothing(call: Call, prediction: Prediction, known: Known) -> str:
    """Tell why nothing was warm, after the reply's count: an estimate below the minimum may have been too low."""
    if prediction.reason in DIED.values():
        return prediction.reason
    minimum, begun = call.model.cache.minimum, not known.first and known.shared < call.model.cache.minimum
    below = f"what the call before it sent too, {known.shared:,} tokens, is below the minimum of {minimum:,}"
    if known.cause:
        below = f"the {known.shared:,} tokens before that are below the minimum of {minimum:,}"
    causes = [known.cause] * bool(known.cause and (known.diagnosis or begun)) + [below] * bool(begun and known.shared)
    if causes:
        return "; ".join(causes)
    if prediction.reason.startswith("below the minimum"):
        return "first call with this prefix, nothing was warm yet"
    return prediction.reason


def _hit(call: Call, prediction: Prediction, usage: Usage, known: Known) -> str:
    hit = f"hit: {usage.cache_read:,} of {usage.input_total:,} input tokens read from the prompt cache"
    wanted = min(prediction.tokens, usage.input_total)
    if wanted - usage.cache_read > max(STEP, wanted // 20):
        why = known.cause or _let_go(call, known)
        return f"{hit}, {wanted - usage.cache_read:,} fewer than expected; {why}"
    if usage.cache_read < call.model.cache.minimum:
        return f"{hit}, below the published minimum of {call.model.cache.minimum:,}"
    if known.missed and known.cause:
        return f"{hit}; the rest could not be: {known.cause}"
    if prediction.tokens:
        return hit
    if known.warmed:
        return f"{hit}, {known.warmed}"
    if known.first:
        return f"{hit}, at a first request: warmed by another kernel or user, or by the provider's own rounds"
    return f"{hit}, though none was expected: it lasted longer than is promised, or another kernel or user warmed it"
