"""When out-of-date text is dropped: at once where the pause outlived the prompt cache, else not before it pays."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.providers.promptcache import Rates, Rewrite, saved_by_rewriting
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

BODY = "\n".join(f"    total = total + {i} * rate  # step {i} of the sum" for i in range(40))
WATER = "High water comes twice a day, and low water between. " * 400


class Desk:
    """A session on a virtual clock."""

    def __init__(self, home: Path, clock: SimClock, simulator: Simulator) -> None:
        self.clock = clock
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
    with Simulator(speed=0, clock=clock) as simulator:
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
    assert ("New segment" in notes) == anew
    if anew:
        assert "out of date" in notes
        assert "less until the next pause that outlasts it" in notes


def test_a_limit_of_one_never_begins_a_segment(desk: Desk) -> None:
    desk.session.settings = desk.session.settings.with_changes(stale_limit=1.0, thread_stale_limit=1.0)
    desk.define(0.2)
    desk.ask("What does `bill` do?", "sim:gpt-4.1")
    desk.define(0.25)
    desk.clock.advance(4000.0)
    assert "New segment" not in " ".join(desk.ask("And now?", "sim:gpt-4.1").receipt["notes"])


def test_without_stale_text_nothing_is_written_anew(desk: Desk) -> None:
    desk.define(0.2)
    desk.ask(f"What does `bill` do? {WATER}", "sim:gpt-4.1")
    desk.clock.advance(4000.0)
    assert "New segment" not in " ".join(desk.ask("And now?", "sim:gpt-4.1").receipt["notes"])


TOKENS = st.floats(min_value=0.0, max_value=50_000.0)


@given(
    rates=st.builds(Rates, write=st.floats(1.0, 2.0), read=st.floats(0.02, 0.9)),
    stay=TOKENS,
    rewritten=TOKENS,
    stale=TOKENS,
    warm=st.booleans(),
    front=st.booleans(),
    gaps=st.lists(st.floats(1.0, 9000.0), max_size=5),
)
def test_what_is_saved_is_the_difference_of_two_bills(  # type: ignore[no-untyped-def]
    rates, stay, rewritten, stale, warm, front, gaps
) -> None:
    """Both ways paid call by call: the next call, then the pauses seen so far in every order, up to the first that the
    prefix does not outlive."""
    rewrite = Rewrite(
        stay=stay,
        rewritten=rewritten,
        stale=stale,
        warm=float(warm),
        front=float(front or warm),
        gaps=gaps,
        lasts=3600.0,
    )
    whole = stay + rewritten + stale
    on = whole * (rates.read if warm else rates.write)
    anew = stay * (rates.read if front or warm else rates.write) + rewritten * rates.write
    orders = list(itertools.permutations(gaps))
    calls = statistics.mean(sum(1 for _ in itertools.takewhile(lambda gap: gap <= 3600.0, order)) for order in orders)
    later = calls * rates.read
    assert saved_by_rewriting(rates, rewrite) == pytest.approx(
        on + later * whole - anew - later * (whole - stale), abs=1e-3
    )


@given(
    rates=st.builds(Rates, write=st.floats(1.0, 2.0), read=st.floats(0.02, 0.9)),
    rewritten=TOKENS,
    stale=TOKENS,
    share=st.floats(0.01, 1.0),
    gaps=st.lists(st.floats(1.0, 9000.0), max_size=5),
)
def test_what_an_object_holds_is_paid_for_again(rates, rewritten, stale, share, gaps) -> None:  # type: ignore[no-untyped-def]
    """A prompt that is not warm but for what its object holds: both bills over all the pauses seen, since dropping the
    stale text costs the object at any of them."""
    whole = rewritten + stale
    held = share * whole
    on = held * rates.read + (whole - held) * rates.write
    anew = rewritten * rates.write + held * rates.read  # the new prompt, and its object that the next calls read
    for gap in gaps:
        on += stale * (rates.read if gap <= 3600.0 else rates.write)
    rewrite = Rewrite(
        stay=0.0, rewritten=rewritten, stale=stale, warm=0.0, front=0.0, gaps=gaps, lasts=3600.0, held=held
    )
    assert saved_by_rewriting(rates, rewrite) == pytest.approx(on - anew, abs=1e-3)
