"""Keep the journal in PostgreSQL: the embedded journal's contract for several machines at once.

Tables, statements and connections are in the modules beside this one. `journal/transactions.py` decides what happens in
a transaction, for every journal. Leases are counted by the server's clock, which all workers share. Between processes
of one machine its monotonic clock counts, as in the embedded journal. There a dead owner is seen at once.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from agentnb.canonical import Clock, JsonObject, SystemClock
from agentnb.durable.events import Event
from agentnb.durable.journal import leases
from agentnb.durable.journal.postgres import statements as sql
from agentnb.durable.journal.postgres.connecting import Rows, Server, count, rows
from agentnb.durable.journal.postgres.schema import migrate
from agentnb.durable.journal.postgres.tables import PostgresTables, actions_of, chain_of, delivery_of
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
from agentnb.durable.journal.sqlite.statements import events_of, row_of, tally_of
from agentnb.durable.journal.transactions import unknown
from agentnb.errors import StepConflict, StorageDamaged

T = TypeVar("T")

PRUNED_AT_ONCE = 1000  # runs deleted in one transaction


class ServerClock(SystemClock):
    """Tells the server's time as far as known: what the server said last, and what has gone by since."""

    def __init__(self) -> None:
        self._ahead = SystemClock.now() - self.monotonic()

    def now(self) -> float:
        return self.monotonic() + self._ahead

    def hear(self, now: float) -> None:
        """Hear the server say that it is `now`."""
        self._ahead = now - self.monotonic()


