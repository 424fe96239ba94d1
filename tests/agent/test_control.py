"""Replay without a model, forks, going on from a step, limits on resume, actions that may have happened."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

import agentnb
from agentnb.agent.request import Limits
from agentnb.errors import ActionUnsure, AgentnbError, InputError, RunUnknown


def loop(book: Any) -> Any:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    return book.ask("Inspect `tax` and explain it.", context="none")


def test_every_step_replays_the_same_without_asking_a_model(book: Any) -> None:
    run = loop(book)
    asked = len(book.bodies)
    machine = book.session.agent().machine
    replays = [machine.replay(run.run_id, step) for step in range(1, machine.get(run.run_id).step + 1)]
    assert [replay.next_state for replay in replays] == ["THINKING", "ACTING", "THINKING", "COMPLETED"]
    assert all(replay.same for replay in replays)
    assert len(book.bodies) == asked
    told = [event.kind for event in machine.history(run.run_id)]
    assert told.count("noted") == asked, "each reply was noted once, and none again"
    assert len(told) == 5 + asked


def test_a_changed_notebook_shows_in_the_replay(book: Any) -> None:
    run = loop(book)
    book.cell("def tax(x):\n    return x * 0.3", "tax")
    machine = book.session.agent().machine
    assert machine.replay(run.run_id, 2).same, "the reply is the recorded one"
    assert not machine.replay(run.run_id, 3).same, "inspect finds another definition now"


def test_a_replay_calls_no_tool_of_the_users(book: Any) -> None:
    """However safe they say that it is: it may take an hour, or cost something."""
    called = []

    @agentnb.tool(safe=True)
    def weigh(thing: str) -> str:
        """Weigh a thing."""
        called.append(thing)
        return f"{len(called)} g"

    book.session.extra_tools["weigh"] = weigh
    run = book.ask("Use weigh on `pear` please.", tools=("weigh",))
    assert called == ["pear"]
    machine = book.session.agent().machine
    replays = [machine.replay(run.run_id, step) for step in range(1, machine.get(run.run_id).step + 1)]
    assert called == ["pear"]
    assert all(replay.same for replay in replays)


def test_a_step_whose_event_was_taken_out_of_the_journal_is_not_replayed(book: Any) -> None:
    run = loop(book)
    machine = book.session.agent().machine
    with sqlite3.connect(book.session.settings.home / "cache.db") as database:
        database.execute("UPDATE agentnb_history SET run = x'ff'")
    with pytest.raises(AgentnbError):
        machine.replay(run.run_id, 2)


def test_a_fork_goes_its_own_way(book: Any) -> None:
    run = loop(book)
    new = book.session.fork(run.run_id, 1)
    agent = book.session.agent()
    forked = agent.drive(new)
    assert forked.state == "COMPLETED"
    assert forked.text == run.text
    assert agent.machine.get(new).origin == (run.run_id, 1)
    assert book.session.find_run(run.run_id).steps == run.steps, "the old run is untouched"


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_new_task_can_follow_any_step(book: Any, step: int) -> None:
    run = loop(book)
    book.ask("Something else")
    later = book.ask("Now in French.", origin=(run.run_id, step))
    assert later.state == "COMPLETED", later.error
    body = book.bodies[-1]
    texts = str(body["messages"])
    assert "Now in French." in texts
    assert "Inspect `tax`" in texts
    assert "Something else" not in texts
    assert later.receipt["branch"]
    if step == 4:
        assert later.cache.read >= 1024


def test_a_run_taken_up_again_keeps_the_stale_limit(book: Any) -> None:
    """`--from` goes on in the old run's segment only while its text is not too much out of date."""
    body = "\n".join(f"    x = x + {j}" for j in range(200))
    book.cell(f"def tax(x):\n{body}\n    return x", "tax")
    run = book.ask("Explain `tax`.")
    fresh = book.ask("And why?", origin=(run.run_id, 2))
    assert not fresh.receipt["notes"]
    assert fresh.cache.read >= 1024
    book.cell(f"def tax(x):\n{body}\n    return x + 1", "tax")
    later = book.ask("And now?", origin=(run.run_id, 2))
    assert later.state == "COMPLETED"
    assert any("out of date" in note for note in later.receipt["notes"])
    sent = book.bodies[-1]
    whole = str(sent["system"]) + str(sent["messages"])
    assert whole.count("x + 199") == 1, "the old text went with the old segment"
    assert "return x + 1" in whole
    assert "Explain `tax`" in whole
    assert book.ask("Next?").state == "COMPLETED"


