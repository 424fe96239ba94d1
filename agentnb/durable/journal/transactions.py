"""Decide within a journal's transaction who may claim a run, what a pause does, and which step is refused.

`Rules` decides; a subclass reads and writes the rows (SQLite's tables in `sqlite/tables.py`, PostgreSQL's in
`postgres/`). What a decision says must not happen is said before anything is written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from agentnb.canonical import dump, load
from agentnb.durable.events import NOTED, Event
from agentnb.durable.journal import leases
from agentnb.durable.journal.records import (
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
    NewRun,
    RunRow,
    StatusChange,
    StepWrite,
)
from agentnb.errors import LeaseHeld, RunFinished, RunUnknown, StepConflict, StepUnknown

_FORK = "A fork goes on from any of its steps."
_CONTROLLED = {"pause": PAUSED, "cancel": CANCELLED}
_KINDS = {"pause": "paused", "cancel": "cancelled"}


class Added(NamedTuple):
    """Holds an event as it goes into the history: `part` 0 is the step, later ones are marks between steps."""

    step: int
    part: int
    kind: str
    state: str
    next_state: str
    at: float
    frame: bytes | None
    data: bytes | None


class Rules(ABC):
    """Holds one transaction's decisions, under the name of `owner`."""

    owner: str

    # Runs

    def create(self, news: Sequence[NewRun]) -> list[str]:
        return list(self.add_runs(news, self.now())) if news else []

    def known_row(self, run_id: str) -> RunRow:
        """Return the run's row, which nobody else changes until the transaction ends. Raises RunUnknown."""
        row = self.row(run_id)
        if row is None:
            raise unknown(run_id)
        return row

    # Leases

    def claim(self, run_id: str, lease: float, take_over: bool) -> Claim:
        row = self.known_row(run_id)
        if row.summary.status in FINISHED or row.summary.status == PAUSED:
            return Claim(row, False, [], None)
        if not take_over:
            self.refuse_if_held(row)
        if row.control is not None:
            self.change(row, _CONTROLLED[row.control], _mark_of(row, row.control))
            return Claim(self.known_row(run_id), False, [], None)
        state, delivery = row.summary.state, None
        if state.startswith(AWAITING):
            delivery = self.first_delivery(row.key, state.removeprefix(AWAITING))
        if row.summary.status == WAITING and not (delivery or (row.wake_at is not None and self.now() >= row.wake_at)):
            return Claim(row, False, [], None)
        held = self.take_lease(row, self.now() + lease, self.tick() + lease)
        return Claim(held, True, self.frames(row, row.summary.step)[1], delivery)

    def claim_free(self, lease: float, states: Collection[str], tags: Mapping[str, str]) -> str | None:
        """Claim the oldest run in one of these states that carries these tags and that nobody works on."""
        while run_id := self.find_free(states, tags, self._dead_owners()):
            if self.claim(run_id, lease, take_over=True).held:
                return run_id
        return None

    def _dead_owners(self) -> list[str]:
        """Processes of this machine that are gone and still have leases: those are free before their time is over."""
        return [owner for owner in self.owners(f"{leases.this_host()}.") if leases.is_dead(owner)]

    def refuse_if_held(self, row: RunRow) -> None:
        left = leases.seconds_left(
            row.owner, me=self.owner, until=row.lease_until, tick=row.lease_tick, now=self.now(), monotonic=self.tick()
        )
        if left > 0 and row.owner:
            raise LeaseHeld(
                f"the run is held by {leases.describe(row.owner)} for another {left:.0f} s",
                about=row.summary.run_id,
                todo="Let it go on there, wait, or take it over with resume(run_id, take_over=True).",
            )

    def _is_held_by_another(self, row: RunRow) -> bool:
        try:
            self.refuse_if_held(row)
        except LeaseHeld:
            return True
        return False

    # Steps

    def commit(self, w: StepWrite) -> Committed:
        now = self.now()
        if not self.move(w, now, self.tick()):
            return self._commit_slowly(w)
        event = Added(w.step, 0, "step", w.state, w.next_state, now, w.frame, w.data)
        seq = self.append(w.key, event, keyframe=w.keyframe, fence=w.fence)
        if w.took is not None:
            self.use_up(w.took, w.step)
        return Committed(now, w.status, seq)

    def _commit_slowly(self, w: StepWrite) -> Committed:
        """Raise for the failed swap: the run was moved or claimed by another, or is to pause or end."""
        row = self.known_row(w.run_id)
        if row.fence != w.fence or row.summary.step != w.step - 1 or row.control is None:
            raise StepConflict(
                f"step {w.step} was not committed: the run is at step {row.summary.step} under another claim",
                about=w.run_id,
                todo="Another worker has it; what this step did outside may be done twice. Read the run anew.",
            )
        self.set_control(w.key, None)
        done = self.commit(w)
        if w.status in FINISHED:
            return done
        mark = _mark_of(row, row.control, w.next_state)
        self.change(self.known_row(w.run_id), _CONTROLLED[row.control], mark)
        return done._replace(status=_CONTROLLED[row.control])

    def mark(self, mark: StatusChange) -> Event:
        return self.change(self._row_under(mark.run_id, mark.fence), mark.status, mark)

    def _row_under(self, run_id: str, fence: int | None) -> RunRow:
        row = self.known_row(run_id)
        if fence is not None and row.fence != fence:
            raise StepConflict("the run has been claimed by another worker", about=run_id, todo="Read the run anew.")
        return row

    def note(self, run_id: str, fence: int, data: bytes) -> None:
        self._tell(self._row_under(run_id, fence), NOTED, data)

    def _tell(self, row: RunRow, kind: str, data: bytes) -> None:
        """Add an event that changes nothing of the run."""
        part, state, now = self.next_part(row), row.summary.state, self.now()
        self.append(row.key, Added(row.summary.step, part, kind, state, state, now, None, data), fence=row.fence)

    def change(self, row: RunRow, status: str, mark: StatusChange) -> Event:
        now, step = self.now(), row.summary.step
        self.put_mark(row, status, mark, now)
        states = row.summary.state, mark.state
        part = self.next_part(row)
        seq = self.append(row.key, Added(step, part, mark.kind, *states, now, None, mark.data), fence=row.fence)
        return Event(
            seq=seq, run_id=mark.run_id, step=step, kind=mark.kind, state=states[0], next_state=states[1], at=now,
            data=load(mark.data) if mark.data else {},
        )  # fmt: skip

    def request(self, run_id: str, control: str, in_flight: bool) -> Event | None:
        row = self.known_row(run_id)
        status = row.summary.status
        if status == _CONTROLLED[control]:
            return None
        if status in FINISHED and not (status == "failed" and control == "cancel"):
            raise RunFinished(f"the run is {status} already", about=run_id, todo=_FORK)
        if not in_flight and not self._is_held_by_another(row):
            return self.change(row, _CONTROLLED[control], _mark_of(row, control))
        self.set_control(row.key, control)
        return None

    # Outside events and outside effects

    def deliver(self, run_id: str, name: str, data: bytes, event_id: str | None) -> bool:
        row, now = self.known_row(run_id), self.now()
        if row.summary.status in FINISHED:
            raise RunFinished(f"the run is {row.summary.status} already", about=run_id, todo=_FORK)
        if not self.add_delivery(row.key, name, event_id, data, now):
            return False
        self._tell(row, "woken", dump({"event": name, "data": load(data)}))
        return True

    def begin_action(self, key: int, step: int, name: str, fence: int) -> ActionRow | None:
        self.keep_others_out(key)
        for _, found in self.actions(key, step):
            if found.name == name and found.status != "failed":
                return found
        self.put_action(key, step, ActionRow(name, "begun", fence, None))
        return None

    # The rows. What follows is all that differs between one kind of journal and another.

    @abstractmethod
    def now(self) -> float:
        """Return the seconds since the epoch, by the clock that leases are counted by."""

    @abstractmethod
    def tick(self) -> float:
        """Return the seconds of this machine's monotonic clock."""

    @abstractmethod
    def row(self, run_id: str) -> RunRow | None: ...

    @abstractmethod
    def keep_others_out(self, key: int) -> None:
        """See to it that nobody else changes the run until the transaction ends."""

    @abstractmethod
    def add_runs(self, news: Sequence[NewRun], now: float) -> Collection[str]:
        """Add the runs' rows, tags and first events; gives the names of those that were not taken already."""

    @abstractmethod
    def append(self, key: int, event: Added, *, keyframe: bool = False, fence: int = 0) -> int:
        """Add an event to the run's history, written under `fence`; gives its `seq`."""

    @abstractmethod
    def take_lease(self, row: RunRow, until: float, tick: float) -> RunRow:
        """Give the lease to `owner` under the next fencing token; gives the row as it is then."""

    @abstractmethod
    def owners(self, beginning: str) -> list[str]:
        """Tell who has leases, of those whose names begin so."""

    @abstractmethod
    def find_free(self, states: Collection[str], tags: Mapping[str, str], dead: Collection[str]) -> str | None:
        """Return the oldest run in one of these states, with these tags, that could be claimed now. It is running, or
        waiting for what has come. Its lease is free, over, or a dead owner's."""

    @abstractmethod
    def frames(self, row: RunRow, step: int) -> tuple[str, list[bytes]]: ...

    @abstractmethod
    def move(self, w: StepWrite, now: float, tick: float) -> bool:
        """Move the run's row by compare-and-swap on step and fence; False where it stands otherwise."""

    @abstractmethod
    def put_mark(self, row: RunRow, status: str, mark: StatusChange, now: float) -> None:
        """Write what a mark changes of a row; where it releases, whoever believes to hold the run is fenced out."""

    @abstractmethod
    def set_control(self, key: int, control: str | None) -> None: ...

    @abstractmethod
    def next_part(self, row: RunRow) -> int:
        """Return the number of the next event that is no step, made while the run stands where it does."""

    @abstractmethod
    def first_delivery(self, key: int, name: str) -> Delivery | None:
        """Return the oldest outside event of this name that no step has used up."""

    @abstractmethod
    def add_delivery(self, key: int, name: str, event_id: str | None, data: bytes, now: float) -> bool: ...

    @abstractmethod
    def use_up(self, delivery: int, step: int) -> None: ...

    @abstractmethod
    def actions(self, key: int, step: int | None) -> list[tuple[int, ActionRow]]: ...

    @abstractmethod
    def put_action(self, key: int, step: int, action: ActionRow) -> None: ...


