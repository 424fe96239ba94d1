"""The event bus over a real server: what another process hears, and that no run minds what becomes of the server."""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys

import pytest
from patience import PATIENCE

import agentnb
from agentnb.doctor import report
from agentnb.durable.bus_redis import MOST_WAITING, RedisBus
from agentnb.durable.events import Event
from agentnb.durable.journal.open import open_journal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import BusRefused, BusUnreachable, SettingsError
from agentnb.session import Session
from agentnb.settings import Settings

SECRET = "pass-of-the-test"
pytestmark = pytest.mark.server
WORKER = """
import sys
from agentnb.durable.bus_redis import RedisBus
from agentnb.durable.machine import AgentStateMachine

home, address, run_id, steps = sys.argv[1:]
machine, bus = AgentStateMachine(home), RedisBus(address)
machine.events.subscribe(bus.publish)

def work(context):
    machine.current.emit("delta", channel="text", text=f"word {context['n']}")
    context["n"] += 1
    return ("COMPLETED" if context["n"] == int(steps) else "WORK"), context

machine.register_state("WORK", work)
machine.initialize_run(run_id, "WORK", {"n": 0})
machine.run_to_end(run_id)
bus.close()
"""


def run_elsewhere(home, address, run_id, steps=30):
    command = [sys.executable, "-c", WORKER, str(home), address, run_id, str(steps)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def until(heard, is_last):
    """Events from the queue up to the one that is awaited."""
    events = []
    while not events or not is_last(events[-1]):
        events.append(heard.get(timeout=PATIENCE))
    return events


def ended(*run_ids):
    left = set(run_ids)

    def is_last(event):
        if event.next_state == "COMPLETED":
            left.discard(event.run_id)
        return not left

    return is_last


@pytest.fixture
def home(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def journal(home):
    journal = open_journal(home)
    yield journal
    journal.close()


@pytest.fixture
def machine(journal):
    """A machine of this process: its run counts to what its context says."""
    machine = AgentStateMachine(journal)

    def work(context):
        context["n"] += 1
        return ("COMPLETED" if context["n"] == context["most"] else "WORK"), context

    machine.register_state("WORK", work)
    return machine


def drive(machine, run_id, steps=20):
    machine.initialize_run(run_id, "WORK", {"n": 0, "most": steps})
    return machine.run_to_end(run_id)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["directory", "postgres"])
def test_two_other_processes_are_heard_each_event_once_and_in_order(redis_address, home, kind, request):
    place = home if kind == "directory" else request.getfixturevalue("postgres")
    journal, heard = open_journal(place), queue.SimpleQueue()
    with RedisBus(redis_address).follow(journal) as follower:
        follower.subscribe(heard.put)
        workers = [run_elsewhere(place, redis_address, run_id) for run_id in ("a", "b")]
        events = until(heard, ended("a", "b"))
    for worker in workers:
        assert worker.wait(timeout=PATIENCE) == 0, worker.stderr.read()
    kept = [event for event in events if event.seq]
    assert kept == journal.follow(0)
    assert all(event.kind == "delta" for event in events if not event.seq)
    journal.close()


def test_one_run_alone_is_followed_from_where_its_reader_stands(redis_address, home, journal, machine):
    bus, heard = RedisBus(redis_address), queue.SimpleQueue()
    machine.events.subscribe(bus.publish)
    drive(machine, "early")
    drive(machine, "half", steps=9)
    read = machine.history("half")[4].seq
    with bus.follow(journal, after=read) as follower:
        follower.subscribe(heard.put, run_id="half")
        assert until(heard, ended("half")) == machine.history("half")[5:]
    bus.close()


def test_a_signal_reaches_another_process_while_its_step_is_in_flight(redis_address, journal):
    machine, bus, heard = AgentStateMachine(journal), RedisBus(redis_address), queue.SimpleQueue()
    machine.events.subscribe(bus.publish)

    def work(context):
        while heard.empty():  # what is sent before the other listens is lost, as signals may be
            machine.current.emit("delta", channel="text", text="high water at nine")
        return "COMPLETED", context

    machine.register_state("WORK", work)
    machine.initialize_run("a", "WORK", {})
    with RedisBus(redis_address).follow(journal) as follower:
        follower.subscribe(heard.put, kinds={"delta"})
        machine.run_to_end("a")
    assert heard.get().data == {"channel": "text", "text": "high water at nine"}
    bus.close()


def test_the_server_goes_and_comes_and_a_follower_shows_all(own_server, home, journal, machine):
    address, port = f"redis://127.0.0.1:{own_server.port}/0", own_server.port
    bus, heard = RedisBus(address), queue.SimpleQueue()
    machine.events.subscribe(bus.publish)
    with RedisBus(address).follow(journal) as follower:
        follower.subscribe(heard.put)
        drive(machine, "before")
        events = until(heard, ended("before"))
        own_server.stop()
        drive(machine, "meanwhile")
        events += until(heard, ended("meanwhile"))
        server = type(own_server)(port=port)
        with server:
            drive(machine, "after")
            events += until(heard, ended("after"))
    assert events == journal.follow(0)
    bus.close()


def test_without_a_server_a_run_goes_on_and_one_note_says_why(dead_address, machine, caplog):
    bus = RedisBus(dead_address)
    machine.events.subscribe(bus.publish)
    with caplog.at_level(logging.WARNING):
        assert drive(machine, "a", steps=200).status == "completed"
        assert bus.flush(PATIENCE)
        drive(machine, "b", steps=50)
        assert bus.flush(PATIENCE)
    assert not machine.events.failures
    assert len(caplog.records) == 1
    note = bus.take_note()
    assert "bus.unreachable" in note
    assert bus.take_note() == ""
    assert SECRET not in note + caplog.text + str(bus.trouble) + repr(vars(bus.trouble))
    bus.close()


def test_a_server_that_never_answers_makes_no_step_wait(mute_address, machine):
    bus = RedisBus(mute_address)
    machine.events.subscribe(bus.publish)
    assert drive(machine, "a", steps=200).status == "completed"
    assert not bus.flush(0), "the run ended while its first message was still being sent"
    bus.close()


def test_messages_that_nobody_takes_do_not_fill_the_memory(mute_address):
    bus = RedisBus(mute_address)
    signal = Event(run_id="r", step=1, kind="delta", state="S", next_state="S", at=0.0)
    for _ in range(3 * MOST_WAITING):
        bus.publish(signal)
    assert len(bus._waiting) <= MOST_WAITING
    bus.close()


def test_a_wrong_password_is_told_without_it(locked_server, machine, caplog):
    right, without = locked_server
    RedisBus(right).check()
    for address in (without, right.replace(SECRET, "wrong-pass")):
        bus = RedisBus(address)
        with pytest.raises(BusRefused, match="does not let us in") as refused:
            bus.check()
        machine.events.subscribe(bus.publish)
        assert "wrong-pass" not in str(refused.value) + bus.place
    assert drive(machine, "a").status == "completed"
    assert bus.flush(PATIENCE)
    assert "bus.refused" in bus.take_note()
    assert SECRET not in repr(Settings(bus=right))


TEXTS = (
    "foo=1",
    "db=x",
    "socket_timeout=soon",
    "ssl_cert_reqs=none",
    "protocol=9",
    "retry=1",
    "encoding=x",
    "encoding=",
)


@pytest.mark.parametrize("option", TEXTS)
def test_an_option_that_the_client_does_not_take_is_refused_when_it_is_set(option, caplog):
    """It once ended the thread that sends, with the client's own error."""
    with pytest.raises(SettingsError, match=r"redis://h:6379/0.*AGENTNB_BUS") as caught:
        RedisBus(f"redis://ann:hunter2@h/0?{option}")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "no address"),
        ("localhost:6379", "no address"),
        ("http://host", "no event bus is served by http://"),
        *((f"redis://{rest}", "names no host, or its port") for rest in ("", "h:port", "h:-1", "h:99999", "[::1")),
    ],
)
def test_an_address_that_is_none_is_refused_when_it_is_set(address, why):
    with pytest.raises(SettingsError, match=f"{why}.*AGENTNB_BUS"):
        RedisBus(address)


