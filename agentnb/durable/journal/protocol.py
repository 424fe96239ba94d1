"""Say what every journal of runs does, and what a process remembers of a run that it holds.

One step is one transaction and one flush. The run's row moves by compare-and-swap on its step and its fencing token.
The lease is renewed in the same row, and the history row, which is the event, is inserted. A journal speaks in rows and
bytes; what they mean is the state machine's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Protocol

from agentnb.canonical import Clock, JsonObject
from agentnb.durable.contexts import Context
from agentnb.durable.events import Event
from agentnb.durable.journal.deltas import Encoded
from agentnb.durable.journal.records import (
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

NO_TAGS: Tags = MappingProxyType({})


class OwnedRun:
    """Holds a run that this process holds: where it is, its context's bytes, and the live context. Never durable."""

    __slots__ = (
        "active",
        "asked",
        "attempt",
        "chain",
        "chain_bytes",
        "checked",
        "context",
        "delivery",
        "due",
        "encoded",
        "ended",
        "fence",
        "key",
        "nulls",
        "renewal",
        "run_id",
        "started",
        "state",
        "step",
        "stored",
        "valid",
    )  # fmt: skip

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.valid = False
        """False: what is below may be out of date; claim the run and read it."""
        self.checked: object = None
        self.key = self.fence = self.step = self.chain = self.chain_bytes = self.attempt = 0
        self.state = ""
        self.active = (0, 0, 0.0)
        """Its entry in the journal's `active` while it is in a step: key, fence, lease seconds."""
        self.asked = False
        """A pause or a cancellation has been asked for in this process: look before the next step."""
        self.started = self.renewal = self.ended = 0.0
        """When the step in flight began, and after when the run is claimed anew; on the monotonic clock."""
        self.encoded: Encoded = {}
        self.stored: tuple[tuple[int, int, int], Encoded] = ((0, 0, -1), {})
        """The context when the run was last let go, under its key, fence and step: for whoever reads it meanwhile."""
        self.nulls: set[str] = set()
        """Keys whose values have or had a null in them: see canonical.dump_members."""
        self.context: Context = None
        self.delivery: Delivery | None = None
        self.due: float | None = None
        """The wake-up time of the run's last wait, until a step is committed."""


class Journal(Protocol):
    """Does what every journal does. All of it is safe from several threads, and every write is durable on return."""

    @property
    def address(self) -> str: ...

    @property
    def owner(self) -> str:
        """Return the name under which this journal object holds leases."""

    @property
    def clock(self) -> Clock: ...

    @property
    def active(self) -> dict[str, tuple[int, int, float]]:
        """Return run_id -> (key, fence, lease seconds) of the runs that are in a step in this process right now."""

    @property
    def holds(self) -> dict[str, OwnedRun]:
        """Return what the state machines of this process remember of the runs they hold; nothing durable."""

    @property
    def busy(self) -> JsonObject:
        """Return run_id -> the token of the call in this process that is at work on it."""

    def create(self, *news: NewRun) -> list[str]:
        """Make runs at step 0, in one transaction, and return the names of those made. A taken name is left alone."""

    def row(self, run_id: str) -> RunRow:
        """Raises RunUnknown."""

    def snapshot(self, run_id: str) -> Snapshot:
        """Return the run as it stands, in one look. Raises RunUnknown."""

    def claim(self, run_id: str, lease: float, *, take_over: bool = False) -> Claim:
        """Take the run's lease for `lease` seconds, under a new fencing token. Raises LeaseHeld, RunUnknown."""

    def claim_free(self, lease: float, *, states: Collection[str], tags: Mapping[str, str]) -> str | None:
        """Claim the oldest run in one of these states, with these tags, that could go on and nobody works on.

        Gives its run_id, or None where there is none. Several workers that ask at once get different runs.
        """

    def renew(self, key: int, fence: int, lease: float) -> bool:
        """Lengthen the lease; False where the fencing token is no longer the run's."""

    def release(self, key: int, fence: int) -> None:
        """Give the lease back, where it is still ours."""

    def commit(self, write: StepWrite) -> Committed:
        """Write one step. Raises StepConflict where somebody else has moved or claimed the run."""

    def mark(self, mark: StatusChange) -> Event:
        """Change a run's status without a step. Raises StepConflict where the fencing token does not match."""

    def note(self, run_id: str, fence: int, data: bytes) -> None:
        """Keep data as an event of the step in flight, at once. Raises StepConflict like `mark`."""

    def request(self, run_id: str, control: str, *, in_flight: bool) -> Event | None:
        """Ask for "pause" or "cancel"; gives the event, or None where the step in flight must end first."""

    def delivered(self, run_id: str, step: int) -> Delivery | None:
        """Return the outside event that this step used up."""

    def deliver(self, run_id: str, name: str, data: bytes, *, event_id: str | None = None) -> bool:
        """Put an outside event into the run's inbox; False where this `event_id` has come before."""

    def frames(self, run_id: str, step: int) -> tuple[str, list[bytes]]:
        """Return the state at `step`, and the frames from its keyframe on. Raises RunUnknown, StepUnknown."""

    def history(self, run_id: str, *, state: str | None = None) -> list[Event]:
        """Return the events of a run, all or those that began in a state, oldest first. Raises RunUnknown."""

    def follow(self, after_seq: int = 0, *, limit: int = 1000, tags: Tags = NO_TAGS) -> list[Event]:
        """Return the events after the cursor of all runs that carry these tags, in the order of their commits.

        Each comes once, and none is left out.
        """

    def find(self, **tags: str) -> list[RunSummary]:
        """Return the runs that carry all these tags, in the order of their creation."""

    def rows(self, **tags: str) -> list[RunRow]:
        """Return the whole rows of the runs that carry all these tags, in the order of their creation."""

    def tally(self, **tags: str) -> list[Tally]:
        """Count the runs that carry all these tags, in one query: a row for those that stand alike."""

    def runs(self, *, limit: int | None = 50) -> list[RunSummary]:
        """Return the newest runs, newest first."""

    def prune(self, run_ids: Collection[str], *, before: float, dry_run: bool = False) -> Freed:
        """Delete these runs with their whole history, and return what went.

        One that has moved since `before` stays. A follower's cursor stays good: no event's number comes twice.
        """

    def begin_action(self, key: int, step: int, name: str, fence: int) -> ActionRow | None:
        """Note that an outside effect may happen from now on; gives what was noted before, and then changes nothing."""

    def end_action(self, key: int, step: int, action: ActionRow) -> None:
        """Note what came of an outside effect."""

    def actions(self, run_id: str, step: int | None = None) -> list[tuple[int, ActionRow]]:
        """Return the outside effects of a run (of one step of it), each with its step."""

    @property
    def closed(self) -> bool: ...

    def close(self) -> None: ...
