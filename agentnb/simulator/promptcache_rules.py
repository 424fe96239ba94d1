"""Apply Anthropic's published rules of prompt caching, as pure functions over the pieces of one request.

Only marked positions are written. A mark looks back over at most 20 positions, its own being the first. What lies below
the model's minimum is ignored without a word. Which rule comes from where: tests/simulator/CONFORMANCE.md.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

TTL_SECONDS = {"5m": 300.0, "30m": 1800.0, "1h": 3600.0, "12h": 43_200.0, "24h": 86_400.0}


@dataclass(frozen=True, kw_only=True)
class PromptPiece:
    """Holds one block of the rendered prompt: its section, canonical bytes without marks, its tokens, its mark's
    TTL."""

    section: str
    data: bytes
    tokens: int
    ttl: str | None = None


@dataclass(frozen=True, kw_only=True)
class CachedPrefix:
    """Holds a prefix that is warm: the tokens up to its end, and until when (seconds since the epoch)."""

    digest: str
    tokens: int
    ttl: str
    expires: float


@dataclass(frozen=True, kw_only=True)
class CachePlan:
    """Hold what one request reads and writes. `total` counts all pieces; the parts do not overlap.

    `hits` are entries to refresh; `writes` are (digest, tokens up to it, ttl) of entries to make.
    """

    total: int
    read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    hits: tuple[str, ...] = ()
    writes: tuple[tuple[str, int, str], ...] = ()

    @property
    def uncached(self) -> int:
        """Return the tokens that have to be computed: all that was not read."""
        return self.total - self.read

    @property
    def plain(self) -> int:
        """Return the tokens that were neither read nor written."""
        return self.total - self.read - self.write_5m - self.write_1h


def chain(pieces: Iterable[PromptPiece], salts: Mapping[str, bytes]) -> list[str]:
    """Return the digest of the prefix that ends with each piece.

    `salts[section]` is mixed in where a section begins: settings that invalidate it and what follows.
    """
    running = hashlib.sha256()
    section = None
    out = []
    for piece in pieces:
        if piece.section != section:
            section = piece.section
            running.update(b"\0" + section.encode() + b"\0" + salts.get(section, b""))
        running.update(len(piece.data).to_bytes(8, "big") + piece.data)
        out.append(running.copy().hexdigest()[:24])
    return out


def plan(
    pieces: Sequence[PromptPiece],
    digests: Sequence[str],
    live: Mapping[str, CachedPrefix],
    *,
    minimum: int,
    lookback: int,
) -> CachePlan:
    """Plan which of the `live` entries this request reads, and what it writes."""
    ends = list(accumulate(piece.tokens for piece in pieces))
    marks = [i for i, piece in enumerate(pieces) if piece.ttl and ends[i] >= minimum]
    found = [hit for mark in marks if (hit := _look_back(mark, digests, live, lookback)) is not None]
    read = max((ends[i] for i in found), default=0)
    writes = tuple((digests[i], ends[i], pieces[i].ttl or "5m") for i in marks if digests[i] not in live)
    to_1h = max((ends[i] for i in marks if pieces[i].ttl == "1h"), default=0)
    to_any = max((ends[i] for i in marks), default=0)
    write_1h = max(0, to_1h - read)
    return CachePlan(
        total=ends[-1] if ends else 0,
        read=read,
        write_1h=write_1h,
        write_5m=max(0, to_any - read - write_1h),
        hits=tuple(dict.fromkeys(digests[i] for i in found)),
        writes=writes,
    )


def _look_back(mark: int, digests: Sequence[str], live: Mapping[str, CachedPrefix], lookback: int) -> int | None:
    return next((i for i in range(mark, max(-1, mark - lookback), -1) if digests[i] in live), None)


class PromptCaches:
    """Hold what is warm, per scope (API key and model). It dies with the simulator."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], dict[str, CachedPrefix]] = {}
        self._lock = threading.Lock()

    def live(self, scope: tuple[str, str], now: float) -> Mapping[str, CachedPrefix]:
        """Return the unexpired entries of a scope, by digest. Expired ones are dropped for good."""
        with self._lock:
            kept = {key: entry for key, entry in self._entries.get(scope, {}).items() if entry.expires > now}
            self._entries[scope] = kept
            return dict(kept)

    def refresh(self, scope: tuple[str, str], digests: Iterable[str], started: float) -> None:
        """Refresh: a read renews an entry's own TTL, counted from the start of the request that reads it."""
        with self._lock:
            entries = self._entries.setdefault(scope, {})
            for digest in digests:
                entry = entries.get(digest)
                if entry is not None:
                    entries[digest] = replace(entry, expires=max(entry.expires, started + TTL_SECONDS[entry.ttl]))

    def write(self, scope: tuple[str, str], writes: Iterable[tuple[str, int, str]], started: float) -> None:
        """Make entries; called when the reply begins, while the TTL counts from the start of the request."""
        with self._lock:
            entries = self._entries.setdefault(scope, {})
            for digest, tokens, ttl in writes:
                entries[digest] = CachedPrefix(
                    digest=digest, tokens=tokens, ttl=ttl, expires=started + TTL_SECONDS[ttl]
                )

    def all(self, now: float) -> list[tuple[str, CachedPrefix]]:
        """Return (model, entry) of everything warm, for the state page."""
        with self._lock:
            return [
                (model, entry)
                for (_, model), entries in self._entries.items()
                for entry in entries.values()
                if entry.expires > now
            ]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