class PostgresJournal:
    """Holds the journal in a PostgreSQL database. `synchronous="NORMAL"` trades the newest steps for flushes.

    A `clock` of the caller's own takes the place of the server's in all that it counts. That is for tests and lessons,
    where every worker has the same one.
    """

    def __init__(
        self, address: str, *, clock: Clock | None = None, synchronous: str = "FULL", server: Server | None = None
    ) -> None:
        self._server = server or Server(address, synchronous=synchronous)
        self.address = self._server.address
        own = clock is not None and not isinstance(clock, SystemClock)
        self._counted = clock if own else None
        self._told = ServerClock()
        self.clock: Clock = self._counted or self._told
        self.owner = leases.new_owner()
        self.active: dict[str, tuple[int, int, float]] = {}
        self.holds: dict[str, OwnedRun] = {}
        self.busy: JsonObject = {}
        self._users = 1
        migrate(self._server)
        self._told.hear(self._read(f"SELECT {sql.NOW}")[0][0])
        _OPEN.add(self)

    # Runs

    def create(self, *news: NewRun) -> list[str]:
        return self._write(lambda tables: tables.create(news))

    def row(self, run_id: str) -> RunRow:
        found = self._read(f"{sql.SELECT_ROW} WHERE run_id = %s", (run_id,))
        if not found:
            raise unknown(run_id)
        return self._whole(lambda: row_of(found[0]))

    def find(self, **tags: str) -> list[RunSummary]:
        return [row.summary for row in self.rows(**tags)]

    def rows(self, **tags: str) -> list[RunRow]:
        tagged, digests = sql.with_tags(tags)
        return self._rows(f"{sql.SELECT_ROW} WHERE {tagged} ORDER BY id", digests)

    def tally(self, **tags: str) -> list[Tally]:
        tagged, digests = sql.with_tags(tags)
        values = (*digests, self.clock.now(), self.clock.monotonic())
        return [tally_of(row) for row in self._read(f"{sql.TALLY} WHERE {tagged} {sql.TALLIED}", values)]

    def prune(self, run_ids: Collection[str], *, before: float, dry_run: bool = False) -> Freed:
        names, went = iter(run_ids), Freed(0, 0, 0)
        while batch := list(itertools.islice(names, PRUNED_AT_ONCE)):  # nobody waits long for a lock
            freed = self._write(lambda tables, batch=batch: tables.prune(batch, before, dry_run))  # type: ignore[misc]
            went = Freed(*(have + more for have, more in zip(went, freed, strict=True)))
        return went

    def runs(self, *, limit: int | None = 50) -> list[RunSummary]:
        found = self._rows(f"{sql.SELECT_ROW} ORDER BY id DESC LIMIT %s::bigint", (limit,))
        return [row.summary for row in found]

    def _rows(self, query: str, values: object) -> list[RunRow]:
        found = self._read(query, values)
        return self._whole(lambda: [row_of(row) for row in found])

    # Leases

    def claim(self, run_id: str, lease: float, *, take_over: bool = False) -> Claim:
        return self._write(lambda tables: tables.claim(run_id, lease, take_over))

    def claim_free(self, lease: float, *, states: Collection[str], tags: Mapping[str, str]) -> str | None:
        return self._write(lambda tables: tables.claim_free(lease, states, tags))

    def renew(self, key: int, fence: int, lease: float) -> bool:
        values = (self._said(), lease, self.clock.monotonic() + lease, key, fence, self.owner)
        return self._server.repeated(lambda connection: count(connection, sql.RENEW, values)) == 1

    def release(self, key: int, fence: int) -> None:
        values = (key, fence, self.owner)
        self._server.repeated(lambda connection: count(connection, sql.RELEASE, values))

    # Steps

    def commit(self, write: StepWrite) -> Committed:
        tried = 0

        def step(connection: object) -> Committed | None:
            nonlocal tried
            tried += 1
            return self._commit_usual(connection, write)

        if write.status == RUNNING and write.took is None:
            done = self._server.repeated(step)
            if done is not None:
                return done
        try:  # a pause was asked for, or the run was waiting, or has moved: the long way knows
            return self._write(lambda tables: tables.commit(write))
        except StepConflict:
            made = self._made_before(write) if tried > 1 else None
            if made is None:
                raise
            return made

    def _commit_usual(self, connection: Any, w: StepWrite) -> Committed | None:
        made = rows(
            connection,
            sql.STEP,
            {
                "key": w.key, "step": w.step, "fence": w.fence, "state": w.state, "next_state": w.next_state,
                "now": self._said(), "lease": w.lease, "tick": self.clock.monotonic() + w.lease,
                "keyframe": w.keyframe, "frame": w.frame, "data": w.data,
            },
        )  # fmt: skip
        return Committed(made[0][0], RUNNING, made[0][1]) if made else None

    def _made_before(self, w: StepWrite) -> Committed | None:
        """Return the step, where a try of ours committed it whose answer was lost: nobody else writes under our
        fence."""
        made = self._read(sql.MADE, (w.key, w.step, w.fence))
        return Committed(made[0][0], RUNNING, made[0][1]) if made else None

    def mark(self, mark: StatusChange) -> Event:
        return self._write(lambda tables: tables.mark(mark))

    def note(self, run_id: str, fence: int, data: bytes) -> None:
        self._write(lambda tables: tables.note(run_id, fence, data))

    def request(self, run_id: str, control: str, *, in_flight: bool) -> Event | None:
        return self._write(lambda tables: tables.request(run_id, control, in_flight))

    # Outside events and outside effects

    def deliver(self, run_id: str, name: str, data: bytes, *, event_id: str | None = None) -> bool:
        return self._write(lambda tables: tables.deliver(run_id, name, data, event_id))

    def delivered(self, run_id: str, step: int) -> Delivery | None:
        found = self._read(sql.DELIVERED, (run_id, step))
        return self._whole(lambda: delivery_of(found))

    def begin_action(self, key: int, step: int, name: str, fence: int) -> ActionRow | None:
        return self._write(lambda tables: tables.begin_action(key, step, name, fence))

    def end_action(self, key: int, step: int, action: ActionRow) -> None:
        self._write(lambda tables: tables.put_action(key, step, action))

    def actions(self, run_id: str, step: int | None = None) -> list[tuple[int, ActionRow]]:
        return actions_of(self._read(sql.ACTIONS, (self.row(run_id).key, step, step)))

    # Reading

    def frames(self, run_id: str, step: int) -> tuple[str, list[bytes]]:
        return chain_of(self._read(sql.FRAMES, {"key": self.row(run_id).key, "step": step}), run_id, step)

    def snapshot(self, run_id: str) -> Snapshot:
        row = self.row(run_id)
        step = row.summary.step
        _, frames = chain_of(self._read(sql.FRAMES, {"key": row.key, "step": step}), run_id, step)
        pending = actions_of(self._read(sql.ACTIONS, (row.key, step + 1, step + 1)))
        return Snapshot(row, frames, [action for _, action in pending])

    def history(self, run_id: str, *, state: str | None = None) -> list[Event]:
        return self._events(sql.HISTORY, (self.row(run_id).key, state, state))

    def follow(self, after_seq: int = 0, *, limit: int = 1000, tags: Tags = NO_TAGS) -> list[Event]:
        settled = self.changed()
        if settled <= after_seq:
            return []
        tagged, digests = sql.with_tags(tags, "h.run")
        return self._events(sql.FOLLOW.format(tagged), (after_seq, settled, *digests, limit))

    def changed(self) -> int:
        """Return a number that grows with what there is to follow."""
        return int(self._read(sql.SETTLED)[0][0])

    def _events(self, query: str, values: object) -> list[Event]:
        found = self._read(query, values)
        return self._whole(lambda: events_of(found))

    # The connection

    @property
    def closed(self) -> bool:
        return self._server.closed

    def share(self) -> None:
        """Note that one more will close it."""
        self._users += 1

    def close(self) -> None:
        """Close the connections, once everyone who opened it has. A closed journal can do nothing more."""
        self._users -= 1
        if not self.closed and self._users <= 0:
            _OPEN.discard(self)
            self._server.close()

    def _said(self) -> float | None:
        """Return the time by a clock of the caller's own; None: the server knows it."""
        return None if self._counted is None else self._counted.now()

    def _write(self, work: Callable[[PostgresTables], T]) -> T:
        def transact(begun: Any) -> T:
            self._told.hear(begun.now)
            return work(PostgresTables(begun, owner=self.owner, clock=self.clock, counted=self._counted))

        return self._whole(lambda: self._server.write(transact))

    def _read(self, query: str, values: object = ()) -> Rows:
        return self._server.read(query, values)

    def _whole(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except ValueError as error:
            raise StorageDamaged(
                "the journal holds a row that is not what agentnb writes",
                about=self.address,
                todo="It was damaged or tampered with; put back a copy. Nothing was changed.",
            ) from error

    def begin_anew(self) -> None:
        """Begin anew after a fork, with connections and an owner of the child's own. Holds stay with the parent."""
        self._server.begin_anew()
        self.owner = leases.new_owner()
        self.active.clear()
        self.holds.clear()
        self.busy.clear()


_OPEN: weakref.WeakSet[PostgresJournal] = weakref.WeakSet()


def _after_fork() -> None:
    for journal in list(_OPEN):
        journal.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
