"""Describe one call as the ledger sees it: its blocks' tokens, what it leaves warm, the next one's comparison. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agentnb import canonical
from agentnb.canonical import JsonObject
from agentnb.models import prices
from agentnb.models.catalog import LOCAL, Model
from agentnb.models.layers import Block, Layer, Prompt, Salt, chain_digests
from agentnb.models.messages import Image, Opaque, Reply, Usage
from agentnb.models.tokens import scale_to_total
from agentnb.providers.base import Mark
from agentnb.providers.promptcache.breakpoints import frame_ends
from agentnb.providers.promptcache.ledger import Ledger, Sent, Warm
from agentnb.providers.promptcache.policy import TTL_SECONDS


@dataclass(frozen=True, kw_only=True)
class Call:
    """Holds one call of the ledger: prompt, its marks, its blocks' estimated tokens, and when it is
    sent."""

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

    def price(self, usage: Usage) -> prices.Cost:
        """Return what this usage costs on the call's model at the call's time: prices change by date."""
        return prices.cost_of(self.model, usage, at=self.at)


def expected_usage(call: Call, read: int) -> Usage:
    """Return the input as the reply will report it if `read` tokens hit. Each mark writes what lies before it, at its
    TTL."""
    written = {"5m": 0, "1h": 0, "12h": 0}
    done = read
    for mark in sorted(call.marks, key=lambda mark: mark.index):
        reach = call.prefix_tokens(mark.index)
        if call.model.cache.breakpoints and not mark.holder and reach >= call.model.cache.minimum:
            written[mark.ttl if mark.ttl in written else "5m"] += max(reach - done, 0)
            done = max(done, reach)
    left = max(call.total - done, 0)
    return Usage(
        input=left,
        cache_read=read,
        cache_write_5m=written["5m"],
        cache_write_1h=written["1h"],
        cache_write_12h=written["12h"],
    )


def warm_entries(call: Call, usage: Usage) -> list[Warm]:
    """Return what the call left warm: each mark whose prefix reaches the minimum. The tail's prefix is the whole
    input."""
    unasked = not call.model.cache.breakpoints
    if not (unasked or usage.cache_read or usage.cache_write):
        return []
    whole = usage.input_total if unasked else usage.cache_read + usage.cache_write
    out = []
    for mark in call.marks:
        last = mark.index == len(call.prompt.blocks) - 1
        tokens = whole if last else call.prefix_tokens(mark.index)
        if tokens < call.model.cache.minimum or mark.holder:
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


def reply_entries(call: Call, reply: Reply, blocks: Sequence[Block]) -> list[Warm]:
    """Return what a server on this machine keeps of its own reply: all but the last token.

    `blocks` are the reply as the next request sends it. Only where that is what the model wrote does it hit.
    """
    as_written = tuple(block.content for block in blocks) == reply.content
    if call.model.provider != LOCAL or not as_written or any(isinstance(each, Opaque) for each in reply.content):
        return []
    return [
        Warm(
            scope=call.scope,
            model=call.model.name,
            prefix=chain_digests((*call.prompt.blocks, *blocks), call.prompt.salt)[-1],
            tokens=reply.usage.input_total + reply.usage.output - 1,
            ttl="1h",
            until=call.at + TTL_SECONDS["1h"],
            why="end of the reply",
        )
    ]


def salt_of(model: Model, blocks: Iterable[Block], effort: str) -> Salt:
    """Return what makes the provider process the same bytes anew.

    That is another effort, where the model's row says so. On Anthropic it is also the first picture in a conversation
    (docs, prompt caching: what invalidates the cache).
    """
    pictured = model.provider == "anthropic" and any(isinstance(block.content, Image) for block in blocks)
    rules = model.effort
    taken = rules.taken(effort)
    return Salt(
        frame=taken if rules.spoils == "all" else "",
        messages=(PICTURES if pictured else "") + (taken if rules.spoils == "messages" else ""),
    )


PICTURES = "pictures"


def known_tokens(chain: Sequence[str], previous: Sent | None) -> tuple[int, ...]:
    """Return the tokens of the leading blocks that `previous` sent too: as they were settled then, so they never
    move."""
    if previous is None:
        return ()
    same = 0
    for old, new in zip(previous.chain, chain, strict=False):
        if old != new:
            break
        same += 1
    return previous.tokens[:same]


def anchored(call: Call, ledger: Ledger, *, known: int) -> Call:
    """Return the call with its leading blocks counted as replies counted them, where only the ledger knows them.

    Estimates count beyond the `known` ones: another kernel may have sent this prefix, and warm must not exceed sent.
    """
    counted = _held_tokens(call, ledger) or _sent_tokens(call, ledger, known)
    if counted is None:
        return call
    last, tokens = counted
    return replace(call, tokens=(*scale_to_total(call.tokens[:last], tokens), *call.tokens[last:]))


def _held_tokens(call: Call, ledger: Ledger) -> tuple[int, int] | None:
    """Return (blocks, tokens) of the cache object that the call is bound to, where it counts more than the estimate."""
    for mark in call.marks:
        held = next((h for h in ledger.held(call.scope) if mark.holder and h.name == mark.holder), None)
        if held is not None and held.tokens > call.prefix_tokens(mark.index):
            return mark.index + 1, held.tokens
    return None


def _sent_tokens(call: Call, ledger: Ledger, known: int) -> tuple[int, int] | None:
    for index in range(len(call.prompt.blocks) - 1, known - 1, -1):
        entry = ledger.remembered(call.scope, call.model.name, call.prompt.chain[index])
        if entry is not None:
            return index + 1, entry.tokens
    return None


def settle_tokens(call: Call, known: Sequence[int], total: int) -> tuple[int, ...]:
    """Return each block's tokens, adding up to the reported `total`: what is known stays, only the rest is scaled."""
    rest = total - sum(known)
    new = call.tokens[len(known) :]
    if rest < 0 or (rest > 0 and not new):
        return tuple(scale_to_total(call.tokens, total))
    return (*known, *scale_to_total(new, rest))


def sent_record(call: Call, *, run_id: str, replied: Mapping[str, int] | None = None) -> Sent:
    """Return what the thread's next call will be compared with. `call.tokens` are settled ones, `replied` those of the
    reply's blocks."""
    blocks = call.prompt.blocks
    return Sent(
        run_id=run_id,
        model=call.model.name,
        at=call.at,
        chain=call.prompt.chain,
        labels=tuple(block.label for block in blocks),
        digests=tuple(block.digest for block in blocks),
        tokens=call.tokens,
        simulated=call.scope.startswith("sim:"),
        replied=dict(replied or {}),
    )


def layer_spans(call: Call) -> tuple[tuple[int, int], ...]:
    """Return (tokens, index of the last block) of STATIC, of the rest of the frame, and of the conversation."""
    static, frame = frame_ends(call.prompt)
    ends = (static, max(static, frame), len(call.prompt.blocks) - 1)
    starts = (0, ends[0] + 1, ends[1] + 1)
    return tuple((sum(call.tokens[start : end + 1]), max(end, 0)) for start, end in zip(starts, ends, strict=True))


def layer_totals(call: Call, tokens: Sequence[int], cached: Sequence[int]) -> list[JsonObject]:
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
