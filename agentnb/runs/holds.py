"""What a process remembers of the runs that it holds, and the thread that keeps the leases of long steps alive."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from agentnb.errors import AgentnbError, LeaseHeld
from agentnb.runs.deltas import Encoded
from agentnb.runs.rows import Delivery

if TYPE_CHECKING:
    from agentnb.runs.journal import Journal

MOST_HOLDS = 2048
"""Contexts of idle runs kept in memory; an older one is read from the journal again when it is needed."""


class Hold:
    """A run that this process holds: where it is, its context's bytes, and the live context. Never durable."""

    __slots__ = (
        "active", "asked", "attempt", "busy", "chain", "chain_bytes", "checked", "context", "delivery", "encoded",
        "fence", "key", "nulls", "renewal", "run_id", "started", "state", "step", "valid",
    )  # fmt: skip

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.busy = threading.Lock()
        self.valid = False
        """False: what is below may be out of date; claim the run and read it."""
        self.checked: object = None
        self.key = self.fence = self.step = self.chain = self.chain_bytes = self.attempt = 0
        self.state = ""
        self.active = (0, 0, 0.0)
        """Its entry in the journal's `active` while it is in a step: key, fence, lease seconds."""
        self.asked = False
        """A pause or a cancellation has been asked for in this process: look before the next step."""
        self.started = self.renewal = 0.0
        """When the step in flight began, and after when the run is claimed anew; on the monotonic clock."""
        self.encoded: Encoded = {}
        self.nulls: set[str] = set()
        """Keys whose values have or had a null in them: see canonical.dump_members."""
        self.context: Any = None
        self.delivery: Delivery | None = None


def take(journal: Journal, run_id: str) -> Hold:
    """This process's hold on the run, busy from now on. Raises LeaseHeld where another thread is in a step of it."""
    while True:
        hold = journal.holds.get(run_id) or journal.holds.setdefault(run_id, Hold(run_id))
        if not hold.busy.acquire(blocking=False):
            raise LeaseHeld("another thread of this process is executing the run", about=run_id, todo="Let it finish.")
        if journal.holds.get(run_id) is hold:  # else it was forgotten between the look and the grip
            return hold
        hold.busy.release()


def let_go(journal: Journal, hold: Hold) -> None:
    """The opposite of `take`; a hold that is no longer valid is forgotten."""
    if not hold.valid:
        journal.holds.pop(hold.run_id, None)
    elif len(journal.holds) > MOST_HOLDS:
        _forget_idle(journal)
    hold.busy.release()


def _forget_idle(journal: Journal) -> None:
    for run_id, hold in list(journal.holds.items())[: MOST_HOLDS // 4]:
        if hold.busy.acquire(blocking=False):
            journal.holds.pop(run_id, None)
            hold.busy.release()


class _Keeper:
    """Renews the leases of the steps in flight, three times per lease. One thread serves all journals of a process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._journals: weakref.WeakSet[Journal] = weakref.WeakSet()
        self._changed = threading.Event()
        self._shortest = 3600.0
        self._thread: threading.Thread | None = None

    def watch(self, journal: Journal, lease: float) -> None:
        if journal in self._journals and lease >= self._shortest:
            return
        self._journals.add(journal)
        self._shortest = min(self._shortest, lease)
        self._changed.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="agentnb leases", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            self._changed.wait(self._shortest / 3)
            if self._changed.is_set():
                self._changed.clear()
                continue
            for journal in list(self._journals):
                renew_active(journal)


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
