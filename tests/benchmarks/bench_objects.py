"""Compare rules for cache objects on sessions drawn by lot: what the frame's tokens cost, in input prices.

`python tests/benchmarks/bench_objects.py [SESSIONS]`. A session has turns of quick calls, pauses between them, and a
frame that changes now and then. What is cached unasked is there within five minutes, and later with a chance of its
own. The clairvoyant looks at the next pause alone.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentnb.models.catalog import Model, lookup
from agentnb.providers.promptcache import UNASKED, Rates, pays
from agentnb.providers.promptcache import life_of as _life_of
from agentnb.providers.promptcache import rates_of as _rates_of

MODELS = [lookup(f"google:{name}") for name in ("gemini-3.1-pro-preview", "gemini-2.5-flash", "gemini-2.5-pro")]
LIVES = {model.name: _life_of(model) for model in MODELS}
RATES = {model.name: _rates_of(model, "1h") for model in MODELS}
QUICK = 12.0  # seconds between two calls of a turn


@dataclass(frozen=True)
class Drawn:
    """One session: the pauses between its calls, whether what is cached unasked is there after each, frames' ends."""

    model: Model
    pauses: tuple[float, ...]
    there: tuple[bool, ...]
    changes: tuple[bool, ...]


def drawn(seed: int) -> Drawn:
    rng = random.Random(seed)
    middle, spread = math.exp(rng.uniform(math.log(60), math.log(3600))), rng.choice([0.2, 0.7, 1.2])
    calls, turns = rng.choice([1, 2, 5, 9]), rng.randint(4, 30)
    chance, late = rng.choice([0.0, 0.05, 0.2]), rng.choice([0.0, 0.2, 0.5])
    pauses: list[float] = []
    for _ in range(turns):
        pauses += [QUICK] * (calls - 1) + [rng.lognormvariate(math.log(middle), spread)]
    there = tuple(pause <= UNASKED or (pause <= 3600 and rng.random() < late) for pause in pauses)
    changes = tuple(pause != QUICK and rng.random() < chance for pause in pauses)
    return Drawn(rng.choice(MODELS), tuple(pauses), there, changes)


def life_of(model: Model) -> float:
    return LIVES[model.name]


def rates_of(model: Model, ttl: str) -> Rates:
    return RATES[model.name]


@dataclass(frozen=True)
class Moment:
    """A call that is about to be made: the pauses seen with its frame, whether that is warm, whether an object stands.
    Or one stood until the frame changed, and is to be replaced.

    `next_pause` and `next_there` are what only the clairvoyant looks at; None where the frame changes meanwhile.
    """

    model: Model
    seen: Sequence[float]
    warm: bool
    stands: bool
    replaces: bool
    next_pause: float | None
    next_there: bool


Rule = Callable[[Moment], bool]
"""Tells whether an object is to be made, or to live on, at this call."""


def cost(session: Drawn, rule: Rule) -> float:
    """Go through the session as the agent does: before each call an object is made or extended, or it is not."""
    rates, life = rates_of(session.model, "1h"), life_of(session.model)
    seen: list[float] = []
    left, total, warm, replaces = 0.0, 0.0, False, False
    for pause, there, changes in zip(session.pauses, session.there, session.changes, strict=True):
        moment = Moment(session.model, tuple(seen), warm, left > 0, replaces, None if changes else pause, there)
        wanted = rule(moment)
        if wanted and left <= 0:
            total += rates.write  # it is made, and then read
        total += rates.read if warm or wanted or left > 0 else rates.write
        left = life if wanted else left
        total += rates.storage * min(pause, left) / 3600
        stands, left = left >= pause, max(left - pause, 0.0)
        replaces = stands and changes
        warm, left = there and not changes, left if stands and not changes else 0.0
        seen = [] if changes else [*seen, pause]
    return total + (rates.read if warm or left > 0 else rates.write) + rates.storage * left / 3600


def _gain(model: Model, pause: float) -> float:
    """What an object saves at the call after one pause, against what is cached unasked, in input prices a token."""
    rates, life = rates_of(model, "1h"), life_of(model)
    stored = rates.storage * min(pause, life) / 3600 + rates.read + (rates.write if pause > life else 0.0)
    return (rates.read if pause <= UNASKED else rates.write) - stored


def never(moment: Moment) -> bool:
    return False


def clairvoyant(moment: Moment) -> bool:
    """Look at the next pause alone: an object stands through it where that saves more than making it costs."""
    if moment.next_pause is None or moment.next_there or moment.next_pause > life_of(moment.model):
        return False
    rates = rates_of(moment.model, "1h")
    saved = rates.write - rates.read - rates.storage * moment.next_pause / 3600
    return moment.stands or saved > (rates.write if moment.warm else rates.read)


def by_evidence(moment: Moment) -> bool:
    """The machinery that was: what objects saved over the pauses seen, less two deviations, exceeds making one."""
    saved = [_gain(moment.model, pause) for pause in moment.seen]
    if moment.stands:
        return sum(saved) > 0
    if len(saved) < 2:
        return False
    rates = rates_of(moment.model, "1h")
    made = (rates.write if moment.warm else rates.read) + rates.storage * life_of(moment.model) / 3600
    return sum(saved) - 2 * statistics.stdev(saved) * math.sqrt(len(saved)) > made


def as_told(moment: Moment) -> bool:
    """Storage until the expected next question costs less than sending it again, whatever is cached unasked."""
    rates = rates_of(moment.model, "1h")
    seen = moment.seen
    return bool(seen) and rates.storage * statistics.median(seen) / 3600 < rates.write - rates.read


def of_long(most: int, *, even_warm: bool = False) -> Rule:
    """The last pauses that outlasted what is cached unasked, two at least, were all cheaper to store through."""

    def rule(moment: Moment) -> bool:
        long = [pause for pause in moment.seen if pause > UNASKED][-most:]
        worth = len(long) >= 2 and max(long) <= life_of(moment.model)
        return worth and (moment.stands or even_warm or not moment.warm)

    return rule


RULES: dict[str, Rule] = {
    "never": never, "evidence": by_evidence, "clairvoyant": clairvoyant, "as told": as_told,
    **{f"last {most} long": of_long(most) for most in (2, 3, 8, 99)}, "last 5, even warm": of_long(5, even_warm=True),
    "ours": lambda moment: (
        moment.replaces or (pays(moment.model, moment.seen) and (moment.stands or not moment.warm))
    ),
    "not replaced": lambda moment: pays(moment.model, moment.seen) and (moment.stands or not moment.warm),
}  # fmt: skip


def main(count: int) -> None:
    sessions = [drawn(seed) for seed in range(count)]
    machinery = [cost(session, by_evidence) for session in sessions]
    print(
        f"{count} sessions; cost of the frame's tokens against the evidence machinery's (mean of ratios; sums; worst)"
    )
    for name, rule in RULES.items():
        costs = [cost(session, rule) for session in sessions]
        ratios = [one / other for one, other in zip(costs, machinery, strict=True)]
        print(f"{name:18} {statistics.fmean(ratios):.3f}  {sum(costs) / sum(machinery):.3f}  {max(ratios):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
