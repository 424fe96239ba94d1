"""Declare the embedded journal's tables, their format number, and the numbered migrations that bring an old file up to
date.

The tables lie in diskcache's own `cache.db` and begin with `agentnb_`; diskcache's `check` and `clear` leave them be. A
released format is never changed: a new one is a new entry in MIGRATIONS. A stored sample of each released format stays
in the tests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from agentnb.errors import JournalError, StorageDamaged

FORMAT_1 = (
    "CREATE TABLE agentnb_meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # The row of a run holds where it is and who works on it. Its context is in the history, as frames.
    """CREATE TABLE agentnb_runs (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, status TEXT NOT NULL,
        step INTEGER NOT NULL, last INTEGER NOT NULL DEFAULT 0, created REAL NOT NULL, updated REAL NOT NULL,
        fence INTEGER NOT NULL DEFAULT 0,
        owner TEXT, lease_until REAL NOT NULL DEFAULT 0, lease_tick REAL NOT NULL DEFAULT 0, control TEXT,
        attempt INTEGER NOT NULL DEFAULT 0, failed_in TEXT, error BLOB, wake_at REAL, versions TEXT NOT NULL,
        origin_run TEXT, origin_step INTEGER, tags TEXT NOT NULL)""",
    # A history row is the event: part 0 is the step, later parts are marks made while it stood. `prev` is the run's row
    # before; the run's row holds the `last` one, and each keyframe is listed. An index over (run, step) would be one
    # more page to write at every step. That is a sixth of its time (2026-11-22, tmpfs). Rows are never deleted, so the
    # rowid, the followers' cursor, grows with each commit and never comes twice.
    """CREATE TABLE agentnb_history (
        seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, step INTEGER NOT NULL, part INTEGER NOT NULL,
        prev INTEGER NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, next_state TEXT NOT NULL, at REAL NOT NULL,
        frame BLOB, data BLOB)""",
    """CREATE TABLE agentnb_keyframes (
        run INTEGER NOT NULL, step INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (run, step)) WITHOUT ROWID""",
    # The usual step in one statement: the event goes in, and the run's row moves by compare-and-swap, or neither does.
    # The values come in this order; the trigger costs less than a transaction of two statements.
    """CREATE VIEW agentnb_step AS SELECT 0 AS run, 0 AS step, 0 AS fence, '' AS state, '' AS next_state,
        0.0 AS at, 0.0 AS lease_until, 0.0 AS lease_tick, x'' AS frame, x'' AS data""",
    """CREATE TRIGGER agentnb_step_taken INSTEAD OF INSERT ON agentnb_step BEGIN
        INSERT INTO agentnb_history (run, step, part, prev, kind, state, next_state, at, frame, data)
            SELECT id, NEW.step, 0, last, 'step', NEW.state, NEW.next_state, NEW.at, NEW.frame, NEW.data
            FROM agentnb_runs WHERE id = NEW.run AND step = NEW.step - 1 AND fence = NEW.fence
            AND control IS NULL AND status = 'running';
        SELECT RAISE(ABORT, 'conflict') WHERE changes() = 0;
        UPDATE agentnb_runs SET state = NEW.next_state, step = NEW.step, last = last_insert_rowid(), updated = NEW.at,
            lease_until = NEW.lease_until, lease_tick = NEW.lease_tick, attempt = 0 WHERE id = NEW.run;
        END""",
    """CREATE TABLE agentnb_tags (
        name TEXT NOT NULL, value TEXT NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (name, value, run)) WITHOUT ROWID""",
    """CREATE TABLE agentnb_actions (
        run INTEGER NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL,
        fence INTEGER NOT NULL, at REAL NOT NULL, data BLOB, PRIMARY KEY (run, step, name)) WITHOUT ROWID""",
    """CREATE TABLE agentnb_inbox (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, name TEXT NOT NULL, event_id TEXT, data BLOB NOT NULL,
        at REAL NOT NULL, taken INTEGER, UNIQUE (run, event_id))""",
    "CREATE INDEX agentnb_inbox_waiting ON agentnb_inbox (run, name) WHERE taken IS NULL",
)

FORMAT_2: Sequence[str] = ()
"""The same tables; long steps are deflated (journal/deltas.py), which who reads format 1 alone cannot read."""

MIGRATIONS: tuple[Sequence[str], ...] = (FORMAT_1, FORMAT_2)
"""MIGRATIONS[n] turns format n into format n + 1; format 0 is a file without our tables."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the file to the newest format, in one transaction. Raises JournalError where a newer agentnb wrote it."""
    if read_format(connection) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _migrate_from(connection, read_format(connection), migrations)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _migrate_from(connection: sqlite3.Connection, found: int, migrations: Sequence[Sequence[str]]) -> None:
    if found > len(migrations):
        raise JournalError(
            f"the journal has format {found}; this agentnb reads up to {len(migrations)}",
            todo="Upgrade agentnb. Nothing was changed.",
        )
    for statements in migrations[found:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute("INSERT OR REPLACE INTO agentnb_meta VALUES ('format', ?)", (len(migrations),))


def read_format(connection: sqlite3.Connection) -> int:
    """Return the file's format number; 0 where our tables are not in it."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'agentnb_meta'").fetchone():
        return 0
    row = connection.execute("SELECT value FROM agentnb_meta WHERE name = 'format'").fetchone()
    try:
        return int(row[0]) if row else 0
    except (ValueError, TypeError) as error:
        raise StorageDamaged("the journal's format is no number", todo="Put back a copy of the file.") from error
