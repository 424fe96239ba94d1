"""The agent's machine is its table: every event leads somewhere, every state is reached, the drawing is of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from agentnb.agent.state import StepEvent
from agentnb.agent.table import BEGIN, TABLE
from agentnb.durable.events import COMPLETED

sys.path.insert(0, str(Path(__file__).parents[1]))
import machine_drawing


def test_each_event_happens_in_one_state_and_leads_to_one() -> None:
    events = [event for row in TABLE.values() for event in row.next]
    assert sorted(events) == sorted(StepEvent)
    targets = {target for row in TABLE.values() for target in row.next.values()}
    assert targets | {BEGIN} == {*TABLE, COMPLETED}


def test_a_handler_tells_only_what_its_row_knows() -> None:
    """A handler's module names the events of its own rows and of no other."""
    for row in TABLE.values():
        source = Path(sys.modules[row.handler.__module__].__file__ or "").read_text()
        of_module = {e for r in TABLE.values() if r.handler.__module__ == row.handler.__module__ for e in r.next}
        named = {event for event in StepEvent if f"StepEvent.{event.name}" in source}
        assert named <= of_module, row.handler


def test_the_drawing_is_of_the_table() -> None:
    assert machine_drawing.told() == machine_drawing.drawing(), "run python tests/machine_drawing.py"


def test_the_machine_draws_the_same_moves(book: Any) -> None:
    states = book.session.agent().machine.states
    assert {name: set(state.leads_to) for name, state in states.items()} == {
        name: set(row.next.values()) for name, row in TABLE.items()
    }
