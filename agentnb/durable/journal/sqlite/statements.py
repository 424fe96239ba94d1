"""List the embedded journal's statements, and the rows they give as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentnb.canonical import JsonObject, load
from agentnb.durable.events import Event
from agentnb.durable.journal.deltas import data_of
from agentnb.durable.journal.records import RunRow, RunSummary, Tally

ADD_RUN = (
    "INSERT INTO agentnb_runs (run_id, state, status, step, created, updated, versions, origin_run,"
    " origin_step, tags, wake_at) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)"
)
APPEND = (
    "INSERT INTO agentnb_history (run, prev, step, part, kind, state, next_state, at, frame, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
STEP = (
    "INSERT INTO agentnb_step (run, step, fence, state, next_state, at, lease_until, lease_tick, frame)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
STEP_WITH_DATA = "INSERT INTO agentnb_step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
MOVE = (
    "UPDATE agentnb_runs SET state = ?, status = ?, step = ?, updated = ?, owner = ?, lease_until = ?, lease_tick = ?,"
    " failed_in = ?, wake_at = ?, attempt = 0 WHERE id = ? AND step = ? AND fence = ? AND control IS NULL"
)
CLAIM = "UPDATE agentnb_runs SET owner = ?, fence = fence + 1, lease_until = ?, lease_tick = ? WHERE id = ?"
MARK = (
    "UPDATE agentnb_runs SET status = ?, state = ?, updated = ?, failed_in = ?, error = ?, attempt = ?, owner = ?,"
    " versions = ?, wake_at = coalesce(?, wake_at), control = NULL WHERE id = ?"
)
WAITING = (
    "SELECT id, name, data, at FROM agentnb_inbox WHERE run = ? AND name = ? AND taken IS NULL ORDER BY id LIMIT 1"
)
DELIVER = "INSERT OR IGNORE INTO agentnb_inbox (run, name, event_id, data, at) VALUES (?, ?, ?, ?, ?)"
DELIVERED = (
    "SELECT i.id, i.name, i.data, i.at FROM agentnb_inbox i JOIN agentnb_runs r ON r.id = i.run"
    " WHERE r.run_id = ? AND i.taken = ?"
)
ACTIONS = (
    "SELECT step, name, status, fence, data FROM agentnb_actions WHERE run = ? AND (? IS NULL OR step = ?)"
    " ORDER BY step, at"
)
PUT_ACTION = (
    "INSERT OR REPLACE INTO agentnb_actions (run, step, name, status, fence, at, data) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
RENEW = "UPDATE agentnb_runs SET lease_until = ?, lease_tick = ? WHERE id = ? AND fence = ? AND owner = ?"
RELEASE = "UPDATE agentnb_runs SET owner = NULL, fence = fence + 1 WHERE id = ? AND fence = ? AND owner = ?"
SELECT_FREE = (
    "SELECT run_id FROM agentnb_runs WHERE state IN (SELECT value FROM json_each(?))"
    " AND (status = 'running' OR (status = 'waiting' AND (wake_at <= ? OR EXISTS (SELECT 1 FROM agentnb_inbox i"
    " WHERE i.run = agentnb_runs.id AND i.taken IS NULL AND 'AWAITING_' || i.name = agentnb_runs.state))))"
    " AND (owner IS NULL OR (owner LIKE ? AND lease_tick <= ?) OR (owner NOT LIKE ? AND lease_until <= ?)"
    " OR owner IN (SELECT value FROM json_each(?)))"
)
"""The states as JSON, now; this machine's owners, its tick; its owners again, now; the dead ones as JSON."""
DOOMED = "SELECT id FROM agentnb_runs WHERE run_id IN (SELECT value FROM json_each(?)) AND updated < ?"
FREED = (
    "SELECT count(DISTINCT run), count(*), coalesce(sum(length(frame)), 0) + coalesce(sum(length(data)), 0)"
    " FROM agentnb_history WHERE run IN (SELECT value FROM json_each(?))"
)
PRUNE = (
    # The last event of all stays: its number would come again. Nobody sees it without its run.
    "DELETE FROM agentnb_history WHERE run IN (SELECT value FROM json_each(?1))"
    " AND seq < (SELECT max(seq) FROM agentnb_history)",
    *(
        f"DELETE FROM agentnb_{table} WHERE {column} IN (SELECT value FROM json_each(?1))"  # noqa: S608
        for table, column in (
            ("keyframes", "run"),
            ("tags", "run"),
            ("actions", "run"),
            ("inbox", "run"),
            ("runs", "id"),
        )
    ),
)
TALLY = (
    "SELECT status, substr(state, 1, 9) = 'AWAITING_', owner, fence > 0, max(lease_until), max(lease_tick),"
    " CASE WHEN status = 'failed' THEN step END, CASE WHEN status = 'failed' THEN error END, count(*),"
    " CAST(sum(step) AS bigint), min(created), max(updated) FROM agentnb_runs"
)
TALLIED = "GROUP BY 1, 2, 3, 4, 7, 8, lease_until > {0}, lease_tick > {0}"
KEYFRAME_BELOW = "SELECT seq FROM agentnb_keyframes WHERE run = ? AND step <= ? ORDER BY step DESC LIMIT 1"
BEFORE_KEYFRAME_ABOVE = (
    "SELECT h.prev FROM agentnb_keyframes k JOIN agentnb_history h ON h.seq = k.seq"
    " WHERE k.run = ? AND k.step > ? ORDER BY k.step LIMIT 1"
)
FRAMES = (
    "WITH RECURSIVE chain (seq) AS (VALUES (?1) UNION SELECT h.prev FROM chain JOIN agentnb_history h"
    " ON h.seq = chain.seq WHERE chain.seq > ?2) SELECT h.step, h.next_state, h.frame FROM chain"
    " JOIN agentnb_history h ON h.seq = chain.seq WHERE h.part = 0 AND h.step <= ?3 ORDER BY h.step"
)
SELECT_ROW = (
    "SELECT id, run_id, state, status, step, tags, created, updated, failed_in, origin_run, origin_step, fence, owner,"
    " lease_until, lease_tick, control, attempt, error, versions, wake_at FROM agentnb_runs"
)
_EVENT = (
    "h.seq, r.run_id, h.step, h.kind, h.state, h.next_state, h.at, h.data, CASE WHEN h.data IS NULL THEN h.frame END"
)
HISTORY = (
    "WITH RECURSIVE chain (seq) AS (SELECT last FROM agentnb_runs WHERE id = ?1 UNION SELECT h.prev FROM chain"
    " JOIN agentnb_history h ON h.seq = chain.seq WHERE h.prev > 0)"
    " SELECT EVENT FROM chain JOIN agentnb_history h ON h.seq = chain.seq JOIN agentnb_runs r ON r.id = h.run"
    " WHERE ?2 IS NULL OR h.state = ?2 ORDER BY h.seq"
).replace("EVENT", _EVENT)
SELECT_EVENTS = "SELECT EVENT FROM agentnb_history h JOIN agentnb_runs r ON r.id = h.run".replace("EVENT", _EVENT)


