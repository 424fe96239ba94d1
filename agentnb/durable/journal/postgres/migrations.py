"""Making the tables of a journal in PostgreSQL, or bringing them up to date: once, whoever comes first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from agentnb.durable.journal.postgres.connecting import Begun, Server
from agentnb.durable.journal.postgres.schema import GUARD, MIGRATIONS, SCHEMA
from agentnb.errors import InputError, JournalError

_LOCK = "SELECT pg_advisory_xact_lock(%s::integer, -1)"
_FORMAT = "SELECT value FROM agentnb.meta WHERE name = 'format'"


def migrate(server: Server, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the database to the newest format, in one transaction. Raises JournalError where a newer agentnb wrote it.

    Processes that come at the same time wait for the first of them, and find its work done.
    """
    found = read_format(server)
    _refuse_newer(found, len(migrations), server)
    if found < len(migrations):
        _refuse_encoding(server)
        server.write(lambda begun: _migrate(begun, migrations))


def read_format(server: Server) -> int:
    """Return the database's format number; 0 where our tables are not in it."""
    if not server.read("SELECT to_regclass('agentnb.meta') IS NOT NULL")[0][0]:
        return 0
    found = server.read(_FORMAT)
    return int(found[0][0]) if found else 0


def is_begun(url: str) -> bool:
    """Tell whether the database has the tables of a journal. Nothing is made."""
    with closing(Server(url)) as server:
        return read_format(server) > 0


def describe(url: str) -> str:
    """Return the server, its version, and what is there of a journal. Nothing is made."""
    with closing(Server(url)) as server:
        version, flushes = server.read("SELECT current_setting('server_version'), current_setting('fsync')")[0]
        found = read_format(server)
        _refuse_newer(found, len(MIGRATIONS), server)
        count = server.read("SELECT count(*) FROM agentnb.runs")[0][0] if found else None
    unsafe = "" if flushes == "on" else "; fsync is off there: a power cut may take everything"
    runs = "no journal yet" if count is None else f"{count} runs"
    return f"{server.address}, PostgreSQL {version.split()[0]}, {runs}{unsafe}"


def _migrate(begun: Begun, migrations: Sequence[Sequence[str]]) -> None:
    begun.rows(_LOCK, (GUARD,))
    if not begun.rows("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)):
        begun.count("CREATE SCHEMA agentnb")
    there = begun.rows("SELECT to_regclass('agentnb.meta') IS NOT NULL")[0][0]
    found = int(begun.rows(_FORMAT)[0][0]) if there else 0
    for statements in migrations[found:]:
        for statement in statements:
            begun.count(statement)
    begun.count(
        "INSERT INTO agentnb.meta VALUES ('format', %s) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value"
        " WHERE meta.value < EXCLUDED.value",
        (len(migrations),),
    )


def _refuse_newer(found: int, known: int, server: Server) -> None:
    if found > known:
        raise JournalError(
            f"the journal has format {found}; this agentnb reads up to {known}",
            about=server.address,
            todo="Upgrade agentnb. Nothing was changed.",
        )


def _refuse_encoding(server: Server) -> None:
    encoding = server.read("SELECT current_setting('server_encoding')")[0][0]
    if encoding != "UTF8":
        raise InputError(
            f"the database holds text as {encoding}, which has no room for all characters",
            about=server.address,
            todo="Make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
        )
