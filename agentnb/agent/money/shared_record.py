"""Keep values that many runs share, wherever they run: a run of its own in their journal.

Each change of it is one step. So no two workers change it at once, and none works on an old value.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import TypeVar

from agentnb.canonical import JsonObject
from agentnb.durable.journal import deltas
from agentnb.durable.journal.protocol import Journal
from agentnb.durable.journal.records import SHARED
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import LeaseHeld, RunExists, RunUnknown, StepConflict

OPEN = "OPEN"
LEASE = 10.0  # seconds: a change takes milliseconds, and who died in one should not be waited for long
PAUSE, MOST = 0.05, 120.0
"""Seconds between two attempts at a change, and in all."""
T = TypeVar("T")
_LINES: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()


class SharedRecord:
    """Holds the record of one name in a journal, as one process holds it open. `task` says to people what it is."""

    def __init__(self, journal: Journal, name: str, *, task: str, wait: Callable[[float], None] = time.sleep) -> None:
        self._journal, self.name, self._task, self._wait = journal, name, task, wait

    def make(self, first: JsonObject) -> bool:
        """Begin it. False where there is one of this name already, which is left as it is."""
        machine = AgentStateMachine(self._journal)
        machine.register_state(OPEN, lambda record: (OPEN, record))
        try:
            machine.initialize_run(self.name, OPEN, first, tags={"task": self._task, SHARED: "yes"})
        except RunExists:
            return False
        return True

    def read(self) -> JsonObject | None:
        """Return the record as it stands, None where there is none. Writes nothing."""
        try:
            frames = self._journal.snapshot(self.name).frames
        except RunUnknown:
            return None
        return dict(deltas.decode(deltas.restore(frames)))

    def change(self, change: Callable[[JsonObject], tuple[T, JsonObject]], **said: object) -> T:
        """Make one step of it, and return what `change` gave beside the record. Raises RunUnknown, LeaseHeld."""
        answers: list[T] = []
        machine = AgentStateMachine(self._journal, lease=LEASE)

        def step(record: JsonObject) -> tuple[str, JsonObject]:
            answer, after = change(record)
            answers.append(answer)
            machine.current.attach(**said)
            return OPEN, after

        machine.register_state(OPEN, step)
        line = _LINES.setdefault(self.name, threading.Lock())
        for _ in range(int(MOST / PAUSE)):
            with line:  # threads of one process line up; only other processes are tried again for
                try:
                    machine.execute_step(self.name)
                except (LeaseHeld, StepConflict):
                    pass
                else:
                    return answers[-1]
                finally:
                    machine.release(self.name)
            self._wait(PAUSE)
        held = "another worker holds the record that these runs share"
        raise LeaseHeld(held, about=self.name, todo="Resume the run later.")
