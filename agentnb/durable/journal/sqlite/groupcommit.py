"""Group commit: writes of several threads in one transaction, and so with one flush.

The first thread that comes leads. It waits for the others that are about to write, as long as they keep coming. It
writes all of them in one transaction, and wakes them. A thread alone writes at once. No thread returns before its own
write is durable.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sized
from typing import Any, TypeVar

from agentnb.errors import AgentnbError

T = TypeVar("T")

PATIENCE = 0.0003
"""Seconds without an arrival after which the leader no longer waits: a fraction of a flush on disk."""
LONGEST_WAIT = 0.005


class _Pending:
    __slots__ = ("done", "error", "result", "wake", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.wake = threading.Lock()
        self.wake.acquire()

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


class GroupCommit:
    """Runs pieces of work in transactions of `connection`; `active` are the runs that are in a step right now.

    A piece of work checks before it writes. When it raises one of our errors, its writes so far stay in the others'
    transaction.

    An interrupt may hit the leading thread between any two lines. Therefore leadership is a reference to an object that
    the thread made before it could lead. What it took from the queue stays in sight (`_batch`), and giving both back
    can be done twice. Locks are taken by `with` only, which no interrupt can split.
    """

    def __init__(self, connection: sqlite3.Connection, active: Sized) -> None:
        self.connection = connection
        self.turn = threading.Lock()
        """Held by whoever uses the connection."""
        self._active = active
        self._mutex = threading.Lock()
        self.leader: _Pending | None = None
        """Whose thread writes for the others right now."""
        self._queue: list[_Pending] = []
        self._batch: list[_Pending] = []
        self._wanted = 0
        self._enough = threading.Lock()
        self._enough.acquire()

    def run(self, work: Callable[[], T]) -> T:
        """Return the result of `work`, once it is durable. sqlite3's errors come as they are."""
        mine = _Pending(work)
        try:
            self._join(mine)
            if self._await_turn(mine):
                self._lead(mine)
        finally:
            try:
                self._leave(mine)
            except BaseException:
                self._leave(mine)  # an interrupt has hit this line of all: the others still must not wait for us
                raise
        return mine.outcome()  # type: ignore[no-any-return]  # what its own work gave

    def _join(self, mine: _Pending) -> None:
        with self._mutex:
            if self.leader is None:
                self.leader = mine
                return
            self._queue.append(mine)
            if len(self._queue) == self._wanted:
                self._wanted = 0
                if self._enough.locked():
                    self._enough.release()

    def _await_turn(self, mine: _Pending) -> bool:
        """Wait until the write is done (False), or it is this thread's turn to lead (True)."""
        while True:
            with self._mutex:
                if mine.done or self.leader is mine:
                    return not mine.done
            mine.wake.acquire()

    def _leave(self, mine: _Pending) -> None:
        """Whatever has happened: nobody waits for this thread any more."""
        with self._mutex:
            if not mine.done and mine in self._queue:
                self._queue.remove(mine)  # interrupted while it waited
            if self.leader is not mine:
                return
            self._queue = [pending for pending in self._batch if not (pending.done or pending is mine)] + self._queue
            for pending in self._batch:
                _wake(pending)
            if self._queue:
                _wake(self._queue[0])
            self._batch, self._wanted = [], 0
            self.leader = self._queue.pop(0) if self._queue else None

    def _lead(self, mine: _Pending) -> None:
        if len(self._active) > 1 or self._queue:
            self._gather()
        with self._mutex:
            self._wanted = 0
            self._batch, self._queue = [mine, *self._queue], []
        self._write(self._batch)

    def _gather(self) -> None:
        """Wait for the runs that are in a step to come with their writes, as long as they keep coming."""
        waited, seen = 0.0, -1
        while waited < LONGEST_WAIT:
            with self._mutex:
                if len(self._queue) >= len(self._active) - 1 or len(self._queue) == seen:
                    return
                seen = len(self._queue)
                self._wanted = len(self._active) - 1
            if self._enough.acquire(timeout=PATIENCE):
                return
            waited += PATIENCE

    def _write(self, batch: list[_Pending]) -> None:
        try:
            self._transact(batch)
        except sqlite3.IntegrityError as error:
            if len(batch) == 1:
                return _fail(batch, error)
            for pending in batch:  # one bad write must not take the others with it
                self._write([pending])
        except sqlite3.Error as error:  # a full disk, a lock: the same for all
            _fail(batch, error)

    def _transact(self, batch: list[_Pending]) -> None:
        """Do all of the batch in one transaction. Raises sqlite3.Error, and then nothing of it is kept."""
        execute, committing = self.connection.execute, False
        with self.turn:
            self.mend()
            try:
                execute("BEGIN IMMEDIATE")
                _do_all(batch)
                committing = True
                execute("COMMIT")
                _finish(batch)
            except BaseException as error:
                if self.connection.in_transaction:
                    execute("ROLLBACK")
                elif committing and not isinstance(error, sqlite3.Error):
                    _finish(batch)  # an interrupt, just after the commit or in the midst of saying so
                raise

    def mend(self) -> None:
        """Roll back what a thread left that an interrupt hit just before it did so. For who has the turn."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def _wake(pending: _Pending) -> None:
    if pending.wake.locked():
        pending.wake.release()


def _finish(batch: list[_Pending]) -> None:
    for pending in batch:
        pending.done = True


def _fail(batch: list[_Pending], error: sqlite3.Error) -> None:
    for pending in batch:
        pending.error, pending.done = error, True


def _do_all(batch: list[_Pending]) -> None:
    for pending in batch:
        try:
            pending.error = pending.result = None
            pending.result = pending.work()
        except (AgentnbError, ValueError) as error:  # ValueError: a row that is not what we write
            pending.error = error