def test_a_run_is_named_by_its_id_or_a_part_of_it_however_old_it_is(book: Any) -> None:
    """Each command finds its run by this: show, resume, approve, pause, fork, replay, export, --from."""
    run = book.ask("Say hello.")
    machine = book.session.machine()
    for number in range(60):
        machine.fork(run.run_id, 0, f"later-{number}")
    for named in (run.run_id, run.run_id[:-2], run.run_id[3:]):
        assert book.session.full_run_id(named) == run.run_id
    with pytest.raises(RunUnknown, match="60 runs fit"):
        book.session.full_run_id("later-")
    assert book.session.find_run(run.run_id).text == run.text
    assert book.session.origin(f"{run.run_id}:1") == (run.run_id, 1)
    with pytest.raises(RunUnknown, match="no run is called"):
        book.session.full_run_id("r-never")


def test_a_raised_limit_lets_a_run_go_on(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    run = book.ask("Inspect `tax`.", context="none", max_steps=2)
    assert run.state == "FAILED"
    assert run.error.code == "steps.limit"
    agent = book.session.agent()
    agent.resume(run.run_id, Limits(max_steps=10))
    assert agent.drive(run.run_id).state == "COMPLETED"


def test_an_action_that_may_have_happened_is_asked_about_never_repeated(book: Any) -> None:
    """The kernel dies in the middle of run_code: on resume the user decides."""
    book.session.namespace["log"] = []
    machine = book.session.agent().machine
    real = machine.journal.end_action
    machine.journal.end_action = lambda *args: (_ for _ in ()).throw(KeyboardInterrupt())  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        book.ask("Run `log.append(1)`.", allow=("run_code",))
    machine.journal.end_action = real  # type: ignore[method-assign]
    assert book.session.namespace["log"] == [1]
    (summary,) = machine.journal.runs(limit=1)

    agent = book.session.agent()
    agent.resume(summary.run_id, Limits())
    with pytest.raises(ActionUnsure, match="--unsure repeat"):
        agent.drive(summary.run_id)
    assert agent.machine.get(summary.run_id).status == "paused"
    assert book.session.namespace["log"] == [1], "never silently repeated"

    agent = book.session.agent()
    agent.resume(summary.run_id, Limits(), {"unsure": "skip"})
    run = agent.drive(summary.run_id)
    assert run.state == "COMPLETED", run.error
    assert book.session.namespace["log"] == [1]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:claude-sonnet-5-5"])
def test_a_paused_turn_goes_on_without_doubling_text(book: Any, model: str, stream: bool) -> None:
    whole = book.ask("Explain how tides work, please.", model=model, stream=stream, thread="whole")
    book.simulator.inject(kind="pause", times=2)
    run = book.ask("Explain how tides work, please.", model=model, stream=stream, thread="paused")
    assert run.state == "COMPLETED"
    assert run.text == whole.text
    assert [step.next for step in run.steps] == ["THINKING"] * 3 + ["COMPLETED"]
    second, third = book.bodies[-2:]
    assert second["messages"][-1]["role"] == third["messages"][-1]["role"] == "assistant"
    parts = [part["text"] for part in third["messages"][-1]["content"] if part["type"] == "text"]
    assert len(parts) == 2
    assert whole.text.startswith("".join(parts))
    assert book.ask("And the moon?", model=model, stream=stream, thread="paused").state == "COMPLETED"


def test_a_task_does_not_follow_a_step_of_another_conversation(book: Any) -> None:
    run = book.ask("Hello?", thread="one")
    with pytest.raises(InputError, match="belongs to the conversation one"):
        book.ask("And then?", thread="two", origin=(run.run_id, 2))
