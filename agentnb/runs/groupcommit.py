"""Group commit: writes of several threads in one transaction, and so with one flush.

The first thread that comes leads: it waits for the others that are about to write, as long as they keep coming,
writes all of them in one transaction, and wakes them. A thread alone writes at once. No thread returns before its
own write is durable.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sized
from typing import Any, TypeVar

from agentnb.errors import AgentnbError

T = TypeVar("T")

PATIENCE = 0.0003
"""Seconds without an arrival after which the leader no longer waits: a fraction of what a flush costs on a disk."""
LONGEST_WAIT = 0.005


class _Pending:
    __slots__ = ("error", "leads", "result", "wake", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.leads = False
        self.wake = threading.Lock()
        self.wake.acquire()

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


class GroupCommit:
    """Runs pieces of work in transactions of `connection`; `active` are the runs that are in a step right now.

    A piece of work checks before it writes: when it raises one of our errors, what it wrote so far stays in the
    others' transaction.
    """

    def __init__(self, connection: sqlite3.Connection, active: Sized) -> None:
        self.connection = connection
        self.turn = threading.Lock()
        """Held by whoever uses the connection."""
        self._active = active
        self._mutex = threading.Lock()
        self._queue: list[_Pending] = []
        self._leading = False
        self._wanted = 0
        self._durable = False
        self._enough = threading.Lock()
        self._enough.acquire()

    def begin_alone(self) -> bool:
        """True where nobody else is about to write: then a single statement, which is a transaction by itself, may be
        executed at once, and `turn` released after it."""
        return len(self._active) <= 1 and not self._leading and self.turn.acquire(blocking=False)

    def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, once it is durable. sqlite3's errors come as they are."""
        pending: _Pending | None = None
        with self._mutex:
            if self._leading:
                pending = self._enqueue(work)
            self._leading = True
        if pending is not None and not self._wait(pending):
            return pending.outcome()  # type: ignore[no-any-return]  # what its own work gave
        try:
            if len(self._active) > 1 or self._queue:
                return self._lead(pending or _Pending(work))  # type: ignore[no-any-return]  # likewise
            return self._alone(work)
        finally:
            self._hand_over()

    def _enqueue(self, work: Callable[[], Any]) -> _Pending:
        pending = _Pending(work)
        self._queue.append(pending)
        if len(self._queue) == self._wanted:
            self._wanted = 0
            self._enough.release()
        return pending

    def _wait(self, pending: _Pending) -> bool:
        """Wait until the write is done (False) or it is this thread's turn to lead (True)."""
        try:
            pending.wake.acquire()
        except BaseException:  # an interrupt: nobody may wait for a leader that is gone
            self._withdraw(pending)
            raise
        return pending.leads

    def _withdraw(self, pending: _Pending) -> None:
        with self._mutex:
            if pending in self._queue:
                self._queue.remove(pending)
        if pending.leads:
            self._hand_over()

    def _hand_over(self) -> None:
        with self._mutex:
            if not self._queue:
                self._leading = False
                return
            successor = self._queue.pop(0)
            successor.leads = True
        successor.wake.release()

    def _lead(self, mine: _Pending) -> Any:
        batch = [mine, *self._gather()]
        try:
            self._write(batch)
        finally:
            for pending in batch[1:]:
                pending.wake.release()
        return mine.outcome()

    def _gather(self) -> list[_Pending]:
        """The writes that have come, after waiting for the runs that are in a step as long as they keep coming."""
        waited, seen = 0.0, -1
        while waited < LONGEST_WAIT:
            with self._mutex:
                if len(self._queue) >= len(self._active) - 1 or len(self._queue) == seen:
                    break
                seen = len(self._queue)
                self._wanted = len(self._active) - 1
            if self._enough.acquire(timeout=PATIENCE):
                break
            waited += PATIENCE
        return self._take_all()

    def _take_all(self) -> list[_Pending]:
        with self._mutex:
            if not self._wanted:  # somebody has said that there are enough, perhaps after the wait was over
                self._enough.acquire(blocking=False)
            self._wanted = 0
            batch, self._queue = self._queue, []
        return batch

    def _write(self, batch: list[_Pending]) -> None:
        try:
            self._alone(lambda: _do_all(batch))
        except sqlite3.Error:
            if len(batch) == 1:
                raise
            for pending in batch:  # one bad write must not take the others with it
                self._write_one(pending)
        except BaseException:  # an interrupt hit the leader: the others' writes are done all the same
            for pending in batch[1:] if not self._durable else ():
                self._write_one(pending)
            raise

    def _write_one(self, pending: _Pending) -> None:
        try:
            pending.result = self._alone(pending.work)
        except (sqlite3.Error, AgentnbError) as error:
            pending.error = error

    def _alone(self, work: Callable[[], T]) -> T:
        execute = self.connection.execute
        with self.turn:
            self._durable = False
            execute("BEGIN IMMEDIATE")
            try:
                result = work()
                self._durable = True  # taken back below unless the transaction is over when an error comes
                execute("COMMIT")
            except BaseException as error:
                self._durable &= not self.connection.in_transaction and not isinstance(error, sqlite3.Error)
                if self.connection.in_transaction:
                    execute("ROLLBACK")
                raise
        return result


def _do_all(batch: list[_Pending]) -> None:
    for pending in batch:
        try:
            pending.error = None
            pending.result = pending.work()
        except AgentnbError as error:
            pending.error = error
