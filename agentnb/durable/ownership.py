"""Remember the runs that this process holds, and keep the leases of long steps alive in a thread."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TypeAlias

from agentnb.durable.journal.protocol import Journal, OwnedRun
from agentnb.errors import AgentnbError, LeaseHeld

MOST_HOLDS = 2048
"""Contexts of idle runs kept in memory; an older one is read from the journal again when it is needed."""


Token: TypeAlias = list[int]
"""Marks who is busy with a run: an object of its own, with its thread's number."""


def new_token() -> Token:
    return [threading.get_ident()]


def take(journal: Journal, run_id: str, token: Token) -> OwnedRun:
    """Take this process's hold on the run, which `token` is busy with from now on: give it back with `let_go(…,
    token)`.

    Raises LeaseHeld where another thread, or this one further up, is in a step of it.
    """
    while journal.busy.setdefault(run_id, token) is not token:
        other = journal.busy.get(run_id)
        if other is not None and _is_in_use(other):
            raise LeaseHeld("another thread of this process is executing the run", about=run_id, todo="Let it finish.")
        if other is not None and journal.busy.get(run_id) is other:
            for left_behind in (journal.active, journal.holds, journal.busy):  # by a call that was interrupted
                left_behind.pop(run_id, None)
    hold = journal.holds.get(run_id)
    if hold is None:
        hold = journal.holds[run_id] = OwnedRun(run_id)
    return hold


def let_go(journal: Journal, run_id: str, token: Token) -> None:
    """Do the opposite of `take`, in any case: also where it was never taken. A hold that is not valid is forgotten."""
    if journal.busy.get(run_id) is not token:
        return
    journal.active.pop(run_id, None)
    hold = journal.holds.get(run_id)
    if hold is not None and hold.valid:
        hold.stored = ((hold.key, hold.fence, hold.step), hold.encoded)
    else:
        journal.holds.pop(run_id, None)
    if len(journal.holds) > MOST_HOLDS:
        for idle in [each for each in list(journal.holds)[: MOST_HOLDS // 4] if each not in journal.busy]:
            journal.holds.pop(idle, None)
    journal.busy.pop(run_id, None)


def _is_in_use(token: Token) -> bool:
    """Tell whether somebody who has this token is still at work. An interrupt may have hit just before it was given
    back."""
    frame = sys._current_frames().get(token[0])
    while frame is not None:
        ours = frame.f_code.co_filename == __file__  # this very look at it
        if not ours and any(value is token for value in frame.f_locals.values()):
            return True
        frame = frame.f_back
    return False


class _Keeper:
    """Renews the leases of the steps in flight, three times per lease. One thread serves all journals of a process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._journals: weakref.WeakSet[Journal] = weakref.WeakSet()
        self._changed = threading.Event()
        self._shortest = 3600.0
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def watch(self, journal: Journal, lease: float) -> None:
        with self._lock:
            if journal in self._journals and lease >= self._shortest and self._thread is not None:
                return
            self._journals.add(journal)
            self._shortest = min(self._shortest, lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="agentnb leases", daemon=True)
                self._thread.start()
            else:
                self.look()

    def look(self) -> None:
        """Have the thread see now what has changed: the last journal may be closed, and then it ends."""
        self._changed.set()

    def _work(self) -> None:
        while True:
            self._changed.wait(self._shortest / 3)
            self._changed.clear()
            if self._is_idle():
                return
            for journal in list(self._journals):
                renew_active(journal)

    def _is_idle(self) -> bool:
        """Tell whether every journal has been closed; then the thread ends, and the next one to watch starts
        another."""
        with self._lock:
            for journal in [journal for journal in self._journals if journal.closed]:
                self._journals.discard(journal)
            if self._journals:
                return False
            self._thread, self._shortest = None, 3600.0
            return True


def renew_active(journal: Journal) -> None:
    """Renew the leases of the journal's steps in flight. One that cannot be renewed is refused at its commit."""
    for key, fence, lease in list(journal.active.values()):
        try:
            journal.renew(key, fence, lease)
        except AgentnbError:
            continue  # a locked or full disk now may be free at the next turn; the commit tells the truth


_keeper = _Keeper()


def keep_alive(journal: Journal, lease: float) -> None:
    """See to it that long steps of this journal keep their leases."""
    global _keeper
    if _keeper.pid != os.getpid():
        _keeper = _Keeper()  # threads do not survive a fork
    _keeper.watch(journal, lease)


def close(journal: Journal) -> None:
    """Close a journal, and have the thread see it: it ends with the last one."""
    journal.close()
    _keeper.look()
