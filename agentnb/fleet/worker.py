"""Do a worker's work, whoever sent it: carry one run of a shared journal on to where it stops.

All it is given is text: the run's name, and an order. The order says where the journal is, and under which names the
functions can be imported. Nothing is unpickled here. Any worker may call it again at any moment. It goes on where the
journal stands, and repeats at most the step in flight.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentnb.agent.tools.tool import Tool
from agentnb.canonical import dump, load
from agentnb.durable.bus_redis import RedisBus
from agentnb.durable.journal import records
from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.records import RunRow
from agentnb.durable.machine import LEASE_SECONDS, AgentStateMachine
from agentnb.errors import (
    ActionUnsure,
    AgentnbError,
    ContextNotStorable,
    HandlerError,
    HandlerNotFound,
    InputError,
    LeaseHeld,
    RunCancelled,
    RunPaused,
    StateUnknown,
    StepConflict,
    VersionChanged,
)
from agentnb.session import Session
from agentnb.settings import Settings, from_environment, without_password

WAITS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between two looks at a run that another worker holds; the last for as long as it takes."""
TAG = "fleet"
"""The tag whose value is the fleet's name."""
ELSEWHERE = "held"
"""The status of a run that another worker holds and goes on with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Says where the journal is, and which functions make its runs go on: names like `module:attribute`.

    `handlers` leads to a function that registers states on a machine; empty, the run is the built-in agent's, with
    `tools`. Addresses have no password: the worker finds it in its own environment.
    """

    journal: str
    handlers: str = ""
    tools: tuple[str, ...] = ()
    bus: str = ""

    def to_text(self) -> str:
        return dump(asdict(self) | {"tools": list(self.tools)}).decode()

    @staticmethod
    def from_text(text: str) -> Order:
        found = load(text.encode())
        return Order(**found | {"tools": tuple(found["tools"])})


def with_password(address: str, own: str) -> str:
    """Return the address as it was sent, or the worker's own where that is the same but for a password."""
    return own if own and without_password(own) == address else address


def drive(run_id: str, order: str) -> str:
    """Carry a run on until it has ended, is paused or waits for an event; gives its status then.

    A run that cannot go on here fails, and its error says why. A function cannot be imported, or its handlers have
    other versions. Raises Storage and Journal errors of a journal that cannot be reached: worth another attempt.
    """
    asked = Order.from_text(order)
    with _place(asked) as machine:
        try:
            return carry_on(_ready(machine, asked), run_id)
        except UNFIT as error:
            fail(machine, run_id, error)
            return machine.get(run_id).status
        finally:
            machine.release(run_id)


UNFIT = (HandlerNotFound, InputError, StateUnknown, HandlerError, ContextNotStorable, VersionChanged)
"""Errors that another attempt would meet again; the machine itself does not journal them."""


def carry_on(
    machine: AgentStateMachine, run_id: str, *, wait: Callable[[float], None] = time.sleep, most: float = LEASE_SECONDS
) -> str:
    """Do as `run_to_end`, also while another worker holds the run: it may be dead, and its lease not
    over.

    Wait at most `most` seconds: whoever renews a lease for so long is alive, and carries the run on. Where the run has
    to wait for its wake-up time, another of its fleet is taken meanwhile.
    """
    waited, number = 0.0, 0
    while True:
        try:
            status = machine.run_to_end(run_id).status
            row = machine.journal.row(run_id)
            if not row.summary.delayed:
                return status
            waited, number = 0.0, 0
            until_due(machine, row, wait)
        except (RunPaused, RunCancelled, ActionUnsure):
            return machine.get(run_id).status
        except (LeaseHeld, StepConflict):
            if waited > most:
                return ELSEWHERE
            pause = WAITS[min(number, len(WAITS) - 1)]
            wait(pause)
            waited, number = waited + pause, number + 1


def until_due(machine: AgentStateMachine, row: RunRow, wait: Callable[[float], None]) -> None:
    """Work on other runs of the fleet until this one's wake-up time. Stop at the first that has to wait as well."""
    run_id, clock = row.summary.run_id, machine.journal.clock
    tags, others = {TAG: row.summary.tags.get(TAG, "")}, TAG in row.summary.tags
    while row.summary.delayed and (left := (row.wake_at or 0.0) - clock.now()) > 0:
        other = machine.next_free(**tags) if others else None
        if other is None:
            wait(min(left, WAITS[-1]))
        else:
            others = not _taken(machine, other)
        row = machine.journal.row(run_id)


