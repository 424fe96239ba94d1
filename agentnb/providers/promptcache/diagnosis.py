"""What a call should read from the prompt cache, what it did read, and the difference in words, dollars and seconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from agentnb.prompt.layers import Block
from agentnb.providers import prices
from agentnb.providers.base import Mark
from agentnb.providers.catalog import CacheKind
from agentnb.providers.messages import Text, Usage
from agentnb.providers.promptcache.calls import Call, warm_entries
from agentnb.providers.promptcache.ledger import Ledger, Sent, Warm

STEP = 128  # tokens: OpenAI's automatic prompt cache works in whole steps


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Expected hit in tokens, and in words why it is not more."""

    tokens: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class CacheReport:
    """Prediction and proof of one call. Tokens; `warm_until` in seconds since the epoch (None: nothing warm).

    `lost_dollars` and `lost_seconds` (modelled) are what it cost that less was read than expected.
    """

    expected: int
    read: int
    written: int
    prefix: int
    minimum: int
    reason: str
    warm_until: float | None = None
    marks: tuple[str, ...] = ()
    lost_dollars: float | None = None
    lost_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"marks": list(self.marks)}


def predict(call: Call, ledger: Ledger) -> Prediction:
    """The longest warm prefix that this call can reach.

    With breakpoints: from a mark, at most `lookback` blocks back. Without: any prefix that an earlier call began with,
    in whole steps where the provider counts so; the last block is always read anew.
    """
    held = next((mark for mark in call.marks if mark.holder), None)
    certain = _held_tokens(call, ledger, held.holder) if held else 0
    best = max(certain, _from_marks(call, ledger) if call.model.cache.breakpoints else _unasked(call, ledger))
    return Prediction(tokens=best, reason=_why_expected(call, ledger, best, certain=certain))


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


def _unasked(call: Call, ledger: Ledger) -> int:
    live = ledger.live(call.scope, call.model.name, call.at)
    step = STEP if call.model.cache.kind is CacheKind.AUTOMATIC else 1
    for prefix in reversed(call.prompt.chain[:-1]) if live else ():
        if prefix in live:
            return live[prefix].tokens // step * step
    return 0


def _why_expected(call: Call, ledger: Ledger, best: int, *, certain: int) -> str:
    if certain and best == certain:
        return f"a cache object holds {best:,} tokens"
    if best:
        unasked = "" if call.model.cache.breakpoints else ", cached unasked: likely, not promised"
        return f"warm prefix of {best:,} tokens{unasked}"
    expired = _expired(call, ledger)
    if expired is not None:
        return f"expired {_ago(call.at - expired.until)} ago ({expired.ttl} TTL)"
    if call.total < call.model.cache.minimum:
        return f"below the minimum: ≈ {call.total:,} of {call.model.cache.minimum:,} tokens"
    return "first call with this prefix: nothing is warm yet"


def _expired(call: Call, ledger: Ledger) -> Warm | None:
    for mark in reversed(call.marks):
        entry = ledger.remembered(call.scope, call.model.name, call.prompt.chain[mark.index])
        if entry is not None and entry.until <= call.at:
            return entry
    return None


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def compare(
    call: Call, prediction: Prediction, usage: Usage, *, previous: Sent | None, diagnosis: str | None = None
) -> CacheReport:
    """Prediction against proof, with the reason in words."""
    warm = warm_entries(call, usage)
    dollars, seconds = _lost(call, prediction, usage)
    return CacheReport(
        expected=prediction.tokens,
        read=usage.cache_read,
        written=usage.cache_write,
        prefix=usage.input_total,
        minimum=call.model.cache.minimum,
        reason=_reason(call, prediction, usage, _difference(call, previous), diagnosis),
        warm_until=max((entry.until for entry in warm), default=None),
        marks=tuple(_describe(mark) for mark in call.marks if call.model.cache.breakpoints or mark.holder),
        lost_dollars=dollars,
        lost_seconds=seconds,
    )


