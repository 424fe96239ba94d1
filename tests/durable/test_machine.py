"""The state machine as its users see it, on every journal."""

from __future__ import annotations

import threading

import pytest
from patience import PATIENCE

from agentnb.durable.machine import AgentStateMachine
from agentnb.durable.states import Retry
from agentnb.errors import (
    AgentnbError,
    ContextNotStorable,
    HandlerError,
    InputError,
    JournalError,
    RunCancelled,
    RunExists,
    RunFinished,
    RunInterrupted,
    RunPaused,
    RunUnknown,
    StateTimeout,
    StateUnknown,
    StepUnknown,
    VersionChanged,
)


def planning(context):
    return "EXECUTING", {**context, "plan": ["read", "write"], "done": []}


def executing(context):
    if not context["plan"]:
        return "COMPLETED", context
    context["done"].append(context["plan"].pop(0))  # in place, as handlers do
    return "EXECUTING", context


@pytest.fixture
def planner(machine):
    machine.register_state("PLANNING", planning)
    machine.register_state("EXECUTING", executing)
    return machine


def test_the_blueprints_example_runs_as_written():
    machine = AgentStateMachine(db_path=":memory:")
    machine.register_state("PLANNING", planning)
    machine.register_state("EXECUTING", executing)
    machine.initialize_run("run-1", "PLANNING", {"goal": "report"})
    states = []
    while not states or states[-1] not in ("COMPLETED", "FAILED"):
        states.append(machine.execute_step("run-1"))
    assert states == ["EXECUTING", "EXECUTING", "EXECUTING", "COMPLETED"]
    assert machine.execute_step("run-1") == "COMPLETED"


def test_every_step_of_a_run_stays_readable(planner):
    planner.initialize_run("r", "PLANNING", {"goal": "x"})
    run = planner.run_to_end("r")
    assert (run.state, run.status, run.step) == ("COMPLETED", "completed", 4)
    assert run.context == {"goal": "x", "plan": [], "done": ["read", "write"]}
    assert planner.context_at("r", 0) == {"goal": "x"}
    assert planner.context_at("r", 2)["done"] == ["read"]
    assert [(e.step, e.kind, e.state, e.next_state) for e in planner.history("r")] == [
        (0, "created", "", "PLANNING"),
        (1, "step", "PLANNING", "EXECUTING"),
        (2, "step", "EXECUTING", "EXECUTING"),
        (3, "step", "EXECUTING", "EXECUTING"),
        (4, "step", "EXECUTING", "COMPLETED"),
    ]


def test_a_long_run_is_restored_at_every_step(machine):
    @machine.state("COUNT")
    def count(context):
        context["n"] += 1
        context["log"].append(f"line {context['n']}")
        context["big"] = "x" * (context["n"] % 7) * 100
        return ("COMPLETED" if context["n"] == 300 else "COUNT"), context

    machine.initialize_run("r", "COUNT", {"n": 0, "log": [], "big": ""})
    assert machine.run_to_end("r").step == 300
    for step in (0, 1, 127, 128, 129, 200, 299, 300):
        context = machine.context_at("r", step)
        assert context["n"] == len(context["log"]) == step
        assert context["big"] == "x" * (step % 7) * 100


def test_unknown_things_are_named(planner):
    with pytest.raises(RunUnknown, match="nobody"):
        planner.execute_step("nobody")
    planner.initialize_run("r", "PLANNING", {})
    with pytest.raises(RunExists):
        planner.initialize_run("r", "PLANNING", {})
    with pytest.raises(StepUnknown):
        planner.context_at("r", 1)
    with pytest.raises(StateUnknown, match="Did you mean PLANNING"):
        planner.initialize_run("s", "PLANING", {})
    with pytest.raises(InputError):
        planner.initialize_run("", "PLANNING", {})
    with pytest.raises(JournalError, match="no step is in flight"):
        planner.current  # noqa: B018


