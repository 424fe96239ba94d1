"""What is warm in the provider's prompt cache until when; where the breakpoints go; and why a call hit or missed.

The ledger predicts before a call and is compared after it. The reply's usage is the only proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from agentnb import canonical
from agentnb.prompt.layers import Layer, Prompt
from agentnb.prompt.tokens import scale_to_total
from agentnb.providers.base import Mark
from agentnb.providers.catalog import CacheKind, Model
from agentnb.providers.messages import Role, Usage

TTL_SECONDS = {"5m": 300.0, "1h": 3600.0, "30m": 1800.0}
LONG_PAUSE = 270.0  # a pause beyond this risks a 5m entry; 30 s of slack for the call itself


class Storage(Protocol):
    """What the ledger needs of the data directory: text keys, raw bytes, entries that may be lost."""

    def get(self, key: str) -> bytes | None: ...

    def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None: ...

    def delete(self, key: str) -> None: ...

    def keys(self, prefix: str) -> Iterable[str]: ...


# --- where the marks go: pure ------------------------------------------------------------------------------------


def ttl_for(pauses: Sequence[float]) -> str:
    """ "1h" when the pauses between calls ask for it, else "5m". Seconds.

    A 1h write costs 0.75 of the input price more than a 5m write, once; a prefix that expired costs 1.15 (write 1.25
    instead of read 0.1), each time. So one pause that outlives 5 minutes, but not an hour, pays for the longer TTL.
    """
    long = [pause for pause in pauses if LONG_PAUSE < pause <= TTL_SECONDS["1h"]]
    return "1h" if long else "5m"


def place_marks(prompt: Prompt, model: Model, *, pauses: Sequence[float] = ()) -> tuple[Mark, ...]:
    """The four breakpoints: end of static, end of semi-static, where the previous request ended, and the tail.

    1h marks stand before 5m ones, as the provider demands, because only the first two may be 1h. A mark each few
    blocks would not do better: the lookback reaches back from the third mark, which moves with the conversation.
    """
    if model.cache.kind is not CacheKind.BREAKPOINTS or not prompt.blocks:
        return ()
    stable = ttl_for(pauses)
    wanted = (
        (_last_index(prompt, Layer.STATIC), stable, "end of STATIC"),
        (_last_system_index(prompt), stable, "end of SEMI_STATIC"),
        (prompt.previous_end - 1, "5m", "where the previous request ended"),
        (len(prompt.blocks) - 1, "5m", "tail"),
    )
    marks: dict[int, Mark] = {}
    for index, ttl, why in wanted:
        if index >= 0 and index not in marks:
            marks[index] = Mark(index=index, ttl=ttl, why=why)
    return tuple(marks[index] for index in sorted(marks))


def _last_index(prompt: Prompt, layer: Layer) -> int:
    return max((i for i, block in enumerate(prompt.blocks) if block.layer is layer), default=-1)


def _last_system_index(prompt: Prompt) -> int:
    return max((i for i, b in enumerate(prompt.blocks) if b.role in (Role.TOOLS, Role.SYSTEM)), default=-1)


# --- the ledger --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Warm:
    """A prefix that is warm until `until` (seconds since the epoch). `tokens` is what it held when last counted."""

    scope: str
    model: str
    prefix: str
    tokens: int
    ttl: str
    until: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a call sent, for the comparison with the next one: prefix digests, labels and tokens by block."""

    run_id: str
    model: str
    at: float
    chain: tuple[str, ...]
    labels: tuple[str, ...]
    digests: tuple[str, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Expected hit in tokens, and in words why it is not more."""

    tokens: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class CacheReport:
    """Prediction and proof of one call. Tokens; `warm_until` in seconds since the epoch (None: nothing warm)."""

    expected: int
    read: int
    written: int
    prefix: int
    minimum: int
    reason: str
    warm_until: float | None = None
    marks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"marks": list(self.marks)}


class Ledger:
    """What is warm where until when, across kernels that share the data directory."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def warm(self, scope: str, model: str, prefix: str, now: float) -> Warm | None:
        raw = self._storage.get(_warm_key(scope, model, prefix))
        if raw is None:
            return None
        entry = Warm(**canonical.load(raw))
        return entry if entry.until > now else None

    def remembered(self, scope: str, model: str, prefix: str) -> Warm | None:
        """The entry even if it has expired, for as long as it is remembered (an hour past its end)."""
        raw = self._storage.get(_warm_key(scope, model, prefix))
        return None if raw is None else Warm(**canonical.load(raw))

    def record(self, entries: Iterable[Warm], now: float) -> None:
        for entry in entries:
            ttl = max(entry.until - now, 0.0) + 3600.0
            self._storage.set(_warm_key(entry.scope, entry.model, entry.prefix), canonical.dump(asdict(entry)), ttl=ttl)

    def entries(self) -> list[Warm]:
        """Everything remembered, soonest to expire first."""
        found = [self._storage.get(key) for key in self._storage.keys("warm/")]
        return sorted((Warm(**canonical.load(raw)) for raw in found if raw), key=lambda entry: entry.until)

    def forget(self) -> int:
        """Drop every entry of ours (the provider's cache expires by itself). The number dropped."""
        keys = list(self._storage.keys("warm/"))
        for key in keys:
            self._storage.delete(key)
        return len(keys)

    def last_sent(self, thread: str) -> Sent | None:
        raw = self._storage.get(f"sent/{thread}")
        if raw is None:
            return None
        value = canonical.load(raw)
        lists = {name: tuple(value[name]) for name in ("chain", "labels", "digests", "tokens")}
        return Sent(**(value | lists))

    def remember_sent(self, thread: str, sent: Sent) -> None:
        """Keep what was sent under its thread, and as the newest of its model for threads that begin later."""
        for name in (thread, f"model/{sent.model}"):
            self._storage.set(f"sent/{name}", canonical.dump(asdict(sent)))

    def newest_like(self, thread: str, model: str) -> Sent | None:
        """What the thread last sent to this model, else what any thread did: for the tokens of common blocks."""
        own = self.last_sent(thread)
        return own if own is not None and own.model == model else self.last_sent(f"model/{model}")


def _warm_key(scope: str, model: str, prefix: str) -> str:
    return f"warm/{canonical.digest(scope)}/{model}/{prefix}"


# --- prediction and comparison -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call as the ledger sees it: the prompt, its marks, its blocks' estimated tokens, and when it is sent."""

    prompt: Prompt
    marks: tuple[Mark, ...]
    tokens: tuple[int, ...]
    model: Model
    scope: str
    at: float

    @property
    def total(self) -> int:
        return sum(self.tokens)

    def prefix_tokens(self, index: int) -> int:
        return sum(self.tokens[: index + 1])


def predict(call: Call, ledger: Ledger) -> Prediction:
    """The longest warm prefix that a mark of this call can reach (at most `lookback` blocks back)."""
    rules = call.model.cache
    if rules.kind is not CacheKind.BREAKPOINTS:
        return Prediction(tokens=0, reason="this model's prompt cache is not predicted yet")
    best = 0
    for mark in call.marks:
        for index in range(mark.index, max(-1, mark.index - rules.lookback), -1):
            entry = ledger.warm(call.scope, call.model.name, call.prompt.chain[index], call.at)
            if entry is not None:
                best = max(best, entry.tokens)
                break
    return Prediction(tokens=best, reason=_why_expected(call, ledger, best))


def _why_expected(call: Call, ledger: Ledger, best: int) -> str:
    if best:
        return f"warm prefix of {best:,} tokens"
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


def warm_entries(call: Call, usage: Usage) -> list[Warm]:
    """What the call left warm: each mark whose prefix reaches the minimum. The tail's prefix is the whole input."""
    if not (usage.cache_read or usage.cache_write):
        return []
    out = []
    for mark in call.marks:
        last = mark.index == len(call.prompt.blocks) - 1
        tokens = usage.cache_read + usage.cache_write if last else call.prefix_tokens(mark.index)
        if tokens < call.model.cache.minimum:
            continue
        out.append(
            Warm(
                scope=call.scope,
                model=call.model.name,
                prefix=call.prompt.chain[mark.index],
                tokens=tokens,
                ttl=mark.ttl,
                until=call.at + TTL_SECONDS[mark.ttl],
                why=mark.why,
            )
        )
    return out


def compare(
    call: Call, prediction: Prediction, usage: Usage, *, previous: Sent | None, diagnosis: str | None = None
) -> CacheReport:
    """Prediction against proof, with the reason in words."""
    warm = warm_entries(call, usage)
    return CacheReport(
        expected=prediction.tokens,
        read=usage.cache_read,
        written=usage.cache_write,
        prefix=usage.input_total,
        minimum=call.model.cache.minimum,
        reason=_reason(call, prediction, usage, _difference(call, previous), diagnosis),
        warm_until=max((entry.until for entry in warm), default=None),
        marks=tuple(f"{mark.why} ({mark.ttl})" for mark in call.marks),
    )


def _reason(call: Call, prediction: Prediction, usage: Usage, difference: str, diagnosis: str | None) -> str:
    total, minimum = usage.input_total, call.model.cache.minimum
    if usage.cache_read:
        hit = f"hit: {usage.cache_read:,} of {total:,} input tokens read from the prompt cache"
        short = prediction.tokens - usage.cache_read
        if short > max(64, prediction.tokens // 20):
            return f"{hit}, {short:,} fewer than expected; {diagnosis or difference or 'the provider gives no reason'}"
        return hit if prediction.tokens else f"{hit}, though none was expected (warmed by another kernel or user)"
    if total < minimum:
        return f"below the minimum: {total:,} of {minimum:,} tokens"
    if prediction.tokens:
        return f"miss: {prediction.tokens:,} tokens were expected; {diagnosis or difference or 'no reason is known'}"
    why = diagnosis if diagnosis and "not_found" not in diagnosis else prediction.reason
    return f"{'written' if usage.cache_write else 'not cached'}: {why}"


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
            return f"{block.layer} block {i + 1} changed ({label}: {previous.digests[i]} to {block.digest})"
    return ""


def known_tokens(chain: Sequence[str], previous: Sent | None) -> tuple[int, ...]:
    """The tokens of the leading blocks that `previous` sent too: as they were settled then, so they never move."""
    if previous is None:
        return ()
    same = 0
    for old, new in zip(previous.chain, chain, strict=False):
        if old != new:
            break
        same += 1
    return previous.tokens[:same]


def settle_tokens(call: Call, known: Sequence[int], total: int) -> tuple[int, ...]:
    """Each block's tokens, adding up to the reported `total`: what is known stays, only the rest is scaled."""
    rest = total - sum(known)
    new = call.tokens[len(known) :]
    if rest < 0 or (rest > 0 and not new):
        return tuple(scale_to_total(call.tokens, total))
    return (*known, *scale_to_total(new, rest))


def sent_record(call: Call, *, run_id: str) -> Sent:
    """What the next call of the thread will be compared with; `call.tokens` are settled ones."""
    blocks = call.prompt.blocks
    return Sent(
        run_id=run_id,
        model=call.model.name,
        at=call.at,
        chain=call.prompt.chain,
        labels=tuple(block.label for block in blocks),
        digests=tuple(block.digest for block in blocks),
        tokens=call.tokens,
    )


def layer_totals(call: Call, tokens: Sequence[int], cached: Sequence[int]) -> list[dict[str, Any]]:
    """Exactly four entries `{name, tokens, cached_tokens, digest, estimated}` that add up to the input."""
    out = []
    for layer in Layer:
        indices = [i for i, block in enumerate(call.prompt.blocks) if block.layer is layer]
        joined = b"".join(call.prompt.blocks[i].canonical for i in indices)
        out.append(
            {
                "name": layer.value,
                "tokens": sum(tokens[i] for i in indices),
                "cached_tokens": sum(cached[i] for i in indices),
                "digest": canonical.digest(joined),
                "estimated": True,
            }
        )
    return out


def describe_marks(marks: Sequence[Mark], chain: Sequence[str]) -> list[Mapping[str, str]]:
    return [{"where": mark.why, "ttl": mark.ttl, "prefix": chain[mark.index]} for mark in marks]
