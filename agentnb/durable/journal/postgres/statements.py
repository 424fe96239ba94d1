"""List the statements of a journal in PostgreSQL. Columns as the embedded journal has them, so that rows are read
alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from agentnb.durable.journal.sqlite import statements as embedded

NOW = "extract(epoch FROM clock_timestamp())::float8"
BEGIN = f"BEGIN; SELECT pg_current_xact_id()::text, {NOW}"
STATUS = "SELECT pg_xact_status(%s::text::xid8)"
SELECT_ROW = embedded.SELECT_ROW.replace("agentnb_runs", "agentnb.runs")
SELECT_EVENTS = embedded.SELECT_EVENTS.replace("agentnb_", "agentnb.")
DOOMED = "SELECT id FROM agentnb.runs WHERE run_id = ANY(%s) AND updated < %s FOR UPDATE"
FREED = (
    "SELECT count(DISTINCT run), count(*), coalesce(sum(length(frame)), 0)::bigint"
    " + coalesce(sum(length(data)), 0)::bigint FROM agentnb.history WHERE run = ANY(%s)"
)
PRUNE = tuple(
    f"DELETE FROM agentnb.{table} WHERE {column} = ANY(%s)"  # noqa: S608
    for table, column in (("history", "run"), ("tags", "run"), ("actions", "run"), ("inbox", "run"), ("runs", "id"))
)
TALLY = embedded.TALLY.replace("agentnb_runs", "agentnb.runs").replace(
    "substr(state, 1, 9) = 'AWAITING_'", "starts_with(state, 'AWAITING_')"
)
TALLIED = embedded.TALLIED.format("%s")
HISTORY = f"{SELECT_EVENTS} WHERE h.run = %s AND (%s::text IS NULL OR h.state = %s) ORDER BY h.step, h.part"
FOLLOW = f"{SELECT_EVENTS} WHERE h.seq > %s AND h.seq <= %s AND {{}} ORDER BY h.seq LIMIT %s"
SETTLED = "SELECT agentnb.settled()"

# The usual step: the run's row moves by compare-and-swap and the event goes in, or neither does. The event's number is
# taken once the row is locked, so a run's numbers grow with its steps.
STEP = f"""
WITH moved AS (
    UPDATE agentnb.runs SET state = %(next_state)s, step = %(step)s, updated = clock.now,
        lease_until = clock.now + %(lease)s, lease_tick = %(tick)s, attempt = 0
    FROM (SELECT coalesce(%(now)s::float8, {NOW}) AS now) clock
    WHERE id = %(key)s AND step = %(step)s - 1 AND fence = %(fence)s AND control IS NULL AND status = 'running'
    RETURNING id, clock.now)
INSERT INTO agentnb.history (run, step, part, fence, at, keyframe, kind, state, next_state, frame, data)
    SELECT id, %(step)s, 0, %(fence)s, now, %(keyframe)s, 'step', %(state)s, %(next_state)s, %(frame)s, %(data)s
    FROM moved RETURNING at, seq
