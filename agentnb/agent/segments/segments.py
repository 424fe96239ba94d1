"""Choose the segment that a turn goes on with, or begin a new one.

A new one begins when too much of the prompt is stale. It also begins when the prompt cache has let the prompt go and
anything is out of date. Leaving that out costs nothing.

Within a segment nothing that was sent is rewritten. One changed byte makes all that follows it new to the prompt cache.
So an edited definition is sent again at the end, and its old text stays. That text costs little, since a read is a
tenth of the price. But it can mislead the model, and it takes room. A segment is the answer: everything is written
anew, once, without the stale text.

The rule is a share, not a price. A tenth of the prompt in the project section, or a quarter in all, may be out of date.
A comparison of prices was tried before. It hung on guesses of the pauses to come, and nobody could foretell it.

Where to cut is a matter of price. A turn can be kept if its prefix is warm and its definitions are
known as they are now. Then only the rest is written anew. Each cut has a price: what must be written, for the room
until the next time. The cheapest is taken, and the user is told in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agentnb.agent.conversation.threads import folded
from agentnb.agent.conversation.turn_blocks import block_weight, suited
from agentnb.agent.deps import Services
from agentnb.agent.kernel_context import Freshness
from agentnb.agent.request import Request
from agentnb.agent.segments.window import tokens_of
from agentnb.agent.state import AgentState, Base
from agentnb.models import prices
from agentnb.models.catalog import CacheKind
from agentnb.models.layers import Block, Layer, chain_digests
from agentnb.models.messages import Usage
from agentnb.models.tokens import TokenCounter
from agentnb.prompt.thread import ReadBlocks, Turn, segment_for
from agentnb.providers.promptcache import TTL_SECONDS, Trust, salt_of

CERTAIN = 0.95
"""Part of a stale limit that is used: the share is an estimate, and the limit must hold."""


@dataclass(frozen=True, kw_only=True)
class ChosenSegment:
    """Holds the segment to go on with. `root` None begins one: `base` says what it keeps of another, `why` is for the
    user.

    `first` "" says that no turn before this one is sent: what it takes up holds them in a condensed form.
    `replaced`: so much of the other's project section is out of date that no turn goes on with it. `fresh` is what
    became of what the thread holds, as it was looked at for this choice.
    """

    root: str | None
    base: Base | None = None
    first: Literal[""] | None = None
    why: str = ""
    replaced: bool = False
    fresh: Freshness | None = None


@dataclass(frozen=True, kw_only=True)
class Path:
    """Holds a path as a segment sends it: its turns, its blocks as they were read, and their state.

    Weights are pieces of text (see tokens.pieces).
    """

    root: str
    kind: str
    turns: Sequence[Turn]
    read: ReadBlocks
    fresh: Freshness

    @property
    def blocks(self) -> Sequence[Block]:
        return self.read.blocks

    @property
    def current(self) -> Mapping[str, str]:
        """Return the digests of what the path holds, as it is now, by name."""
        return self.fresh.current

    @property
    def weights(self) -> Sequence[float]:
        return self.read.weights

    def stale_shares(self) -> tuple[float, float]:
        """Return the shares of the prompt that are out-of-date text: of all of it, and of the project section's own."""
        each = self.read.stale_weights(self.current)
        frozen = sum(w for w, block in zip(each, self.blocks, strict=True) if block.layer is Layer.SEMI_STATIC)
        total = sum(self.weights) or 1
        return sum(each) / total, frozen / total


@dataclass(frozen=True, kw_only=True)
class Passed:
    """Holds a limit that is passed: the share of out-of-date text, the limit, and where the text stands, for people."""

    share: float
    limit: float
    where: str = ""
    frozen: bool = False


