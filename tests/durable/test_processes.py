"""Several processes on the same runs, and processes that are killed: nothing doubled, nothing lost."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from patience import PATIENCE
from processes import go, run_together, started

from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import LeaseHeld

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes the POSIX way"),
]
WORKER = Path(__file__).with_name("worker.py")


def command(home, log, runs, steps, seed):
    return [sys.executable, str(WORKER), str(home), str(log), ",".join(runs), str(steps), str(seed)]


def start(*what):
    return started(command(*what))


@pytest.fixture
def scene(home, tmp_path):
    """A place with two runs in it, and the log of what the world outside saw."""
    machine = AgentStateMachine(home)
    machine.register_state("WORK", lambda context: ("WORK", context))
    for run_id in ("a", "b"):
        machine.initialize_run(run_id, "WORK", {"n": 0, "log": []})
    yield machine, home, tmp_path / "log"
    machine.close()


def executions(log):
    return Counter(tuple(line.split()[:2]) for line in log.read_text().splitlines())


def check_whole(machine, run_id, steps):
    run = machine.get(run_id)
    assert (run.status, run.step, run.context["n"]) == ("completed", steps, steps)
    assert [event.step for event in machine.history(run_id) if event.kind == "step"] == list(range(1, steps + 1))
    for step in range(0, steps + 1, 37):
        assert machine.context_at(run_id, step)["n"] == step


def test_two_processes_on_one_run_double_nothing(scene):
    machine, home, log = scene
    run_together(*(command(home, log, ["a"], 1000, seed) for seed in (1, 2)))
    seen = executions(log)
    assert len(seen) == 1000
    assert set(seen.values()) == {1}
    assert len({line.split()[2] for line in log.read_text().splitlines()}) == 2, "one did all: they never met"
    check_whole(machine, "a", 1000)


def kill_on_its_way(worker, log, further, chance):
    """Kill it when it has executed `further` more steps or any number above, at a moment that nobody chose."""
    goal = log.stat().st_size + further * len("a 100 12345\n")
    while worker.poll() is None and log.stat().st_size < goal:
        time.sleep(chance.uniform(0, 0.002))
    worker.kill()
    _, errors = worker.communicate()
    assert worker.returncode == -signal.SIGKILL, errors


def test_killed_at_any_moment_at_most_the_step_in_flight_is_repeated(scene):
    """No worker that is killed would come to an end, however far it runs ahead of its killer."""
    machine, home, log = scene
    log.touch()
    chance, kills, most = random.Random(5), 8, 170 if isinstance(home, Path) else 25
    reached = {"a": 0, "b": 0}
    for seed in range(kills):
        worker = start(home, log, ["a", "b"], 10**9, seed)
        go(worker)
        kill_on_its_way(worker, log, chance.uniform(0, most), chance)
        for run_id in reached:
            run = machine.get(run_id)
            assert run.status != "completed"
            assert run.step >= reached[run_id]
            reached[run_id] = run.step
    steps = max(reached.values()) + 50
    run_together(command(home, log, ["a", "b"], steps, kills))
    seen = executions(log)
    assert len(seen) == 2 * steps
    assert sum(count - 1 for count in seen.values()) <= kills
    for run_id in reached:
        check_whole(machine, run_id, steps)


def test_a_killed_worker_keeps_nobody_waiting(scene):
    """The lease is for a minute, but its owner is seen to be dead."""
    machine, home, log = scene
    worker = start(home, log, ["a"], 10**9, 1)
    go(worker)
    while not log.exists():
        time.sleep(0.01)
    worker.kill()
    worker.communicate()
    begun = time.monotonic()
    assert machine.execute_step("a") == "WORK"
    assert time.monotonic() - begun < 50


IDLE_HOLDER = """
import sys
from agentnb.durable.machine import AgentStateMachine
machine = AgentStateMachine(sys.argv[1])
machine.register_state("WORK", lambda context: ("WORK", context))
machine.execute_step("a")
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_live_worker_is_not_overtaken_unless_somebody_says_so(scene):
    machine, home, _ = scene
    worker = started([sys.executable, "-c", IDLE_HOLDER, str(home)])
    with pytest.raises(LeaseHeld, match=f"process {worker.pid} on this machine"):
        machine.execute_step("a")
    machine.resume("a", take_over=True)
    assert machine.execute_step("a") == "WORK"
    worker.communicate(timeout=PATIENCE)


def test_a_fork_has_a_connection_and_an_owner_of_its_own(scene):
    machine, _, _ = scene
    assert machine.execute_step("a") == "WORK"
    before = machine.journal.owner
    child = os.fork()
    if child == 0:
        good = machine.journal.owner != before and not machine.journal.holds
        try:
            machine.execute_step("a")
            good = False
        except LeaseHeld:
            good = good and machine.execute_step("b") == "WORK"
        finally:
            os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert machine.execute_step("a") == "WORK"
    assert machine.get("b").step == 1


def test_another_process_follows_by_cursor_and_misses_and_doubles_nothing(scene):
    machine, home, log = scene
    workers = [start(home, log, [run_id], 600, 3) for run_id in ("a", "b")]
    seen, cursor = [], 0
    go(*workers)
    while True:
        over = all(worker.poll() is not None for worker in workers)
        while batch := machine.journal.follow(cursor, limit=50):
            seen += batch
            cursor = batch[-1].seq
        if over:
            break
    assert [event.seq for event in seen] == sorted({event.seq for event in seen})
    for worker, run_id in zip(workers, ("a", "b"), strict=True):
        worker.communicate()
        assert [event for event in seen if event.run_id == run_id] == machine.history(run_id)
        assert machine.get(run_id).step == 600


LONG_STEP = """
import sys
from agentnb.durable.machine import AgentStateMachine
machine = AgentStateMachine(sys.argv[1], lease=4.0)

def work(context):
    print("ready", flush=True)
    sys.stdin.readline()
    return "COMPLETED", {"done": True}

machine.register_state("WORK", work)
print(machine.execute_step("a"), flush=True)
"""


def test_a_step_longer_than_its_lease_is_not_taken_by_another(scene):
    """The one test that waits in real time: it is about a thread that wakes by itself."""
    machine, home, _ = scene
    worker = started([sys.executable, "-c", LONG_STEP, str(home)])
    end = machine.journal.row("a").lease_until + 1.5
    while machine.journal.row("a").lease_until < end:  # it has been renewed until past the end it had
        with pytest.raises(LeaseHeld):
            machine.execute_step("a")
        time.sleep(0.05)
    out, _ = worker.communicate("go\n", timeout=PATIENCE)
    assert out == "COMPLETED\n"
    assert machine.get("a").context == {"done": True}
