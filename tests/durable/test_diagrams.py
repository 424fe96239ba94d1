"""A machine and a run as pictures, with whatever names people give their states."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from agentnb.durable.diagrams import draw_timeline
from agentnb.durable.events import Event
from agentnb.durable.machine import AgentStateMachine
from agentnb.simulator import SimClock


@pytest.fixture
def machine():
    machine = AgentStateMachine()
    machine.register_state("PLAN", lambda c: ("WORK", {"n": 0}), leads_to=("WORK", "GIVE_UP"))
    machine.register_state("WORK", lambda c: ("WORK" if c["n"] < 2 else "COMPLETED", {"n": c["n"] + 1}))
    machine.register_state("GIVE_UP", lambda c: ("FAILED", c))
    machine.register_state('<b onload="x">"', lambda c: ("COMPLETED", c))
    machine.initialize_run("r", "PLAN", {})
    return machine


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def test_the_drawing_shows_registered_states_and_counts_what_was_taken(machine):
    machine.run_to_end("r", max_steps=3)
    drawing = machine.drawing("r")
    assert "* WORK -> WORK (2x)" in drawing.plain
    assert "PLAN -> WORK (1x), GIVE_UP" in drawing.plain
    assert "[*] --> s0 : 1" in drawing.mermaid
    assert "class s1 current" in drawing.mermaid
    assert {"PLAN", "WORK", "GIVE_UP", "WORK (now)", "2"} <= set(texts(drawing.svg))
    machine.run_to_end("r")
    assert "* COMPLETED" in machine.drawing("r").plain


def test_names_can_do_no_harm(machine):
    drawing = machine.drawing()
    assert '<b onload="x">"' in texts(drawing.svg)
    assert "<b" not in drawing.svg
    assert "<b" not in drawing.mermaid


def test_a_machine_shows_itself_in_a_notebook(machine):
    bundle = machine._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/svg+xml", "text/vnd.mermaid"}
    assert set(AgentStateMachine()._repr_mimebundle_()) == set(bundle)


def test_the_timeline_tells_every_event_and_why(machine):
    def broken(context):
        raise ValueError("no such file")

    machine.register_state("WORK", broken)
    machine.run_to_end("r")
    timeline = machine.timeline("r")
    lines = timeline.plain.splitlines()
    assert len(lines) == 3
    assert "PLAN -> WORK" in lines[1]
    assert "WORK -> FAILED: no such file" in lines[2]
    assert len(list(ElementTree.fromstring(timeline.svg).iter("{http://www.w3.org/2000/svg}rect"))) == 3


def test_a_pause_between_two_steps_is_a_gap_and_no_long_step() -> None:
    def told(step: int, at: float, **data: object) -> Event:
        return Event(run_id="r", step=step, kind="step", state="A", next_state="B", at=at, data=data)

    lines = draw_timeline([told(1, 0.5, seconds=0.5), told(2, 3.0, seconds=0.25)]).plain.splitlines()
    assert "(0.250 s)" in lines[1], "the user thought for two seconds"


def test_what_a_step_noted_takes_none_of_its_time() -> None:
    clock = SimClock()
    machine = AgentStateMachine(clock=clock)

    def work(context):
        clock.advance(2.0)
        machine.current.note(used=3)
        clock.advance(0.25)
        return "COMPLETED", context

    machine.register_state("WORK", work)
    machine.initialize_run("r", "WORK", {})
    machine.run_to_end("r")
    assert [event.kind for event in machine.history("r")] == ["created", "noted", "step"]
    lines = machine.timeline("r").plain.splitlines()
    assert len(lines) == 2
    assert "(2.250 s)" in lines[1]


def test_a_machine_knows_its_users_pause() -> None:
    clock = SimClock()
    machine = AgentStateMachine(clock=clock)
    machine.register_state("WORK", lambda context: ("WORK", clock.advance(0.5) or context))
    machine.initialize_run("r", "WORK", {})
    machine.execute_step("r")
    clock.advance(2)
    machine.execute_step("r")
    assert "(0.500 s)" in machine.timeline("r").plain.splitlines()[-1]


def test_inside_a_list_a_drawing_is_its_plain_text() -> None:
    machine = AgentStateMachine()
    machine.register_state("WORK", lambda context: ("COMPLETED", context))
    assert repr([machine.drawing()]) == f"[{machine.drawing().plain}]"
