"""A session over a simulator that records what it received: the agent without a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentnb.agent.run_document import AgentRun
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator


@dataclass
class Book:
    """A notebook in miniature: cells are run under an id, tasks are asked from a cell."""

    session: Session
    simulator: Simulator
    count: int = 0
    errors: list[Exception] = field(default_factory=list)

    def cell(self, source: str, cell_id: str = "code") -> None:
        self.count += 1
        self.session.cells.record(source, cell_id=cell_id, number=self.count)
        exec(source, self.session.namespace)

    def ask(self, task: str, cell_id: str | None = None, **changes: Any) -> AgentRun:
        self.count += 1
        request = self.session.request(task, cell=cell_id or f"ask-{self.count}", execution=str(self.count), **changes)
        agent = self.session.agent()
        run_id = self.session.new_run_id()
        agent.begin(request, run_id)
        run = agent.drive(run_id)
        if agent.raised is not None:
            self.errors.append(agent.raised)
        return run

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [request.body for request in self.simulator.requests]


@pytest.fixture
def book(tmp_path: Path, patient: None) -> Iterator[Book]:
    with Simulator(speed=0, record=True) as simulator:
        settings = Settings(model="sim:claude-sonnet-4-6", home=tmp_path / "home", sim_speed=0)
        session = Session(settings=settings, simulated=simulator, environment={})
        yield Book(session, simulator)
        session.close()


@pytest.fixture(scope="session")
def wire() -> ModuleType:
    """How the benchmark of prefix stability replays edits and reads what was received (prefix_replay.py)."""
    import prefix_replay

    return prefix_replay