"""  # noqa: S608 - put together from constants
MADE = "SELECT at, seq FROM agentnb.history WHERE run = %s AND step = %s AND part = 0 AND fence = %s"

ADD_RUNS = (
    "INSERT INTO agentnb.runs (run_id, state, status, created, updated, versions, origin_run, origin_step, tags,"
    " wake_at) SELECT run_id, state, status, %s, %s, versions, origin_run, origin_step, tags, wake_at"
    " FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::float8[])"
    " WITH ORDINALITY AS new (run_id, state, status, versions, origin_run, origin_step, tags, wake_at, number)"
    " ORDER BY number ON CONFLICT (run_id) DO NOTHING RETURNING run_id, id"
)
ADD_FIRST = (
    "INSERT INTO agentnb.history (run, fence, keyframe, step, part, kind, state, next_state, at, frame, data)"
    " SELECT run, 0, true, 0, 0, 'created', '', state, %s, frame, data"
    " FROM unnest(%s::bigint[], %s::text[], %s::bytea[], %s::bytea[])"
    " WITH ORDINALITY AS first (run, state, frame, data, number) ORDER BY number"
)
ADD_TAGS = "INSERT INTO agentnb.tags (digest, run) SELECT * FROM unnest(%s::bytea[], %s::bigint[])"
APPEND = (
    "INSERT INTO agentnb.history (run, fence, keyframe, step, part, kind, state, next_state, at, frame, data)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING seq"
)
NEXT_PART = "SELECT max(part) + 1 FROM agentnb.history WHERE run = %s AND step = %s"
LOCK = "SELECT 1 FROM agentnb.runs WHERE id = %s FOR UPDATE"
CLAIM = (
    "UPDATE agentnb.runs SET owner = %s, fence = fence + 1, lease_until = %s, lease_tick = %s WHERE id = %s"
    " RETURNING fence"
)
RENEW = (
    "UPDATE agentnb.runs SET lease_until = coalesce(%s::float8, extract(epoch FROM clock_timestamp())::float8) + %s,"
    " lease_tick = %s WHERE id = %s AND fence = %s AND owner = %s"
)
RELEASE = "UPDATE agentnb.runs SET owner = NULL, fence = fence + 1 WHERE id = %s AND fence = %s AND owner = %s"
OWNERS = "SELECT DISTINCT owner FROM agentnb.runs WHERE status IN ('running', 'waiting') AND starts_with(owner, %s)"
SELECT_FREE = (
    "SELECT run_id FROM agentnb.runs r WHERE state = ANY(%s) AND status IN ('running', 'waiting')"
    " AND (status = 'running' OR wake_at <= %s OR EXISTS (SELECT 1 FROM agentnb.inbox i"
    " WHERE i.run = r.id AND i.taken IS NULL AND 'AWAITING_' || i.name = r.state))"
    " AND (owner IS NULL OR (starts_with(owner, %s) AND lease_tick <= %s)"
    " OR (NOT starts_with(owner, %s) AND lease_until <= %s) OR owner = ANY(%s))"
)
"""The states, now; this machine's owners, its tick; its owners again, now; the dead ones."""
ONE_FREE = "ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
MOVE = (
    "UPDATE agentnb.runs SET state = %s, status = %s, step = %s, updated = %s, owner = %s, lease_until = %s,"
    " lease_tick = %s, failed_in = %s, wake_at = %s, attempt = 0"
    " WHERE id = %s AND step = %s AND fence = %s AND control IS NULL"
)
MARK = (
    "UPDATE agentnb.runs SET status = %s, state = %s, updated = %s, failed_in = %s, error = %s, attempt = %s,"
    " owner = %s, versions = %s, wake_at = coalesce(%s, wake_at), control = NULL, fence = fence + %s WHERE id = %s"
)
CONTROL = "UPDATE agentnb.runs SET control = %s WHERE id = %s"
FRAMES = (
    "SELECT step, next_state, frame FROM agentnb.history WHERE run = %(key)s AND part = 0 AND step <= %(step)s"
    " AND step >= (SELECT step FROM agentnb.history WHERE run = %(key)s AND keyframe AND step <= %(step)s"
    " ORDER BY step DESC LIMIT 1) ORDER BY step"
)
WAITING = (
    "SELECT id, name, data, at FROM agentnb.inbox WHERE run = %s AND name = %s AND taken IS NULL ORDER BY id LIMIT 1"
)
DELIVER = (
    "INSERT INTO agentnb.inbox (run, name, event_id, data, at) VALUES (%s, %s, %s, %s, %s)"
    " ON CONFLICT (run, event_id) DO NOTHING"
)
USE_UP = "UPDATE agentnb.inbox SET taken = %s WHERE id = %s"
DELIVERED = (
    "SELECT i.id, i.name, i.data, i.at FROM agentnb.inbox i JOIN agentnb.runs r ON r.id = i.run"
    " WHERE r.run_id = %s AND i.taken = %s"
)
ACTIONS = (
    "SELECT step, name, status, fence, data FROM agentnb.actions WHERE run = %s"
    " AND (%s::bigint IS NULL OR step = %s) ORDER BY step, at, name"
)
PUT_ACTION = (
    "INSERT INTO agentnb.actions (run, step, name, status, fence, at, data) VALUES (%s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (run, step, name) DO UPDATE SET status = EXCLUDED.status, fence = EXCLUDED.fence,"
    " at = EXCLUDED.at, data = EXCLUDED.data"
)


def digest_of_tag(name: str, value: str) -> bytes:
    """Return what stands for a tag in the index."""
    return hashlib.sha256(f"{len(name)}:{name}{value}".encode()).digest()


def with_tags(tags: Mapping[str, str], column: str = "id") -> tuple[str, list[bytes]]:
    """Return the condition that a run carries all these tags, and its values."""
    one = "SELECT run FROM agentnb.tags WHERE digest = %s"
    condition = f"{column} IN ({' INTERSECT '.join([one] * len(tags))})" if tags else "true"
    return condition, [digest_of_tag(name, value) for name, value in tags.items()]