def passed_limit(whole: float, frozen: float, request: Request) -> Passed | None:
    """Tell which of the two limits these shares pass. The project section's own is the tighter: it reads as the project
    itself."""
    if frozen > request.stale_limit * CERTAIN:
        return Passed(share=frozen, limit=request.stale_limit, where="in the project section ", frozen=True)
    if whole > request.thread_stale_limit * CERTAIN:
        return Passed(share=whole, limit=request.thread_stale_limit)
    return None


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Holds a place where the prompt could be written anew. `kept` is None where all but the static layer goes.

    `rewritten` is what has to be written; `room` is how much may go out of date before the next time. Both in pieces.
    """

    kept: str | None
    rewritten: float
    room: float

    @property
    def price(self) -> float:
        return self.rewritten / self.room if self.room > 0 else float("inf")


class Segments:
    """Chooses segments. Nothing here writes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = services.threads

    def choose(self, turns: Sequence[Turn], path: Sequence[Turn], *, kind: str, request: Request) -> ChosenSegment:
        """Return the segment for a new turn on this path."""
        root = segment_for(turns, path, kind)
        if root is None:
            changed = "Prompt begun anew: the model or the tools changed."
            return ChosenSegment(root=None, why=changed if path else "")
        return self._go_on(self._as_sent(path, root, kind, self._services.counter(request.model)), request)

    def take_up(self, source: AgentState, path: Sequence[Turn], *, request: Request) -> ChosenSegment:
        """Return the segment for a turn that follows an earlier run's step: that run's own, unless too much is stale.

        `source` is that run's state after the step. A new segment keeps nothing of the old one: what the run had
        said so far is folded into it.
        """
        counter = self._services.counter(request.model)
        sent = self._as_sent(path, source.segment.root, source.kind, counter, then=source.blocks)
        begun = self._go_on(sent, request, whole=True)
        alone = source.segment.begins and source.segment.first == source.segment.root
        return replace(begun, first="") if begun.root is None and alone else begun

    def _go_on(self, sent: Path, request: Request, *, whole: bool = False) -> ChosenSegment:
        share, frozen = sent.stale_shares()
        passed = passed_limit(share, frozen, request)
        if passed is None:
            why = "" if whole or request.thread_stale_limit >= 1 else self._let_go(sent, request, share)
            return ChosenSegment(root=None, why=why) if why else ChosenSegment(root=sent.root, fresh=sent.fresh)
        cuts = self._cuts(sent, request.thread_stale_limit * CERTAIN, request)
        # To keep the project section is to keep its old text.
        cut = cuts[0] if whole or passed.frozen else min(cuts, key=lambda cut: cut.price)
        base = Base(sent.root, cut.kept) if cut.kept else None
        why = self._priced(sent, request, passed=passed, cut=cut)
        return ChosenSegment(root=None, base=base, why=why, replaced=passed.frozen)

    def _let_go(self, sent: Path, request: Request, share: float) -> str:
        """Tell why a new segment costs nothing: the prompt cache let this one go, and some of it is stale."""
        if share <= 0:
            return ""
        end, _ = self._threads.end_of_last_request(sent.turns, sent.root, base=self._threads.base(sent.root))
        model, counter = self._services.model(request.model), self._services.samples.counter_for(request.model)
        if not 0 < end <= len(sent.blocks) or self._may_be_warm(sent, request, end):
            return ""
        total = tokens_of(sent.blocks, model, counter)
        if total < model.cache.minimum:
            return ""
        return (
            f"Prompt begun anew: ≈ {round(share * total):,} of ≈ {total:,} tokens were out of date. "
            "The prompt cache had let the conversation go, so all of it is paid for anyway."
        )

    def _may_be_warm(self, sent: Path, request: Request, end: int) -> bool:
        """Tell whether the provider may still hold what the last request sent, or part of it in a cache object."""
        services, model = self._services, self._services.model(request.model)
        scope, now = services.provider_for(request.model).scope, services.clock.now()
        chain = chain_digests(suited(sent.blocks, model), salt_of(model, sent.blocks, request.effort))[:end]
        objects = services.ledger.held(scope) if model.cache.kind is CacheKind.EXPLICIT_OBJECT else ()
        if any(held.until > now and held.prefix in chain for held in objects):
            return True
        entry = services.ledger.remembered(scope, model.name, chain[-1])
        if entry is None or model.cache.breakpoints:
            return entry is not None and entry.until > now
        ttl = TTL_SECONDS[entry.ttl]
        return Trust(found=services.samples.hits(request.model)).expects(now - (entry.until - ttl), ttl)

    def _as_sent(
        self, path: Sequence[Turn], root: str, kind: str, counter: TokenCounter, *, then: Sequence[Block] = ()
    ) -> Path:
        threads = self._threads
        read = threads.read([*threads.segment(root), *threads.as_sent(path, root=root, kind=kind), *then])
        fresh = self._services.hydrator.refresh(read.held, counter.count)
        return Path(root=root, kind=kind, turns=path, read=read, fresh=fresh)

    def _cuts(self, sent: Path, limit: float, request: Request) -> list[Cut]:
        """Return the possible cuts: all anew; where every definition is known as it is now, also behind each warm
        turn."""
        weights = sent.weights
        fresh = sum(weights) - sum(sent.read.stale_weights(sent.current))
        frame = sum(w for w, b in zip(weights, sent.blocks, strict=True) if b.layer is Layer.STATIC)
        out = [Cut(kept=None, rewritten=fresh - frame, room=limit * fresh)]
        held = sent.read.held
        if all(name in sent.current for name in held):
            warm = self._warm(sent, request)
            out += [self._behind(number, sent, held, limit) for number in warm]
        return out

    def _warm(self, sent: Path, request: Request) -> list[int]:
        """Return the turns of this segment, but the last, whose last request's prefix the provider still holds."""
        services = self._services
        model = self._services.model(request.model)
        scope, now = services.provider_for(request.model).scope, services.clock.now()
        chain = chain_digests(suited(sent.blocks, model), salt_of(model, sent.blocks, request.effort))
        ends = {
            number: self._threads.end_of(turn.run_id)
            for number, turn in enumerate(sent.turns[:-1])
            if turn.segment_root == sent.root
        }
        return [
            number
            for number, end in ends.items()
            if 0 < end <= len(chain) and services.ledger.warm(scope, model.name, chain[end - 1], now)
        ]

    def _behind(self, number: int, sent: Path, held: Mapping[str, Mapping[str, object]], limit: float) -> Cut:
        """Return the cut that keeps the turns up to this one as sent, and writes the rest without stale text."""
        threads = self._threads
        kept = threads.as_sent(sent.turns[: number + 1], root=sent.root, kind=sent.kind)
        kept = (*threads.segment(sent.root), *kept)
        weights = weights_of(kept)
        later = sum(weights_of(folded(sent.blocks[len(kept) :])))
        read = ReadBlocks().then(kept, weights)
        known = read.held
        missing = [item for name, item in held.items() if known.get(name, {}).get("digest") != sent.current[name]]
        again = sum(tokens for item in missing if isinstance(tokens := item.get("tokens"), int))
        stale = sum(read.stale_weights(sent.current))
        return Cut(
            kept=sent.turns[number].run_id,
            rewritten=later + again,
            room=limit * (sum(weights) + later + again) - stale,
        )

    def _priced(self, sent: Path, request: Request, *, passed: Passed, cut: Cut) -> str:
        """Tell why so much is written anew, with the price of either way."""
        model = self._services.model(request.model)
        counter = self._services.counter(request.model)
        total = tokens_of(sent.blocks, model, counter)
        stale, written = round(passed.share * total), round(cut.rewritten / sum(sent.weights) * total)
        keep = prices.cost_of(model, Usage(cache_read=stale)).total
        write = prices.cost_of(model, Usage(cache_write_5m=written)).total
        what = "the turns since are" if cut.kept else "the prompt is"
        cost = (
            ""
            if keep is None or write is None
            else f" Keeping it would cost ≈ ${keep:.4f} a call; {what} written anew for ≈ ${write:.4f} once."
        )
        return (
            f"Prompt begun anew: ≈ {stale:,} of ≈ {total:,} tokens were out of date {passed.where}"
            f"({passed.share:.0%}, limit {passed.limit:.0%}).{cost}"
        )


def weights_of(blocks: Sequence[Block]) -> list[int]:
    return [block_weight(block.content) for block in blocks]
