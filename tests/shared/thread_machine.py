"""What searches over one thread share: a session whose requests are kept, a question asked, and the search itself."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator


class ThreadMachine(RuleBasedStateMachine):
    """One thread. `asked` are the cells that asked; `last` is, by run, the last request it sent."""

    wire: ModuleType

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.simulator = Simulator(speed=0, record=True).start()
        self.session = Session(
            settings=Settings(model="sim:claude-sonnet-4-6", home=self.folder / "home", sim_speed=0),
            simulated=self.simulator,
            environment={},
            project=self.folder,
        )
        self.number = 0
        self.asked: list[str] = []
        self.last: dict[str, Any] = {}
        self.seen = 0

    def complete(self, task: str, cell: str | None, **changes: Any) -> tuple[str, Any]:
        """Ask in a cell, or in a new one: the run's id, and the completed run."""
        self.number += 1
        cell = cell or f"ask-{self.number}"
        self.asked = [*(known for known in self.asked if known != cell), cell]
        request = self.session.request(task, cell=cell, execution=str(self.number), **changes)
        agent, run_id = self.session.agent(), self.session.new_run_id()
        agent.begin(request, run_id)
        run = agent.drive(run_id)
        assert agent.raised is None
        assert run.state == "COMPLETED"
        return run_id, run

    def received(self) -> tuple[list[Any], list[Any]]:
        """The requests that have come since the last look: as they were, and as the wire's blocks."""
        new = self.simulator.requests[self.seen :]
        self.seen += len(new)
        return new, [self.wire.sent_of(0, item.body, item.usage or {}) for item in new]

    def teardown(self) -> None:
        self.session.close()
        self.simulator.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def search(machine: type[ThreadMachine], wire: ModuleType, *, examples: int, steps: int) -> None:
    """No shrinking: a failing search ends at once, and its steps are few enough to be read."""
    run_state_machine_as_test(
        type("Searching", (machine,), {"wire": wire}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate),
            report_multiple_bugs=False,
        ),
    )