def with_tags(tags: Mapping[str, str], column: str = "id") -> tuple[str, list[str]]:
    """Return the condition that a run carries all these tags, and its values."""
    one = "SELECT run FROM agentnb_tags WHERE name = ? AND value = ?"
    every = " INTERSECT ".join([one] * len(tags))
    condition = f"{column} IN ({every})" if tags else "1"
    return condition, [part for item in tags.items() for part in item]


def tally_of(found: tuple[Any, ...]) -> Tally:
    status, awaits, owner, begun, *rest = found
    return Tally(status, bool(awaits), owner, bool(begun), *rest)


_KINDS = (str, str, str, int, int, int, int | float, int | float)


def row_of(found: tuple[Any, ...]) -> RunRow:
    """Return the run's row. Raises ValueError or TypeError on one that agentnb did not write."""
    key, run_id, state, status, step, tags, created, updated, failed_in, origin_run, origin_step, *rest = found
    fence, owner, until, tick, control, attempt, error, versions, wake_at = rest
    kinds = zip((run_id, state, status, step, attempt, fence, created, updated), _KINDS, strict=True)
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise TypeError("a run's row holds values of other types")
    return RunRow(
        key=key, fence=fence, owner=owner, lease_until=until, lease_tick=tick, control=control, attempt=attempt,
        error=error, versions=_mapping(versions), wake_at=wake_at,
        summary=RunSummary(
            run_id=run_id, state=state, status=status, step=step, tags=_mapping(tags), created=created, updated=updated,
            failed_in=failed_in, origin=None if origin_run is None else (origin_run, origin_step),
        ),
    )  # fmt: skip


def _mapping(text: str | bytes) -> JsonObject:
    value = load(text)
    if not isinstance(value, dict):
        raise TypeError("a row holds JSON of another kind")
    return value


_EVENT_KINDS = (int, str, int, str, str | None, str | None, int | float)


def events_of(found: Iterable[tuple[Any, ...]]) -> list[Event]:
    """Return the rows' events. Raises ValueError or TypeError on one that agentnb did not write."""
    return [_event_of(row) for row in found]


def _event_of(row: tuple[Any, ...]) -> Event:
    seq, run_id, step, kind, state, next_state, at, stored, frame = row
    if not all(isinstance(value, known) for value, known in zip(row[:7], _EVENT_KINDS, strict=True)):
        raise TypeError("an event's row holds values of other types")
    return Event(
        seq=seq, run_id=run_id, step=step, kind=kind, state=state, next_state=next_state, at=at,
        data=_mapping(data) if (data := data_of(frame, stored)) else {},
    )  # fmt: skip
