"""Make handlers of machines: a state that runs another machine, and a state that runs branches side by side.

The runs inside have names of their own, `parent/step/name`, in their machine's journal. When the parent's step is
repeated after a crash or a resume, they are found there and go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from agentnb.canonical import JsonMapping
from agentnb.durable.contexts import Context
from agentnb.durable.journal import records
from agentnb.durable.journal.records import Run
from agentnb.durable.machine import AgentStateMachine
from agentnb.durable.states import Handler
from agentnb.durable.step_context import CURRENT, Current
from agentnb.errors import HandlerError, JournalError, LeaseHeld, RunSuspended, RunUnknown


def _same(context: Context) -> Context:
    return context


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Branch:
    """Holds a run inside a state: on `machine`, from `start`, with the context that `into` makes of the parent's.

    >>> inner = agentnb.AgentStateMachine()
    >>> inner.register_state("DOUBLING", lambda context: ("COMPLETED", {"x": 2 * context["x"]}))
    >>> branch = agentnb.Branch(machine=inner, start="DOUBLING", into=lambda context: {"x": context["n"]})
    >>> branch.start, branch.into({"n": 21}), branch.machine is inner
    ('DOUBLING', {'x': 21}, True)
    """

    machine: AgentStateMachine
    """Carries the run inside, on the parent's journal or its own."""
    start: str
    """State in which it begins."""
    into: Callable[[Context], Context] = _same
    """Makes its context of the parent's; by default the same."""


Back = Callable[[Context, Context], tuple[str, Context]]
"""`(parent's context, context of the run inside) -> (next_state, context)`."""
Join = Callable[[Context, JsonMapping], tuple[str, Context]]
"""`(parent's context, contexts of the branches by name) -> (next_state, context)`."""


def submachine(branch: Branch, *, back: Back, name: str = "sub") -> Handler:
    """Return a handler that runs `branch` to its end and goes on with what `back` makes of its context.

    A branch that fails fails the state; one that is paused, or waits for an event, pauses the parent run.

    >>> inner, outer = agentnb.AgentStateMachine(), agentnb.AgentStateMachine()
    >>> inner.register_state("DOUBLING", lambda context: ("COMPLETED", {"x": 2 * context["x"]}))
    >>> branch = agentnb.Branch(machine=inner, start="DOUBLING")
    >>> outer.register_state("ASKING", agentnb.submachine(branch, back=lambda context, found: ("COMPLETED", found)))
    >>> _ = outer.initialize_run("one", "ASKING", {"x": 21})
    >>> outer.run_to_end("one").context
    {'x': 42}
    """

    def handler(context: Context) -> tuple[str, Context]:
        return back(context, _finished(_run(_current(), name, branch, context)).context)

    return handler


def parallel(branches: Mapping[str, Branch], *, join: Join, most: int = 16) -> Handler:
    """Return a handler that runs all branches side by side, at most `most` at a time, and joins their contexts.

    All are stopped before the state ends. When one fails, the others' work is kept for the next attempt.

    >>> inner, outer = agentnb.AgentStateMachine(), agentnb.AgentStateMachine()
    >>> inner.register_state("DOUBLING", lambda context: ("COMPLETED", {"x": 2 * context["x"]}))
    >>> branches = {
    ...     name: agentnb.Branch(machine=inner, start="DOUBLING", into=lambda context, name=name: {"x": context[name]})
    ...     for name in ("low", "high")
    ... }
    >>> both = agentnb.parallel(branches, join=lambda context, found: ("COMPLETED", found))
    >>> outer.register_state("ASKING", both)
    >>> _ = outer.initialize_run("two", "ASKING", {"low": 1, "high": 4})
    >>> outer.run_to_end("two").context
    {'low': {'x': 2}, 'high': {'x': 8}}
    """

    def handler(context: Context) -> tuple[str, Context]:
        current = _current()
        runs = _run_all(current, branches, context, most)
        return join(context, {name: _finished(run).context for name, run in runs.items()})

    return handler


def _run_all(current: Current, branches: Mapping[str, Branch], context: object, most: int) -> dict[str, Run]:
    with ThreadPoolExecutor(max_workers=max(1, min(most, len(branches)))) as pool:
        futures = {name: pool.submit(_run, current, name, branch, context) for name, branch in branches.items()}
        try:
            return _results(futures)
        except BaseException:  # an interrupt: the branches stop between two steps, and so does the parent
            for name, branch in branches.items():
                _pause(branch.machine, _name(current, name))
            raise


def _results(futures: Mapping[str, Future[Run]]) -> dict[str, Run]:
    """Return all results, after all have ended; then the first error, if there was one."""
    errors = [future.exception() for future in futures.values()]
    for error in errors:
        if error is not None:
            raise error
    return {name: future.result() for name, future in futures.items()}


def _pause(machine: AgentStateMachine, run_id: str) -> None:
    try:
        machine.pause(run_id)
    except JournalError:
        return  # it has ended, or was never begun


def _run(current: Current, name: str, branch: Branch, context: object) -> Run:
    run_id = _name(current, name)
    try:
        run = branch.machine.get(run_id)
    except RunUnknown:
        if current.replaying:
            raise
        run = branch.machine.initialize_run(
            run_id, branch.start, branch.into(context), tags={"parent": current.run_id, "branch": name}
        )
    if run.status in (records.FAILED, records.PAUSED):  # the parent goes on, so this one does
        branch.machine.resume(run_id)
    if run.status in (records.COMPLETED, records.CANCELLED):
        return run
    return _driven(branch.machine, run_id)


def _driven(machine: AgentStateMachine, run_id: str) -> Run:
    try:
        return machine.run_to_end(run_id)
    except LeaseHeld as error:
        raise RunSuspended(f"the run inside is executed elsewhere: {error.what}", about=run_id) from error


def _finished(run: Run) -> Run:
    """Return the run, if it is completed. Raises RunSuspended where it may still be, HandlerError where it never
    will."""
    if run.status == records.COMPLETED:
        return run
    if run.status in (records.PAUSED, records.WAITING):
        raise RunSuspended(f"the run inside is {run.status} in {run.state}", about=run.run_id)
    reason = f"{run.error.type}: {run.error.message}" if run.error else run.status
    raise HandlerError(f"the run inside did not complete ({reason})", about=run.run_id)


def _current() -> Current:
    current = CURRENT.get()
    if current is None:
        raise JournalError("no step is in flight here", todo="Register this handler with a machine.")
    return current


def _name(current: Current, name: str) -> str:
    return f"{current.run_id}/{current.step}/{name}"
