"""A fleet's view: failures first and grouped, thousands of runs in one query, and what can be done with all of them."""

from __future__ import annotations

import pytest

from agentnb.durable.machine import AgentStateMachine
from agentnb.fleet.fleet import MOST_SHOWN, Fleet


def begun(count):
    machine = AgentStateMachine()
    faulty = [True]

    def work(context):
        if faulty[0] and context["n"] % 10 == 9:
            raise ValueError("no gauge" if context["n"] < 200 else "no tide")
        return "COMPLETED", {"answer": context["n"]}

    machine.register_state("WORK", work)
    for number in range(count):
        machine.initialize_run(f"f/{number:04d}", "WORK", {"n": number}, tags={"fleet": "f"})
    return machine, Fleet(machine.journal, "f"), faulty


def test_failures_come_first_with_counts_and_are_tried_again():
    machine, fleet, faulty = begun(300)
    for row in fleet.rows:
        machine.run_to_end(row.summary.run_id)
    assert fleet.errors == {"ValueError: no gauge": 20, "ValueError: no tide": 10}
    text = fleet._repr_mimebundle_()["text/plain"]
    assert "20 failed: ValueError: no gauge" in text
    assert "/0299" in text, "a late failure is shown"
    assert f"{300 - MOST_SHOWN} more runs" in text
    faulty[0] = False
    assert fleet.retry() == 30
    assert machine.next_free(fleet="f") == "f/0009"
    for row in fleet.rows:
        machine.run_to_end(row.summary.run_id)
    assert fleet.counts == {"completed": 300}
    assert fleet.errors == {}


def test_all_runs_are_paused_resumed_and_cancelled():
    _, fleet, _ = begun(5)
    fleet.pause()
    assert fleet.counts == {"paused": 5}
    assert fleet.resume() == 5
    assert {row.summary.status for row in fleet.rows} == {"running"}
    fleet.cancel()
    assert fleet.counts == {"cancelled": 5}


@pytest.mark.slow
def test_thousands_of_queued_runs_are_looked_at_in_one_query(monkeypatch):
    machine, fleet, _ = begun(3000)
    asked = []
    monkeypatch.setattr(machine.journal, "row", lambda run_id: asked.append(run_id))
    monkeypatch.setattr(machine.journal, "snapshot", lambda run_id: asked.append(run_id))
    assert fleet.counts == {"queued": 3000}
    assert f"{3000 - MOST_SHOWN} more runs" in fleet._repr_mimebundle_()["text/plain"]
    assert asked == []
