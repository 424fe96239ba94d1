"""The embedded journal's statements, and the rows they give as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentnb.canonical import load
from agentnb.runs.events import Event
from agentnb.runs.rows import RunRow, RunSummary

APPEND = (
    "INSERT INTO agentnb_history (run, prev, step, part, kind, state, next_state, at, frame, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
MOVE = (
    "UPDATE agentnb_runs SET state = ?, status = ?, step = ?, updated = ?, owner = ?, lease_until = ?, lease_tick = ?,"
    " failed_in = ?, wake_at = ?, attempt = 0 WHERE id = ? AND step = ? AND fence = ? AND control IS NULL"
)
CLAIM = "UPDATE agentnb_runs SET owner = ?, fence = fence + 1, lease_until = ?, lease_tick = ? WHERE id = ?"
MARK = (
    "UPDATE agentnb_runs SET status = ?, state = ?, updated = ?, failed_in = ?, error = ?, attempt = ?, owner = ?,"
    " versions = ?, control = NULL WHERE id = ?"
)
KEYFRAME_BELOW = "SELECT seq FROM agentnb_keyframes WHERE run = ? AND step <= ? ORDER BY step DESC LIMIT 1"
BEFORE_KEYFRAME_ABOVE = (
    "SELECT h.prev FROM agentnb_keyframes k JOIN agentnb_history h ON h.seq = k.seq"
    " WHERE k.run = ? AND k.step > ? ORDER BY k.step LIMIT 1"
)
FRAMES = (
    "WITH RECURSIVE chain (seq) AS (VALUES (?1) UNION ALL SELECT h.prev FROM chain JOIN agentnb_history h"
    " ON h.seq = chain.seq WHERE chain.seq > ?2) SELECT h.step, h.next_state, h.frame FROM chain"
    " JOIN agentnb_history h ON h.seq = chain.seq WHERE h.part = 0 AND h.step <= ?3 ORDER BY h.step"
)
SELECT_ROW = (
    "SELECT id, run_id, state, status, step, tags, created, updated, failed_in, origin_run, origin_step, fence, owner,"
    " lease_until, lease_tick, control, attempt, error, versions, wake_at FROM agentnb_runs"
)
HISTORY = (
    "WITH RECURSIVE chain (seq) AS (SELECT last FROM agentnb_runs WHERE id = ? UNION ALL SELECT h.prev FROM chain"
    " JOIN agentnb_history h ON h.seq = chain.seq WHERE h.prev > 0)"
    " SELECT h.seq, r.run_id, h.step, h.kind, h.state, h.next_state, h.at, h.data FROM chain"
    " JOIN agentnb_history h ON h.seq = chain.seq JOIN agentnb_runs r ON r.id = h.run ORDER BY h.seq"
)
SELECT_EVENTS = (
    "SELECT h.seq, r.run_id, h.step, h.kind, h.state, h.next_state, h.at, h.data"
    " FROM agentnb_history h JOIN agentnb_runs r ON r.id = h.run"
)


def row_of(found: tuple[Any, ...]) -> RunRow:
    key, run_id, state, status, step, tags, created, updated, failed_in, origin_run, origin_step, *rest = found
    fence, owner, until, tick, control, attempt, error, versions, wake_at = rest
    return RunRow(
        key=key, fence=fence, owner=owner, lease_until=until, lease_tick=tick, control=control, attempt=attempt,
        error=error, versions=load(versions), wake_at=wake_at,
        summary=RunSummary(
            run_id=run_id, state=state, status=status, step=step, tags=_tags(tags), created=created, updated=updated,
            failed_in=failed_in, origin=None if origin_run is None else (origin_run, origin_step),
        ),
    )  # fmt: skip


def _tags(text: str) -> Mapping[str, str]:
    return load(text)  # type: ignore[no-any-return]  # written from a mapping of texts


def events_of(found: Iterable[tuple[Any, ...]]) -> list[Event]:
    return [
        Event(
            seq=seq, run_id=run_id, step=step, kind=kind, state=state, next_state=next_state, at=at,
            data=load(data) if data else {},
        )
        for seq, run_id, step, kind, state, next_state, at, data in found
    ]  # fmt: skip
