"""Say of each call what it could have read, what it read, why not more, and what that cost. Pure.

A call is compared with the earlier one that it goes on from: the one with the longest common beginning. Where the very
beginning changed, it is the one with most words in common. It could have read all that this earlier call sent.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass
from functools import cached_property

from agentnb.explain.causes import cause_of, shared_pieces, text_of
from agentnb.explain.judge import JudgedCall
from agentnb.models.catalog import CacheKind
from agentnb.providers.promptcache import STEP, lost_dollars

REMEMBERED = 50
"""Earlier calls that a call is compared with: interleaved conversations, and agents side by side."""
_ALIKE = 0.5  # the share of a call's words that it must have in common with the one that it is compared with


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Holds what is said of one call. Tokens; `at` in seconds since the epoch. `read` None: its reply does not say.

    `could` counts what the earlier call sent. `by_rules` is what hits by the provider's rules, as the call was sent.
    `cause` tells why less was read, `dollars` what that cost (None: unknown).
    """

    number: int
    at: float
    model: str
    total: int
    could: int
    by_rules: int
    read: int | None
    cause: str = ""
    dollars: float | None = None
    goes_on_from: int = 0

    @property
    def missed(self) -> bool:
        return bool(self.cause)


class Comparison:
    """Compares each call with those before it."""

    def __init__(self) -> None:
        self._earlier: deque[Numbered] = deque(maxlen=REMEMBERED)
        self._number = 0

    def verdict(self, call: JudgedCall) -> Verdict:
        """Return what is to be said of the next call, and remember it for those that follow."""
        self._number += 1
        now = Numbered(self._number, call)
        verdict = _verdict(now, self._goes_on_from(now))
        self._earlier.append(now)
        return verdict

    def _goes_on_from(self, now: Numbered) -> Numbered | None:
        """Return the earlier call with the longest common beginning, the newest of several; else the most alike."""
        kin = [one for one in self._earlier if one.call.wire is now.call.wire]
        begun = max(kin, key=lambda one: (_begun(one.call, now.call), one.number), default=None)
        if begun is None:
            return None
        if 2 * _begun(begun.call, now.call) >= min(begun.call.judged.total, now.call.judged.total):
            return begun
        alike = max(kin, key=lambda one: ((one.words & now.words).total(), one.number))
        least = _ALIKE * min(alike.words.total(), now.words.total())
        return alike if (alike.words & now.words).total() >= least else None


@dataclass(frozen=True)
class Numbered:
    """Holds one call, its number in the log, and its words: counted where its beginning alone does not do."""

    number: int
    call: JudgedCall

    @cached_property
    def words(self) -> Counter[str]:
        return Counter(word for piece in self.call.judged.pieces for word in re.findall(r"\w+", text_of(piece)))


def _begun(before: JudgedCall, now: JudgedCall) -> int:
    return sum(piece.tokens for piece in now.judged.pieces[: shared_pieces(before, now)])


def _verdict(now: Numbered, earlier: Numbered | None) -> Verdict:
    call, before = now.call, earlier.call if earlier is not None else None
    could = _could(before, call) if before is not None else 0
    short = could - call.read
    missed = before is not None and short > max(could // 20, STEP * (call.judged.row.cache.kind is CacheKind.AUTOMATIC))
    return Verdict(
        number=now.number,
        at=call.judged.at,
        model=call.judged.row.name,
        total=call.total,
        could=could,
        by_rules=call.by_rules,
        read=call.used.cache_read if call.used is not None else None,
        cause=cause_of(before, call) if missed and before is not None else "",
        dollars=lost_dollars(call.judged.row, short, call.used, at=call.judged.at) if missed else None,
        goes_on_from=earlier.number if earlier is not None else 0,
    )


def _could(before: JudgedCall, now: JudgedCall) -> int:
    """Return the tokens that the earlier call sent too, in this call's count, or that stood where something changed.

    Where marks do not decide, the last block of a call is always computed.
    """
    old, new = before.judged, now.judged
    if shared_pieces(before, now) < len(old.pieces):
        return min(round(old.total * now.scale), now.total)
    unmarked = not new.row.cache.breakpoints
    return now.tokens_to(min(len(old.pieces), len(new.pieces) - unmarked))