def test_databases_of_one_server_are_apart(redis_address):
    assert RedisBus("redis://h").channel == RedisBus("valkey://h/0").channel != RedisBus("redis://h/1").channel


def test_nobody_there_is_said_when_one_asks(dead_address):
    with pytest.raises(BusUnreachable) as error:
        RedisBus(dead_address).check()
    assert SECRET not in str(error.value)
    said = "\n".join(report({"AGENTNB_BUS": dead_address, "AGENTNB_MODEL": "sim:claude-sonnet-4-6"}))
    assert "bus.unreachable" in said
    assert SECRET not in said


@pytest.mark.slow
def test_without_the_package_one_error_names_the_command(tmp_path):
    code = (
        "import sys; sys.modules['redis'] = None\nimport agentnb\nagentnb.Agent(bus='redis://h').run('What is a tide?')"
    )
    environment = os.environ | {"AGENTNB_HOME": str(tmp_path), "AGENTNB_MODEL": "sim:claude-sonnet-4-6"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=PATIENCE
    )
    assert "pip install 'agentnb-jupyter[redis]'" in done.stderr.splitlines()[-1]
    assert "package.missing" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_an_agents_answer_streams_to_another_process(redis_address, tmp_path):
    settings = Settings(home=tmp_path, bus=redis_address, model="sim:claude-sonnet-4-6", sim_speed=0)
    session, other, heard = Session(settings=settings), Session(settings=settings), queue.SimpleQueue()
    with other.follow() as follower, agentnb.Agent(session=session) as agent:
        follower.subscribe(heard.put)
        streamed = []
        while not streamed:  # what is sent before the other listens is lost
            run = agent.run("What is a tide?")
            events = until(heard, ended(run.run_id))
            assert [event.step for event in events if event.seq and event.kind != "noted"] == [0, 1, 2]
            streamed = [event.data["text"] for event in events if event.kind == "delta"]
        assert "".join(streamed) in run.text
    other.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the POSIX way")
def test_a_fork_tells_by_a_connection_of_its_own(redis_address, home, journal, machine):
    bus, heard = RedisBus(redis_address), queue.SimpleQueue()
    machine.events.subscribe(bus.publish)
    drive(machine, "parent")
    with RedisBus(redis_address).follow(journal, after=0) as follower:
        follower.subscribe(heard.put)
        events = until(heard, ended("parent"))
        child = os.fork()
        if child == 0:
            try:
                drive(machine, "child")
                os._exit(0 if bus.flush(PATIENCE) and bus.trouble is None else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        events += until(heard, ended("child"))
    assert events == journal.follow(0)
    bus.close()
