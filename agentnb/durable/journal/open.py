"""Open, by an address, the journal that serves it."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from agentnb.canonical import Clock, SystemClock, digest, well_formed
from agentnb.durable.journal.protocol import Journal
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.errors import InputError
from agentnb.storage import DATABASE, open_storage

if TYPE_CHECKING:
    from agentnb.durable.journal.postgres import PostgresJournal

Shared: TypeAlias = "EmbeddedJournal | PostgresJournal"

# One process, one place, one journal: its threads share connections (and flushes), and know each other's runs.
_OPEN: weakref.WeakValueDictionary[tuple[str, str], Shared] = weakref.WeakValueDictionary()


def open_journal(where: str | Path = ":memory:", *, clock: Clock | None = None, synchronous: str = "FULL") -> Journal:
    """Return the journal at `where`: ":memory:", a directory (made with mode 0700), or
    "postgresql://user@host/database".

    A place that is open in this process already gives the same journal. `synchronous="NORMAL"` does not flush:
    a power cut may take the newest steps. Raises InputError for another kind of address, Storage errors for a
    directory, and for a database PackageMissing, JournalUnreachable and JournalRefused.

    >>> journal = agentnb.open_journal(home / "runs")
    >>> [run.run_id for run in journal.find()]
    []
    >>> journal.close()
    """
    address = str(where)
    if address == ":memory:":
        return EmbeddedJournal(clock=clock)
    if "://" in address:
        return _served(address, clock, synchronous)
    home = _directory(address)
    return _shared(
        (str(home), synchronous.upper()),
        clock,
        lambda: EmbeddedJournal(open_storage(home).database, clock=clock, synchronous=synchronous),
    )


def is_begun(where: str | Path) -> bool:
    """Tell whether there is a journal at `where` yet. Nothing is made; raises what `open_journal` raises."""
    address = str(where)
    if address == ":memory:":
        return False
    if "://" in address:
        from agentnb.durable.journal.postgres.schema import is_begun

        return is_begun(_known(address))
    return (_directory(address) / DATABASE).exists()


def describe(address: str) -> str:
    """Return a database and its journal in a few words, for people. Nothing is made; raises what `open_journal`
    raises."""
    from agentnb.durable.journal.postgres.schema import describe

    return describe(_known(address))


def _served(address: str, clock: Clock | None, synchronous: str) -> Journal:
    from agentnb.durable.journal.postgres import PostgresJournal

    return _shared(
        (digest(_known(address)), synchronous.upper()),
        clock,
        lambda: PostgresJournal(address, clock=clock, synchronous=synchronous),
    )


def _known(address: str) -> str:
    scheme = address.partition("://")[0]
    if scheme not in ("postgresql", "postgres"):
        raise InputError(
            f"no journal is served by {scheme}://",
            todo='Name ":memory:", a directory or postgresql://user@host/database.',
        )
    if well_formed(address) != address or "\0" in address:
        raise InputError("the journal's address holds what no address can hold", todo="Write it with plain letters.")
    return address


_SETTINGS = re.compile(
    r"^postgres(?:ql)?(?::|//)|:[^/\\]+@|(?:^|[\s;,?&])(?:pg)?"
    r"(?:host|hostaddr|server|port|dbname|database|user|user id|uid|password|sslpassword|pwd|passfile|service)\s*=",
    re.IGNORECASE,
)
"""An address without its beginning, or in libpq's own form: a directory of that name would show its password."""


def _directory(address: str) -> Path:
    if _SETTINGS.search(address):
        raise InputError(
            "a journal's database is named by an address, not by settings",
            todo="Write postgresql://user@host/database; the password may stand in PGPASSWORD or ~/.pgpass.",
        )
    if not address.strip():
        raise InputError("a journal needs a place, and none is named", todo='Name ":memory:" or a directory.')
    try:
        home = Path(address).expanduser().resolve()
        is_file = home.exists() and not home.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError("this is no directory's path", about=ascii(address)[:200], todo="Name a directory.") from error
    if is_file:
        raise InputError(
            "a journal is a directory, and this is a file",
            about=str(home),
            todo="Name a directory; the SQLite file in it is cache.db.",
        )
    return home


def _shared(place: tuple[str, str], clock: Clock | None, make: Callable[[], Shared]) -> Shared:
    journal = _OPEN.get(place)
    if journal is None or journal.closed or not _same_clock(clock, journal.clock):
        journal = _OPEN[place] = make()
    else:
        journal.share()
    return journal


def _same_clock(asked: Clock | None, kept: Clock) -> bool:
    """Tell whether an open journal serves who asks for this clock: one system clock is as good as another."""
    return asked is None or asked is kept or (isinstance(asked, SystemClock) and isinstance(kept, SystemClock))
