"""Hold what a journal keeps of a run, as values: the words between the state machine and its journals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from agentnb.durable.contexts import Context

RUNNING, PAUSED, WAITING = "running", "paused", "waiting"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
FINISHED = frozenset({COMPLETED, FAILED, CANCELLED})
"""Statuses of a run that does nothing more by itself. A failed one can be resumed."""

AWAITING = "AWAITING_"
"""A state with this beginning waits for the outside event named by the rest of it."""

Tags: TypeAlias = Mapping[str, str]
SHARED = "shared"
"""The tag of a run that keeps what others share, a budget or a pace. It never ends by itself."""
CHILD_OF = "child_of"
"""The tag of a run that another one delegated; its value names that one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """Holds one run as the journal's row tells it. Times in seconds since the epoch; `state` is "FAILED" where it
    failed."""

    run_id: str
    state: str
    status: str
    step: int
    tags: Tags
    created: float
    updated: float
    failed_in: str | None = None
    origin: tuple[str, int] | None = None
    """The run and step this one was forked from."""

    @property
    def inner(self) -> bool:
        """Tell whether nobody asked for it: another run delegated it, or it keeps what runs share."""
        return bool(self.tags.get(CHILD_OF) or self.tags.get(SHARED))

    @property
    def delayed(self) -> bool:
        """Tell whether the run goes on by itself at its wake-up time."""
        return self.status == WAITING and not self.state.startswith(AWAITING)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRow:
    """Holds the whole row of a run. `key` is the journal's own number for it, `fence` grows with each claim."""

    key: int
    summary: RunSummary
    fence: int
    owner: str | None
    lease_until: float
    lease_tick: float
    control: str | None
    attempt: int
    error: bytes | None
    versions: Mapping[str, str]
    wake_at: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewRun:
    """Holds a run to be made: its state and first keyframe."""

    run_id: str
    state: str
    status: str
    frame: bytes
    tags: Tags = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    origin: tuple[str, int] | None = None
    wake_at: float | None = None


class Delivery(NamedTuple):
    """Holds an outside event that waits in a run's inbox."""

    key: int
    name: str
    data: Any
    at: float


class Claim(NamedTuple):
    """Tells what a claim found. `held` is False where the run is paused, waiting or finished and nothing was
    claimed."""

    row: RunRow
    held: bool
    frames: list[bytes]
    delivery: Delivery | None


class Tally(NamedTuple):
    """Counts the runs that stand alike: in one status, under one owner, and failed with one error at one step."""

    status: str
    awaits: bool
    """They wait for an outside event, not for a time."""
    owner: str | None
    begun: bool
    lease_until: float
    lease_tick: float
    """The latest of their leases. Leases that are over are counted apart from those that are not."""
    failed_at: int | None
    error: bytes | None
    runs: int
    steps: int
    created: float
    updated: float
    """When the first of them was made, and the last of them moved: seconds since the epoch."""

    @property
    def goes_on(self) -> bool:
        """Tell whether they go on by themselves: at once, or at their wake-up time."""
        return self.status == RUNNING or (self.status == WAITING and not self.awaits)


class Freed(NamedTuple):
    """Counts what a deletion takes away: runs, their events, and the bytes of those."""

    runs: int
    events: int
    bytes: int


class Snapshot(NamedTuple):
    """Holds a run as it stands: its row, its context's frames, and the outside effects of the step in flight."""

    row: RunRow
    frames: list[bytes]
    pending: list[ActionRow]


class StepWrite(NamedTuple):
    """Holds one step to commit: from `state` at `step` - 1 to `next_state` at `step`, under `fence`."""

    key: int
    run_id: str
    step: int
    fence: int
    state: str
    next_state: str
    status: str
    frame: bytes
    keyframe: bool
    data: bytes | None
    took: int | None
    """The key of the delivery that this step used up."""
    wake_at: float | None
    lease: float
    told: bool
    """True where anybody wants to know the event's `seq`."""


class Committed(NamedTuple):
    """Holds a step that is durable. `status` is not the one asked for where a pause or a cancellation came in
    between."""

    at: float
    status: str
    seq: int = 0


class StatusChange(NamedTuple):
    """Holds a change of a run that is no step: failed, retried, paused, delayed, resumed, cancelled.

    Under `fence`, None: any. A `wake_at` that is None leaves the run's own as it is.
    """

    run_id: str
    kind: str
    status: str
    state: str
    fence: int | None
    data: bytes | None = None
    error: bytes | None = None
    failed_in: str | None = None
    attempt: int = 0
    release: bool = True
    versions: Mapping[str, str] | None = None
    wake_at: float | None = None


class ActionRow(NamedTuple):
    """Holds an outside effect of a step: `status` is begun, done or failed; `fence` tells which execution began it."""

    name: str
    status: str
    fence: int
    data: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunError:
    """Tells why a run failed. `code` is set for agentnb's own errors; `traceback` is text, redacted like the
    message."""

    type: str
    message: str
    traceback: str
    code: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Holds a run as it stands. `context` is the last good one; times in seconds since the epoch.

    `state` is "FAILED" where it failed, and `failed_in` the state it failed in and resumes from. `unsure` names the
    outside effects of the step in flight that may have happened already.
    """

    run_id: str
    state: str
    status: str
    step: int
    context: Context
    tags: Tags
    created: float
    updated: float
    error: RunError | None = None
    failed_in: str | None = None
    origin: tuple[str, int] | None = None
    unsure: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.status in FINISHED