def test_an_answer_that_cannot_be_committed_changes_nothing(machine):
    answers = iter([("NOWHERE", {}), ("S", {"a": {"b": {1, 2}}}), {"no": "tuple"}, ("S", ["list"]), ("COMPLETED", {})])
    machine.register_state("S", lambda context: next(answers))
    machine.initialize_run("r", "S", {"good": 1})
    for error, text in [
        (StateUnknown, "NOWHERE"),
        (ContextNotStorable, r"context\['a'\]\['b'\]"),
        (HandlerError, "next_state"),
        (ContextNotStorable, "list"),
    ]:
        with pytest.raises(error, match=text):
            machine.execute_step("r")
        assert (machine.get("r").step, machine.get("r").context) == (0, {"good": 1})
    assert machine.execute_step("r") == "COMPLETED"


def test_failed_keeps_where_why_and_the_last_good_context(journal):
    machine = AgentStateMachine(journal, redact=lambda text: text.replace("sk-secret", "[key]"))

    @machine.state("SPOILING")
    def spoiling(context):
        context["half"] = "done"
        raise RuntimeError("called with sk-secret")

    machine.initialize_run("r", "SPOILING", {"good": 1})
    assert machine.execute_step("r") == "FAILED"
    run = machine.get("r")
    assert (run.state, run.status, run.failed_in, run.step) == ("FAILED", "failed", "SPOILING", 0)
    assert run.context == {"good": 1}
    assert (run.error.type, run.error.message, run.error.code) == ("RuntimeError", "called with [key]", None)
    assert "spoiling" in run.error.traceback
    assert "sk-secret" not in run.error.traceback
    assert machine.execute_step("r") == "FAILED"
    machine.register_state("SPOILING", lambda context: ("COMPLETED", {**context, "mended": True}))
    assert machine.resume("r").status == "running"
    assert machine.run_to_end("r").context == {"good": 1, "mended": True}
    assert [e.kind for e in machine.history("r")] == ["created", "failed", "resumed", "step"]


def test_a_failure_by_our_own_error_keeps_its_code(machine):
    def ask(context):
        raise InputError("what?")

    machine.register_state("ASK", ask)
    machine.initialize_run("r", "ASK", {})
    machine.execute_step("r")
    assert machine.get("r").error.code == "input"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RunInterrupted("stop")])
def test_an_interrupt_commits_nothing_and_leaves_the_run_resumable(machine, error):
    interrupts = [error]

    @machine.state("S")
    def handler(context):
        context["n"] += 1
        if interrupts:
            raise interrupts.pop()
        return "COMPLETED", context

    machine.initialize_run("r", "S", {"n": 0})
    with pytest.raises((KeyboardInterrupt, RunInterrupted)):
        machine.run_to_end("r")
    assert (machine.get("r").status, machine.get("r").context) == ("paused", {"n": 0})
    with pytest.raises(RunPaused):
        machine.execute_step("r")
    machine.resume("r")
    assert machine.run_to_end("r").context == {"n": 1}


def test_pause_between_steps_and_from_within_one(planner):
    planner.initialize_run("r", "PLANNING", {})
    planner.pause("r")
    with pytest.raises(RunPaused):
        planner.run_to_end("r")
    planner.resume("r")
    stop = planner.events.subscribe(lambda event: planner.pause("r") if event.step == 2 else None, kinds={"step"})
    run = planner.run_to_end("r")
    assert (run.status, run.step) == ("paused", 2)
    stop()
    planner.resume("r")
    assert planner.run_to_end("r").status == "completed"
    with pytest.raises(RunFinished):
        planner.pause("r")


def test_a_pause_from_another_thread_takes_effect_when_the_step_in_flight_ends(machine):
    inside, go_on = threading.Event(), threading.Event()

    @machine.state("S")
    def slow(context):
        inside.set()
        go_on.wait(PATIENCE)
        return "S", {"n": context["n"] + 1}

    machine.initialize_run("r", "S", {"n": 0})
    worker = threading.Thread(target=machine.run_to_end, args=("r",))
    worker.start()
    inside.wait(PATIENCE)
    machine.pause("r")
    assert machine.get("r").status == "running"
    go_on.set()
    worker.join(PATIENCE)
    assert (machine.get("r").status, machine.get("r").context) == ("paused", {"n": 1})
    assert [e.kind for e in machine.history("r")] == ["created", "step", "paused"]


