"""An address -> the journal that serves it."""

from __future__ import annotations

import weakref
from pathlib import Path

from agentnb.canonical import Clock, SystemClock
from agentnb.errors import InputError, PackageMissing
from agentnb.runs.embedded import EmbeddedJournal
from agentnb.runs.journal import Journal
from agentnb.storage import open_storage

# One process, one directory, one journal: its threads share a connection (and its flushes), and know each other's runs.
_OPEN: weakref.WeakValueDictionary[tuple[str, str], EmbeddedJournal] = weakref.WeakValueDictionary()


def open_journal(where: str | Path = ":memory:", *, clock: Clock | None = None, synchronous: str = "FULL") -> Journal:
    """The journal at `where`: ":memory:", a directory (made with mode 0700), or "postgresql://...".

    A directory that is open in this process already gives the same journal. `synchronous="NORMAL"` does not flush:
    a power cut may take the newest steps. Raises InputError for another kind of address, and Storage errors.
    """
    address = str(where)
    if address == ":memory:":
        return EmbeddedJournal(clock=clock)
    scheme, separator, _ = address.partition("://")
    if separator:
        return _served_elsewhere(scheme)
    return _embedded(Path(address), clock, synchronous)


def _served_elsewhere(scheme: str) -> Journal:
    if scheme in ("postgresql", "postgres"):
        raise PackageMissing(
            "journals in Postgres are not part of this version", todo="Name a directory for a journal in SQLite."
        )
    raise InputError(
        f"no journal is served by {scheme}://", todo='Name ":memory:", a directory or postgresql://user@host/database.'
    )


def _embedded(home: Path, clock: Clock | None, synchronous: str) -> EmbeddedJournal:
    home = home.expanduser().resolve()
    if home.exists() and not home.is_dir():
        raise InputError(
            "a journal is a directory, and this is a file",
            about=str(home),
            todo="Name a directory; the SQLite file in it is cache.db.",
        )
    place = (str(home), synchronous.upper())
    journal = _OPEN.get(place)
    if journal is None or journal.closed or not _same_clock(clock, journal.clock):
        database = open_storage(home).database
        journal = _OPEN[place] = EmbeddedJournal(database, clock=clock, synchronous=synchronous)
    else:
        journal.share()
    return journal


def _same_clock(asked: Clock | None, kept: Clock) -> bool:
    """Whether a journal that is open serves who asks for this clock; one system clock is as good as another."""
    return asked is None or asked is kept or (isinstance(asked, SystemClock) and isinstance(kept, SystemClock))
