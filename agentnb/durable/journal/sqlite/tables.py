"""Read and write the embedded journal's rows: what the rules of a journal read and write, in SQLite's tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence

from agentnb.canonical import Clock, dump, load
from agentnb.durable.journal import leases
from agentnb.durable.journal.records import ActionRow, Delivery, Freed, NewRun, RunRow, StatusChange, StepWrite
from agentnb.durable.journal.sqlite import statements as sql
from agentnb.durable.journal.transactions import (
    Added,
    Rules,
    failed_in,
    first_event,
    no_step,
    owner_after,
    owner_of_moved,
    versions_after,
)


class SqliteTables(Rules):
    """Holds the tables behind one connection. Whoever calls holds the connection, and has begun a transaction to
    write."""

    def __init__(self, connection: sqlite3.Connection, *, owner: str, clock: Clock) -> None:
        self.execute = connection.execute
        self.owner = owner
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def tick(self) -> float:
        return self._clock.monotonic()

    # Runs

    def row(self, run_id: str) -> RunRow | None:
        found = self.execute(f"{sql.SELECT_ROW} WHERE run_id = ?", (run_id,)).fetchone()
        return sql.row_of(found) if found else None

    def keep_others_out(self, key: int) -> None:
        """Do nothing: a transaction of SQLite's that writes is alone."""

    def add_runs(self, news: Sequence[NewRun], now: float) -> list[str]:
        return [new.run_id for new in news if self._add_run(new, now)]

    def _add_run(self, new: NewRun, now: float) -> bool:
        if self.execute("SELECT 1 FROM agentnb_runs WHERE run_id = ?", (new.run_id,)).fetchone():
            return False
        tags, versions = dump(dict(new.tags)).decode(), dump(dict(new.versions)).decode()
        values = (new.run_id, new.state, new.status, now, now, versions, *(new.origin or (None, None)), tags)
        key = self.execute(sql.ADD_RUN, (*values, new.wake_at)).lastrowid or 0
        self.append(key, first_event(new, now), keyframe=True)
        for name, value in new.tags.items():
            self.execute("INSERT INTO agentnb_tags VALUES (?, ?, ?)", (name, value, key))
        return True

    # Leases

    def take_lease(self, row: RunRow, until: float, tick: float) -> RunRow:
        self.execute(sql.CLAIM, (self.owner, until, tick, row.key))
        return self.known_row(row.summary.run_id)

    def owners(self, beginning: str) -> list[str]:
        query = "SELECT DISTINCT owner FROM agentnb_runs WHERE owner >= ? AND owner < ?"
        return [row[0] for row in self.execute(query, (beginning, beginning + "\U0010ffff"))]

    def find_free(self, states: Collection[str], tags: Mapping[str, str], dead: Collection[str]) -> str | None:
        tagged, values = sql.with_tags(tags)
        now, mine = self.now(), f"{leases.this_host()}.%"
        asked = (_json(states), now, mine, self.tick(), mine, now, _json(dead), *values)
        found = self.execute(f"{sql.SELECT_FREE} AND {tagged} ORDER BY id LIMIT 1", asked).fetchone()
        return found[0] if found else None

    # Steps

    def last(self, key: int) -> int:
        """Return the `seq` of the run's last event."""
        return int(self.execute("SELECT last FROM agentnb_runs WHERE id = ?", (key,)).fetchone()[0])

    def append(self, key: int, event: Added, *, keyframe: bool = False, fence: int = 0) -> int:
        seq = self.execute(sql.APPEND, (key, self.last(key), *event)).lastrowid or 0
        self.execute("UPDATE agentnb_runs SET last = ? WHERE id = ?", (seq, key))
        if keyframe:
            self.execute("INSERT INTO agentnb_keyframes VALUES (?, ?, ?)", (key, event.step, seq))
        return seq

    def move(self, w: StepWrite, now: float, tick: float) -> bool:
        lease = (owner_of_moved(w, self.owner), now + w.lease, tick + w.lease)
        values = (w.next_state, w.status, w.step, now, *lease, failed_in(w), w.wake_at, w.key, w.step - 1, w.fence)
        return self.execute(sql.MOVE, values).rowcount == 1

    def put_mark(self, row: RunRow, status: str, mark: StatusChange, now: float) -> None:
        kept = (mark.failed_in, mark.error, mark.attempt, owner_after(mark, row), versions_after(mark, row))
        self.execute(sql.MARK, (status, mark.state, now, *kept, mark.wake_at, row.key))
        if mark.release:
            self.execute("UPDATE agentnb_runs SET fence = fence + 1 WHERE id = ?", (row.key,))

    def set_control(self, key: int, control: str | None) -> None:
        self.execute("UPDATE agentnb_runs SET control = ? WHERE id = ?", (control, key))

    def next_part(self, row: RunRow) -> int:
        query = "SELECT part FROM agentnb_history WHERE seq = ?"
        return int(self.execute(query, (self.last(row.key),)).fetchone()[0]) + 1

    def frames(self, row: RunRow, step: int) -> tuple[str, list[bytes]]:
        """Walks back from the event before the next keyframe, or from the run's last one, to the keyframe below."""
        below = self.execute(sql.KEYFRAME_BELOW, (row.key, step)).fetchone()
        above = self.execute(sql.BEFORE_KEYFRAME_ABOVE, (row.key, step)).fetchone()
        end = above[0] if above else self.last(row.key)
        found = self.execute(sql.FRAMES, (end, below[0], step)).fetchall() if below else []
        if not found or found[-1][0] != step:
            raise no_step(row.summary.run_id, step)
        if not isinstance(found[-1][1], str):
            raise TypeError("the history names no state")
        return found[-1][1], [item[2] for item in found]

    def prune(self, run_ids: Collection[str], before: float, dry_run: bool) -> Freed:
        keys = _json([row[0] for row in self.execute(sql.DOOMED, (_json(run_ids), before))])
        freed = Freed(*self.execute(sql.FREED, (keys,)).fetchone())
        for statement in () if dry_run else sql.PRUNE:
            self.execute(statement, (keys,))
        return freed

    # Outside events and outside effects

    def first_delivery(self, key: int, name: str) -> Delivery | None:
        found = self.execute(sql.WAITING, (key, name)).fetchone()
        return Delivery(found[0], found[1], load(found[2]), found[3]) if found else None

    def add_delivery(self, key: int, name: str, event_id: str | None, data: bytes, now: float) -> bool:
        return self.execute(sql.DELIVER, (key, name, event_id, data, now)).rowcount > 0

    def use_up(self, delivery: int, step: int) -> None:
        self.execute("UPDATE agentnb_inbox SET taken = ? WHERE id = ?", (step, delivery))

    def actions(self, key: int, step: int | None) -> list[tuple[int, ActionRow]]:
        found = self.execute(sql.ACTIONS, (key, step, step)).fetchall()
        return [(row[0], ActionRow(*row[1:])) for row in found]

    def put_action(self, key: int, step: int, action: ActionRow) -> None:
        values = (key, step, action.name, action.status, action.fence, self.now(), action.data)
        self.execute(sql.PUT_ACTION, values)


def _json(values: Collection[str]) -> str:
    return dump(list(values)).decode()
