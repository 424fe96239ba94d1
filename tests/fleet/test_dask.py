"""Many runs on real Dask workers over one journal: workers die, kernels die, and every run ends once."""

from __future__ import annotations

import contextlib
import copy
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from patience import PATIENCE

from agentnb.agent.money.shared_budget import Purse
from agentnb.durable.bus_redis import RedisBus
from agentnb.durable.journal.open import open_journal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import (
    FleetUnreachable,
    HandlerNotFound,
    InputError,
    LeaseHeld,
    RunUnknown,
    StateUnknown,
    WorkersMissing,
)
from agentnb.fleet.fleet import Fleet
from agentnb.fleet.worker import Order, carry_on, with_password
from agentnb.settings import without_password

pytestmark = pytest.mark.server
THREADS = 2  # of each worker
HERE = Path(__file__).parent


def cluster_of(workers, folder, **variables):
    distributed = pytest.importorskip("distributed") if not os.environ.get("CI") else __import__("distributed")
    environment = {"AGENTNB_HOME": str(folder / "home"), "AGENTNB_SIM_SPEED": "0", **variables}
    return distributed.LocalCluster(
        n_workers=workers, threads_per_worker=THREADS, processes=True, dashboard_address=':0', env=environment,
        local_directory=str(folder), silence_logs=50,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where this process and the workers import `flows` from: a worker begins with its parent's path."""
    folder = tmp_path_factory.mktemp("workers")
    shutil.copy(HERE / "flows.py", folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("flows", None)


@pytest.fixture(scope="module")
def one_cluster(folder, postgres_server):
    """The workers know the password of the tests' database. Dask starts a worker anew that is killed."""
    with cluster_of(2, folder, AGENTNB_JOURNAL=postgres_server.empty()) as cluster:
        yield cluster


@pytest.fixture
def cluster(one_cluster):
    """Two workers, whatever the test before did to them."""
    with one_cluster.get_client() as client:
        client.wait_for_workers(2, timeout=PATIENCE)
    return one_cluster


@pytest.fixture
def home(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def executor(cluster, home):
    return executor_of(cluster, home)


def executor_of(cluster, home, **options):
    from agentnb.fleet.dask import DaskExecutor

    return DaskExecutor(cluster, journal=home, **options)


def contexts(count, log, most=5, **more):
    return [{"n": 0, "most": most, "log": str(log), **more} for _ in range(count)]


def executions(log):
    return Counter(tuple(line.split()[:2]) for line in log.read_text().splitlines())


def pids(log):
    return [int(line.split()[2]) for line in log.read_text().splitlines()]


def check_whole(fleet, runs, steps):
    assert fleet.counts == {"completed": runs}, [result["error"] for result in fleet.results()]
    assert [(r["step"], r["result"]["n"]) for r in fleet.results()] == [(steps, steps)] * runs
    for row in fleet.rows:
        events = fleet.journal.history(row.summary.run_id)
        assert [event.step for event in events if event.kind == "step"] == list(range(1, steps + 1))


@pytest.mark.slow
def test_runs_are_spread_over_workers_and_each_step_is_made_once(executor, tmp_path):
    log = tmp_path / "log"
    fleet = executor.start("flows:register", "COUNT", contexts(12, log, processes=2)).wait(PATIENCE)
    check_whole(fleet, 12, 5)
    assert set(executions(log).values()) == {1}
    assert len(set(pids(log))) == 2
    assert os.getpid() not in pids(log)


@pytest.fixture(params=["directory", "postgres"])
def place(request, home):
    """Where several workers can have one journal."""
    return str(home) if request.param == "directory" else request.getfixturevalue("postgres")


@pytest.mark.slow
def test_a_killed_workers_runs_go_on_and_at_most_the_steps_in_flight_are_repeated(cluster, place, tmp_path):
    log, runs, steps = tmp_path / "log", 40, 20
    with executor_of(cluster, place) as executor:
        fleet = executor.start("flows:register", "COUNT", contexts(runs, log, most=steps, seconds=0.005))
        while not log.exists() or len(pids(log)) < runs * steps // 4:
            assert fleet.counts.get("failed", 0) == 0
        os.kill(pids(log)[-1], signal.SIGKILL)
        fleet.wait(PATIENCE)
    check_whole(fleet, runs, steps)
    repeated = sum(executions(log).values()) - runs * steps
    print(f"{runs} runs of {steps} steps, one worker killed: {repeated} of {runs * steps} steps repeated")
    assert repeated <= THREADS
    fleet.close()


@pytest.mark.slow
def test_the_agents_tasks_share_a_budget_in_a_database(cluster, postgres):
    with executor_of(cluster, postgres) as executor:
        tasks = [f"What is tide number {number}?" for number in range(4)]
        fleet = executor.ask(tasks, model="sim:claude-sonnet-4-6", budget=1.0, name="tides").wait(PATIENCE)
    assert fleet.counts == {"completed": 4}, [result["error"] for result in fleet.results()]
    assert Purse(fleet.journal, "tides/purse").state["spent"] == pytest.approx(sum(r["cost"] for r in fleet.results()))
    fleet.close()


@pytest.mark.slow
def test_a_worker_without_the_password_says_so_and_the_password_is_nowhere(cluster, postgres, caplog):
    import flows

    password = without_password(postgres) != postgres
    with executor_of(cluster, postgres, retries=0) as executor:
        executor.client.run(flows.forget, "AGENTNB_JOURNAL")
        fleet = executor.start("flows:register_trouble", "TROUBLE", [{"kind": "none"}]).wait(PATIENCE)
        executor.client.run(flows.remember, "AGENTNB_JOURNAL", postgres)
        error = fleet.results()[0]["error"]
        tasks = str(cluster.scheduler.tasks) + str(cluster.get_logs())
    assert password
    assert "journal.refused" in error
    results = str(fleet.results())
    fleet.close()
    for text in (error, tasks, caplog.text, results):
        assert urlsplit(postgres).password not in text
        assert unquote(urlsplit(postgres).password) not in text


@pytest.mark.slow
def test_the_kernel_dies_and_another_sees_the_runs_to_their_end(cluster, folder, home, tmp_path):
    log = tmp_path / "log"
    code = f"""
import sys; sys.path.insert(0, {str(folder)!r})
from agentnb.fleet.dask import DaskExecutor
contexts = [{{"n": 0, "most": 10, "log": {str(log)!r}, "seconds": 0.02}} for _ in range(8)]
executor = DaskExecutor({cluster.scheduler_address!r}, journal={str(home)!r})
fleet = executor.start("flows:register", "COUNT", contexts, name="tides")
import os, time
while "queued" in fleet.counts:  # what Dask does not have yet dies with the kernel
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == -signal.SIGKILL, done.stderr
    fleet = Fleet(home, "tides").wait(PATIENCE)
    check_whole(fleet, 8, 10)
    assert set(executions(log).values()) == {1}


@pytest.mark.slow
def test_the_same_name_goes_on_and_begins_nothing_twice(executor, tmp_path):
    log = tmp_path / "log"
    for _ in range(3):
        fleet = executor.start("flows:register", "COUNT", contexts(6, log), name="tides")
    executor.go_on("tides")
    check_whole(fleet.wait(PATIENCE), 6, 5)
    assert set(executions(log).values()) == {1}


@pytest.mark.slow
def test_what_a_kernel_began_alone_is_carried_on_by_workers(executor, home, tmp_path):
    import flows

    machine = AgentStateMachine(home)
    flows.register(machine)
    tags = {"fleet": "tides", "handlers": "flows:register"}
    machine.initialize_run("mine", "COUNT", contexts(1, tmp_path / "log")[0], tags=tags)
    machine.run_to_end("mine", max_steps=2)
    machine.release("mine")
    assert Fleet(home, "tides").counts == {"interrupted": 1}
    fleet = executor.go_on("tides").wait(PATIENCE)
    assert fleet.counts == {"completed": 1}
    assert len(set(pids(tmp_path / "log"))) == 2


@pytest.mark.slow
def test_what_goes_wrong_is_a_failed_run_that_says_why(executor, folder, home):
    kinds = [{"kind": kind} for kind in ("raise", "nonsense", "none")]
    fleet = executor.start("flows:register_trouble", "TROUBLE", kinds).wait(PATIENCE)
    assert [r["standing"] for r in fleet.results()] == ["failed", "failed", "completed"]
    errors = [row.summary.run_id for row in fleet.rows[:2]]
    machine = AgentStateMachine(home)
    assert machine.get(errors[0]).error.message == "the gauge is broken"
    assert machine.get(errors[1]).error.code == "state.handler"
    assert machine.get(errors[1]).failed_in == "TROUBLE"
    shown = fleet._repr_mimebundle_()
    assert "the gauge is broken" in shown["text/plain"]
    assert "2 failed" in shown["text/plain"]
    assert "1 of 3 completed · 2 failed" in shown["text/html"]


@pytest.mark.slow
def test_a_handler_that_only_the_kernel_can_import_fails_the_run_by_name(executor, home, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text((HERE / "flows.py").read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    fleet = executor.start("only_here:register", "COUNT", contexts(1, tmp_path / "log")).wait(PATIENCE)
    run = AgentStateMachine(home).get(fleet.rows[0].summary.run_id)
    assert (run.status, run.error.code, run.failed_in) == ("failed", "handler.import", "COUNT")
    assert "only_here:register" in run.error.message
    assert "No module named 'only_here'" in run.error.message
    assert not (tmp_path / "log").exists()


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_given_up_and_says_so(cluster, home, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 1)  # as Dask is set by default, it kills four
    executor = executor_of(cluster, home)
    fleet = executor.start("flows:register_trouble", "TROUBLE", [{"kind": "kill"}]).wait(PATIENCE)
    run = AgentStateMachine(home).get(fleet.rows[0].summary.run_id)
    assert (run.status, run.error.code) == ("failed", "fleet.worker-lost")
    assert "KilledWorker" in run.error.message


@pytest.mark.slow
def test_a_paused_fleet_stops_between_steps_and_goes_on(executor, home, tmp_path):
    log = tmp_path / "log"
    fleet = executor.start("flows:register", "COUNT", contexts(6, log, most=15, seconds=0.02))
    while not log.exists():
        pass
    fleet.pause()
    fleet.wait(PATIENCE)
    assert set(fleet.counts) <= {"paused", "completed"}
    check_whole(executor.go_on(fleet.name, resume=True).wait(PATIENCE), 6, 15)
    assert set(executions(log).values()) == {1}


@pytest.mark.slow
def test_a_kernel_hears_of_workers_steps_by_the_bus(cluster, home, tmp_path, redis_address):
    executor, heard = executor_of(cluster, home, bus=redis_address), queue.SimpleQueue()
    with RedisBus(redis_address).follow(executor.journal, after=0) as follower:
        follower.subscribe(heard.put)
        fleet = executor.start("flows:register", "COUNT", contexts(4, tmp_path / "log")).wait(PATIENCE)
        events = [heard.get(timeout=PATIENCE) for _ in range(4 * 6)]
    assert events == fleet.journal.follow(0)


@pytest.mark.slow
def test_the_agent_carries_out_many_tasks_on_workers_with_a_tool_of_ones_own(executor, home):
    tasks = [f"What is tide number {number}?" for number in range(5)] + ["Use the tool gauge for the station Dover."]
    fleet = executor.ask(tasks, model="sim:claude-sonnet-4-6", tools=["flows:gauge"], name="asked").wait(PATIENCE)
    results = fleet.results()
    assert [r["standing"] for r in results] == ["completed"] * 6, results
    assert all(r["result"] and r["cost"] > 0 for r in results)
    assert "3.20 m" in results[-1]["result"]
    threads = {row.summary.tags["thread"] for row in fleet.rows}
    assert len(threads) == 6, "each task is a conversation of its own"
    assert "6 of 6 completed" in fleet._repr_mimebundle_()["text/plain"]
    again = executor.ask(tasks, model="sim:claude-sonnet-4-6", tools=["flows:gauge"], name="asked").wait(PATIENCE)
    assert again.results() == results


@pytest.mark.slow
def test_one_budget_holds_for_all_tasks_together(executor):
    tasks = [f"What is tide number {number}?" for number in range(8)]
    fleet = executor.ask(tasks, model="sim:claude-sonnet-4-6", budget=0.03, name="poor", max_tokens=300)
    fleet.wait(PATIENCE)
    standings = Counter(r["standing"] for r in fleet.results())
    assert standings["not begun: budget"] >= 1, standings
    assert standings["completed"] >= 1, standings
    assert fleet.errors == {}, "what was not begun has not failed"
    spent = sum(r["cost"] for r in fleet.results() if r["cost"])
    assert 0 < spent <= 0.03
    purse = Purse(fleet.journal, "poor/purse").state
    assert purse["spent"] == pytest.approx(spent)
    assert purse["held"] == {}
    assert all("the budget that the runs share" in r["error"] for r in fleet.results() if r["error"])
    executor.ask(tasks, budget=1.0, name="poor")
    assert executor.go_on("poor", resume=True).wait(PATIENCE).counts == {"completed": 8}


@pytest.mark.slow
def test_tools_of_the_kernel_are_refused_clearly(executor):
    for name in ("inspect", "run_code"):
        with pytest.raises(InputError, match="a worker has none"):
            executor.ask(["What is a tide?"], tools=[name])
    with pytest.raises(InputError, match=r"@agentnb\.tool"):
        executor.ask(["What is a tide?"], tools=["flows:register"])


def test_no_scheduler_no_workers_and_nonsense_are_said(home, folder, monkeypatch):
    from agentnb.fleet import dask

    monkeypatch.setattr(dask, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(dask, "WORKER_SECONDS", 0.5)
    with pytest.raises(FleetUnreachable, match=r"tcp://127.0.0.1:9.*dask scheduler"):
        executor_of("tcp://127.0.0.1:9", home)
    with pytest.raises(InputError, match="tcp://HOST:8786"):
        executor_of(7, home)
    with pytest.raises(InputError, match="in memory"):
        executor_of("tcp://127.0.0.1:9", ":memory:")
    with cluster_of(0, folder) as empty, pytest.raises(WorkersMissing, match="dask worker tcp://"):
        executor_of(empty, home)


@pytest.mark.slow
def test_a_second_cluster_on_this_machine_is_begun_without_a_word(home, monkeypatch):
    from agentnb.fleet import dask

    monkeypatch.setattr(dask, "WORKER_SECONDS", 0.5)
    with contextlib.ExitStack() as taken, warnings.catch_warnings():
        with contextlib.suppress(OSError):  # then another process has the port that a first cluster takes
            taken.enter_context(socket.create_server(("127.0.0.1", 8787)))
        warnings.simplefilter("error")
        with pytest.raises(WorkersMissing):
            dask.DaskExecutor.local(0, journal=home)


def test_names_that_lead_nowhere_are_refused_before_anything_begins(executor):
    for name, error in {
        "flows": InputError,
        "flows:": InputError,
        "__main__:register": HandlerNotFound,
        "flows:missing": HandlerNotFound,
        "no_such_module:register": HandlerNotFound,
        "flows:not_callable": HandlerNotFound,
    }.items():
        with pytest.raises(error):
            executor.start(name, "COUNT", [{}], name="nothing")
    with pytest.raises(StateUnknown):
        executor.start("flows:register", "COUNTING", [{}], name="nothing")
    with pytest.raises(RunUnknown):
        executor.go_on("nothing")


@pytest.mark.slow
def test_other_versions_on_the_workers_are_named(cluster):
    from agentnb.fleet.dask import connected, differences

    found = connected(cluster).get_versions(packages=["agentnb-jupyter"])
    assert differences(found) == ""
    other = copy.deepcopy(found)
    first, second = sorted(other["workers"])
    other["workers"][first]["packages"]["distributed"] = "2020.1"
    other["workers"][second]["packages"].pop("agentnb-jupyter")
    said = differences(other)
    assert f"{first} has distributed 2020.1, here it is {found['client']['packages']['distributed']}" in said
    assert f"{second} has agentnb-jupyter not at all" in said


@pytest.mark.parametrize("call", ['DaskExecutor("tcp://127.0.0.1:9")', "DaskExecutor.local(2)"])
def test_without_the_package_one_error_names_the_command(tmp_path, call):
    code = f"""
import os, sys; sys.modules["distributed"] = None; os.environ["AGENTNB_HOME"] = {str(tmp_path)!r}
from agentnb.fleet.dask import DaskExecutor
{call}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert "pip install 'agentnb-jupyter[dask]'" in done.stderr.splitlines()[-1]
    assert "package.missing" in done.stderr.splitlines()[-1]


def test_a_password_does_not_travel_and_is_found_again():
    full, bare = "postgresql://me:secret@db:5432/runs?sslmode=require", "postgresql://me@db:5432/runs?sslmode=require"
    assert without_password(full) == bare
    assert without_password("postgresql://db/runs?password=secret&user=me") == "postgresql://db/runs?user=me"
    assert without_password("redis://:secret@host:1/2") == "redis://@host:1/2"
    assert without_password("/a/directory:with@signs") == "/a/directory:with@signs"
    assert with_password(bare, full) == full
    assert with_password(bare, "postgresql://me:secret@other/runs") == bare
    assert with_password(bare, "") == bare


def test_an_order_is_text():
    order = Order(journal="/runs", handlers="flows:register", tools=("a:b", "c:d"), bus="redis://h")
    assert Order.from_text(order.to_text()) == order


def test_a_run_that_a_live_worker_holds_is_waited_for_and_then_left_to_it(home):
    machine = AgentStateMachine(home)
    machine.register_state("S", lambda context: ("COMPLETED", context))
    machine.initialize_run("a", "S", {})
    waits = []

    class Held:
        def run_to_end(self, run_id):
            raise LeaseHeld("held by another")

    assert carry_on(Held(), "a", wait=waits.append, most=5) == "held"
    assert 5 < sum(waits) < 7
    assert carry_on(machine, "a", wait=waits.append) == "completed"


def test_a_fleet_is_seen_without_any_cluster(home):
    journal = open_journal(home)
    machine = AgentStateMachine(journal)
    machine.register_state("S", lambda context: ("COMPLETED" if context["go"] else "S", context))
    for number in range(3):
        machine.initialize_run(f"r{number}", "S", {"go": number}, tags={"fleet": "tides"})
    assert Fleet(journal, "tides").counts == {"queued": 3}
    machine.run_to_end("r1")
    machine.run_to_end("r0", max_steps=3)
    assert Fleet(journal, "tides").counts == {"running": 1, "completed": 1, "queued": 1}
    machine.release("r0")
    assert repr(Fleet(journal, "tides")) == "<Fleet tides: 1 completed, 1 interrupted, 1 queued>"
    with pytest.raises(RunUnknown, match="%agent_runs list"):
        Fleet(journal, "nobody").counts  # noqa: B018
