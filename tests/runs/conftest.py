"""Shared by the tests of runs: clocks and journals. Every journal passes the same suite: add it to JOURNALS."""

from __future__ import annotations

import pytest

from agentnb.runs.embedded import EmbeddedJournal
from agentnb.runs.machine import AgentStateMachine
from agentnb.runs.opening import open_journal
from agentnb.storage import open_storage


class TwoClocks:
    """A wall clock and a monotonic one that move apart: what a machine looks like whose clock is set."""

    def __init__(self, wall: float = 1_700_000_000.0, monotonic: float = 5_000.0) -> None:
        self.wall, self.ticks = wall, monotonic

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ticks

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds


@pytest.fixture
def clock():
    return TwoClocks()


JOURNALS = {
    "memory": lambda home, clock: EmbeddedJournal(clock=clock),
    "directory": lambda home, clock: open_journal(home / "runs", clock=clock),
}


@pytest.fixture(params=sorted(JOURNALS))
def journal(request, tmp_path, clock):
    """An open journal of each kind."""
    journal = JOURNALS[request.param](tmp_path, clock)
    yield journal
    journal.close()


@pytest.fixture
def machine(journal):
    return AgentStateMachine(journal, wait=lambda seconds: None)


@pytest.fixture
def two_workers(tmp_path, clock):
    """Two journals on one file, as two processes have them: each with an owner of its own."""
    database = open_storage(tmp_path / "shared").database
    first, second = EmbeddedJournal(database, clock=clock), EmbeddedJournal(database, clock=clock)
    yield first, second
    first.close()
    second.close()
