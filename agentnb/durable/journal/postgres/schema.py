"""Make a journal's tables in PostgreSQL, with their format number, and migrate old ones by numbered steps.

They lie in a schema of their own, `agentnb`, and need no right but to create it. Where an administrator has made it,
the right to create tables in it is enough. A released format is never changed: a new one is a new entry in MIGRATIONS.
The tables are made or brought up to date once, by whoever comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from agentnb.durable.journal.postgres.connecting import Begun, Server
from agentnb.errors import InputError, JournalError

SCHEMA = "agentnb"
GUARD = 0x61676E62
"""The first number of all our advisory locks: "agnb"."""

FORMAT_1 = (
    "CREATE TABLE agentnb.meta (name text PRIMARY KEY, value bigint NOT NULL)",
    # The run's place and its worker. A step changes no indexed column, and the row's new version finds room on the same
    # page (fillfactor). So no index is written, and old versions go without a vacuum.
    """CREATE TABLE agentnb.runs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id text COLLATE "C" NOT NULL UNIQUE,
        state text NOT NULL, status text NOT NULL, step bigint NOT NULL DEFAULT 0, created float8 NOT NULL,
        updated float8 NOT NULL, fence bigint NOT NULL DEFAULT 0, owner text COLLATE "C",
        lease_until float8 NOT NULL DEFAULT 0, lease_tick float8 NOT NULL DEFAULT 0, control text,
        attempt integer NOT NULL DEFAULT 0, failed_in text, error bytea, wake_at float8, versions text NOT NULL,
        origin_run text, origin_step bigint, tags text NOT NULL) WITH (fillfactor = 50)""",
    "CREATE INDEX runs_going ON agentnb.runs (id) WHERE status IN ('running', 'waiting')",
    # Events are numbered in the order in which they become visible: no follower sees 8 before 7 is settled. Whoever
    # takes a number first says, by a lock that ends with the transaction, that numbers are under way. `settled` gives
    # the last number below which none is. Nobody ever waits for such a lock.
    "CREATE SEQUENCE agentnb.event_seq",
    f"""CREATE FUNCTION agentnb.next_seq() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
        BEGIN
            PERFORM pg_catalog.pg_advisory_xact_lock_shared(
                {GUARD}, ((CASE WHEN is_called THEN last_value ELSE 0 END) % 2147483648)::integer)
                FROM agentnb.event_seq;
            RETURN pg_catalog.nextval('agentnb.event_seq'::pg_catalog.regclass);
        END $$""",
    """CREATE FUNCTION agentnb.settled() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
        DECLARE
            top bigint;
            low bigint;
        BEGIN
            SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO top FROM agentnb.event_seq;
            SELECT min(top - ((top - l.objid::bigint + 1073741824 + 2147483648) % 2147483648 - 1073741824)) INTO low
                FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
                WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND l.objsubid = 2
                AND l.classid = GUARD AND d.datname = pg_catalog.current_database();
            RETURN least(top, low);
        END $$""".replace("GUARD", str(GUARD)),
    # A history row is the event: part 0 is the step, later parts are marks made while it stood. Its key lets no step be
    # written twice, whatever else should fail. `fence` tells under which claim it was written. So a worker whose
    # connection broke during a commit can tell whether the step is its own.
    """CREATE TABLE agentnb.history (
        run bigint NOT NULL, step bigint NOT NULL, part integer NOT NULL,
        seq bigint NOT NULL DEFAULT agentnb.next_seq(),
        fence bigint NOT NULL, at float8 NOT NULL, keyframe boolean NOT NULL, kind text NOT NULL, state text NOT NULL,
        next_state text NOT NULL, frame bytea, data bytea, PRIMARY KEY (run, step, part))""",
    "CREATE UNIQUE INDEX history_seq ON agentnb.history (seq)",
    "CREATE INDEX history_keyframes ON agentnb.history (run, step) WHERE keyframe",
    # By digest: a tag may be longer than what an index takes.
    "CREATE TABLE agentnb.tags (digest bytea NOT NULL, run bigint NOT NULL, PRIMARY KEY (digest, run))",
    """CREATE TABLE agentnb.actions (
        run bigint NOT NULL, step bigint NOT NULL, name text COLLATE "C" NOT NULL, status text NOT NULL,
        fence bigint NOT NULL, at float8 NOT NULL, data bytea, PRIMARY KEY (run, step, name))""",
    """CREATE TABLE agentnb.inbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run bigint NOT NULL, name text COLLATE "C" NOT NULL,
        event_id text COLLATE "C", data bytea NOT NULL, at float8 NOT NULL, taken bigint, UNIQUE (run, event_id))""",
    "CREATE INDEX inbox_waiting ON agentnb.inbox (run, name) WHERE taken IS NULL",
)

FORMAT_2: Sequence[str] = ()
"""The same tables; long steps are deflated (journal/deltas.py), which who reads format 1 alone cannot read."""

MIGRATIONS: tuple[Sequence[str], ...] = (FORMAT_1, FORMAT_2)
"""MIGRATIONS[n] turns format n into format n + 1; format 0 is a database without our tables."""

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
