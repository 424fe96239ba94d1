"""Shared by the tests of runs: clocks and journals. Every journal passes the same suite: add it to JOURNALS."""

from __future__ import annotations

import pytest

from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.postgres import PostgresJournal
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine
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
    "memory": lambda place, clock: EmbeddedJournal(clock=clock),
    "directory": lambda place, clock: open_journal(place(), clock=clock),
    "postgres": lambda place, clock: PostgresJournal(place(), clock=clock),
}
SHARED = {
    "directory": lambda place, clock: EmbeddedJournal(open_storage(place()).database, clock=clock),
    "postgres": JOURNALS["postgres"],
}


def kinds(journals):
    """Their names, as parameters of a fixture."""
    return [pytest.param(kind, marks=[pytest.mark.server] if kind == "postgres" else []) for kind in sorted(journals)]


def place_of(kind, request):
    """Where a journal of this kind may be: a function, so that memory needs no server."""
    found = {"postgres": lambda: request.getfixturevalue("postgres")}
    return found.get(kind, lambda: request.getfixturevalue("tmp_path") / "runs")


@pytest.fixture(params=kinds(JOURNALS))
def journal(request, clock):
    """An open journal of each kind."""
    journal = JOURNALS[request.param](place_of(request.param, request), clock)
    yield journal
    journal.close()


@pytest.fixture
def machine(journal):
    return AgentStateMachine(journal, wait=lambda seconds: None)


@pytest.fixture(params=kinds(SHARED))
def two_workers(request, clock):
    """Two journals in one place, as two processes have them: each with an owner of its own."""
    place = place_of(request.param, request)
    first, second = (SHARED[request.param](place, clock) for _ in range(2))
    yield first, second
    first.close()
    second.close()


@pytest.fixture(params=kinds(SHARED))
def home(request):
    """Where several processes can have one journal: a directory, or a database."""
    return place_of(request.param, request)()
