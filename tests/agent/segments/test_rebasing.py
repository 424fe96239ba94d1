"""When out-of-date text is dropped: where the prompt cache has let the prompt go; and where what is hot then stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

BODY = "\n".join(f"    total = total + {i} * rate  # step {i} of the sum" for i in range(40))
WATER = "High water comes twice a day, and low water between. " * 400


class Desk:
    """A session on a virtual clock."""

    @property
    def bodies(self) -> list[Any]:
        return [item.body for item in self.simulator.requests if "messages" in item.body]

    def __init__(self, home: Path, clock: SimClock, simulator: Simulator) -> None:
        self.clock, self.simulator = clock, simulator
        settings = Settings(home=home, sim_speed=0)
        self.session = Session(settings=settings, clock=clock, simulated=simulator, environment={})
        self.count = 0

    def define(self, rate: float) -> None:
        self.count += 1
        source = f"def bill(total, rate={rate}):\n{BODY}\n    return total"
        self.session.cells.record(source, cell_id="bill", number=self.count)

    def ask(self, task: str, model: str, **changes: Any) -> Any:
        self.count += 1
        agent, run_id = self.session.agent(), f"r-{self.count}"
        request = self.session.request(task, cell=run_id, execution=run_id, model=model, **changes)
        agent.begin(request, run_id)
        return agent.drive(run_id)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = SimClock()
    with Simulator(speed=0, clock=clock, record=True) as simulator:
        made = Desk(tmp_path / "home", clock, simulator)
        yield made
        made.session.close()


def edited_then_asked(desk: Desk, model: str, pause: float, **changes: Any) -> str:
    """A long conversation, an edit of the one definition in it, a pause, and the next question's notes."""
    desk.define(0.2)
    desk.ask(f"What does `bill` do? {WATER}", model)
    for i in range(3):
        desk.clock.advance(10)
        desk.ask(f"Question {i}?", model)
    desk.define(0.25)
    desk.clock.advance(pause)
    return " ".join(desk.ask("And now?", model, thread_stale_limit=0.5, **changes).receipt["notes"])


@pytest.mark.parametrize(
    ("model", "pause", "anew"),
    [
        ("sim:gpt-4.1", 10.0, False),
        ("sim:gpt-4.1", 4000.0, True),
        ("sim:gemini-3.1-pro-preview", 10.0, False),
        ("sim:gemini-3.1-pro-preview", 4000.0, True),
        ("sim:claude-sonnet-4-6", 1200.0, False),
        ("sim:claude-sonnet-4-6", 4000.0, True),
    ],
)
def test_stale_text_goes_where_everything_is_paid_for_anyway(desk: Desk, model: str, pause: float, anew: bool) -> None:
    notes = edited_then_asked(desk, model, pause)
    assert ("Prompt begun anew" in notes) == anew
    if anew:
        assert "out of date" in notes
        assert "The prompt cache had let the conversation go" in notes


def test_a_limit_of_one_never_begins_a_segment(desk: Desk) -> None:
    desk.session.settings = desk.session.settings.with_changes(stale_limit=1.0, thread_stale_limit=1.0)
    desk.define(0.2)
    desk.ask("What does `bill` do?", "sim:gpt-4.1")
    desk.define(0.25)
    desk.clock.advance(4000.0)
    assert "Prompt begun anew" not in " ".join(desk.ask("And now?", "sim:gpt-4.1").receipt["notes"])


def test_without_stale_text_nothing_is_written_anew(desk: Desk) -> None:
    desk.define(0.2)
    desk.ask(f"What does `bill` do? {WATER}", "sim:gpt-4.1")
    desk.clock.advance(4000.0)
    assert "Prompt begun anew" not in " ".join(desk.ask("And now?", "sim:gpt-4.1").receipt["notes"])


def test_what_was_edited_lately_stays_in_the_thread_and_what_stood_still_is_folded(desk: Desk) -> None:
    model = "sim:claude-sonnet-4-6"
    steady = "def steady(x):\n    return x + 1  # it never changes"
    desk.session.cells.record(steady, cell_id="steady", number=90)
    desk.define(0.2)
    desk.ask(f"What do `bill` and `steady` do? {WATER}", model)
    for rate in (0.25, 0.3):
        desk.define(rate)
        desk.ask("And now?", model)
    desk.define(0.35)
    desk.clock.advance(4000.0)
    desk.ask("And after the pause?", model)
    body = desk.bodies[-1]
    assert "it never changes" in str(body["system"])
    assert '<definition name="bill"' not in str(body["system"]), (
        "the next edit would make the project section out of date"
    )
    assert str(body["messages"]).count('<definition name="bill"') == 1, "in its present version alone"
    assert "rate=0.35" in str(body["messages"][-1])
    system = body["system"]
    desk.define(0.4)
    desk.ask("And now?", model)
    assert desk.bodies[-1]["system"] == system, "an edit of what is hot leaves the project section as it is"
