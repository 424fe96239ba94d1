"""Tell a handler about the step that it is making, and run its keyed effects on the world outside."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentnb.canonical import JsonObject, dump_exact, load
from agentnb.durable.events import Bus, Event
from agentnb.durable.journal.records import ActionRow, Delivery
from agentnb.errors import ActionUnsure, JournalError, RunCancelled, RunInterrupted

if TYPE_CHECKING:
    from agentnb.durable.journal.protocol import Journal, OwnedRun

CURRENT: contextvars.ContextVar[Current | None] = contextvars.ContextVar("agentnb_step", default=None)


class Current:
    """Holds the step in flight: `step` is the number it will have, `attempt` counts from 1."""

    __slots__ = (
        "_bus", "_journal", "attached", "attempt", "begun", "delivery", "due", "fence", "key", "over", "replaying",
        "run_id", "state", "step",
    )  # fmt: skip

    def __init__(self, journal: Journal, bus: Bus, hold: OwnedRun) -> None:
        self._journal = journal
        self._bus = bus
        self.run_id = hold.run_id
        self.state = hold.state
        self.step = hold.step + 1
        self.key = hold.key
        self.fence = hold.fence
        self.attempt = hold.attempt + 1
        self.delivery: Delivery | None = hold.delivery
        self.due = hold.due
        """The wake-up time of the wait that lies behind this step; None where it did not wait."""
        self.attached: JsonObject | None = None
        self.begun: set[str] | None = None
        self.over = False
        """True when the step has ended, with or without this handler: what it does now is in vain."""
        self.replaying = False

    @property
    def event(self) -> Delivery | None:
        """Return the outside event (`.name`, `.data`) that woke an AWAITING_ state; None where its time was over
        instead."""
        return self.delivery

    def attach(self, **data: object) -> None:
        """Keep JSON values with this step's event: its usage, its latency. They are not part of the context."""
        dump_exact(data, "attach")
        self.attached = {**(self.attached or {}), **data}

    def note(self, **data: object) -> None:
        """Keep JSON values in the journal at once, as an event of their own, whatever becomes of the step."""
        if not self.replaying:
            self._journal.note(self.run_id, self.fence, dump_exact(data, "note"))

    def emit(self, kind: str, **data: object) -> None:
        """Tell a signal to whoever listens now. It is not journaled."""
        if self._bus.heard:
            at, state = self._journal.clock.now(), self.state
            self._bus.emit(
                Event(run_id=self.run_id, step=self.step, kind=kind, state=state, next_state=state, at=at, data=data)
            )

    def action(self, name: str) -> Action:
        """Return the outside effect of this step under `name`: the same one when the step is repeated after a crash."""
        return Action(self, self._journal, name)

    @property
    def cancelled(self) -> bool:
        """Tell whether a cancellation of the run has been asked for: read from the journal at each call."""
        return self._journal.row(self.run_id).control == "cancel"


class Action:
    """Holds one outside effect, keyed (run, step, name). It happens at most once unless somebody says: repeat it.

    `run` does it all; `begin`, then the effect, then `done` or `failed` do it in parts.
    """

    def __init__(self, current: Current, journal: Journal, name: str) -> None:
        self._current = current
        self._journal = journal
        self.name = name
        self.key = f"{current.run_id}/{current.step}/{name}"
        """The idempotency key to hand to a service that knows such keys."""

    def _row(self) -> ActionRow | None:
        rows = self._journal.actions(self._current.run_id, self._current.step)
        return next((row for _, row in rows if row.name == self.name), None)

    @property
    def status(self) -> str:
        """Return new, begun (in this attempt), unsure (begun in an earlier one: it may have happened), done or
        failed."""
        row = self._row()
        if row is None:
            return "new"
        return "unsure" if row.status == "begun" and self.name not in (self._current.begun or ()) else row.status

    @property
    def result(self) -> Any:
        """Return what `done` recorded, or what `failed` said; None before."""
        row = self._row()
        return load(row.data) if row and row.data is not None else None

    def begin(self) -> None:
        """Note that it may happen from now on. Raises ActionUnsure where it may have happened, or has."""
        before = self._begin()
        if before is not None:
            raise self._unsure(before.status)

    def _begin(self) -> ActionRow | None:
        self._refuse_if_over()
        current = self._current
        if current.replaying:
            return self._row()
        before = self._journal.begin_action(current.key, current.step, self.name, current.fence)
        if before is None:
            current.begun = {*(current.begun or ()), self.name}
        return before

    def done(self, result: object = None) -> None:
        """Note that it has happened, with its JSON result."""
        self._end("done", dump_exact(result, f"result of {self.name}"))

    def failed(self, reason: str) -> None:
        """Note that it has failed; an attempt to come may repeat it."""
        self._end("failed", dump_exact(reason))

    def _end(self, status: str, data: bytes) -> None:
        self._refuse_if_over()
        current = self._current
        self._journal.end_action(current.key, current.step, ActionRow(self.name, status, current.fence, data))

    def run(self, function: Callable[..., object], *args: object) -> Any:
        """Return the JSON result of `function(*args)`: called once, and from then on the recorded one.

        Raises what the function raises, and ActionUnsure where it may have happened in an execution that was cut off.
        """
        before = self._begin()
        if before is not None and before.status == "done":
            return load(before.data) if before.data is not None else None
        if before is not None:
            raise self._unsure(before.status)
        if self._current.replaying:
            raise JournalError(f"{self.name} has no recorded result to replay", about=self.key)
        return self._call(function, *args)

    def _call(self, function: Callable[..., object], *args: object) -> Any:
        try:
            result = function(*args)
        except RunInterrupted:
            raise  # cut off halfway: it may have acted, so it stays unsure and is asked about
        except Exception as error:
            self.failed(f"{type(error).__name__}: {error}")
            raise
        self.done(result)
        return result

    def _refuse_if_over(self) -> None:
        if self._current.over:
            raise RunCancelled("the step has ended without this handler", about=self.key)

    def _unsure(self, status: str) -> ActionUnsure:
        said = (
            "has happened already" if status == "done" else "may have happened already: it was begun and then cut off"
        )
        return ActionUnsure(
            f"{self.name} {said}",
            about=self.key,
            todo='Look outside, then resume(run_id, unsure="repeat") or resume(run_id, unsure="skip").',
        )
