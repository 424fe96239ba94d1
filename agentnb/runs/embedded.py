"""The embedded journal: tables of our own in diskcache's SQLite file, or in memory."""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from agentnb.canonical import Clock, SystemClock, dump, load
from agentnb.errors import LeaseHeld, RunExists, RunFinished, RunUnknown, StepConflict, StepUnknown, StorageDamaged
from agentnb.runs import leases
from agentnb.runs import statements as sql
from agentnb.runs.events import Event
from agentnb.runs.groupcommit import GroupCommit
from agentnb.runs.journal import Hold
from agentnb.runs.rows import (
    AWAITING,
    CANCELLED,
    FINISHED,
    PAUSED,
    RUNNING,
    WAITING,
    ActionRow,
    Claim,
    Committed,
    Delivery,
    Mark,
    NewRun,
    RunRow,
    RunSummary,
    StepWrite,
)
from agentnb.runs.schema import migrate
from agentnb.storage import BUSY_SECONDS, connect, translate

T = TypeVar("T")
_FORK = "A fork goes on from any of its steps."


class EmbeddedJournal:
    """The journal in a SQLite file, or in memory. `synchronous="NORMAL"` trades the newest steps for flushes."""

    def __init__(
        self,
        database: Path | str = ":memory:",
        *,
        clock: Clock | None = None,
        synchronous: str = "FULL",
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.address = str(database)
        self.clock: Clock = clock or SystemClock()
        self.owner = leases.new_owner()
        self.active: dict[str, tuple[int, int, float]] = {}
        self.holds: dict[str, Hold] = {}
        self.busy: dict[str, Any] = {}
        self._options = (synchronous, busy_seconds)
        self._users = 1
        self._open()
        _OPEN.add(self)

    def _open(self) -> None:
        synchronous, busy_seconds = self._options
        self._connection = connect(self.address, synchronous=synchronous, busy_seconds=busy_seconds)
        try:
            migrate(self._connection)
        except sqlite3.Error as error:
            self._connection.close()
            raise translate(error, self.address) from error
        self._group = GroupCommit(self._connection, self.active)
        self._take_step = self._connection.cursor().execute  # a cursor kept saves making one per step
        self._closed = False

    # Runs

    def create(self, new: NewRun) -> None:
        self._write(lambda: self._create(new))

    def _create(self, new: NewRun) -> None:
        execute, now = self._connection.execute, self.clock.now()
        if execute("SELECT 1 FROM agentnb_runs WHERE run_id = ?", (new.run_id,)).fetchone():
            raise RunExists("there is a run of this name already", about=new.run_id, todo="Choose another run_id.")
        tags, versions = dump(dict(new.tags)).decode(), dump(dict(new.versions)).decode()
        origin = new.origin or (None, None)
        cursor = execute(
            "INSERT INTO agentnb_runs (run_id, state, status, step, created, updated, versions, origin_run,"
            " origin_step, tags, wake_at) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
            (new.run_id, new.state, new.status, now, now, versions, *origin, tags, new.wake_at),
        )
        key = cursor.lastrowid or 0
        data = dump({"origin": list(new.origin)}) if new.origin else None
        self._append(key, (0, 0, "created", "", new.state, now, new.frame, data), keyframe=True)
        for name, value in new.tags.items():
            execute("INSERT INTO agentnb_tags VALUES (?, ?, ?)", (name, value, key))

    def row(self, run_id: str) -> RunRow:
        return self._read(lambda: self._row(run_id))

    def _row(self, run_id: str) -> RunRow:
        found = self._connection.execute(f"{sql.SELECT_ROW} WHERE run_id = ?", (run_id,)).fetchone()
        if found is None:
            raise RunUnknown("there is no run of this name", about=run_id, todo="journal.runs() lists them.")
        return sql.row_of(found)

    def find(self, **tags: str) -> list[RunSummary]:
        one = "SELECT run FROM agentnb_tags WHERE name = ? AND value = ?"
        where = f"WHERE id IN ({' INTERSECT '.join([one] * len(tags))})" if tags else ""
        query = f"{sql.SELECT_ROW} {where} ORDER BY id"
        return self._summaries(query, [part for item in tags.items() for part in item])

    def runs(self, *, limit: int | None = 50) -> list[RunSummary]:
        query = f"{sql.SELECT_ROW} ORDER BY id DESC LIMIT ?"
        return self._summaries(query, (-1 if limit is None else limit,))

    def _summaries(self, query: str, parameters: Iterable[object]) -> list[RunSummary]:
        found = self._connection.execute
        return self._read(lambda: [sql.row_of(row).summary for row in found(query, tuple(parameters))])

    # Leases

    def claim(self, run_id: str, lease: float, *, take_over: bool = False) -> Claim:
        return self._write(lambda: self._claim(run_id, lease, take_over))

    def _claim(self, run_id: str, lease: float, take_over: bool) -> Claim:
        row = self._row(run_id)
        if row.summary.status in FINISHED or row.summary.status == PAUSED:
            return Claim(row, False, [], None)
        if not take_over:
            self._refuse_if_held(row)
        if row.control is not None:
            self._change(row, _CONTROLLED[row.control], _mark_of(row, row.control))
            return Claim(self._row(run_id), False, [], None)
        delivery = self._waiting_delivery(row)
        if row.summary.status == WAITING and not (delivery or self._is_time(row)):
            return Claim(row, False, [], None)
        now, tick = self.clock.now(), self.clock.monotonic()
        self._connection.execute(sql.CLAIM, (self.owner, now + lease, tick + lease, row.key))
        return Claim(self._row(run_id), True, self._frames(row.key, row.summary.step)[1], delivery)

    def _refuse_if_held(self, row: RunRow) -> None:
        left = leases.seconds_left(
            row.owner,
            me=self.owner,
            until=row.lease_until,
            tick=row.lease_tick,
            now=self.clock.now(),
            monotonic=self.clock.monotonic(),
        )
        if left > 0 and row.owner:
            raise LeaseHeld(
                f"the run is held by {leases.describe(row.owner)} for another {left:.0f} s",
                about=row.summary.run_id,
                todo="Let it go on there, wait, or take it over with resume(run_id, take_over=True).",
            )

    def _waiting_delivery(self, row: RunRow) -> Delivery | None:
        if not row.summary.state.startswith(AWAITING):
            return None
        found = self._connection.execute(
            "SELECT id, name, data, at FROM agentnb_inbox WHERE run = ? AND name = ? AND taken IS NULL"
            " ORDER BY id LIMIT 1",
            (row.key, row.summary.state.removeprefix(AWAITING)),
        ).fetchone()
        return Delivery(found[0], found[1], load(found[2]), found[3]) if found else None

    def _is_time(self, row: RunRow) -> bool:
        return row.wake_at is not None and self.clock.now() >= row.wake_at

    def renew(self, key: int, fence: int, lease: float) -> bool:
        now, tick = self.clock.now() + lease, self.clock.monotonic() + lease
        query = "UPDATE agentnb_runs SET lease_until = ?, lease_tick = ? WHERE id = ? AND fence = ? AND owner = ?"
        return self._write(lambda: self._connection.execute(query, (now, tick, key, fence, self.owner)).rowcount == 1)

    def release(self, key: int, fence: int) -> None:
        query = "UPDATE agentnb_runs SET owner = NULL, fence = fence + 1 WHERE id = ? AND fence = ? AND owner = ?"
        self._write(lambda: self._connection.execute(query, (key, fence, self.owner)))

    # Steps

    def commit(self, write: StepWrite) -> Committed:
        if write.status != RUNNING or write.keyframe or write.took is not None:
            return self._write(lambda: self._commit(write))
        try:
            if self._group.crowded:
                return self._group.run(lambda: self._commit_usual(write))
            return self._group.single(self._commit_usual, write)
        except StepConflict:  # or a pause was asked for, or the run was waiting: the long way knows
            return self._write(lambda: self._commit(write))
        except sqlite3.Error as error:
            raise translate(error, self.address) from error

    def _commit_usual(self, w: StepWrite) -> Committed:
        key, _, number, fence, state, next_state, _, frame, _, data, _, _, lease, told = w
        now, tick = self.clock.now(), self.clock.monotonic()
        step = (key, number, fence, state, next_state, now, now + lease, tick + lease, frame, data)
        try:
            self._take_step("INSERT INTO agentnb_step VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", step)
        except sqlite3.IntegrityError as error:
            raise StepConflict("the run has moved") from error
        return Committed(now, RUNNING, self._last(key) if told else 0)

    def _last(self, key: int) -> int:
        """The `seq` of the run's last event."""
        return int(self._connection.execute("SELECT last FROM agentnb_runs WHERE id = ?", (key,)).fetchone()[0])

    def _append(self, key: int, event: tuple[Any, ...], *, keyframe: bool = False) -> int:
        """Add an event (step, part, kind, state, next_state, at, frame, data) to the run's chain."""
        execute = self._connection.execute
        seq = execute(sql.APPEND, (key, self._last(key), *event)).lastrowid or 0
        execute("UPDATE agentnb_runs SET last = ? WHERE id = ?", (seq, key))
        if keyframe:
            execute("INSERT INTO agentnb_keyframes VALUES (?, ?, ?)", (key, event[0], seq))
        return seq

    def _commit(self, w: StepWrite) -> Committed:
        now, execute = self.clock.now(), self._connection.execute
        owner = self.owner if w.status == RUNNING else None
        failed_in = w.state if w.next_state == "FAILED" else None
        until, tick = now + w.lease, self.clock.monotonic() + w.lease
        moved = execute(
            sql.MOVE,
            (w.next_state, w.status, w.step, now, owner, until, tick, failed_in, w.wake_at, w.key, w.step - 1, w.fence),
        )
        if moved.rowcount != 1:
            return self._commit_slowly(w)
        event = (w.step, 0, "step", w.state, w.next_state, now, w.frame, w.data)
        seq = self._append(w.key, event, keyframe=w.keyframe)
        if w.took is not None:
            execute("UPDATE agentnb_inbox SET taken = ? WHERE id = ?", (w.step, w.took))
        return Committed(now, w.status, seq)

    def _commit_slowly(self, w: StepWrite) -> Committed:
        """The swap failed: the run has been moved or claimed by another, or a pause or a cancellation is asked for."""
        row = self._row(w.run_id)
        if row.fence != w.fence or row.summary.step != w.step - 1 or row.control is None:
            raise StepConflict(
                f"step {w.step} was not committed: the run is at step {row.summary.step} under another claim",
                about=w.run_id,
                todo="Another worker has it; what this step did outside may be done twice. Read the run anew.",
            )
        self._connection.execute("UPDATE agentnb_runs SET control = NULL WHERE id = ?", (w.key,))
        done = self._commit(w)
        if w.status in FINISHED:
            return done
        self._change(self._row(w.run_id), _CONTROLLED[row.control], _mark_of(row, row.control, w.next_state))
        return done._replace(status=_CONTROLLED[row.control])

    def mark(self, mark: Mark) -> Event:
        return self._write(lambda: self._mark(mark))

    def _mark(self, mark: Mark) -> Event:
        row = self._row(mark.run_id)
        if mark.fence is not None and row.fence != mark.fence:
            raise StepConflict(
                "the run has been claimed by another worker", about=mark.run_id, todo="Read the run anew."
            )
        return self._change(row, mark.status, mark)

    def _change(self, row: RunRow, status: str, mark: Mark) -> Event:
        now, execute = self.clock.now(), self._connection.execute
        owner = None if mark.release else row.owner
        versions = dump(dict(row.versions if mark.versions is None else mark.versions)).decode()
        execute(sql.MARK, (status, mark.state, now, mark.failed_in, mark.error, mark.attempt, owner, versions, row.key))
        if mark.release:  # whoever still believes to hold the run is fenced out
            execute("UPDATE agentnb_runs SET fence = fence + 1 WHERE id = ?", (row.key,))
        step, states = row.summary.step, (row.summary.state, mark.state)
        seq = self._append(row.key, (step, self._next_part(row), mark.kind, *states, now, None, mark.data))
        return Event(
            seq=seq, run_id=mark.run_id, step=step, kind=mark.kind, state=states[0], next_state=states[1], at=now,
            data=load(mark.data) if mark.data else {},
        )  # fmt: skip

    def request(self, run_id: str, control: str, *, in_flight: bool) -> Event | None:
        return self._write(lambda: self._request(run_id, control, in_flight))

    def _request(self, run_id: str, control: str, in_flight: bool) -> Event | None:
        row = self._row(run_id)
        status = row.summary.status
        if status == _CONTROLLED[control]:
            return None
        if status in FINISHED and not (status == "failed" and control == "cancel"):
            raise RunFinished(f"the run is {status} already", about=run_id, todo=_FORK)
        if not in_flight and not self._held_by_another(row):
            return self._change(row, _CONTROLLED[control], _mark_of(row, control))
        self._connection.execute("UPDATE agentnb_runs SET control = ? WHERE id = ?", (control, row.key))
        return None

    def _held_by_another(self, row: RunRow) -> bool:
        try:
            self._refuse_if_held(row)
        except LeaseHeld:
            return True
        return False

    # Outside events and outside effects

    def deliver(self, run_id: str, name: str, data: bytes, *, event_id: str | None = None) -> bool:
        return self._write(lambda: self._deliver(run_id, name, data, event_id))

    def _deliver(self, run_id: str, name: str, data: bytes, event_id: str | None) -> bool:
        row, now, execute = self._row(run_id), self.clock.now(), self._connection.execute
        if row.summary.status in FINISHED:
            raise RunFinished(f"the run is {row.summary.status} already", about=run_id, todo=_FORK)
        added = execute(
            "INSERT OR IGNORE INTO agentnb_inbox (run, name, event_id, data, at) VALUES (?, ?, ?, ?, ?)",
            (row.key, name, event_id, data, now),
        ).rowcount
        if not added:
            return False
        said = dump({"event": name, "data": load(data)})
        state = row.summary.state
        self._append(row.key, (row.summary.step, self._next_part(row), "woken", state, state, now, None, said))
        return True

    def _next_part(self, row: RunRow) -> int:
        """The number of the next event that is no step, made while the run stands where it does."""
        query = "SELECT part FROM agentnb_history WHERE seq = ?"
        return int(self._connection.execute(query, (self._last(row.key),)).fetchone()[0]) + 1

    def delivered(self, run_id: str, step: int) -> Delivery | None:
        query = (
            "SELECT i.id, i.name, i.data, i.at FROM agentnb_inbox i JOIN agentnb_runs r ON r.id = i.run"
            " WHERE r.run_id = ? AND i.taken = ?"
        )
        found = self._all(query, (run_id, step))
        return Delivery(found[0][0], found[0][1], load(found[0][2]), found[0][3]) if found else None

    def begin_action(self, key: int, step: int, name: str, fence: int) -> ActionRow | None:
        return self._write(lambda: self._begin_action(key, step, name, fence))

    def _begin_action(self, key: int, step: int, name: str, fence: int) -> ActionRow | None:
        for _, found in self._actions(key, step):
            if found.name == name and found.status != "failed":
                return found
        self._end_action(key, step, ActionRow(name, "begun", fence, None))
        return None

    def end_action(self, key: int, step: int, action: ActionRow) -> None:
        self._write(lambda: self._end_action(key, step, action))

    def _end_action(self, key: int, step: int, action: ActionRow) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO agentnb_actions (run, step, name, status, fence, at, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, step, action.name, action.status, action.fence, self.clock.now(), action.data),
        )

    def actions(self, run_id: str, step: int | None = None) -> list[tuple[int, ActionRow]]:
        return self._read(lambda: self._actions(self._row(run_id).key, step))

    def _actions(self, key: int, step: int | None) -> list[tuple[int, ActionRow]]:
        found = self._connection.execute(
            "SELECT step, name, status, fence, data FROM agentnb_actions WHERE run = ? AND (? IS NULL OR step = ?)"
            " ORDER BY step, at",
            (key, step, step),
        ).fetchall()
        return [(row[0], ActionRow(*row[1:])) for row in found]

    # Reading

    def frames(self, run_id: str, step: int) -> tuple[str, list[bytes]]:
        return self._read(lambda: self._frames(self._row(run_id).key, step, run_id))

    def _frames(self, key: int, step: int, run_id: str = "") -> tuple[str, list[bytes]]:
        """Walks back from the event before the next keyframe, or from the run's last one, to the keyframe below."""
        execute = self._connection.execute
        below = execute(sql.KEYFRAME_BELOW, (key, step)).fetchone()
        above = execute(sql.BEFORE_KEYFRAME_ABOVE, (key, step)).fetchone()
        end = above[0] if above else self._last(key)
        found = execute(sql.FRAMES, (end, below[0], step)).fetchall() if below else []
        if not found or found[-1][0] != step:
            raise StepUnknown(f"there is no step {step}", about=run_id, todo="history(run_id) lists them.")
        return found[-1][1], [row[2] for row in found]

    def history(self, run_id: str) -> list[Event]:
        return self._read(lambda: sql.events_of(self._connection.execute(sql.HISTORY, (self._row(run_id).key,))))

    def follow(self, after_seq: int = 0, *, limit: int = 1000) -> list[Event]:
        query = f"{sql.SELECT_EVENTS} WHERE h.seq > ? ORDER BY h.seq LIMIT ?"
        return self._read(lambda: sql.events_of(self._connection.execute(query, (after_seq, limit))))

    def changed(self) -> int:
        """A number that differs after another connection's commit: what a follower asks before it reads."""
        return int(self._all("PRAGMA data_version", ())[0][0])

    # The connection

    @property
    def closed(self) -> bool:
        return self._closed

    def share(self) -> None:
        """One more will close it."""
        self._users += 1

    def close(self) -> None:
        """Close the file, once everyone who opened it has. A closed journal can do nothing more."""
        self._users -= 1
        if not self._closed and self._users <= 0:
            self._closed = True
            _OPEN.discard(self)
            with self._group.turn:
                self._connection.close()

    def _write(self, work: Callable[[], T]) -> T:
        try:
            return self._group.run(work)
        except sqlite3.Error as error:
            raise translate(error, self.address) from error
        except ValueError as error:
            raise self._damaged() from error

    def _damaged(self) -> StorageDamaged:
        return StorageDamaged(
            "the journal holds a row that is not what agentnb writes",
            about=self.address,
            todo="It was damaged or tampered with; put back a copy. Nothing was changed.",
        )

    def _read(self, work: Callable[[], T]) -> T:
        try:
            with self._group.turn:
                return work()
        except sqlite3.Error as error:
            raise translate(error, self.address) from error
        except ValueError as error:
            raise self._damaged() from error

    def _all(self, query: str, parameters: Iterable[object]) -> list[Any]:
        return self._read(lambda: self._connection.execute(query, tuple(parameters)).fetchall())

    def _begin_anew(self) -> None:
        """After a fork: a connection, locks and an owner of the child's own. Holds stay with the parent."""
        _ABANDONED.append(self._connection)
        self.owner = leases.new_owner()
        self.active.clear()
        self.holds.clear()
        self.busy.clear()
        if self.address == ":memory:":
            self._group = GroupCommit(self._connection, self.active)
        else:
            self._open()


_CONTROLLED = {"pause": PAUSED, "cancel": CANCELLED}
_KINDS = {"pause": "paused", "cancel": "cancelled"}


def _mark_of(row: RunRow, control: str, state: str | None = None) -> Mark:
    state = state or row.summary.state
    return Mark(row.summary.run_id, _KINDS[control], _CONTROLLED[control], state, None, error=row.error,
                failed_in=row.summary.failed_in)  # fmt: skip


_OPEN: weakref.WeakSet[EmbeddedJournal] = weakref.WeakSet()
# SQLite forbids the use, even the closing, of a connection that was carried over a fork: it is kept unused.
_ABANDONED: list[sqlite3.Connection] = []


def _after_fork() -> None:
    for journal in list(_OPEN):
        journal._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
