"""Remember what is warm in the providers' prompt caches until when, across kernels that share the data directory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

from agentnb import canonical
from agentnb.canonical import JsonObject
from agentnb.models.catalog import LOCAL

E = TypeVar("E")

REMEMBERED = 3600.0
"""Seconds for which an entry is kept past its end: to say that something has expired, it must be known."""

PAGE, MOST_PAGES = 32, 64
"""Blocks of a sent request that have a row together, and the pages that are kept as they were read."""
_BY_BLOCK = ("chain", "labels", "digests", "tokens")


class BytesStorage(Protocol):
    """Does what the ledger needs of the data directory: text keys, raw bytes, entries that may be lost."""

    def get(self, key: str) -> bytes | None: ...

    def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None: ...

    def delete(self, key: str) -> None: ...

    def keys(self, prefix: str) -> Iterable[str]: ...


@dataclass(frozen=True, kw_only=True)
class Warm:
    """Holds a prefix that is warm until `until` (seconds since the epoch). `tokens` is what it held when last
    counted."""

    scope: str
    model: str
    prefix: str
    tokens: int
    ttl: str
    until: float
    why: str


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Holds what a call sent, to compare the next one with: prefix digests, labels and tokens by block. `replied` is
    what the reply reported of its own blocks, by digest. The blocks themselves are in the journal, under the run."""

    run_id: str
    model: str
    at: float
    chain: tuple[str, ...]
    labels: tuple[str, ...]
    digests: tuple[str, ...]
    tokens: tuple[int, ...]
    simulated: bool = False
    replied: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class User:
    """Holds a session (`owner`) that uses a cache object, and in which thread."""

    owner: str
    thread: str


@dataclass(frozen=True, kw_only=True)
class HeldObject:
    """Holds a cache object of ours at a provider: it holds everything up to `prefix`. `payer` is the session that paid
    last.

    `made` and `until` in seconds since the epoch; storage is paid for from one to the other.
    """

    name: str
    scope: str
    model: str
    prefix: str
    tokens: int
    made: float
    until: float
    users: tuple[User, ...]
    payer: str


def kept_at(scope: str) -> str:
    """Return where a scope's cache objects are kept. On this machine they outlive the server, whose memory does not."""
    return LOCAL if scope.startswith(f"{LOCAL}:") else scope


