"""Learn from what calls found how far a prefix that a provider caches unasked can be trusted to be there. Pure.

No provider promises such a hit. The user's own calls are asked: of those that began like an earlier one some time ago,
how many hit? Before there are any, the prior speaks for five calls. Four of them hit within the published time, one up
to an hour (the longest in OpenAI's guide), none later. Every call that is seen counts as much as each of those. What
was gone after a short pause counts as gone after a longer one. What was there after a long one counts as there after a
shorter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

PRIOR_CALLS, PRIOR_WITHIN, PRIOR_AFTER = 5, 4, 1
HOUR = 3600.0
EDGES = (60.0, 300.0, 600.0, 1800.0, 3600.0, math.inf)
_NAMES = ("1 min", "5 min", "10 min", "30 min", "1 h")


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Holds how often prefixes hit. `found` are earlier calls of the model: (seconds since its prefix was last sent, 1
    for a hit or 0)."""

    found: Sequence[tuple[float, int]] = ()

    def share(self, age: float, ttl: float, *, at_first: float = 1.0) -> float:
        """Return the chance that a prefix is there which was sent `age` seconds ago and is published to last `ttl`.

        `at_first` is the most that is supposed where nothing was seen.
        """
        low, high = _pause_like(age)
        hits = sum(1 for seconds, hit in self.found if hit and seconds > low)
        misses = sum(1 for seconds, hit in self.found if not hit and seconds <= high)
        prior = PRIOR_WITHIN if age <= ttl else PRIOR_AFTER if age <= HOUR else 0
        return (hits + min(prior, at_first * PRIOR_CALLS)) / (hits + misses + PRIOR_CALLS)

    def expects(self, age: float, ttl: float) -> bool:
        return self.share(age, ttl) > 0.5

    def lasts(self, ttl: float) -> float:
        """Return the longest pause in seconds up to which a hit is expected, of some that are looked at."""
        out = 0.0
        for edge in sorted({*EDGES[:-1], 7200.0, ttl}):
            if not self.expects(edge, ttl):
                return out
            out = edge
        return out

    def words(self, age: float) -> str:
        """Return what was seen of such pauses, for people."""
        low, high = _pause_like(age)
        like = [hit for seconds, hit in self.found if low < seconds <= high]
        number = next(i for i, edge in enumerate(EDGES) if age <= edge)
        between = f"up to {_NAMES[0]}" if number == 0 else f"more than {_NAMES[number - 1]}"
        return f"{sum(like)} of {len(like)} calls after {between} hit so far" if like else "no such pause was seen yet"


def _pause_like(age: float) -> tuple[float, float]:
    """Return the pauses that count as alike: longer than the first, at most the second, in seconds."""
    number = next(i for i, edge in enumerate(EDGES) if age <= edge)
    return (EDGES[number - 1] if number else -1.0), EDGES[number]


PRIOR = Trust()
