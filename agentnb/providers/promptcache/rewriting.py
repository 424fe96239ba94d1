"""Whether it pays to write a prompt anew without its out-of-date text, by the model's own prices. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentnb.providers.promptcache.policy import Rates

LEAST = 0.01
"""Of the prompt's plain price, what must be saved: a new segment changes what the model sees, so it is no trifle."""


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """What could be done to a prompt: tokens of it that `stay` in front, are `rewritten` behind them, and are `stale`.

    `warm` is the chance that the prompt as it was sent is still in the prompt cache, `front` that what stays is. The
    first `held` tokens are in a cache object, of use only if the prompt goes on. `gaps` are the pauses in seconds
    between the calls so far, `lasts` those that a prefix outlives.
    """

    stay: float
    rewritten: float
    stale: float
    warm: float
    front: float
    gaps: Sequence[float]
    lasts: float
    held: float = 0.0


def saved_by_rewriting(rates: Rates, rewrite: Rewrite) -> float:
    """What rewriting saves, in tokens at the plain input price; below zero where it costs.

    With w and r the rates of a write and a read, a prompt of stay + rewritten + stale tokens that is warm with the
    chance p costs p r + (1 - p) w a token at the next call if it goes on. If it is written anew, the stale part is
    gone, what stays costs as much with its own chance, and the rest w. Each later call is spared the stale part, which
    costs r, up to the next pause that the prefix does not outlive: then it can be dropped for nothing. If the pauses
    seen so far come again in any order, n of them outlived and m not, that is n / (m + 1) calls.

    What an object holds costs r if the prompt goes on, and r once more to be held again if it is written anew. That
    price never falls to nothing, so the stale part is then in the way of all n calls and, at w, of the m.
    """
    w, r = rates.write, rates.read
    whole = rewrite.stay + rewrite.rewritten + rewrite.stale
    going_on = rewrite.held * r + (whole - rewrite.held) * (rewrite.warm * r + (1 - rewrite.warm) * w)
    anew = rewrite.stay * (rewrite.front * r + (1 - rewrite.front) * w) + rewrite.rewritten * w + rewrite.held * r
    outlived = sum(gap <= rewrite.lasts for gap in rewrite.gaps)
    lost = len(rewrite.gaps) - outlived
    later = outlived * r + lost * w if rewrite.held else outlived / (lost + 1) * r
    return going_on - anew + later * rewrite.stale


def pays_to_rewrite(rates: Rates, rewrite: Rewrite) -> bool:
    """Whether enough is saved to begin a new segment."""
    whole = rewrite.stay + rewrite.rewritten + rewrite.stale
    return rewrite.stale > 0 and saved_by_rewriting(rates, rewrite) > LEAST * whole
