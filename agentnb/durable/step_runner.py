"""Make one step of a run: claim it, call the handler, commit its answer; deal with one that ends badly."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from agentnb.canonical import JsonObject, dump_exact, load
from agentnb.durable import ownership
from agentnb.durable.contexts import PLAIN, Codec, Context
from agentnb.durable.events import COMPLETED, FAILED, Bus, Event
from agentnb.durable.journal import deltas, records
from agentnb.durable.journal.protocol import Journal, OwnedRun
from agentnb.durable.journal.records import AWAITING, Committed, RunRow, StatusChange, StepWrite
from agentnb.durable.states import Retry, State
from agentnb.durable.step_context import CURRENT, Current
from agentnb.errors import (
    ActionUnsure,
    AgentnbError,
    HandlerError,
    RunCancelled,
    RunDelayed,
    RunInterrupted,
    RunPaused,
    RunSuspended,
    StateUnknown,
    VersionChanged,
    nearest,
)

TERMINAL = (COMPLETED, FAILED)
STATUS_OF = {COMPLETED: records.COMPLETED, FAILED: records.FAILED}
LONGEST_TRACEBACK = 20_000  # characters of a failed step's traceback that are kept, from its end
LONGEST_MESSAGE = 4_000
_GOES_ON: tuple[str, float | None] = (records.RUNNING, None)

Advance: TypeAlias = tuple[str, str]
"""The state and the status that a run has after a step was made, or was not."""


_new_write = tuple.__new__
"""Makes a StepWrite in a third of the time that its own constructor takes."""

PAUSE = 0.2
"""Seconds between two steps from which on nobody worked on the run."""


class Stepper:
    """Makes steps over a journal with the states that are registered. Safe from several threads."""

    def __init__(
        self,
        journal: Journal,
        *,
        codec: Codec,
        lease: float,
        redact: Callable[[str], str],
        wait: Callable[[float], None],
    ) -> None:
        self.journal = journal
        self.events = Bus()
        self.states: dict[str, State] = {}
        self._usual: set[str] = set()  # registered states in which a run goes on at once
        self._registered: object = object()  # a new one with each registration: holds compare it by identity
        self._codec = codec
        self._lease = lease
        self._redact = redact
        self._wait = wait

    def register(self, state: State) -> None:
        """Add or replace a state."""
        self.states[state.name] = state
        self._registered = object()
        if not state.name.startswith(AWAITING):
            self._usual.add(state.name)

    def advance(self, run_id: str, most: float = 1) -> Advance:
        """Make at most so many steps while the run goes on by itself; hold it once for all of them."""
        journal, token, made = self.journal, ownership.new_token(), 0
        monotonic = journal.clock.monotonic
        try:
            hold = ownership.take(journal, run_id, token)
            while True:
                hold.started = monotonic()
                if not hold.valid or hold.asked or hold.started > hold.renewal:
                    stopped = self._claim(hold, made)
                    if stopped is not None:
                        return stopped
                journal.active[run_id] = hold.active
                reached = self._step(hold)
                made += 1
                if made >= most or reached[1] != records.RUNNING:
                    return reached
        finally:
            ownership.let_go(journal, run_id, token)

    def _claim(self, hold: OwnedRun, made: int) -> Advance | None:
        """Claim the run and read it; what to answer instead where there is nothing to execute.

        A run that stands still is an error only where no step was `made`.
        """
        asked, hold.valid, hold.asked = hold.asked, False, False
        renewal = self.journal.clock.monotonic() + self._lease / 2
        claim = self.journal.claim(hold.run_id, self._lease)
        row = claim.row
        if not claim.held:
            if asked and self.events.heard:
                self.events.emit(self.journal.history(hold.run_id)[-1])
            return (row.summary.state, row.summary.status) if made else _stopped(row)
        ownership.keep_alive(self.journal, self._lease)
        hold.key, hold.fence, hold.step, hold.state = row.key, row.fence, row.summary.step, row.summary.state
        hold.attempt, hold.delivery, hold.renewal, hold.checked = row.attempt, claim.delivery, renewal, None
        hold.encoded, hold.context, hold.due = deltas.restore(claim.frames), None, row.wake_at
        hold.nulls = {key for key, value in hold.encoded.items() if b"null" in value}
        hold.active = (hold.key, hold.fence, self._lease)
        hold.chain, hold.chain_bytes = len(claim.frames) - 1, sum(map(len, claim.frames[1:]))
        self._check_versions(hold, row)
        hold.valid = True
        return None

    def _step(self, hold: OwnedRun) -> Advance:
        entry = self.states.get(hold.state) or self.entry(hold.state)
        if hold.checked is not self._registered:
            self._check_versions(hold, self.journal.row(hold.run_id))
        while True:
            current = Current(self.journal, self.events, hold)
            context = self.typed(hold.encoded) if hold.context is None else hold.context
            hold.context = None  # until the step is committed: the handler may change it in place and then fail
            try:
                answer = copy_context().run(call, entry, current, context)
            except Exception as error:  # noqa: BLE001 - the handler is foreign code; what it raises is journaled
                stopped = self._raised(hold, entry, current, error)
                if stopped is not None:
                    return stopped
            except BaseException:
                self._pause_here(hold, current, "interrupted")
                raise
            else:
                return self._commit(hold, current, answer)

    def entry(self, name: str) -> State:
        entry = self.states.get(name)
        if entry is None:
            self.refuse_unknown(name)
            raise StateUnknown("a terminal state has no handler", about=name)
        return entry

    def _commit(self, hold: OwnedRun, current: Current, answer: Any) -> Advance:
        usual = answer.__class__ is tuple and len(answer) == 2 and answer[0].__class__ is str
        if not usual or answer[0] not in self._usual:
            self.check(hold.state, answer)
        next_state, context = answer
        plain = context if self._codec is PLAIN else self._codec.plain(context)
        changed: list[int] = []
        encoded = deltas.encode(plain, hold.encoded, hold.nulls, changed)
        frame, whole = deltas.frame(hold.encoded, encoded, hold.chain, hold.chain_bytes, changed)
        status, wake_at = _GOES_ON if next_state in self._usual else self.status_of(next_state)
        if hold.started - hold.ended > PAUSE:
            self._note_pause(hold, current)
        data = dump_exact(current.attached, "attach") if current.attached else None
        if data or whole or len(frame) >= deltas.WORTH_DEFLATING:
            frame, data = deltas.pack(frame, data)
        took = hold.delivery.key if hold.delivery else None
        step, told = current.step, self.events.heard
        write = _new_write(
            StepWrite,
            (hold.key, hold.run_id, step, hold.fence, hold.state, next_state, status, frame, whole, data, took, wake_at,
            self._lease, told),
        )  # fmt: skip
        hold.valid = False  # if anything goes wrong from here on, what is true stands in the journal only
        done = self.journal.commit(write)
        hold.step, hold.state, hold.encoded, hold.context = step, next_state, encoded, context
        hold.chain, hold.chain_bytes = (0, 0) if whole else (hold.chain + 1, hold.chain_bytes + len(frame))
        hold.delivery, hold.due, hold.attempt, hold.ended = None, None, 0, self.journal.clock.monotonic()
        hold.renewal = hold.started + self._lease / 2  # from before the step: earlier than what the commit wrote
        hold.valid = done.status == records.RUNNING
        if told:
            self._tell_step(write, current, done)
        return next_state, done.status

    def _note_pause(self, hold: OwnedRun, current: Current) -> None:
        """Keep, after a pause, how long the step took: else the pause would be told as a part of it."""
        if (hold.ended or hold.step > 0) and "seconds" not in (current.attached or {}):
            current.attach(seconds=round(self.journal.clock.monotonic() - hold.started, 6))

    def check(self, state: str, answer: object) -> None:
        """Refuse what is no answer of a handler. Nothing has been committed when this raises."""
        if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[0], str):
            raise HandlerError(
                f"a handler must return (next_state, context), not {_short(answer)}",
                about=state,
                todo="Nothing of this step was committed; mend the handler and execute the step again.",
            )
        if answer[0] not in self._usual:
            self.refuse_unknown(answer[0])

    def status_of(self, next_state: str) -> tuple[str, float | None]:
        """Return the status of a run that comes to `next_state`, and when it stops waiting there."""
        if next_state.startswith(AWAITING):
            timeout = self.states[next_state].waits
            return records.WAITING, None if timeout is None else self.journal.clock.now() + timeout
        return STATUS_OF.get(next_state, records.RUNNING), None

    # When a step does not end well

    def _raised(self, hold: OwnedRun, entry: State, current: Current, error: Exception) -> Advance | None:
        """Return what becomes of a step whose handler raised; None: it is tried again."""
        if isinstance(error, RunSuspended | RunInterrupted | ActionUnsure):
            self._pause_here(hold, current, str(error))
            if isinstance(error, RunSuspended):
                return hold.state, records.PAUSED
            raise error
        if isinstance(error, RunDelayed):
            return self._delay(hold, current, error)
        if entry.retry is not None and entry.retry.allows(current.attempt, error):
            return self._try_again(hold, entry.retry, current.attempt, error)
        failure = dump_exact(self._describe(error))
        hold.valid = False
        event = self.journal.mark(
            StatusChange(
                hold.run_id, "failed", records.FAILED, FAILED, hold.fence, data=self._with_attached(current, failure),
                error=failure, failed_in=hold.state, attempt=0,
            )
        )  # fmt: skip
        self.events.emit(event)
        return FAILED, records.FAILED

    def _try_again(self, hold: OwnedRun, retry: Retry, attempt: int, error: Exception) -> Advance | None:
        seconds = retry.wait_after(attempt)
        data = dump_exact({**self._describe(error), "attempt": attempt, "wait": seconds})
        hold.valid = False
        event = self.journal.mark(
            StatusChange(
                hold.run_id,
                "retried",
                records.RUNNING,
                hold.state,
                hold.fence,
                data=data,
                attempt=attempt,
                release=False,
            )
        )
        self.events.emit(event)
        hold.attempt = attempt
        self._wait(seconds)
        control = self.journal.row(hold.run_id).control
        if control is None:
            hold.valid = True
            return None
        return self._stop(hold, control)

    def _stop(self, hold: OwnedRun, control: str) -> Advance:
        """Do what was asked for while the step was in flight."""
        stopped = self.journal.request(hold.run_id, control, in_flight=False)
        if stopped is not None:
            self.events.emit(stopped)
        return hold.state, records.PAUSED if control == "pause" else records.CANCELLED

    def _delay(self, hold: OwnedRun, current: Current, error: RunDelayed) -> Advance:
        """Let the run go until its wake-up time. Then any worker makes the step."""
        hold.valid = False
        control = self.journal.row(hold.run_id).control
        said = {**(current.attached or {}), **error.data, "reason": self._redact(error.what), "wait": error.seconds}
        event = self.journal.mark(
            StatusChange(
                hold.run_id, "delayed", records.WAITING, hold.state, hold.fence, data=dump_exact(said),
                attempt=hold.attempt, wake_at=self.journal.clock.now() + error.seconds,
            )
        )  # fmt: skip
        self.events.emit(event)
        return self._stop(hold, control) if control else (hold.state, records.WAITING)

    def _pause_here(self, hold: OwnedRun, current: Current, reason: str) -> None:
        hold.valid = False
        data = dump_exact({**(current.attached or {}), "reason": self._redact(reason)})
        event = self.journal.mark(
            StatusChange(hold.run_id, "paused", records.PAUSED, hold.state, hold.fence, data=data)
        )
        self.events.emit(event)

    def _describe(self, error: Exception) -> JsonObject:
        text = "".join(traceback.format_exception(type(error), error, _foreign(error.__traceback__)))
        return {
            "type": type(error).__name__,
            "code": getattr(error, "code", None) if isinstance(error, AgentnbError) else None,
            "message": _storable(self._redact(str(error)))[:LONGEST_MESSAGE],
            "traceback": _storable(self._redact(text))[-LONGEST_TRACEBACK:],
        }

    def _with_attached(self, current: Current, failure: bytes) -> bytes:
        return dump_exact({**current.attached, **load(failure)}) if current.attached else failure

    # Parts

    def refuse_unknown(self, state: str) -> None:
        if state in self.states or state in TERMINAL:
            return
        known = sorted(self.states)
        raise StateUnknown(
            "no handler is registered for this state; nothing was committed",
            about=state,
            todo=nearest(state, known) or f"Register it first. Registered are: {', '.join(known) or 'none'}.",
        )

    def _check_versions(self, hold: OwnedRun, row: RunRow) -> None:
        """Check once per claim and registration: a run that was begun under other handlers says so."""
        changed = {
            name: (version, self.states[name].version)
            for name, version in row.versions.items()
            if name in self.states and self.states[name].version != version
        }
        if changed:
            hold.valid = False
            self.journal.release(row.key, row.fence)
            said = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in sorted(changed.items()))
            raise VersionChanged(
                f"the run was begun under other versions of its handlers: {said}",
                about=row.summary.run_id,
                todo="resume(run_id, accept_versions=True) goes on with the registered ones.",
            )
        hold.checked = self._registered

    def typed(self, encoded: deltas.Encoded) -> Context:
        return self._codec.typed(deltas.decode(encoded))

    def _tell_step(self, write: StepWrite, current: Current, done: Committed) -> None:
        self.events.emit(
            Event(
                seq=done.seq, run_id=write.run_id, step=write.step, kind="step", state=write.state,
                next_state=write.next_state, at=done.at, data=current.attached or {},
            )
        )  # fmt: skip
        if done.status != write.status:  # a pause or a cancellation was asked for while the step was in flight
            self.events.emit(self.journal.history(write.run_id)[-1])


def _stopped(row: RunRow) -> Advance:
    summary = row.summary
    if summary.status == records.PAUSED:
        raise RunPaused(
            f"the run is paused at step {summary.step} in {summary.state}",
            about=summary.run_id,
            todo="resume(run_id) makes it ready to go on.",
        )
    if summary.status == records.CANCELLED:
        raise RunCancelled(
            f"the run was cancelled at step {summary.step} in {summary.state}",
            about=summary.run_id,
            todo="fork(run_id, step, new_run_id) goes on from any step.",
        )
    return summary.state, summary.status


def _foreign(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the handler's own frame on; ours above it tell the reader nothing."""
    here = trace
    while here is not None and Path(here.tb_frame.f_code.co_filename).parent == Path(__file__).parent:
        here = here.tb_next
    return here or trace


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def call(entry: State, current: Current, context: Context) -> Any:
    """Call the handler. Run it in a copy of the context variables: then no interrupt leaves the step behind as
    present."""
    CURRENT.set(current)
    try:
        return entry.handler(context) if entry.timeout is None else entry.call(context)
    finally:
        current.over = True
