"""AgentStateMachine: registered states, one durable step at a time.

A handler takes the context and gives the next state and context. Each step is committed in one transaction before the
next begins; whatever happens to the process, no committed step is lost, and at most the step in flight is repeated.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from agentnb.canonical import Clock, dump_exact, load
from agentnb.errors import (
    ActionUnsure,
    AgentnbError,
    ContextNotStorable,
    HandlerError,
    InputError,
    JournalError,
    LeaseHeld,
    RunCancelled,
    RunFinished,
    RunInterrupted,
    RunPaused,
    RunSuspended,
    StateUnknown,
    VersionChanged,
    nearest,
)
from agentnb.runs import deltas, holds, rows
from agentnb.runs.contexts import PLAIN, codec_for
from agentnb.runs.current import CURRENT, Current
from agentnb.runs.events import COMPLETED, FAILED, Bus, Event
from agentnb.runs.holds import Hold
from agentnb.runs.journal import Journal
from agentnb.runs.opening import open_journal
from agentnb.runs.policies import Handler, Retry, State
from agentnb.runs.rows import AWAITING, Committed, Mark, NewRun, Run, RunError, RunRow, StepWrite

H = TypeVar("H", bound=Handler)

TERMINAL = (COMPLETED, FAILED)
_STATUS = {COMPLETED: rows.COMPLETED, FAILED: rows.FAILED}
_GOES_ON: tuple[str, float | None] = (rows.RUNNING, None)
LEASE_SECONDS = 60.0
LONGEST_TRACEBACK = 20_000  # characters of a failed step's traceback that are kept, from its end
LONGEST_MESSAGE = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What a step gives when its handler runs again on the recorded context, beside what was recorded."""

    next_state: str
    context: Any
    recorded_state: str
    recorded_context: Any

    @property
    def same(self) -> bool:
        return self.next_state == self.recorded_state and bool(self.context == self.recorded_context)


_Advance: TypeAlias = tuple[str, str]
"""The state and the status that a run has after a step was made, or was not."""