def _taken(machine: AgentStateMachine, run_id: str) -> bool:
    """Carry another run on; True where it has to wait in its turn."""
    try:
        machine.run_to_end(run_id)
    except (RunPaused, RunCancelled, ActionUnsure, LeaseHeld, StepConflict):
        return False
    except UNFIT as error:
        fail(machine, run_id, error)
    finally:
        machine.release(run_id)
    return machine.journal.row(run_id).summary.delayed


def fail(machine: AgentStateMachine, run_id: str, error: AgentnbError) -> None:
    """Note in the journal that the run cannot go on, and why. One that has ended, or that somebody holds, is left."""
    row = machine.journal.row(run_id)
    if row.summary.status != records.RUNNING:
        return

    def refuse(context: object) -> tuple[str, Any]:
        raise error

    refusing = AgentStateMachine(machine.journal)
    refusing.register_state(row.summary.state, refuse, version=row.versions.get(row.summary.state, "1"))
    machine.release(run_id)
    with contextlib.suppress(LeaseHeld, StepConflict, RunPaused, RunCancelled):
        refusing.execute_step(run_id)


def imported(name: str) -> Any:
    """Return what `module:attribute` leads to. Raises HandlerNotFound, which says what failed where."""
    module, colon, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module) if colon and attribute else None
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # a module's own code may raise anything as it is imported
        raise HandlerNotFound(
            f"it cannot be imported here: {type(error).__name__}: {error}",
            about=f"{name} in process {os.getpid()}, working in {Path.cwd()}",
            todo="Write it into a module that every worker can import, and name it module:attribute.",
        ) from error
    return found


def register(machine: AgentStateMachine, name: str) -> None:
    """Have the function `module:attribute` register its states on the machine. Raises HandlerNotFound."""
    found = imported(name)
    if not callable(found):
        todo = "Name a function that takes a machine and registers its states."
        raise HandlerNotFound("it is no function", about=name, todo=todo)
    found(machine)


@contextlib.contextmanager
def _place(order: Order) -> Iterator[AgentStateMachine]:
    """Lend a machine without states over the order's journal, which tells the order's bus."""
    if not order.handlers:
        yield _session(order).machine()
        return
    journal = open_journal(_own(order.journal, "AGENTNB_JOURNAL"))
    machine = AgentStateMachine(journal)
    if order.bus:
        machine.events.subscribe(_bus(_own(order.bus, "AGENTNB_BUS")).publish)
    try:
        yield machine
    finally:
        journal.close()


def _ready(machine: AgentStateMachine, order: Order) -> AgentStateMachine:
    """Return a machine that knows the run's states: this one, or the built-in agent's. Raises HandlerNotFound."""
    if order.handlers:
        register(machine, order.handlers)
        return machine
    session = _session(order)
    session.extra_tools = {tool.name: tool for tool in map(tool_named, order.tools)}
    return session.agent(may_wait=True).machine


def tool_named(name: str) -> Tool:
    """Return the tool that `module:attribute` leads to. Raises HandlerNotFound, and InputError where it is none."""
    found = imported(name)
    if not isinstance(found, Tool):
        raise InputError(f"{name} is no tool", todo="Decorate the function with @agentnb.tool.")
    return found


def _own(address: str, variable: str) -> str:
    return with_password(address, os.environ.get(variable, ""))


_bus = functools.cache(RedisBus)


# An agent works on one run at a time, so each of a worker's threads has its own session. Its connections and its
# simulator, with what that holds in its prompt caches, serve the runs to come.
_SESSIONS = threading.local()


def _session(order: Order) -> Session:
    opened: dict[tuple[str, str], Session] = _SESSIONS.__dict__.setdefault("opened", {})
    place = (order.journal, order.bus)
    if place not in opened:
        opened[place] = Session(settings=settings_of(order))
    return opened[place]


def settings_of(order: Order) -> Settings:
    """Return this process's settings, with the order's journal and bus."""
    settings = from_environment(os.environ)
    journal = _own(order.journal, "AGENTNB_JOURNAL")
    home = None if "://" in journal else Path(journal)  # one machine: what was learned of prompt caches is shared too
    return settings.with_changes(home=home, journal=journal, bus=_own(order.bus, "AGENTNB_BUS") or None)
