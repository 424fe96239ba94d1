"""Keep the embedded journal: tables of our own in diskcache's SQLite file, or in memory."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from agentnb.canonical import Clock, JsonObject, SystemClock, load
from agentnb.durable.events import Event
from agentnb.durable.journal import deltas, leases
from agentnb.durable.journal.protocol import NO_TAGS, OwnedRun
from agentnb.durable.journal.records import (
    RUNNING,
    ActionRow,
    Claim,
    Committed,
    Delivery,
    Freed,
    NewRun,
    RunRow,
    RunSummary,
    Snapshot,
    StatusChange,
    StepWrite,
    Tags,
    Tally,
)
from agentnb.durable.journal.sqlite import statements as sql
from agentnb.durable.journal.sqlite.groupcommit import GroupCommit
from agentnb.durable.journal.sqlite.schema import migrate
from agentnb.durable.journal.sqlite.tables import SqliteTables
from agentnb.errors import StepConflict, StorageDamaged
from agentnb.storage import BUSY_SECONDS, connect, translate

T = TypeVar("T")

_DONE = Committed(0.0, RUNNING)
"""Answers for the usual step when nobody listens."""
_MISREAD = (ValueError, TypeError, LookupError, OverflowError)
"""Errors of reading a row that holds other values than ours."""


class EmbeddedJournal:
    """Holds the journal in a SQLite file, or in memory. `synchronous="NORMAL"` trades the newest steps for flushes."""

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
        self.holds: dict[str, OwnedRun] = {}
        self.busy: JsonObject = {}
        self._options = (synchronous, busy_seconds)
        self._users = 1
        self._open()
        _OPEN.add(self)

    def _open(self) -> None:
        synchronous, busy_seconds = self._options
        self._connection = connect(self.address, synchronous=synchronous, busy_seconds=busy_seconds)
        try:
            self._group = GroupCommit(self._connection, self.active)
            self._read(lambda: migrate(self._connection))
        except BaseException:
            self._connection.close()
            raise
        self._take_step = self._connection.cursor().execute  # a cursor kept saves making one per step
        self._closed = False

    # Runs

    def create(self, *news: NewRun) -> list[str]:
        return self._write(lambda: self._tables.create(news))

    def row(self, run_id: str) -> RunRow:
        return self._read(lambda: self._tables.known_row(run_id))

    def find(self, **tags: str) -> list[RunSummary]:
        return [row.summary for row in self.rows(**tags)]

    def rows(self, **tags: str) -> list[RunRow]:
        tagged, values = sql.with_tags(tags)
        return self._rows(f"{sql.SELECT_ROW} WHERE {tagged} ORDER BY id", values)

    def tally(self, **tags: str) -> list[Tally]:
        tagged, values = sql.with_tags(tags)
        query = f"{sql.TALLY} WHERE {tagged} {sql.TALLIED.format('?')}"
        found = self._all(query, (*values, self.clock.now(), self.clock.monotonic()))
        return [sql.tally_of(row) for row in found]

    def prune(self, run_ids: Collection[str], *, before: float, dry_run: bool = False) -> Freed:
        freed = self._write(lambda: self._tables.prune(run_ids, before, dry_run))
        if freed.runs and not dry_run:
            with self._group.turn, contextlib.suppress(sqlite3.OperationalError):  # others use it, or the disk is full
                self._connection.execute("VACUUM")  # else the file keeps its size, and the room is used again
        return freed

    def runs(self, *, limit: int | None = 50) -> list[RunSummary]:
        query = f"{sql.SELECT_ROW} ORDER BY id DESC LIMIT ?"
        return [row.summary for row in self._rows(query, (-1 if limit is None else limit,))]

    def _rows(self, query: str, parameters: Iterable[object]) -> list[RunRow]:
        found = self._connection.execute
        return self._read(lambda: [sql.row_of(row) for row in found(query, tuple(parameters))])

    # Leases

    def claim(self, run_id: str, lease: float, *, take_over: bool = False) -> Claim:
        return self._write(lambda: self._tables.claim(run_id, lease, take_over))

    def claim_free(self, lease: float, *, states: Collection[str], tags: Mapping[str, str]) -> str | None:
        return self._write(lambda: self._tables.claim_free(lease, states, tags))

    def renew(self, key: int, fence: int, lease: float) -> bool:
        now, tick = self.clock.now() + lease, self.clock.monotonic() + lease
        values = (now, tick, key, fence, self.owner)
        return self._write(lambda: self._connection.execute(sql.RENEW, values).rowcount == 1)

    def release(self, key: int, fence: int) -> None:
        self._write(lambda: self._connection.execute(sql.RELEASE, (key, fence, self.owner)))

    # Steps

    def commit(self, write: StepWrite) -> Committed:
        if write.status != RUNNING or write.took is not None:
            return self._write(partial(self._tables.commit, write))
        group = self._group
        try:
            if write.keyframe or group.leader is not None or len(self.active) > 1:  # worth going together
                return group.run(partial(self._commit_usual, write))
            with group.turn:
                if self._connection.in_transaction:
                    group.mend()
                return self._commit_usual(write)
        except StepConflict:  # or a pause was asked for, or the run was waiting: the long way knows
            return self._write(partial(self._tables.commit, write))
        except sqlite3.Error as error:
            raise translate(error, self.address) from error
        except UnicodeDecodeError as error:  # SQLite quotes what it cannot read
            raise self._damaged() from error

    def _commit_usual(self, w: StepWrite) -> Committed:
        key, _, number, fence, state, next_state, _, frame, keyframe, data, _, _, lease, told = w
        now, tick = self.clock.now(), self.clock.monotonic()
        # For bytes and None, unlike a bytearray, sqlite3 looks for an adapter: a twentieth of the step's time.
        step = (key, number, fence, state, next_state, now, now + lease, tick + lease, bytearray(frame))
        try:
            if data is None:
                self._take_step(sql.STEP, step)
            else:
                self._take_step(sql.STEP_WITH_DATA, (*step, data))
        except sqlite3.IntegrityError as error:
            raise StepConflict("the run has moved") from error
        if keyframe:
            self._take_step("INSERT INTO agentnb_keyframes VALUES (?, ?, ?)", (key, number, self._tables.last(key)))
        return Committed(now, RUNNING, self._tables.last(key)) if told else _DONE

    def mark(self, mark: StatusChange) -> Event:
        return self._write(lambda: self._tables.mark(mark))

    def note(self, run_id: str, fence: int, data: bytes) -> None:
        self._write(lambda: self._tables.note(run_id, fence, data))

    def request(self, run_id: str, control: str, *, in_flight: bool) -> Event | None:
        return self._write(lambda: self._tables.request(run_id, control, in_flight))

    # Outside events and outside effects

    def deliver(self, run_id: str, name: str, data: bytes, *, event_id: str | None = None) -> bool:
        return self._write(lambda: self._tables.deliver(run_id, name, data, event_id))

    def delivered(self, run_id: str, step: int) -> Delivery | None:
        found = self._all(sql.DELIVERED, (run_id, step))
        return Delivery(found[0][0], found[0][1], load(found[0][2]), found[0][3]) if found else None

    def begin_action(self, key: int, step: int, name: str, fence: int) -> ActionRow | None:
        return self._write(lambda: self._tables.begin_action(key, step, name, fence))

    def end_action(self, key: int, step: int, action: ActionRow) -> None:
        self._write(lambda: self._tables.put_action(key, step, action))

    def actions(self, run_id: str, step: int | None = None) -> list[tuple[int, ActionRow]]:
        return self._read(lambda: self._tables.actions(self._tables.known_row(run_id).key, step))

    # Reading

    def frames(self, run_id: str, step: int) -> tuple[str, list[bytes]]:
        return self._read(lambda: self._tables.frames(self._tables.known_row(run_id), step))

    def snapshot(self, run_id: str) -> Snapshot:
        return self._read(lambda: self._snapshot(run_id))

    def _snapshot(self, run_id: str) -> Snapshot:
        tables = self._tables
        row, hold = tables.known_row(run_id), self.holds.get(run_id)
        step = row.summary.step
        pending = [action for _, action in tables.actions(row.key, step + 1)]
        if hold and hold.stored[0] == (row.key, row.fence, step):  # nobody has moved it since: it need not be read
            return Snapshot(row, [deltas.keyframe(hold.stored[1])], pending)
        return Snapshot(row, tables.frames(row, step)[1], pending)

    def history(self, run_id: str, *, state: str | None = None) -> list[Event]:
        found, execute = self._tables.known_row, self._connection.execute
        return self._read(lambda: sql.events_of(execute(sql.HISTORY, (found(run_id).key, state))))

    def follow(self, after_seq: int = 0, *, limit: int = 1000, tags: Tags = NO_TAGS) -> list[Event]:
        tagged, values = sql.with_tags(tags, "h.run")
        query = f"{sql.SELECT_EVENTS} WHERE h.seq > ? AND {tagged} ORDER BY h.seq LIMIT ?"
        return self._read(lambda: sql.events_of(self._connection.execute(query, (after_seq, *values, limit))))

    def changed(self) -> int:
        """Return a number that differs after another connection's commit: what a follower asks before it reads."""
        return int(self._all("PRAGMA data_version", ())[0][0])

    @property
    def _tables(self) -> SqliteTables:
        return SqliteTables(self._connection, owner=self.owner, clock=self.clock)

    # The connection

    @property
    def closed(self) -> bool:
        return self._closed

    def share(self) -> None:
        """Note that one more will close it."""
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
        except _MISREAD as error:
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
        except _MISREAD as error:
            raise self._damaged() from error

    def _all(self, query: str, parameters: Iterable[object]) -> list[Any]:
        return self._read(lambda: self._connection.execute(query, tuple(parameters)).fetchall())

    def _begin_anew(self) -> None:
        """Begin anew after a fork, with a connection, locks and an owner of the child's own. Holds stay with the
        parent."""
        _ABANDONED.append(self._connection)
        self.owner = leases.new_owner()
        self.active.clear()
        self.holds.clear()
        self.busy.clear()
        if self.address == ":memory:":
            self._group = GroupCommit(self._connection, self.active)
        else:
            self._open()


_OPEN: weakref.WeakSet[EmbeddedJournal] = weakref.WeakSet()
# SQLite forbids the use, even the closing, of a connection that was carried over a fork: it is kept unused.
_ABANDONED: list[sqlite3.Connection] = []


def _after_fork() -> None:
    for journal in list(_OPEN):
        journal._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
