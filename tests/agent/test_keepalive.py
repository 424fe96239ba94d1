"""Keeping warm through a pause: only with a budget, only while it pays, and it ends with the next call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

from agentnb.models import prices
from agentnb.models.catalog import lookup
from agentnb.models.messages import Usage
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

MODEL = "sim:claude-sonnet-4-6"


class Desk:
    """A session on a virtual clock; waiting moves it, up to `pause` seconds."""

    def __init__(self, home: Path, budget: float) -> None:
        self.clock = SimClock()
        self.simulator = Simulator(speed=0, clock=self.clock, record=True).start()
        settings = Settings(model=MODEL, home=home, sim_speed=0, cache_budget=budget)
        self.session = Session(settings=settings, clock=self.clock, simulated=self.simulator, environment={})
        self.session.keepalive._wait = self.wait
        self.pause = 0.0

    def wait(self, stopped: threading.Event, seconds: float) -> bool:
        if stopped.is_set() or seconds > self.pause:
            return True
        self.pause -= seconds
        self.clock.advance(seconds)
        return False

    def ask(self, task: str) -> Any:
        agent = self.session.agent()
        run_id = f"r-{task}"
        agent.begin(self.session.request(task, execution=task), run_id)
        return agent.drive(run_id)

    def ask_then_pause(self, task: str, seconds: float) -> Any:
        """The question, and the pause behind it with the pings that fall into it."""
        self.pause = seconds
        run = self.ask(task)
        self.session.keepalive.join(PATIENCE)
        self.clock.advance(self.pause)
        self.pause = 0.0
        return run

    @property
    def pings(self) -> list[dict[str, Any]]:
        return [request.body for request in self.simulator.requests if request.body.get("max_tokens") == 0]

    def close(self) -> None:
        self.session.close()
        self.simulator.stop()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "home", budget=1.0)
    yield made
    made.close()


def loop_then(desk: Desk, seconds: float) -> Any:
    """Thirty quick calls: pauses that long are not expected, so a short TTL is chosen; then one such pause."""
    for i in range(31):
        desk.clock.advance(5.0)
        desk.ask(f"q{i}")
    desk.clock.advance(400.0)
    desk.ask("after a pause")
    return desk.ask_then_pause("last", seconds)


def test_a_pause_is_bridged_and_paid_from_the_budget(desk: Desk) -> None:
    loop_then(desk, 700.0)
    assert len(desk.pings) == 2
    after = desk.ask("next")
    assert after.cache.read == after.cache.expected > 1024
    assert desk.session.keepalive.sent == 2
    million = prices.cost_of(lookup(MODEL), Usage(cache_read=1_000_000)).total or 0.0
    assert 0 < desk.session.objects.spent < million / 20


def test_it_stops_where_it_no_longer_pays(desk: Desk) -> None:
    loop_then(desk, 20_000.0)
    assert len(desk.pings) == 11


def test_nothing_is_spent_without_a_budget(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "home", budget=0.0)
    loop_then(desk, 700.0)
    assert desk.pings == []
    assert desk.session.objects.spent == 0
    desk.close()


@pytest.mark.parametrize(("model", "planned"), [(MODEL, 3), ("sim:claude-opus-4-6", 0)])
def test_what_is_too_short_to_be_kept_is_not_pinged(desk: Desk, model: str, planned: int) -> None:
    """Some 1,700 tokens: enough for Sonnet 4.6 (1,024), too few for Opus 4.6 (4,096)."""
    desk.session.settings = desk.session.settings.with_changes(model=model)
    keepalive, run = desk.session.keepalive, desk.ask("q")
    keepalive.begin(model, desk.session.agent().last_call(run.run_id), 3)
    assert keepalive.planned == planned


def test_a_budget_that_is_used_up_ends_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "home", budget=0.0015)
    loop_then(desk, 20_000.0)
    assert 0 < desk.session.objects.spent <= 0.0015
    assert 0 < len(desk.pings) < 11
    desk.close()