class Ledger:
    """Remembers what is warm where until when, across kernels that share the data directory."""

    def __init__(self, storage: BytesStorage) -> None:
        self._storage = storage
        self._read_pages: dict[str, list[list[Any]]] = {}  # what a page holds never changes

    def warm(self, scope: str, model: str, prefix: str, now: float) -> Warm | None:
        entry = self.remembered(scope, model, prefix)
        return entry if entry is not None and entry.until > now else None

    def remembered(self, scope: str, model: str, prefix: str) -> Warm | None:
        """Return the entry even if it has expired, for as long as it is remembered (an hour past its end)."""
        return _read(self._storage.get(_warm_key(scope, model, prefix)), _warm)

    def longest_first(self, scope: str, model: str, chain: Sequence[str]) -> Iterator[Warm]:
        """Yield the entries of a chain's prefixes, read one by one as asked for: a long session has hundreds."""
        start = _warm_key(scope, model, "")
        known = {key.removeprefix(start) for key in self._storage.keys(start)}
        found = (self.remembered(scope, model, prefix) for prefix in reversed(chain) if prefix in known)
        return (entry for entry in found if entry is not None)

    def record(self, entries: Iterable[Warm], now: float) -> None:
        for entry in entries:
            ttl = max(entry.until - now, 0.0) + REMEMBERED
            self._storage.set(_warm_key(entry.scope, entry.model, entry.prefix), canonical.dump(vars(entry)), ttl=ttl)

    def remembered_of(self, scope: str, model: str) -> dict[str, Warm]:
        """Return every entry of one model in one scope by prefix, those too that have expired within the last hour."""
        return {entry.prefix: entry for entry in self._all(_warm_key(scope, model, ""), _warm)}

    def entries(self) -> list[Warm]:
        """Return everything remembered, soonest to expire first."""
        return sorted(self._all("warm/", _warm), key=lambda entry: entry.until)

    def forget(self) -> int:
        """Drop every entry of ours (the provider's cache expires by itself). The number dropped."""
        keys = list(self._storage.keys("warm/"))
        for key in keys:
            self._storage.delete(key)
        return len(keys)

    def last_sent(self, thread: str) -> Sent | None:
        return _read(self._storage.get(f"sent/{thread}"), lambda row: self._joined(thread, row))

    def remember_sent(self, thread: str, sent: Sent) -> None:
        """Keep what was sent under its thread, and the thread's name as the newest of its model.

        A conversation grows at its end. So each PAGE of its blocks has a row of its own, named by what it holds and
        written once. The thread's own row has the blocks behind the last whole page.
        """
        before, pages = set(self._pages_of(thread)), dict[str, bytes]()
        whole = len(sent.chain) // PAGE * PAGE
        for start in range(0, whole, PAGE):
            page = canonical.dump([getattr(sent, name)[start : start + PAGE] for name in _BY_BLOCK])
            pages[canonical.digest(page)] = page
        for name in pages.keys() - before:
            self._storage.set(_page_key(thread, name), pages[name])
        rest = {name: getattr(sent, name)[whole:] for name in _BY_BLOCK}
        self._storage.set(f"sent/{thread}", canonical.dump({**vars(sent), **rest, "pages": list(pages)}))
        for name in before - pages.keys():
            self._storage.delete(_page_key(thread, name))
        self._storage.set(_newest_key(sent.model, sent.simulated), canonical.dump({"thread": thread}))

    def _pages_of(self, thread: str) -> list[str]:
        return _read(self._storage.get(f"sent/{thread}"), lambda row: list(map(str, row.get("pages", ())))) or []

    def _joined(self, thread: str, row: JsonObject) -> Sent:
        """Return a thread's row with its pages before it. Raises KeyError where one is gone."""
        pages = [self._page(thread, name) for name in row.pop("pages", ())]
        for number, name in enumerate(_BY_BLOCK):
            row[name] = [*itertools.chain.from_iterable(page[number] for page in pages), *row[name]]
        return _sent(row)

    def _page(self, thread: str, name: str) -> list[list[Any]]:
        if name not in self._read_pages:
            raw = self._storage.get(_page_key(thread, name))
            if raw is None:
                raise KeyError(name)
            self._read_pages = dict([*self._read_pages.items()][-MOST_PAGES:]) | {name: canonical.load(raw)}
        return self._read_pages[name]

    def remember_cut(self, thread: str, sent: Sent) -> None:
        """Keep what was sent by a call that brought no reply: the provider may have read it all the same."""
        self._storage.set(f"cut/{thread}", canonical.dump(vars(sent)), ttl=REMEMBERED)

    def last_cut(self, thread: str) -> Sent | None:
        return _read(self._storage.get(f"cut/{thread}"), _sent)

    def newest_like(self, thread: str, model: str, *, simulated: bool) -> Sent | None:
        """Return what the thread last sent to this model, else what any thread did: for the tokens of common blocks.

        What the simulator counted is no count of the real model's.
        """
        newest = _read(self._storage.get(_newest_key(model, simulated)), lambda row: str(row["thread"]))
        for name in (thread, newest):
            found = None if name is None else self.last_sent(name)
            if found is not None and (found.model, found.simulated) == (model, simulated):
                return found
        return None

    # --- cache objects --------------------------------------------------------------------------------------------

    def hold(self, held: HeldObject, now: float) -> None:
        ttl = max(held.until - now, 0.0) + REMEMBERED
        self._storage.set(f"object/{held.name}", canonical.dump(asdict(held)), ttl=ttl)

    def held(self, scope: str | None = None) -> list[HeldObject]:
        """Return the cache objects that we know of, oldest first; expired ones too, until they are dropped."""
        objects = self._all("object/", _held)
        return sorted((h for h in objects if scope is None or h.scope == kept_at(scope)), key=lambda h: h.made)

    def _all(self, start: str, made: Callable[[JsonObject], E]) -> list[E]:
        found = (_read(self._storage.get(key), made) for key in self._storage.keys(start))
        return [entry for entry in found if entry is not None]

    def drop(self, name: str) -> None:
        """Forget a cache object: it is gone at the provider."""
        self._storage.delete(f"object/{name}")


def _read(raw: bytes | None, made: Callable[[JsonObject], E]) -> E | None:
    """Return an entry. None where there is none, or another version of this package wrote one that this cannot read."""
    if raw is None:
        return None
    try:
        return made(canonical.load(raw))
    except (ValueError, TypeError, KeyError):
        return None


def _warm(value: JsonObject) -> Warm:
    return Warm(**value)


def _sent(value: JsonObject) -> Sent:
    return Sent(**(value | {name: tuple(value[name]) for name in _BY_BLOCK}))


def _held(value: JsonObject) -> HeldObject:
    return HeldObject(**(value | {"users": tuple(User(**user) for user in value["users"])}))


def _warm_key(scope: str, model: str, prefix: str) -> str:
    return f"warm/{canonical.digest(scope)}/{model}/{prefix}"


def _page_key(thread: str, name: str) -> str:
    return f"sent-page/{thread}/{name}"


def _newest_key(model: str, simulated: bool) -> str:
    return f"sent/model/{'sim:' if simulated else ''}{model}"