def owner_after(mark: StatusChange, row: RunRow) -> str | None:
    """Tell who has the run's lease after the mark."""
    return None if mark.release else row.owner


def versions_after(mark: StatusChange, row: RunRow) -> str:
    """Return the versions of its handlers that a run has after the mark, as JSON."""
    return dump(dict(row.versions if mark.versions is None else mark.versions)).decode()


def owner_of_moved(w: StepWrite, owner: str) -> str | None:
    """Tell who has the run's lease after the step: one that cannot go on at once is let go."""
    return owner if w.status == RUNNING else None


def failed_in(w: StepWrite) -> str | None:
    return w.state if w.next_state == "FAILED" else None


def first_event(new: NewRun, now: float) -> Added:
    data = dump({"origin": list(new.origin)}) if new.origin else None
    return Added(0, 0, "created", "", new.state, now, new.frame, data)


def unknown(run_id: str) -> RunUnknown:
    return RunUnknown("there is no run of this name", about=run_id, todo="journal.runs() lists them.")


def no_step(run_id: str, step: int) -> StepUnknown:
    return StepUnknown(
        f"there is no step {step}", about=run_id, todo="history(run_id) lists them, in a notebook %agent_runs show."
    )


def _mark_of(row: RunRow, control: str, state: str | None = None) -> StatusChange:
    state = state or row.summary.state
    return StatusChange(row.summary.run_id, _KINDS[control], _CONTROLLED[control], state, None, error=row.error,
                failed_in=row.summary.failed_in)  # fmt: skip
