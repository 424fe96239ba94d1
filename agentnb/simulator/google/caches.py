"""Keep Google's cachedContents: caches that are objects with a name, a TTL, a minimum size and a price for storage."""

from __future__ import annotations

import datetime
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from agentnb.errors import RequestRefused
from agentnb.models.catalog import CacheKind, Model
from agentnb.simulator.clock import utc
from agentnb.simulator.http_messages import WireMapping, WireObject

DEFAULT_TTL = 3600.0
GONE = "CachedContent not found (or permission denied)"


@dataclass(frozen=True, kw_only=True)
class CachedContent:
    """Holds one cache object. Times in seconds since the epoch."""

    name: str
    owner: str
    model: str
    label: str
    body: WireMapping
    tokens: int
    created: float
    updated: float
    expires: float

    def to_json(self) -> WireObject:
        """Return it as the API shows it: never the contents."""
        return {
            "name": self.name,
            "model": self.model,
            "displayName": self.label,
            "createTime": utc(self.created),
            "updateTime": utc(self.updated),
            "expireTime": utc(self.expires),
            "usageMetadata": {"totalTokenCount": self.tokens},
        }


class CachedContents:
    """Holds the cache objects of one simulator, and what storing them has used up."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._alive: dict[str, CachedContent] = {}
        self._stored = 0.0
        self._lock = threading.Lock()

    def create(self, made: CachedContent, row: Model) -> CachedContent:
        """Keep a new cache. Raises RequestRefused below the model's minimum, or where it has no such caches."""
        if row.cache.kind is not CacheKind.EXPLICIT_OBJECT:
            raise _refused(f"Model {made.model} does not support explicit caching.")
        if made.tokens < row.cache.minimum:
            raise _refused(
                f"Cached content is too small. total_token_count={made.tokens}, "
                f"min_total_token_count={row.cache.minimum}"
            )
        with self._lock:
            self._alive[made.name] = made
        return made

    def get(self, name: str, owner: str) -> CachedContent:
        """Return a living cache of this owner. Raises RequestRefused (403), as the API does for both gone and not
        yours."""
        self.sweep()
        found = self._alive.get(name)
        if found is None or found.owner != owner:
            raise RequestRefused(GONE, status=403)
        return found

    def update(self, name: str, owner: str, expires: float) -> CachedContent:
        """Set a new end of life; nothing else of a cache can be changed."""
        kept = replace(self.get(name, owner), expires=expires, updated=self._now())
        with self._lock:
            self._alive[name] = kept
        return kept

    def delete(self, name: str, owner: str) -> None:
        found = self.get(name, owner)
        with self._lock:
            self._alive.pop(name, None)
            self._stored += _token_hours(found, self._now())

    def of(self, owner: str) -> list[CachedContent]:
        """Return this owner's living caches, oldest first."""
        self.sweep()
        return [found for found in self._alive.values() if found.owner == owner]

    def sweep(self) -> None:
        """Drop what has expired; its storage is counted until then."""
        now = self._now()
        with self._lock:
            for name, found in list(self._alive.items()):
                if found.expires <= now:
                    del self._alive[name]
                    self._stored += _token_hours(found, found.expires)

    def state(self) -> WireObject:
        """Return for the state page what lives, and the token-hours of storage so far, the dead included."""
        self.sweep()
        now = self._now()
        alive = list(self._alive.values())
        return {
            "alive": [
                {"name": one.name, "model": one.model, "display_name": one.label, "tokens": one.tokens}
                | {"expires": one.expires, "seconds_left": round(one.expires - now, 3)}
                for one in alive
            ],
            "token_hours": round(self._stored + sum(_token_hours(one, now) for one in alive), 3),
        }


def _token_hours(found: CachedContent, until: float) -> float:
    return found.tokens * (until - found.created) / 3600


def end_of_life(body: WireMapping, now: float) -> float | None:
    """Return when the cache of `body` shall end, by `ttl` ("300s") or `expireTime`; None: it says nothing."""
    ttl, expire = body.get("ttl"), body.get("expireTime")
    if ttl is not None and expire is not None:
        raise _refused("Only one of ttl and expire_time may be set.")
    if ttl is not None:
        seconds = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(ttl))
        if seconds is None:
            raise _refused(f"Invalid value at 'cached_content.ttl': {ttl!r}")
        return now + float(seconds.group(1))
    return _parse_time(str(expire)) if expire is not None else None


def _parse_time(text: str) -> float:
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise _refused(f"Invalid value at 'cached_content.expire_time': {text!r}") from None


def _refused(message: str) -> RequestRefused:
    return RequestRefused(message, status=400)
