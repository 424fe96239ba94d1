"""A fleet's view: failures first and grouped, thousands of runs in one query, and what can be done with all of them."""

from __future__ import annotations

import pytest
from patience import PATIENCE

from agentnb.__main__ import main
from agentnb.agent.money.shared_budget import Purse
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
    assert f"{300 - MOST_SHOWN} runs more" in text
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
    look = machine.journal.snapshot
    monkeypatch.setattr(machine.journal, "snapshot", lambda run_id: asked.append(run_id) or look(run_id))
    assert fleet.counts == {"queued": 3000}
    assert f"{3000 - MOST_SHOWN:,} runs more" in fleet._repr_mimebundle_()["text/plain"]
    assert set(asked) == {"f/purse"}, "no run is looked at that nobody has begun"


def test_the_line_tells_what_counts_and_the_time_that_is_left():
    machine, fleet, _ = begun(100)
    first = fleet.progress()
    assert first.line() == "0 of 100 completed · 100 queued"
    for row in fleet.rows[:20]:
        machine.run_to_end(row.summary.run_id)
    now = fleet.progress().since(first, 4.0)
    assert now.line() == "18 of 100 completed · 2 failed · 80 queued · 4.5 steps/s · ≈ 16 s left"
    assert "2 failed: ValueError: no gauge" in now.bundle()["text/html"]
    assert now.bundle()["text/plain"].startswith("[█████▒░░░")


def test_cost_and_cached_share_are_added_up_from_the_steps_that_called():
    machine = AgentStateMachine()

    def call(context):
        usage = {"input": 100, "cache_read": 300, "output": 10}
        machine.current.attach(usage=usage, cost=0.25, seconds=1.0)
        return "COMPLETED", context

    machine.register_state("CALL", call)
    machine.initialize_runs("CALL", ((f"{name}/{n}", {}, {"fleet": name}) for n in range(4) for name in ("f", "g")))
    Purse(machine.journal, "f/purse").make(5.0)
    fleet = Fleet(machine.journal, "f")
    for name in ("f/0", "f/1", "g/0"):
        machine.run_to_end(name)
    assert fleet.progress().line() == "2 of 4 completed · 2 queued · $0.50 of $5.00 · 75 % read from the cache"
    machine.run_to_end("f/2")
    assert fleet.progress().spent.dollars == 0.75, "what was read before is not counted again"


def test_waiting_shows_how_far_it_is_on_a_terminal_and_leaves_nothing(monkeypatch):
    machine, fleet, _ = begun(3)
    told = []
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.write", told.append, raising=False)
    fleet.on_wait(lambda: [machine.run_to_end(row.summary.run_id) for row in fleet.rows])
    fleet.wait(PATIENCE)
    assert "3 of 3 completed" in "".join(told)
    assert told[-1] == "\r\x1b[K"


def test_what_runs_share_is_in_no_list_of_runs(tmp_path, capsys):
    machine = AgentStateMachine(tmp_path)
    machine.register_state("WORK", lambda context: ("COMPLETED", context))
    machine.initialize_runs("WORK", [("asked", {}, {}), ("child", {}, {"child_of": "asked"})])
    Purse(machine.journal, "f/purse").make(5.0)
    machine.close()
    assert main(["runs", "--where", str(tmp_path)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["asked"]
