"""A fleet whose provider limits calls: its runs wait for their turns, and none fails at it."""

from __future__ import annotations

import contextlib
import queue
import threading
from dataclasses import dataclass, field

import pytest
from crowd import Crowd
from hypothesis import given
from hypothesis import strategies as st

from agentnb import tool
from agentnb.agent.money.shared_budget import Purse
from agentnb.agent.run_document import document_of
from agentnb.agent.states.pacing import interval_of, is_scarce, refused, turn
from agentnb.agent.states.warming import is_settled, taken
from agentnb.canonical import SystemClock
from agentnb.fleet.fleet import Fleet
from agentnb.fleet.progress import NOT_BEGUN
from agentnb.fleet.worker import carry_on
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator


class RealCrowd(Crowd):
    """The same in real time."""

    def __init__(self):
        super().__init__()
        self.clock = SystemClock()

    def wait(self, seconds):
        threading.Event().wait(seconds)


def described(place: str) -> str:
    return place


described.__doc__ = "Reads a gauge. " + "It stands at the sea and tells the height of the tide in metres. " * 150


@dataclass
class Storm:
    """Runs tasks on threads as workers do. Each thread has a session of its own; journal and provider are shared."""

    home: object
    simulator: Simulator
    stack: contextlib.ExitStack
    crowd: Crowd = field(default_factory=Crowd)
    tools: dict = field(default_factory=dict)

    def session(self):
        settings = Settings(model="sim:claude-sonnet-4-6", home=self.home, sim_speed=0)
        made = Session(settings=settings, clock=self.crowd.clock, simulated=self.simulator, environment={})
        made.extra_tools = self.tools
        return self.stack.enter_context(contextlib.closing(made))

    def document(self, name):
        machine = self.session().machine()
        return document_of(machine.get(name), machine.history(name))

    def begin(self, count, **options):
        first, names = self.session(), []
        agent = first.agent()
        for number in range(count):
            names.append(f"storm/{number:04d}")
            shared = {"context": "none", "tags": {"fleet": "storm"}, "thread": names[-1]}
            agent.begin(first.request(f"What is {number} and one?", **shared, **options), names[-1])
        return Fleet(first.journal, "storm"), names

    def carry(self, names, threads):
        todo, machines = queue.SimpleQueue(), queue.SimpleQueue()
        for name in names:
            todo.put(name)
        for _ in range(threads):
            machines.put(self.session().agent(may_wait=True).machine)

        def work():
            machine = machines.get()
            with contextlib.suppress(queue.Empty):
                while True:
                    name = todo.get_nowait()
                    carry_on(machine, name, wait=self.crowd.wait)
                    machine.release(name)

        assert self.crowd.run(work, threads) == []


@pytest.fixture
def storm(tmp_path):
    """Makes one where so many requests a minute are answered."""
    with contextlib.ExitStack() as stack:

        def make(requests):
            crowd = Crowd()
            simulator = Simulator(speed=0, clock=crowd.clock, record=True, limits={"requests": requests})
            return Storm(tmp_path / "home", stack.enter_context(simulator), stack, crowd)

        yield make


@pytest.mark.slow
def test_no_run_of_a_storm_fails_and_few_requests_are_refused(storm):
    here = storm(30)
    began = here.crowd.clock.now()
    fleet, names = here.begin(120)
    here.carry(names, 32)
    assert fleet.counts == {"completed": 120}
    asked = len(here.simulator.requests)
    assert 120 <= asked < 120 / 0.8, "few are refused: a twentieth, and on a busy machine some more"
    assert here.crowd.clock.now() - began < 1.5 * (120 - 30) * 2, "the limit is used"


def test_retry_wait_bounds_how_long_a_run_persists(storm):
    here = storm(1)
    fleet, names = here.begin(3, retry_wait=0.0)
    here.carry(names, 3)
    assert fleet.counts == {"completed": 1, "failed": 2}
    assert len(here.simulator.requests) == 3


def test_a_run_that_waits_is_let_go_until_its_wake_up_time(storm):
    here = storm(60)
    here.simulator.inject("529", retry_after=5.0)
    fleet, (name,) = here.begin(1)
    machine, now = here.session().agent(may_wait=True).machine, here.crowd.clock.now()
    machine.run_to_end(name)
    row = fleet.journal.row(name)
    assert (row.summary.delayed, row.owner, row.wake_at) == (True, None, now + 5.0)
    assert fleet.counts == {"waiting": 1}
    assert machine.run_to_end(name).step == row.summary.step, "nothing is sent before"
    assert len(here.simulator.requests) == 1
    here.crowd.clock.advance(5.0)
    assert machine.next_free(fleet="storm") == name
    assert machine.run_to_end(name).state == "COMPLETED"


