"""Flushes are counted in SQLite's own file layer, and power cuts are played on what it wrote and flushed."""

from __future__ import annotations

import random
import threading

import pytest
import sqlite_trace
from patience import PATIENCE

from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import AgentnbError


@pytest.fixture(scope="module")
def layer():
    if not sqlite_trace.available():
        pytest.skip("this Python's SQLite cannot be traced")
    return sqlite_trace


def counting(context):
    context["n"] += 1
    context["log"].append("x" * (context["n"] % 50))
    return "COUNT", context


def begin(directory, synchronous="FULL"):
    machine = AgentStateMachine(EmbeddedJournal(directory / "cache.db", synchronous=synchronous))
    machine.register_state("COUNT", counting)
    machine.initialize_run("r", "COUNT", {"n": 0, "log": [], "big": "y" * 2000})
    return machine


def test_a_step_costs_one_flush(layer, tmp_path):
    with layer.tracing() as trace:
        machine = begin(tmp_path)
        machine.execute_step("r")
        before = sum(trace.flushes.values())
        for _ in range(1000):
            machine.execute_step("r")
        flushes = sum(trace.flushes.values()) - before
        machine.close()
    assert 1000 <= flushes <= 1100


def test_a_step_that_somebody_listens_to_costs_no_more(layer, tmp_path):
    with layer.tracing() as trace:
        machine = begin(tmp_path)
        machine.events.subscribe(lambda event: machine.journal.follow(event.seq - 1))
        machine.execute_step("r")
        before = sum(trace.flushes.values())
        for _ in range(100):
            machine.execute_step("r")
        assert sum(trace.flushes.values()) - before <= 110
        machine.close()


def test_runs_in_parallel_share_flushes(layer, tmp_path):
    """64 runs, each driven by a thread of its own."""
    steps, runs = 40, 64
    with layer.tracing() as trace:
        machine = begin(tmp_path)
        for index in range(runs):
            machine.initialize_run(f"r{index}", "COUNT", {"n": 0, "log": []})
        before = sum(trace.flushes.values())
        threads = [
            threading.Thread(target=machine.run_to_end, args=(f"r{index}",), kwargs={"max_steps": steps})
            for index in range(runs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        flushes = sum(trace.flushes.values()) - before
        assert all(machine.get(f"r{index}").context["n"] == steps for index in range(runs))
        machine.close()
    assert flushes <= 0.25 * steps * runs, "0.05 where the machine does nothing else: `make bench-runs`"


def lost_steps(layer, tmp_path, synchronous, cuts):
    """(cut, acknowledged, found) for power cuts at random moments where fewer steps were found than acknowledged."""
    with layer.tracing(keep_data=True) as trace:
        machine = begin(tmp_path, synchronous)
        trace.acknowledge(0)
        for step in range(1, 420):  # enough for a checkpoint and a WAL that begins anew
            machine.execute_step("r")
            trace.acknowledge(step)
        machine.close()
    chance, lost = random.Random(7), []
    first = next(index for index, operation in enumerate(trace.operations) if operation.kind == "ack")
    for number in range(cuts):
        cut = chance.randrange(first + 1, len(trace.operations))
        files = layer.after_power_cut(trace.operations, cut, chance)
        acknowledged = max(o.note for o in trace.operations[:cut] if o.kind == "ack")
        home = tmp_path / f"cut-{number}"
        home.mkdir()
        for name, data in files.items():
            (home / name).write_bytes(data)
        found = recovered_step(home)
        if found < acknowledged:
            lost.append((cut, acknowledged, found))
    return lost


def recovered_step(home):
    """How far the run has come, with every step of it readable; -1 where the file is beyond reading."""
    try:
        machine = AgentStateMachine(EmbeddedJournal(home / "cache.db"))
        step = machine.get("r").step
        assert machine.context_at("r", step)["n"] == step
        assert machine.context_at("r", step // 2)["n"] == step // 2
        assert [event.step for event in machine.history("r")] == list(range(step + 1))
        machine.close()
    except AgentnbError:
        return -1
    return step


@pytest.mark.slow
def test_a_power_cut_loses_no_acknowledged_step(layer, tmp_path):
    assert lost_steps(layer, tmp_path, "FULL", 200) == []


@pytest.mark.slow
def test_the_harness_sees_what_normal_loses(layer, tmp_path):
    """Were it blind, the test above would prove nothing."""
    assert lost_steps(layer, tmp_path, "NORMAL", 40)
