"""`%agent_runs watch` in one kernel, of a run that goes on in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

RUN = "application/vnd.agentnb.run.v1+json"

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ELSEWHERE = """
import pathlib, threading, time, agentnb
from agentnb.durable.bus_redis import RedisBus
from agentnb.session import Session
from agentnb.settings import from_environment
import os
session = Session(settings=from_environment(os.environ))
machine = session.machine()

@machine.state("WAIT")
def wait(context):
    while not pathlib.Path("go").exists():
        machine.current.emit("delta", channel="text", text="tide ")
        time.sleep(0.01)
    return "COMPLETED", {"task": "wait", "text": "the tide has turned"}

machine.initialize_run("long-run", "WAIT", {"task": "wait"}, tags={"task": "wait"})
thread = threading.Thread(target=machine.run_to_end, args=("long-run",))
thread.start()
"""


@pytest.fixture(params=["told by a bus", "by looking"])
def two_kernels(request: pytest.FixtureRequest, start: Callable[..., Any]) -> tuple[Any, Any]:
    """A kernel in which a run waits for a file `go`, and another beside it."""
    bus = request.getfixturevalue("redis_address") if request.param == "told by a bus" else ""
    here, there = start(AGENTNB_BUS=bus), start(AGENTNB_BUS=bus)
    there.ok(ELSEWHERE)
    here.ok("%load_ext agentnb")
    return here, there


def test_a_run_of_another_kernel_is_watched_to_its_end(two_kernels: tuple[Any, Any]) -> None:
    here, there = two_kernels
    request = here.send("%agent_runs watch")
    begun = here.collect(request, until=lambda result: bool(result.displays))
    assert any("widget-view" in kind for kind in begun.displays[0])
    there.ok("pathlib.Path('go').touch(); thread.join(150)")
    done = here.collect(request, into=begun)
    assert done.status == "ok", done.error
    assert done.run["state"] == "COMPLETED"
    assert done.run["text"] == "the tide has turned"
    assert len(done.run["steps"]) == 1
    assert here.value("_agent.run_id") == "long-run"


def test_an_interrupt_ends_the_watching_and_not_the_run(two_kernels: tuple[Any, Any]) -> None:
    here, there = two_kernels
    request = here.send("%agent_runs watch long-run")
    begun = here.collect(request, until=lambda result: bool(result.displays))
    here.manager.interrupt_kernel()
    stopped = here.collect(request, into=begun)
    assert stopped.status == "error"
    assert "no longer watching run long-run" in stopped.error
    assert there.value("machine.get('long-run').status") == "running"
    there.ok("pathlib.Path('go').touch(); thread.join(150)")
    assert there.value("machine.get('long-run').status") == "completed"


def test_without_a_server_the_run_is_shown_and_one_note_says_so(start: Callable[..., Any], dead_address: str) -> None:
    kernel = start(AGENTNB_BUS=dead_address)
    kernel.ok("%load_ext agentnb")
    runs = [kernel.ok("%agent -t new What is a tide?").run for _ in range(2)]
    assert [run["state"] for run in runs] == ["COMPLETED"] * 2
    noted = [note for run in runs for note in run["notes"] if "bus.unreachable" in note]
    assert len(noted) == 1
    assert "pass-of-the-test" not in noted[0]


def test_an_address_that_is_none_is_one_clear_error(start: Callable[..., Any]) -> None:
    kernel = start()
    kernel.ok("%load_ext agentnb")
    kernel.ok("%config AgentNB.bus = 'localhost:6379'")
    refused = kernel.run("%agent What is a tide?")
    assert refused.status == "error"
    assert "AGENTNB_BUS to redis://HOST:6379/0" in refused.error
    kernel.ok("%config AgentNB.bus = ''")
    assert kernel.ok("%agent What is a tide?").run["state"] == "COMPLETED"
