"""Prices that change by date: each call costs what its own time says, by the clock that was passed in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from scripted_model import ScriptedModel

from agentnb.agent.tools.tool import tool
from agentnb.models.catalog import lookup
from agentnb.models.messages import Usage
from agentnb.models.prices import cost_of
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

CHANGES = {"gemini-4-argon": datetime(2026, 12, 1, tzinfo=UTC), "gemini-3.8-flash": datetime(2027, 1, 1, tzinfo=UTC)}
"""Days from which these cost twice as much."""


class Desk:
    """A session whose clock stands ten minutes before midnight of such a day."""

    def __init__(self, home: Path, model: str) -> None:
        self.model, self.changes = model, CHANGES[model].timestamp()
        self.clock = SimClock(self.changes - 600)
        self.simulator = Simulator(speed=0, clock=self.clock, record=True).start()
        settings = Settings(model=f"sim:{model}", home=home, sim_speed=0)
        self.session = Session(settings=settings, clock=self.clock, simulated=self.simulator, environment={})

    def ask(self, task: str, **changes: Any) -> Any:
        agent = self.session.agent()
        run_id = self.session.new_run_id()
        agent.begin(self.session.request(task, execution=task, **changes), run_id)
        return agent.drive(run_id)

    def close(self) -> None:
        self.session.close()
        self.simulator.stop()


@pytest.fixture(params=CHANGES)
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    desk = Desk(tmp_path, request.param)
    yield desk
    desk.close()


def price(desk: Desk, usage: Usage) -> float:
    total = cost_of(lookup(f"sim:{desk.model}"), usage, at=desk.clock.now()).total
    assert total is not None
    return total


def used(run: Any) -> Usage:
    return Usage(**{name: count for name, count in run.usage.items() if name != "calls"})


def test_a_call_after_midnight_costs_what_the_new_day_says(desk: Desk) -> None:
    before = desk.ask("Hello?", thread="one")
    assert before.cost == pytest.approx(price(desk, used(before)))
    desk.clock.advance(1200)
    after = desk.ask("Hello?", thread="two")
    assert after.cost == pytest.approx(price(desk, used(after)))
    assert after.cost == pytest.approx(2 * before.cost, rel=0.2)


@pytest.mark.parametrize(("waits", "state"), [(1, "COMPLETED"), (1200, "FAILED")])
def test_a_budget_holds_where_the_price_rises_between_two_calls_of_a_run(desk: Desk, waits: int, state: str) -> None:
    @tool(safe=True)
    def long_job() -> str:
        """Take some time."""
        desk.clock.advance(waits)
        return "done"

    desk.session.extra_tools["long_job"] = long_job
    first = used(desk.ask("Hello?", thread="size"))
    worst = price(desk, Usage(input=round(first.input_total * 1.25), output=256))
    script = ScriptedModel(lambda n: ("I wait.", [("long_job", {})]) if n == 1 else ("Done.", []))
    with script.installed():
        run = desk.ask("Do the long job.", thread="job", budget=2.2 * worst, max_tokens=256)
    assert run.state == state, run.error
    assert run.cost <= 2.2 * worst
    assert (run.error is not None and "budget" in str(run.error)) is (state == "FAILED")


def test_a_recorded_reply_costs_nothing_after_the_price_rose(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = desk.ask("Hello?", thread="one", replay="record")
    desk.clock.advance(1200)  # what was enough for the live call would be too little now
    again = desk.ask("Hello?", thread="two", replay="replay", budget=0.0)
    assert again.error is None, again.error
    assert (again.state, again.cost, again.text) == ("COMPLETED", 0.0, kept.text)
    assert len(desk.simulator.requests) == 1
