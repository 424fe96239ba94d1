"""Whether a thread's prompt is to be written anew before the stale limit asks for it, because that is cheaper now.

After a pause that the prompt cache did not outlive, everything is paid in full anyway: then what is out of date is
left out. While the prefix is warm, it is kept until what the stale text costs in calls to come outweighs a rewrite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentnb.agent.conversation.turn_blocks import prompt_tokens, suited
from agentnb.agent.deps import Services
from agentnb.agent.request import Request
from agentnb.models import catalog, prices
from agentnb.models.catalog import Model
from agentnb.models.layers import Block, Layer, chain_digests
from agentnb.models.messages import Usage
from agentnb.providers.promptcache import (
    TTL_SECONDS,
    UNASKED,
    Rates,
    Rewrite,
    Trust,
    message_salt,
    pays_to_rewrite,
    rates_of,
    saved_by_rewriting,
)


@dataclass(frozen=True, kw_only=True)
class Paying:
    """A rewrite that pays: what is out of date, of how much, in tokens; the chance that the prompt is still warm; and
    what it saves, in tokens at the plain price."""

    stale: int
    total: int
    warm: float
    saved: int


def rewrite_that_pays(
    services: Services, blocks: Sequence[Block], *, share: float, request: Request, end: int
) -> Paying | None:
    """What is gained by writing these blocks anew without the `share` of them that is out of date; None: nothing.

    `end` is the number of leading blocks that the thread's last request sent.
    """
    model = catalog.lookup(request.model)
    if share <= 0 or not 0 < end <= len(blocks):
        return None
    counter = services.samples.counter_for(request.model)
    tokens = prompt_tokens(blocks, counter, model.images)
    total = sum(tokens)
    if total < model.cache.minimum:
        return None
    trust = Trust(found=services.samples.hits(request.model))
    static = sum(1 for block in blocks if block.layer is Layer.STATIC)
    chain = chain_digests(suited(blocks, model), message_salt(model, blocks))
    stay = sum(tokens[:static])
    rewrite = Rewrite(
        stay=stay,
        rewritten=max(total * (1 - share) - stay, 0.0),
        stale=total * share,
        warm=_chance(services, request, chain[end - 1], trust),
        front=_chance(services, request, chain[static - 1], trust) if static else 0.0,
        gaps=services.samples.pauses(request.thread, services.clock.now()),
        lasts=_lasts(services, request, chain[end - 1], trust),
        held=_held(services, request, chain[:end]),
    )
    saved = saved_by_rewriting(_rates(model), rewrite)
    if not pays_to_rewrite(_rates(model), rewrite):
        return None
    return Paying(stale=round(rewrite.stale), total=total, warm=rewrite.warm, saved=round(saved))


def _rates(model: Model) -> Rates:
    ttls = model.cache.ttls
    return rates_of(model, "1h" if "1h" in ttls and model.cache.breakpoints else (*ttls, "5m")[0])


def _lasts(services: Services, request: Request, prefix: str, trust: Trust) -> float:
    """The pauses in seconds that this prefix outlives, with the TTL that it was sent with."""
    model = catalog.lookup(request.model)
    entry = services.ledger.remembered(services.provider_for(request.model).scope, model.name, prefix)
    if model.cache.breakpoints:
        return TTL_SECONDS[entry.ttl] if entry else max(TTL_SECONDS[ttl] for ttl in model.cache.ttls)
    return trust.lasts(TTL_SECONDS[entry.ttl] if entry else UNASKED)


def _chance(services: Services, request: Request, prefix: str, trust: Trust) -> float:
    """The chance that a prefix is in the prompt cache: by the ledger, or by what was seen of unasked ones."""
    model, provider = catalog.lookup(request.model), services.provider_for(request.model)
    now = services.clock.now()
    entry = services.ledger.remembered(provider.scope, model.name, prefix)
    if entry is None:
        return 0.0
    if model.cache.breakpoints:
        return float(entry.until > now)
    ttl = TTL_SECONDS[entry.ttl]
    return trust.share(now - (entry.until - ttl), ttl)


def _held(services: Services, request: Request, sent: Sequence[str]) -> int:
    """The tokens of what was sent that a living cache object holds."""
    scope, now = services.provider_for(request.model).scope, services.clock.now()
    found = (held for held in services.ledger.held(scope) if held.until > now and held.prefix in sent)
    return max((held.tokens for held in found), default=0)


def reason(paying: Paying, model: Model) -> str:
    """Why, for the user: what was out of date, and what writing it anew saves."""
    saved = prices.cost_of(model, Usage(input=paying.saved)).total
    likely = (
        "the prompt cache had let it go, so it is paid for in full anyway"
        if not paying.warm
        else f"it was still in the prompt cache with a chance of about {paying.warm:.0%}"
    )
    dollars = (
        "" if saved is None else f" Written anew without it: ≈ ${saved:.4f} less until the next pause that outlasts it."
    )
    return f"New segment: ≈ {paying.stale:,} of ≈ {paying.total:,} tokens were out of date, and {likely}.{dollars}"