def test_a_cancelled_run_ends_for_good_and_can_be_forked(planner):
    planner.initialize_run("r", "PLANNING", {"goal": "x"}, tags={"thread": "t"})
    planner.run_to_end("r", max_steps=2)
    planner.cancel("r")
    assert (planner.get("r").state, planner.get("r").status) == ("EXECUTING", "cancelled")
    with pytest.raises(RunCancelled):
        planner.execute_step("r")
    with pytest.raises(RunFinished, match="fork"):
        planner.resume("r")
    fork = planner.fork("r", 1, "again", tags={"try": "2"})
    assert (fork.origin, fork.step, fork.state, fork.tags) == (("r", 1), 0, "EXECUTING", {"thread": "t", "try": "2"})
    assert planner.run_to_end("again").context["done"] == ["read", "write"]
    assert planner.context_at("r", 2)["done"] == ["read"]


def test_retries_wait_longer_each_time_and_begin_with_the_good_context(journal):
    waits, seen = [], []
    machine = AgentStateMachine(journal, wait=waits.append)

    def flaky(context):
        seen.append((machine.current.attempt, dict(context)))
        context["spoiled"] = True
        if len(seen) < 3:
            raise ConnectionError("down")
        return "COMPLETED", {"ok": True}

    machine.register_state("CALL", flaky, retry=Retry(attempts=3, delay=1, factor=3, on=(ConnectionError,)))
    machine.initialize_run("r", "CALL", {"n": 1})
    assert machine.execute_step("r") == "COMPLETED"
    assert seen == [(1, {"n": 1}), (2, {"n": 1}), (3, {"n": 1})]
    assert waits == [1, 3]
    assert [e.kind for e in machine.history("r")] == ["created", "retried", "retried", "step"]


def test_an_error_that_is_not_named_or_too_many_attempts_fail(machine):
    def broken(context):
        raise ConnectionError if context["down"] else ValueError

    machine.register_state("CALL", broken, retry=Retry(attempts=2, on=(ConnectionError,)))
    machine.initialize_run("down", "CALL", {"down": True})
    machine.initialize_run("wrong", "CALL", {"down": False})
    assert machine.execute_step("down") == machine.execute_step("wrong") == "FAILED"
    assert [e.kind for e in machine.history("down")] == ["created", "retried", "failed"]
    assert [e.kind for e in machine.history("wrong")] == ["created", "failed"]


def test_a_cancellation_is_seen_between_two_attempts(journal):
    machine = AgentStateMachine(journal, wait=lambda seconds: machine.cancel("r"))

    def broken(context):
        raise ConnectionError

    machine.register_state("CALL", broken, retry=Retry(attempts=100))
    machine.initialize_run("r", "CALL", {})
    machine.run_to_end("r")
    assert machine.get("r").status == "cancelled"


def test_a_state_that_takes_too_long_fails_and_its_late_answer_is_lost(machine):
    release = threading.Event()

    def slow(context):
        current = machine.current
        release.wait(PATIENCE)
        with pytest.raises(AgentnbError):
            current.action("late").begin()
        return "COMPLETED", {"late": True}

    machine.register_state("SLOW", slow, timeout=0.02)
    machine.initialize_run("r", "SLOW", {"n": 1})
    assert machine.execute_step("r") == "FAILED"
    release.set()
    run = machine.get("r")
    assert (run.error.type, run.error.code, run.context) == ("StateTimeout", StateTimeout.code, {"n": 1})


def test_a_run_under_another_version_of_its_handlers_asks(planner):
    planner.initialize_run("r", "PLANNING", {})
    planner.execute_step("r")
    planner.register_state("EXECUTING", executing, version="2")
    with pytest.raises(VersionChanged, match="EXECUTING 1 -> 2"):
        planner.execute_step("r")
    planner.resume("r", accept_versions=True)
    assert planner.run_to_end("r").status == "completed"


def test_waiting_for_an_outside_event(machine):
    machine.register_state("ASK", lambda context: ("AWAITING_APPROVAL", context))

    @machine.state("AWAITING_APPROVAL")
    def approved(context):
        return "COMPLETED", {**context, "by": machine.current.event.data["by"]}

    machine.initialize_run("r", "ASK", {"task": "delete"})
    assert machine.run_to_end("r").status == "waiting"
    assert machine.execute_step("r") == "AWAITING_APPROVAL"
    assert machine.send("r", "OTHER", {})
    assert machine.execute_step("r") == "AWAITING_APPROVAL"
    assert machine.send("r", "APPROVAL", {"by": "ann"}, event_id="mail-1")
    assert not machine.send("r", "APPROVAL", {"by": "ann"}, event_id="mail-1")
    assert machine.run_to_end("r").context == {"task": "delete", "by": "ann"}
    assert machine.replay("r", 2).same


