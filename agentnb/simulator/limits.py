"""Limit requests and tokens a minute for each key and model, by token buckets that refill all the time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from agentnb.errors import InputError, RequestRefused
from agentnb.simulator.http_messages import WireMapping

KINDS = ("requests", "tokens")
Scope = tuple[str, str]
"""(a digest of the key, the model's name)."""


class RefusedForNow(RequestRefused):
    """A refusal that asks to come again in `wait` seconds; None where it does not say when."""

    def __init__(self, what: str, *, status: int, wait: float | None) -> None:
        super().__init__(what, status=status)
        self.wait = wait


class OverLimit(RefusedForNow):
    """429: `asked` of `kind` would go over `limit` a minute, with `used` taken already.

    `wait` is None where the request alone is larger than the limit.
    """

    def __init__(self, kind: str, *, limit: int, used: int, asked: int, wait: float | None) -> None:
        super().__init__(f"over the limit of {limit} {kind} a minute", status=429, wait=wait)
        self.kind = kind
        self.limit = limit
        self.used = used
        self.asked = asked


@dataclass(frozen=True, kw_only=True)
class Left:
    """Holds one limit after a request: what is left of it, and in how many seconds it is whole again."""

    kind: str
    limit: int
    left: int
    whole_in: float


class RateLimits:
    """Holds the limits of one simulator, none at first. `now` gives seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._a_minute: dict[str, int] = {}
        self._levels: dict[tuple[Scope, str], tuple[float, float]] = {}
        self._lock = threading.Lock()

    def set(self, a_minute: WireMapping) -> None:
        """Replace the limits by `{"requests": n, "tokens": n}` a minute; what is missing is without limit.

        Raises InputError on another name or on what is no whole number from 1 to a billion.
        """
        wrong = {name: value for name, value in a_minute.items() if name not in KINDS or not _is_limit(value)}
        if wrong:
            raise InputError(
                "a limit is a whole number from 1 to 1,000,000,000",
                about=repr(wrong),
                todo=f"Known limits: {', '.join(KINDS)}.",
            )
        with self._lock:
            self._a_minute = {kind: value for kind, value in a_minute.items() if value is not None}
            self._levels.clear()

    def state(self) -> dict[str, int]:
        """Return the limits, by kind."""
        return dict(self._a_minute)

    def admit(self, scope: Scope, tokens: int) -> tuple[Left, ...]:
        """Take one request of so many tokens from the buckets. Raises OverLimit, and takes nothing."""
        wanted = {"requests": 1, "tokens": tokens}
        with self._lock:
            for kind in self._a_minute:
                limit, level = self._a_minute[kind], self._level(scope, kind)
                if wanted[kind] > level:
                    wait = None if wanted[kind] > limit else (wanted[kind] - level) * 60 / limit
                    raise OverLimit(kind, limit=limit, used=round(limit - level), asked=wanted[kind], wait=wait)
            return tuple(self._take(scope, kind, wanted[kind]) for kind in self._a_minute)

    def spend(self, scope: Scope, tokens: int) -> None:
        """Take tokens that were made: they count, whether they were left or not."""
        with self._lock:
            if "tokens" in self._a_minute:
                self._take(scope, "tokens", tokens)

    def _level(self, scope: Scope, kind: str) -> float:
        limit, now = self._a_minute[kind], self._now()
        level, at = self._levels.get((scope, kind), (float(limit), now))
        return min(float(limit), level + (now - at) * limit / 60)

    def _take(self, scope: Scope, kind: str, amount: int) -> Left:
        limit, level = self._a_minute[kind], self._level(scope, kind) - amount
        self._levels[scope, kind] = (level, self._now())
        return Left(kind=kind, limit=limit, left=max(0, int(level)), whole_in=(limit - level) * 60 / limit)


def _is_limit(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10**9)


def retry_headers(error: RequestRefused) -> dict[str, str]:
    """Return `retry-after` in whole seconds as HTTP has it, and the vendors' own in milliseconds; none where none is
    known."""
    wait = error.wait if isinstance(error, RefusedForNow) else None
    if wait is None:
        return {}
    return {"retry-after": f"{-(-wait // 1):.0f}", "retry-after-ms": f"{wait * 1000:.0f}"}
