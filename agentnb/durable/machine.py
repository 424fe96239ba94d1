"""Run AgentStateMachine: registered states, one durable step at a time.

A handler takes the context and gives the next state and context. Each step is committed in one transaction before the
next begins. Whatever happens to the process, no committed step is lost, and at most the step in flight is repeated.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from agentnb.canonical import Clock, JsonMapping, JsonObject, dump_exact, load
from agentnb.durable import ownership
from agentnb.durable.contexts import Context, codec_for
from agentnb.durable.diagrams import Drawing, draw_machine, draw_timeline, moves_of
from agentnb.durable.events import FAILED, Bus, Event
from agentnb.durable.journal import deltas, records
from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.protocol import Journal, OwnedRun
from agentnb.durable.journal.records import AWAITING, NewRun, Run, RunError, RunRow, StatusChange
from agentnb.durable.states import Handler, Retry, State
from agentnb.durable.step_context import CURRENT, Current
from agentnb.durable.step_runner import STATUS_OF, TERMINAL, Stepper, call
from agentnb.errors import (
    ContextNotStorable,
    HandlerError,
    InputError,
    JournalError,
    LeaseHeld,
    RunExists,
    RunFinished,
    StorageDamaged,
)

H = TypeVar("H", bound=Handler)
T = TypeVar("T")

LEASE_SECONDS = 60.0
BATCH = 1000  # runs made in one transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """Tells what a step gives when its handler runs again on the recorded context, beside what was recorded."""

    next_state: str
    context: Context
    recorded_state: str
    recorded_context: Context

    @property
    def same(self) -> bool:
        return self.next_state == self.recorded_state and bool(self.context == self.recorded_context)


class AgentStateMachine:
    """Runs whose every step is journaled. Safe from several threads; one run is in one thread at a time.

    `db_path` is ":memory:", a directory, "postgresql://...", or an open journal. `redact` is applied to the text of
    errors before it is journaled. `context_type` is a dataclass, a pydantic model or a TypedDict for contexts that are
    not plain dicts. `lease` is the number of seconds after which another worker may take over from a dead one.
    Raises what `open_journal` raises.

    >>> machine = agentnb.AgentStateMachine(home / "runs")
    >>> @machine.state("COUNTING")
    ... def count(context):
    ...     left = context["left"] - 1
    ...     return ("COUNTING" if left else "COMPLETED"), {"left": left}
    >>> _ = machine.initialize_run("count", "COUNTING", {"left": 2})
    >>> machine.execute_step("count"), machine.execute_step("count")
    ('COUNTING', 'COMPLETED')
    >>> machine.context_at("count", 1)
    {'left': 1}

    Many runs, and what becomes of one:

    >>> machine.initialize_runs("COUNTING", [("a", {"left": 1}, {}), ("b", {"left": 9}, {})])
    ['a', 'b']
    >>> machine.next_free(), machine.run_to_end("a").status, machine.run_to_end("b", max_steps=2).context
    ('a', 'completed', {'left': 7})
    >>> machine.pause("b")
    >>> machine.get("b").status, machine.resume("b").status
    ('paused', 'running')
    >>> machine.fork("b", 1, "c").context, machine.replay("b", 2).same
    ({'left': 8}, True)
    >>> machine.cancel("c")
    >>> machine.get("c").status, [event.kind for event in machine.history("c")]
    ('cancelled', ['created', 'cancelled'])

    A state whose name begins with AWAITING_ waits for an event from outside:

    >>> machine.register_state("AWAITING_word", lambda context: ("COMPLETED", {"said": machine.current.delivery.data}))
    >>> _ = machine.initialize_run("asks", "AWAITING_word", {})
    >>> machine.execute_step("asks"), machine.send("asks", "word", "yes"), machine.run_to_end("asks").context
    ('AWAITING_word', True, {'said': 'yes'})
    >>> sorted(machine.states), "COUNTING" in machine.drawing("b").plain, len(machine.timeline("count").plain) > 0
    (['AWAITING_word', 'COUNTING'], True, True)
    >>> machine.release("b")
    >>> machine.close()
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
        self._opened = isinstance(db_path, str | Path)
        self.journal: Journal = open_journal(db_path, clock=clock) if isinstance(db_path, str | Path) else db_path
        self._codec = codec_for(context_type)
        self._lease = lease
        self._stepper = Stepper(self.journal, codec=self._codec, lease=lease, redact=redact or str, wait=wait)
        self.events: Bus = self._stepper.events

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

        `timeout` is in seconds: how long the handler may take. For a state AWAITING_... it is how long it waits for its
        event. `version` is kept with each run: a run that was begun under another one asks before it goes on. Raises
        HandlerError on a terminal state, and on what cannot be called.
        """
        if name in TERMINAL:
            raise HandlerError("a terminal state has no handler", about=name, todo="Choose another name.")
        if not callable(handler):
            raise HandlerError(
                "a handler must be callable", about=name, todo="Give a function: (context) -> (next_state, context)."
            )
        waits = name.startswith(AWAITING)
        self._stepper.register(
            State(
                name=name, handler=handler, retry=retry, timeout=None if waits else timeout,
                waits=timeout if waits else None, version=version, leads_to=tuple(leads_to),
            )
        )  # fmt: skip

    def state(self, name: str, **options: Any) -> Callable[[H], H]:
        """Do as `register_state`, as a decorator, with the same options."""

        def register(handler: H) -> H:
            self.register_state(name, handler, **options)
            return handler

        return register

    @property
    def states(self) -> Mapping[str, State]:
        """Return the registered states by name, in the order of registration."""
        return dict(self._stepper.states)

    # Beginning and going on

    def initialize_run(self, run_id: str, state: str, context: object, *, tags: Mapping[str, str] | None = None) -> Run:
        """Make a run at step 0. Raises RunExists, StateUnknown, ContextNotStorable; nothing is committed then."""
        if not self.initialize_runs(state, [(run_id, context, tags or {})]):
            raise _taken(run_id)
        return self.get(run_id)

    def initialize_runs(self, state: str, runs: Iterable[tuple[str, object, Mapping[str, str]]]) -> list[str]:
        """Make many runs at step 0 from names, contexts and tags; a transaction makes a thousand. Returns those made.

        A run whose name is taken is left as it is. Raises StateUnknown and ContextNotStorable; what was made before
        stays.
        """
        self._stepper.refuse_unknown(state)
        every, made = iter(runs), list[str]()
        while batch := list(itertools.islice(every, BATCH)):
            made += self._create([self._new(run_id, state, context, tags) for run_id, context, tags in batch])
        return made

    def execute_step(self, run_id: str) -> str:
        """Make one step and commit it; gives the state the run is in then.

        When the handler raises, that is "FAILED". A finished run gives its last state, and a waiting run the state that
        it waits in. Nothing is executed. Raises RunPaused, RunCancelled, LeaseHeld, StepConflict, RunUnknown; and
        StateUnknown, HandlerError or ContextNotStorable for an answer that cannot be committed.
        """
        return self._stepper.advance(run_id)[0]

    def run_to_end(self, run_id: str, *, max_steps: int | None = None) -> Run:
        """Make steps until the run is finished, paused or waiting, at most `max_steps`. Look at the status.

        Raises what `execute_step` raises.
        """
        if max_steps is None or max_steps > 0:
            self._stepper.advance(run_id, math.inf if max_steps is None else max_steps)
        return self.get(run_id)

    def next_free(self, **tags: str) -> str | None:
        """Claim the oldest run that could go on here and that nobody works on: `run_to_end` is for it then.

        It is in a state that is registered here, and carries these tags. None where there is no such run now.
        """
        states = list(self._stepper.states)
        return self.journal.claim_free(self._lease, states=states, tags=_checked_tags(tags)) if states else None

    def pause(self, run_id: str) -> None:
        """Stop the run between two steps: now, or when the step in flight has ended. Raises RunUnknown and
        RunFinished."""
        self._request(run_id, "pause")

    def cancel(self, run_id: str) -> None:
        """End the run for good: now, or when the step in flight has ended. Its steps stay readable.

        Raises RunUnknown and RunFinished.
        """
        self._request(run_id, "cancel")

    def resume(
        self,
        run_id: str,
        *,
        unsure: str | JsonMapping | None = None,
        accept_versions: bool = False,
        take_over: bool = False,
    ) -> Run:
        """Make a paused or failed run ready to go on; executes nothing.

        `unsure` answers for the outside effects that may have happened (`.unsure` of the run). It is "repeat", "skip",
        or a result for each by name. `accept_versions` goes on with handlers of another version. `take_over` takes the
        run from a worker that is believed dead: whatever it does after that is refused. Raises RunUnknown, RunFinished,
        and LeaseHeld while a step of it is in flight here.
        """
        if take_over:
            self._take_over(run_id)
        row = self.journal.row(run_id)
        if row.summary.status in (records.COMPLETED, records.CANCELLED):
            raise RunFinished(
                f"the run is {row.summary.status}", about=run_id, todo="A fork goes on from any of its steps."
            )
        if unsure is not None:
            self._answer(row, unsure)
        if row.summary.status in (records.FAILED, records.PAUSED) or row.summary.delayed or accept_versions:
            self._make_ready(row, accept_versions)
        return self.get(run_id)

    def send(self, run_id: str, name: str, data: object = None, *, event_id: str | None = None) -> bool:
        """Deliver an outside event: it wakes the state AWAITING_<name>, now or when the run comes there.

        `event_id` makes the delivery idempotent: False where the same one has come before. Raises RunUnknown,
        RunFinished, and ContextNotStorable where `data` is no JSON.
        """
        return self.journal.deliver(run_id, name, dump_exact(data, "data"), event_id=event_id)

    # Looking

    def get(self, run_id: str) -> Run:
        """Return the run as it stands. Raises RunUnknown."""
        row, frames, pending = self.journal.snapshot(run_id)
        summary = row.summary
        return Run(
            run_id=run_id, state=summary.state, status=summary.status, step=summary.step,
            context=self._stepper.typed(deltas.restore(frames)), tags=summary.tags, created=summary.created,
            updated=summary.updated, error=_error_of(row.error), failed_in=summary.failed_in, origin=summary.origin,
            unsure=tuple(action.name for action in pending if action.status == "begun"), versions=row.versions,
        )  # fmt: skip

    def history(self, run_id: str, *, state: str | None = None) -> list[Event]:
        """Return everything that happened to the run (in `state`), oldest first. Raises RunUnknown."""
        return self.journal.history(run_id, state=state)

    def context_at(self, run_id: str, step: int) -> Context:
        """Return the context as it was after `step`; 0 is the one it began with. Raises RunUnknown, StepUnknown."""
        return self._stepper.typed(deltas.restore(self.journal.frames(run_id, step)[1]))

    def drawing(self, run_id: str | None = None) -> Drawing:
        """Return the machine as a picture: its states, and the transitions of this run (of the newest runs) so far.

        Raises RunUnknown.
        """
        chosen = [run_id] if run_id else [run.run_id for run in self.journal.runs(limit=20)]
        states = {name: entry.leads_to for name, entry in self._stepper.states.items()}
        current = self.journal.row(run_id).summary.state if run_id else None
        return draw_machine(states, moves_of(map(self.journal.history, chosen)), current=current)

    def timeline(self, run_id: str) -> Drawing:
        """Return what happened to the run, and when, as a picture. Raises RunUnknown."""
        return draw_timeline(self.journal.history(run_id))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.drawing()._repr_mimebundle_()

    def fork(self, run_id: str, step: int, new_run_id: str, *, tags: Mapping[str, str] | None = None) -> Run:
        """Return a new run that begins, at its step 0, where `run_id` was after `step`; `tags` add to its tags.

        Raises RunUnknown, StepUnknown, and RunExists where the new name is taken.
        """
        row = self.journal.row(run_id)
        state, frames = self.journal.frames(run_id, step)
        merged = {**row.summary.tags, **_checked_tags(tags or {})}
        new = self._new_of(new_run_id, state, deltas.restore(frames), merged)
        if not self._create([replace(new, origin=(run_id, step))]):
            raise _taken(new_run_id)
        return self.get(new_run_id)

    def replay(self, run_id: str, step: int) -> Replay:
        """Run the handler of a recorded step again, with the recorded results of its outside effects.

        Nothing is committed and nothing done outside: an effect without a recorded result is refused.
        Raises InputError on step 0, RunUnknown, StepUnknown, and StateUnknown where its handler is not registered.
        """
        if step < 1:
            raise InputError("a run's first step is 1", about=f"{run_id}, step {step}", todo="Give 1 or more.")
        before, frames = self.journal.frames(run_id, step - 1)
        recorded_state, recorded = self.journal.frames(run_id, step)
        hold = OwnedRun(run_id)
        hold.key, hold.state, hold.step = self.journal.row(run_id).key, before, step - 1
        hold.delivery = self.journal.delivered(run_id, step)
        current = Current(self.journal, self.events, hold)
        current.replaying = True
        answer = copy_context().run(
            call, self._stepper.entry(before), current, self._stepper.typed(deltas.restore(frames))
        )
        self._stepper.check(before, answer)
        next_state, context = answer
        return Replay(
            next_state=next_state,
            context=self._stepper.typed(deltas.encode(self._codec.plain(context))),
            recorded_state=recorded_state,
            recorded_context=self._stepper.typed(deltas.restore(recorded)),
        )

    @property
    def current(self) -> Current:
        """Return the step in flight, inside its handler. Raises JournalError anywhere else."""
        current = CURRENT.get()
        if current is None:
            raise JournalError("no step is in flight here", todo="machine.current is for handlers.")
        return current

    def release(self, run_id: str) -> None:
        """Give back the lease of a run that is idle here: another process can go on with it at once."""
        hold = self.journal.holds.get(run_id)
        if hold is not None and hold.valid and run_id not in self.journal.busy:
            self._alone(run_id, partial(self.journal.release, hold.key, hold.fence))

    def close(self) -> None:
        """Give back the leases of idle runs, and close the journal if this machine has opened it."""
        for run_id in list(self.journal.holds):
            self.release(run_id)
        if self._opened:
            ownership.close(self.journal)

    # Parts

    def _new(self, run_id: str, state: str, context: object, tags: Mapping[str, str]) -> NewRun:
        if not run_id or run_id.__class__ is not str:
            raise InputError("a run_id must be text and not empty", about=repr(run_id), todo="Give a new name.")
        return self._new_of(run_id, state, deltas.encode(self._codec.plain(context)), _checked_tags(tags))

    def _new_of(self, run_id: str, state: str, encoded: deltas.Encoded, tags: Mapping[str, str]) -> NewRun:
        versions = {name: entry.version for name, entry in self._stepper.states.items()}
        status = records.WAITING if state.startswith(AWAITING) else STATUS_OF.get(state, records.RUNNING)
        wake_at = self._stepper.status_of(state)[1] if state in self._stepper.states else None
        return NewRun(
            run_id=run_id, state=state, status=status, frame=deltas.pack(deltas.keyframe(encoded), None)[0],
            tags=dict(tags),
            versions=versions, wake_at=wake_at,
        )  # fmt: skip

    def _create(self, news: Sequence[NewRun]) -> list[str]:
        made = self.journal.create(*news)
        if self.events.heard:
            for run_id in made:
                self.events.emit(self.journal.history(run_id)[0])
        return made

    def _request(self, run_id: str, control: str) -> None:
        try:
            event = self._alone(run_id, lambda: self.journal.request(run_id, control, in_flight=False))
        except LeaseHeld:  # a step of it is in flight in this process
            self.journal.request(run_id, control, in_flight=True)
            hold = self.journal.holds.get(run_id)
            if hold is not None:
                hold.asked = True
            return
        if event is not None:
            self.events.emit(event)

    def _take_over(self, run_id: str) -> None:
        claim = self._alone(run_id, lambda: self.journal.claim(run_id, self._lease, take_over=True))
        if claim.held:
            self.journal.release(claim.row.key, claim.row.fence)

    def _alone(self, run_id: str, work: Callable[[], T]) -> T:
        """Do what no step in flight allows. What this process knew of the run is forgotten."""
        token = ownership.new_token()
        try:
            ownership.take(self.journal, run_id, token).valid = False
            return work()
        finally:
            ownership.let_go(self.journal, run_id, token)

    def _make_ready(self, row: RunRow, accept_versions: bool) -> None:
        run_id, summary = row.summary.run_id, row.summary
        state = summary.failed_in or summary.state
        if state == FAILED:
            raise RunFinished("the run went to FAILED by itself at its beginning", about=run_id, todo="Fork it.")
        registered = {name: entry.version for name, entry in self._stepper.states.items()}
        versions = {**row.versions, **registered} if accept_versions else row.versions
        status = records.WAITING if state.startswith(AWAITING) else records.RUNNING
        mark = StatusChange(run_id, "resumed", status, state, row.fence, versions=versions)
        self.events.emit(self._alone(run_id, lambda: self.journal.mark(mark)))

    def _answer(self, row: RunRow, unsure: str | JsonMapping) -> None:
        step = row.summary.step + 1
        for _, action in self.journal.actions(row.summary.run_id, step):
            answered = action.status == "begun" and (isinstance(unsure, str) or action.name in unsure)
            if answered:
                self.journal.end_action(row.key, step, action._replace(**_answered(unsure, action.name)))


def _taken(run_id: str) -> RunExists:
    return RunExists("there is a run of this name already", about=run_id, todo="Choose another run_id.")


def _error_of(data: bytes | None) -> RunError | None:
    try:
        return RunError(**load(data)) if data else None
    except (ValueError, TypeError) as error:
        raise StorageDamaged(
            "a run's error is not what agentnb writes", todo="The journal was damaged; put back a copy."
        ) from error


def _answered(unsure: str | JsonMapping, name: str) -> JsonObject:
    answer = unsure if isinstance(unsure, str) else unsure[name]
    if answer == "repeat":
        return {"status": "failed", "data": dump_exact("repeated by request")}
    return {"status": "done", "data": dump_exact(None if answer == "skip" else answer, f"answer for {name}")}


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for name, value in tags.items():
        if name.__class__ is not str or value.__class__ is not str:
            raise ContextNotStorable(f"a tag must be text, not {name!r}: {value!r}", todo="Use text.")
    return dict(tags)