def test_an_event_that_comes_early_is_not_lost_and_one_that_never_comes_times_out(machine, clock):
    machine.register_state("ASK", lambda context: ("AWAITING_IT", context))

    def woken(context):
        event = machine.current.event
        return "COMPLETED", {"event": event.data if event else None}

    machine.register_state("AWAITING_IT", woken, timeout=60)
    machine.initialize_run("early", "ASK", {})
    machine.send("early", "IT", 1)
    machine.run_to_end("early")
    assert machine.run_to_end("early").context == {"event": 1}
    machine.initialize_run("never", "ASK", {})
    assert machine.run_to_end("never").status == "waiting"
    clock.advance(61)
    assert machine.run_to_end("never").context == {"event": None}


def test_replay_gives_what_was_recorded_and_does_nothing_outside(machine):
    sent = []

    @machine.state("SEND")
    def send(context):
        reply = machine.current.action("mail").run(lambda: sent.append(1) or "sent")
        return "COMPLETED", {**context, "reply": reply}

    machine.initialize_run("r", "SEND", {"to": "ann"})
    machine.run_to_end("r")
    replay = machine.replay("r", 1)
    assert replay.same
    assert sent == [1]
    machine.register_state("SEND", lambda context: ("COMPLETED", {"other": machine.current.action("new").run(list)}))
    with pytest.raises(JournalError, match="no recorded result"):
        machine.replay("r", 1)
    assert len(machine.history("r")) == 2


def test_what_a_handler_attaches_is_in_the_steps_event_and_not_in_the_context(machine):
    @machine.state("S")
    def handler(context):
        machine.current.attach(usage={"input": 3})
        machine.current.emit("delta", text="Hel")
        return "COMPLETED", context

    heard = []
    machine.events.subscribe(heard.append)
    machine.initialize_run("r", "S", {})
    machine.run_to_end("r")
    assert [(e.kind, dict(e.data), e.seq > 0) for e in heard] == [
        ("created", {}, True),
        ("delta", {"text": "Hel"}, False),
        ("step", {"usage": {"input": 3}}, True),
    ]
    assert heard[-1] == machine.history("r")[-1]
    assert "usage" not in machine.get("r").context


def test_a_subscriber_that_fails_or_leaves_breaks_nothing(planner):
    heard = []

    def broken(event):
        raise ZeroDivisionError

    planner.events.subscribe(broken)
    leave = planner.events.subscribe(heard.append, kinds={"step"}, run_id="r")
    planner.initialize_run("r", "PLANNING", {})
    planner.initialize_run("other", "PLANNING", {})
    planner.execute_step("r")
    planner.execute_step("other")
    leave()
    planner.run_to_end("r")
    assert [(e.run_id, e.step) for e in heard] == [("r", 1)]
    assert isinstance(planner.events.failures[-1][1], ZeroDivisionError)


def test_tags_find_runs(planner):
    for index, thread in enumerate(["a", "b", "a"]):
        planner.initialize_run(f"r{index}", "PLANNING", {}, tags={"thread": thread, "cell": str(index)})
    assert [run.run_id for run in planner.journal.find(thread="a")] == ["r0", "r2"]
    assert [run.run_id for run in planner.journal.find(thread="a", cell="2")] == ["r2"]
    assert planner.journal.find(thread="c") == []
    assert [run.run_id for run in planner.journal.runs(limit=2)] == ["r2", "r1"]
    assert planner.get("r1").tags == {"thread": "b", "cell": "1"}
    with pytest.raises(ContextNotStorable):
        planner.initialize_run("bad", "PLANNING", {}, tags={"thread": 1})


def test_terminal_states_and_uncallable_handlers_are_refused(machine):
    with pytest.raises(HandlerError):
        machine.register_state("COMPLETED", planning)
    with pytest.raises(HandlerError):
        machine.register_state("S", "not a function")