class AgentStateMachine:
    """Runs whose every step is journaled. Safe from several threads; one run is in one thread at a time.

    `db_path` is ":memory:", a directory, "postgresql://...", or an open journal. `redact` is applied to the text of
    errors before it is journaled. `context_type` is a dataclass, a pydantic model or a TypedDict for contexts that are
    not plain dicts. `lease` is the number of seconds after which another worker may take over from a dead one.
    """

    def __init__(
        self,
        db_path: str | Path | Journal = ":memory:",
        *,
        clock: Clock | None = None,
        redact: Callable[[str], str] | None = None,
        context_type: type | None = None,
        lease: float = LEASE_SECONDS,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.journal: Journal = open_journal(db_path, clock=clock) if isinstance(db_path, str | Path) else db_path
        self.events = Bus()
        self._states: dict[str, State] = {}
        self._usual: set[str] = set()  # registered states in which a run goes on at once
        self._registered: object = object()  # a new one with each registration: holds compare it by identity
        self._redact = redact or str
        self._codec = codec_for(context_type)
        self._lease = lease
        self._wait = wait

    # Registering

    def register_state(
        self,
        name: str,
        handler: Handler,
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
        version: str = "1",
        leads_to: tuple[str, ...] = (),
    ) -> None:
        """Register `handler` under `name`; registering again replaces it.

        `timeout` is in seconds: how long the handler may take, or, for a state AWAITING_..., how long it waits for its
        event. `version` is kept with each run: a run that was begun under another one asks before it goes on.
        """
        if name in TERMINAL:
            raise HandlerError("a terminal state has no handler", about=name, todo="Choose another name.")
        if not callable(handler):
            raise HandlerError("a handler must be callable: (context) -> (next_state, context)", about=name)
        self._states[name] = State(
            name=name, handler=handler, retry=retry, timeout=timeout, version=version, leads_to=tuple(leads_to)
        )
        self._registered = object()
        if not name.startswith(AWAITING):
            self._usual.add(name)

    def state(self, name: str, **options: Any) -> Callable[[H], H]:
        """`register_state` as a decorator, with the same options."""

        def register(handler: H) -> H:
            self.register_state(name, handler, **options)
            return handler

        return register

    @property
    def states(self) -> Mapping[str, State]:
        """The registered states by name, in the order of registration."""
        return dict(self._states)

    # Beginning and going on

    def initialize_run(self, run_id: str, state: str, context: Any, *, tags: Mapping[str, str] | None = None) -> Run:
        """Make a run at step 0. Raises RunExists, StateUnknown, ContextNotStorable; nothing is committed then."""
        if not run_id or run_id.__class__ is not str:
            raise InputError("a run_id must be text and not empty", about=repr(run_id))
        self._refuse_unknown(state)
        encoded = deltas.encode(self._codec.plain(context))
        self._create(run_id, state, encoded, tags=_checked_tags(tags or {}))
        return self.get(run_id)

    def execute_step(self, run_id: str) -> str:
        """Make one step and commit it; gives the state the run is in then.

        When the handler raises, that is "FAILED". A finished run gives its last state and a run that waits for an
        event the state it waits in: nothing is executed. Raises RunPaused, RunCancelled, LeaseHeld, StepConflict,
        RunUnknown; and StateUnknown, HandlerError or ContextNotStorable for an answer that cannot be committed.
        """
        return self._advance(run_id)[0]

    def run_to_end(self, run_id: str, *, max_steps: int | None = None) -> Run:
        """Make steps until the run is finished, paused or waiting, at most `max_steps`. Look at the status."""
        made = 0
        while max_steps is None or made < max_steps:
            try:
                _, status = self._advance(run_id)
            except (RunPaused, RunCancelled):
                if not made:
                    raise
                break
            made += 1
            if status != rows.RUNNING:
                break
        return self.get(run_id)

    def pause(self, run_id: str) -> None:
        """Stop the run between two steps: now, or when the step in flight has ended. Raises RunFinished."""
        self._request(run_id, "pause")

    def cancel(self, run_id: str) -> None:
        """End the run for good: now, or when the step in flight has ended. Its steps stay readable."""
        self._request(run_id, "cancel")

    def resume(
        self,
        run_id: str,
        *,
        unsure: str | Mapping[str, Any] | None = None,
        accept_versions: bool = False,
        take_over: bool = False,
    ) -> Run:
        """Make a paused or failed run ready to go on; executes nothing.

        `unsure` answers for the outside effects that may have happened (`.unsure` of the run): "repeat", "skip", or a
        result for each by name. `accept_versions` goes on with handlers of another version. `take_over` takes the run
        from a worker that is believed dead: whatever it does after that is refused.
        """
        if take_over:
            self._take_over(run_id)
        row = self.journal.row(run_id)
        if row.summary.status in (rows.COMPLETED, rows.CANCELLED):
            raise RunFinished(f"the run is {row.summary.status}", about=run_id, todo="fork(run_id, step, new_run_id).")
        if unsure is not None:
            self._answer(row, unsure)
        if row.summary.status in (rows.FAILED, rows.PAUSED) or accept_versions:
            self._make_ready(row, accept_versions)
        return self.get(run_id)

    def send(self, run_id: str, name: str, data: Any = None, *, event_id: str | None = None) -> bool:
        """Deliver an outside event: it wakes the state AWAITING_<name>, now or when the run comes there.

        `event_id` makes the delivery idempotent: False where the same one has come before.
        """
        return self.journal.deliver(run_id, name, dump_exact(data, "data"), event_id=event_id)

    # Looking

    def get(self, run_id: str) -> Run:
        """The run as it stands. Raises RunUnknown."""
        row = self.journal.row(run_id)
        _, frames = self.journal.frames(run_id, row.summary.step)
        summary = row.summary
        pending = self.journal.actions(run_id, summary.step + 1)
        return Run(
            run_id=run_id, state=summary.state, status=summary.status, step=summary.step,
            context=self._typed(deltas.restore(frames)), tags=summary.tags, created=summary.created,
            updated=summary.updated, error=_error_of(row.error), failed_in=summary.failed_in, origin=summary.origin,
            unsure=tuple(action.name for _, action in pending if action.status == "begun"), versions=row.versions,
        )  # fmt: skip

    def history(self, run_id: str) -> list[Event]:
        """Everything that happened to the run, oldest first. Raises RunUnknown."""
        return self.journal.history(run_id)

    def context_at(self, run_id: str, step: int) -> Any:
        """The context as it was after `step`; 0 is the one it began with. Raises RunUnknown, StepUnknown."""
        return self._typed(deltas.restore(self.journal.frames(run_id, step)[1]))

    def fork(self, run_id: str, step: int, new_run_id: str, *, tags: Mapping[str, str] | None = None) -> Run:
        """A new run that begins, at its step 0, where `run_id` was after `step`; `tags` add to its tags."""
        row = self.journal.row(run_id)
        state, frames = self.journal.frames(run_id, step)
        merged = {**row.summary.tags, **_checked_tags(tags or {})}
        self._create(new_run_id, state, deltas.restore(frames), tags=merged, origin=(run_id, step))
        return self.get(new_run_id)

    def replay(self, run_id: str, step: int) -> Replay:
        """Run the handler of a recorded step again, with the recorded results of its outside effects.

        Nothing is committed and nothing done outside: an effect without a recorded result is refused.
        """
        if step < 1:
            raise InputError("a run's first step is 1", about=f"{run_id}, step {step}")
        before, frames = self.journal.frames(run_id, step - 1)
        recorded_state, recorded = self.journal.frames(run_id, step)
        hold = Hold(run_id)
        hold.key, hold.state, hold.step = self.journal.row(run_id).key, before, step - 1
        hold.delivery = self.journal.delivered(run_id, step)
        current = Current(self.journal, self.events, hold)
        current.replaying = True
        answer = self._call(self._entry(before), current, self._typed(deltas.restore(frames)))
        next_state, context = self._checked(before, answer)
        return Replay(
            next_state=next_state,
            context=self._typed(deltas.encode(self._codec.plain(context))),
            recorded_state=recorded_state,
            recorded_context=self._typed(deltas.restore(recorded)),
        )

    @property
    def current(self) -> Current:
        """The step in flight, inside its handler."""
        current = CURRENT.get()
        if current is None:
            raise JournalError("no step is in flight here", todo="machine.current is for handlers.")
        return current

    def close(self) -> None:
        """Give back the leases of idle runs and close the journal."""
        for hold in list(self.journal.holds.values()):
            if hold.busy.acquire(blocking=False):
                if hold.valid:
                    self.journal.release(hold.key, hold.fence)
                hold.valid = False
                holds.let_go(self.journal, hold)
        self.journal.close()

    # One step

    def _advance(self, run_id: str) -> _Advance:
        journal = self.journal
        hold = holds.take(journal, run_id)
        try:
            now = journal.clock.monotonic()
            if not hold.valid or hold.asked or now + self._lease / 2 > hold.deadline:
                stopped = self._claim(hold)
                if stopped is not None:
                    return stopped
            journal.active[run_id] = hold.active
            hold.started = now
            return self._step(hold)
        finally:
            journal.active.pop(run_id, None)
            holds.let_go(journal, hold)

    def _claim(self, hold: Hold) -> _Advance | None:
        """Claim the run and read it; what to answer instead where there is nothing to execute."""
        asked, hold.valid, hold.asked = hold.asked, False, False
        deadline = self.journal.clock.monotonic() + self._lease
        claim = self.journal.claim(hold.run_id, self._lease)
        row = claim.row
        if not claim.held:
            if asked and self.events.heard:
                self.events.emit(self.journal.history(hold.run_id)[-1])
            return _stopped(row)
        holds.keep_alive(self.journal, self._lease)
        hold.key, hold.fence, hold.step, hold.state = row.key, row.fence, row.summary.step, row.summary.state
        hold.attempt, hold.delivery, hold.deadline, hold.checked = row.attempt, claim.delivery, deadline, None
        hold.encoded, hold.context = deltas.restore(claim.frames), None
        hold.active = (hold.key, hold.fence, self._lease)
        hold.chain, hold.chain_bytes = len(claim.frames) - 1, sum(map(len, claim.frames[1:]))
        self._check_versions(hold, row)
        hold.valid = True
        return None

    def _step(self, hold: Hold) -> _Advance:
        entry = self._entry(hold.state)
        if hold.checked is not self._registered:
            self._check_versions(hold, self.journal.row(hold.run_id))
        while True:
            current = Current(self.journal, self.events, hold)
            context = self._typed(hold.encoded) if hold.context is None else hold.context
            hold.context = None  # until the step is committed: the handler may change it in place and then fail
            try:
                answer = self._call(entry, current, context)
            except Exception as error:  # noqa: BLE001 - the handler is foreign code; what it raises is journaled
                stopped = self._raised(hold, entry, current, error)
                if stopped is not None:
                    return stopped
            except BaseException:
                self._pause_here(hold, "interrupted")
                raise
            else:
                return self._commit(hold, current, answer)

    def _entry(self, name: str) -> State:
        entry = self._states.get(name)
        if entry is None:
            self._refuse_unknown(name)
            raise StateUnknown("a terminal state has no handler", about=name)
        return entry

    def _call(self, entry: State, current: Current, context: Any) -> Any:
        token = CURRENT.set(current)
        try:
            return entry.handler(context) if entry.timeout is None else entry.call(context)
        finally:
            current.over = True
            CURRENT.reset(token)

    def _commit(self, hold: Hold, current: Current, answer: Any) -> _Advance:
        next_state, context = self._checked(hold.state, answer)
        encoded = deltas.encode(context if self._codec is PLAIN else self._codec.plain(context))
        frame, whole = deltas.frame(hold.encoded, encoded, hold.chain, hold.chain_bytes)
        status, wake_at = _GOES_ON if next_state in self._usual else self._status_of(next_state)
        data = dump_exact(current.attached, "attach") if current.attached else None
        took = hold.delivery.key if hold.delivery else None
        write = StepWrite(
            hold.key, hold.run_id, current.step, hold.fence, hold.state, next_state, status, frame, whole, data, took,
            wake_at, self._lease, self.events.heard,
        )  # fmt: skip
        hold.valid = False  # if anything goes wrong from here on, what is true stands in the journal only
        done = self.journal.commit(write)
        hold.step, hold.state, hold.encoded, hold.context = current.step, next_state, encoded, context
        hold.chain, hold.chain_bytes = (0, 0) if whole else (hold.chain + 1, hold.chain_bytes + len(frame))
        hold.delivery, hold.attempt = None, 0
        hold.deadline = hold.started + self._lease  # from before the step, so not later than what the commit wrote
        hold.valid = done.status == rows.RUNNING
        if write.told:
            self._tell_step(write, current, done)
        return next_state, done.status

    def _checked(self, state: str, answer: Any) -> tuple[str, Any]:
        """The handler's answer, if it is one. Nothing has been committed when this raises."""
        if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[0], str):
            raise HandlerError(
                f"a handler must return (next_state, context), not {_short(answer)}",
                about=state,
                todo="Nothing of this step was committed; mend the handler and execute the step again.",
            )
        if answer[0] not in self._usual:
            self._refuse_unknown(answer[0])
        return answer

    def _status_of(self, next_state: str) -> tuple[str, float | None]:
        """The status of a run that comes to `next_state`, and when it stops waiting there."""
        if next_state.startswith(AWAITING):
            timeout = self._states[next_state].timeout
            return rows.WAITING, None if timeout is None else self.journal.clock.now() + timeout
        return _STATUS.get(next_state, rows.RUNNING), None

    # When a step does not end well

    def _raised(self, hold: Hold, entry: State, current: Current, error: Exception) -> _Advance | None:
        """What becomes of a step whose handler raised; None: it is tried again."""
        if isinstance(error, RunSuspended | RunInterrupted | ActionUnsure):
            self._pause_here(hold, str(error))
            if isinstance(error, RunSuspended):
                return hold.state, rows.PAUSED
            raise error
        if entry.retry is not None and entry.retry.allows(current.attempt, error):
            return self._try_again(hold, entry.retry, current.attempt, error)
        failure = dump_exact(self._describe(error))
        hold.valid = False
        event = self.journal.mark(
            Mark(hold.run_id, "failed", rows.FAILED, FAILED, hold.fence, data=self._with_attached(current, failure),
                 error=failure, failed_in=hold.state, attempt=0)
        )  # fmt: skip
        self.events.emit(event)
        return FAILED, rows.FAILED

    def _try_again(self, hold: Hold, retry: Retry, attempt: int, error: Exception) -> _Advance | None:
        seconds = retry.wait_after(attempt)
        data = dump_exact({**self._describe(error), "attempt": attempt, "wait": seconds})
        hold.valid = False
        event = self.journal.mark(
            Mark(
                hold.run_id, "retried", rows.RUNNING, hold.state, hold.fence, data=data, attempt=attempt, release=False
            )
        )
        self.events.emit(event)
        hold.attempt = attempt
        self._wait(seconds)
        control = self.journal.row(hold.run_id).control
        if control is None:
            hold.valid = True
            return None
        stopped = self.journal.request(hold.run_id, control, in_flight=False)
        if stopped is not None:
            self.events.emit(stopped)
        return hold.state, rows.PAUSED if control == "pause" else rows.CANCELLED

    def _pause_here(self, hold: Hold, reason: str) -> None:
        hold.valid = False
        data = dump_exact({"reason": self._redact(reason)})
        event = self.journal.mark(Mark(hold.run_id, "paused", rows.PAUSED, hold.state, hold.fence, data=data))
        self.events.emit(event)

    def _describe(self, error: Exception) -> dict[str, Any]:
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

    def _create(
        self, run_id: str, state: str, encoded: deltas.Encoded, *, tags: Mapping[str, str], origin: Any = None
    ) -> None:
        versions = {name: entry.version for name, entry in self._states.items()}
        status = rows.WAITING if state.startswith(AWAITING) else _STATUS.get(state, rows.RUNNING)
        wake_at = self._status_of(state)[1] if state in self._states else None
        self.journal.create(
            NewRun(
                run_id=run_id, state=state, status=status, frame=deltas.keyframe(encoded), tags=dict(tags),
                versions=versions, origin=origin, wake_at=wake_at,
            )
        )  # fmt: skip
        if self.events.heard:
            self.events.emit(self.journal.history(run_id)[0])

    def _refuse_unknown(self, state: str) -> None:
        if state in self._states or state in TERMINAL:
            return
        known = sorted(self._states)
        raise StateUnknown(
            "no handler is registered for this state; nothing was committed",
            about=state,
            todo=nearest(state, known) or f"Register it first. Registered are: {', '.join(known) or 'none'}.",
        )

    def _check_versions(self, hold: Hold, row: RunRow) -> None:
        """Once per claim and registration: a run that was begun under other handlers says so."""
        changed = {
            name: (version, self._states[name].version)
            for name, version in row.versions.items()
            if name in self._states and self._states[name].version != version
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

    def _request(self, run_id: str, control: str) -> None:
        try:
            hold = holds.take(self.journal, run_id)
        except LeaseHeld:  # a step of it is in flight in this process
            self.journal.request(run_id, control, in_flight=True)
            busy = self.journal.holds.get(run_id)
            if busy is not None:
                busy.asked = True
            return
        try:
            hold.valid = False
            event = self.journal.request(run_id, control, in_flight=False)
        finally:
            holds.let_go(self.journal, hold)
        if event is not None:
            self.events.emit(event)

    def _take_over(self, run_id: str) -> None:
        hold = holds.take(self.journal, run_id)
        try:
            hold.valid = False
            claim = self.journal.claim(run_id, self._lease, take_over=True)
            if claim.held:
                self.journal.release(claim.row.key, claim.row.fence)
        finally:
            holds.let_go(self.journal, hold)

    def _make_ready(self, row: RunRow, accept_versions: bool) -> None:
        run_id, summary = row.summary.run_id, row.summary
        state = summary.failed_in or summary.state
        if state == FAILED:
            raise RunFinished("the run went to FAILED by itself at its beginning", about=run_id, todo="Fork it.")
        registered = {name: entry.version for name, entry in self._states.items()}
        versions = {**row.versions, **registered} if accept_versions else row.versions
        status = rows.WAITING if state.startswith(AWAITING) else rows.RUNNING
        hold = holds.take(self.journal, run_id)
        try:
            hold.valid = False
            event = self.journal.mark(Mark(run_id, "resumed", status, state, row.fence, versions=versions))
        finally:
            holds.let_go(self.journal, hold)
        self.events.emit(event)

    def _answer(self, row: RunRow, unsure: str | Mapping[str, Any]) -> None:
        step = row.summary.step + 1
        for _, action in self.journal.actions(row.summary.run_id, step):
            answered = action.status == "begun" and (isinstance(unsure, str) or action.name in unsure)
            if answered:
                self.journal.end_action(row.key, step, action._replace(**_answered(unsure, action.name)))

    def _typed(self, encoded: deltas.Encoded) -> Any:
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


def _stopped(row: RunRow) -> _Advance:
    summary = row.summary
    if summary.status == rows.PAUSED:
        raise RunPaused(
            f"the run is paused at step {summary.step} in {summary.state}",
            about=summary.run_id,
            todo="resume(run_id) makes it ready to go on.",
        )
    if summary.status == rows.CANCELLED:
        raise RunCancelled(
            f"the run was cancelled at step {summary.step} in {summary.state}",
            about=summary.run_id,
            todo="fork(run_id, step, new_run_id) goes on from any step.",
        )
    return summary.state, summary.status


def _error_of(data: bytes | None) -> RunError | None:
    return RunError(**load(data)) if data else None


def _answered(unsure: str | Mapping[str, Any], name: str) -> dict[str, Any]:
    answer = unsure if isinstance(unsure, str) else unsure[name]
    if answer == "repeat":
        return {"status": "failed", "data": dump_exact("repeated by request")}
    return {"status": "done", "data": dump_exact(None if answer == "skip" else answer, f"answer for {name}")}


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for name, value in tags.items():
        if name.__class__ is not str or value.__class__ is not str:
            raise ContextNotStorable(f"a tag must be text, not {name!r}: {value!r}", todo="Use text.")
    return dict(tags)


def _foreign(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the handler's own frame on; ours above it tell the reader nothing."""
    here = trace
    while here is not None and Path(here.tb_frame.f_code.co_filename).parent == Path(__file__).parent:
        here = here.tb_next
    return here or trace


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