def _describe(mark: Mark) -> str:
    return f"{mark.why} ({f'cache object {mark.holder}' if mark.holder else mark.ttl})"


def _missing(prediction: Prediction, usage: Usage) -> int:
    """Tokens that were expected and not read; small differences are the estimate's."""
    short = prediction.tokens - usage.cache_read
    return short if short > max(STEP, prediction.tokens // 20) else 0


def _lost(call: Call, prediction: Prediction, usage: Usage) -> tuple[float | None, float | None]:
    """US dollars and modelled seconds to first token that the missing tokens cost; (None, None) where none miss."""
    short = _missing(prediction, usage)
    if not short:
        return None, None
    paid = Usage(cache_write_5m=short) if usage.cache_write else Usage(input=short)
    as_paid, as_read = prices.cost_of(call.model, paid).total, prices.cost_of(call.model, Usage(cache_read=short)).total
    total, uncached, profile = usage.input_total, usage.input_total - usage.cache_read, call.model.latency
    slower = profile.ttft(tokens=total, uncached=uncached) - profile.ttft(
        tokens=total, uncached=max(uncached - short, 0)
    )
    dollars = None if as_paid is None or as_read is None else round(as_paid - as_read, 8)
    return dollars, round(slower, 3)


def _reason(call: Call, prediction: Prediction, usage: Usage, difference: str, diagnosis: str | None) -> str:
    if usage.cache_read:
        return _hit(call, prediction, usage, diagnosis or difference)
    total, minimum = usage.input_total, call.model.cache.minimum
    if total < minimum:
        return f"below the minimum: {total:,} of {minimum:,} tokens"
    if prediction.tokens:
        unasked = "" if call.model.cache.breakpoints else "the provider promises no hit of what it caches unasked"
        why = diagnosis or difference or unasked or "no reason is known"
        return f"miss: {prediction.tokens:,} tokens were expected; {why}"
    named = diagnosis and not any(word in diagnosis for word in ("not_found", "unavailable"))
    why = diagnosis if named and diagnosis else prediction.reason
    return f"{'written' if usage.cache_write else 'not cached'}: {why}"


def _hit(call: Call, prediction: Prediction, usage: Usage, known: str) -> str:
    hit = f"hit: {usage.cache_read:,} of {usage.input_total:,} input tokens read from the prompt cache"
    short = _missing(prediction, usage)
    if short:
        return f"{hit}, {short:,} fewer than expected; {known or 'the provider gives no reason'}"
    if usage.cache_read < call.model.cache.minimum:
        return f"{hit}, below the published minimum of {call.model.cache.minimum:,}"
    return hit if prediction.tokens else f"{hit}, though none was expected (warmed by another kernel or user)"


def _difference(call: Call, previous: Sent | None) -> str:
    """The first block in which this call differs from the previous one of the thread, or an empty string."""
    if previous is None:
        return ""
    if previous.model != call.model.name:
        return f"the model changed from {previous.model}"
    for i, (old, new) in enumerate(zip(previous.chain, call.prompt.chain, strict=False)):
        if old != new:
            block = call.prompt.blocks[i]
            label = previous.labels[i] or "block"
            if previous.digests[i] == block.digest:
                return "the first picture came into the conversation: this provider then processes its messages anew"
            changed = f"{block.layer} block {i + 1} changed ({label}: {previous.digests[i]} to {block.digest})"
            return changed + _changed_line(previous.texts[i] if i < len(previous.texts) else "", block)
    return ""


def _changed_line(old: str, block: Block) -> str:
    """The first line that differs, old and new, shortened; empty where the change lies behind what was kept."""
    new = block.content.text if isinstance(block.content, Text) else ""
    for before, after in zip(old.splitlines(), new.splitlines(), strict=False) if old else ():
        if before != after and len(old) > len(before):
            return f": {before.strip()[:60]!r} became {after.strip()[:60]!r}"
    return ""