def test_a_run_that_waits_is_paused_and_resumed_at_once_by_a_person(storm):
    here = storm(60)
    here.simulator.inject("429", retry_after=50.0)
    fleet, (name,) = here.begin(1)
    here.session().agent(may_wait=True).machine.run_to_end(name)
    fleet.pause()
    assert fleet.counts == {"paused": 1}
    agent = here.session().agent()
    agent.machine.resume(name)
    assert agent.drive(name).state == "COMPLETED"


@pytest.mark.slow
def test_the_first_call_of_a_shared_prefix_streams_before_the_others_begin(tmp_path):
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(Simulator(speed=20, record=True))
        here = Storm(tmp_path / "home", simulator, stack, RealCrowd())
        here.tools = {"gauge": tool(described)}
        fleet, names = here.begin(40)
        here.carry(names, 8)
        calls = [here.document(name)["usage"] for name in names]
        assert fleet.counts == {"completed": 40}
        assert [usage["cache_read"] for usage in calls].count(0) == 1
        kinds = ("input", "cache_read", "cache_write_5m", "cache_write_1h")
        sent = sum(usage[kind] for usage in calls for kind in kinds)
        assert sum(usage["cache_read"] for usage in calls) >= 0.95 * sent
        written = fleet.journal.find(task="prefixes of claude-sonnet-4-6 that are warm")
        assert written[0].step <= 2 + 8 - 1, "each thread asks once who is the first"


def test_a_first_call_that_fails_or_dies_lets_another_be_the_first():
    assert taken({}, "p", 0.0) == (True, {"p": {"at": 0.0, "ready": False}})
    states = {"p": {"at": 0.0, "ready": False}}
    assert taken(states, "p", 5.0) == (False, states)
    assert taken(states, "p", 31.0)[0], "it is thought to be dead"
    warm = {"p": {"at": 0.0, "ready": True}}
    assert is_settled(warm, "p", 100.0)
    assert is_settled(warm, "p", 300.0) is None


def test_a_run_that_the_shared_budget_refuses_is_not_begun_and_not_failed(storm):
    here = storm(60)
    fleet, names = here.begin(4, purse="storm/purse")
    purse = Purse(fleet.journal, "storm/purse")
    purse.make(1.0)
    here.carry(names[:1], 1)
    purse.make(2.5 * purse.state["spent"])
    here.carry(names[1:], 1)
    assert set(fleet.counts) == {"completed", NOT_BEGUN}
    assert sum(fleet.counts.values()) == 4
    assert len(here.simulator.requests) == fleet.counts["completed"]
    purse.make(1.0)
    machine = here.session().agent(may_wait=True).machine
    for name in names:
        if machine.get(name).status == "failed":
            machine.resume(name)
    here.carry(names, 1)
    assert fleet.counts == {"completed": 4}


@given(st.lists(st.tuples(st.sampled_from(["turn", "refused"]), st.floats(0, 5)), max_size=40))
def test_turns_never_go_back_and_never_come_before_what_was_asked(happenings):
    pace, now, last = {"free": 0.0, "interval": 2.0, "measured": True}, 0.0, 0.0
    for what, seconds in happenings:
        if what == "refused":
            pace = refused(pace, now, seconds, in_turn=bool(seconds > 1))
            assert pace["free"] >= now + seconds
        else:
            now += seconds
            at, pace = turn(pace, now)
            assert at >= max(now, last)
            last = at


def test_the_interval_is_that_of_the_tightest_limit():
    headers = {"anthropic-ratelimit-requests-limit": "30", "anthropic-ratelimit-input-tokens-limit": "1000"}
    assert interval_of(headers, 10) == 2.0
    assert interval_of(headers, 100) == 6.0
    assert interval_of({"x-ratelimit-limit-requests": "60"}, 10) == 1.0
    assert is_scarce({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "29"})
    assert not is_scarce({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "30"})
    assert not is_scarce(headers)
    assert interval_of({"x-ratelimit-limit-requests": "many"}, 10) == 0.0
