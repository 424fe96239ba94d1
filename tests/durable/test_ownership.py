"""A run is held at the cost of its steps alone, and the thread that keeps leases ends once no journal is open."""

from __future__ import annotations

from pathlib import Path

import pytest
from patience import PATIENCE

from agentnb import AgentStateMachine
from agentnb.durable import ownership
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal


def test_it_ends_with_the_last_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And at once: it would look for itself after a third of a lease."""
    monkeypatch.setattr(ownership, "_keeper", ownership._Keeper())
    machines = [AgentStateMachine(tmp_path / name, lease=3600) for name in ("one", "other")]
    for machine in machines:
        machine.register_state("BEGIN", lambda context: ("COMPLETED", context))
        machine.initialize_run("r", "BEGIN", {})
        machine.run_to_end("r")
    keeper = ownership._keeper._thread
    assert keeper is not None
    for machine in machines:
        assert keeper.is_alive()
        machine.close()
    keeper.join(PATIENCE)
    assert not keeper.is_alive()


def count(context: dict[str, int]) -> tuple[str, dict[str, int]]:
    return "COUNT", context | {"n": context["n"] + 1}


def counting(journal: EmbeddedJournal) -> AgentStateMachine:
    machine = AgentStateMachine(journal)
    machine.register_state("COUNT", count)
    return machine


def test_a_run_that_is_held_costs_one_statement_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_keeper", ownership._Keeper())  # another test's short lease would be renewed here
    journal = EmbeddedJournal()
    machine = counting(journal)
    machine.initialize_run("r", "COUNT", {"n": 0, "text": "x" * 2000})
    machine.run_to_end("r", max_steps=1)
    told: list[str] = []
    journal._connection.set_trace_callback(told.append)
    run = machine.run_to_end("r", max_steps=20)
    assert run.context["n"] == 21
    statements = list(dict.fromkeys(told))  # one with a trigger is told again for each of its parts
    steps = [statement for statement in statements if statement.startswith("INSERT INTO agentnb_step")]
    assert len(steps) == 20
    assert len(statements) <= 22  # and the run is read at its end, but none of its frames
    assert not any("frame" in statement for statement in statements if statement not in steps)


def test_a_run_that_another_worker_has_moved_is_read_anew(tmp_path: Path) -> None:
    ours, theirs = (counting(EmbeddedJournal(tmp_path / "runs.db")) for _ in range(2))
    ours.initialize_run("r", "COUNT", {"n": 0})
    assert ours.run_to_end("r", max_steps=2).context == {"n": 2}
    theirs.resume("r", take_over=True)
    assert ours.get("r").context == {"n": 2}
    assert theirs.run_to_end("r", max_steps=3).context == {"n": 5}
    assert ours.get("r").context == {"n": 5}
