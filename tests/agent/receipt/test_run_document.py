"""The run document keeps to its schema, however the run ended; AgentRun reads it, typed and unchanged."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import agentnb
from agentnb.agent.run_document import AgentRun

SCHEMA = Draft202012Validator(agentnb.run_schema())


def checked(run: AgentRun) -> AgentRun:
    SCHEMA.validate(json.loads(json.dumps(run.receipt, allow_nan=False)))
    return run


@pytest.fixture
def run(book: Any) -> AgentRun:
    """A run that was given a cell and a function of the user's, and ran code."""
    source = "def fee(amount):\n    return amount * 2\n\n\ndue = fee(3)"
    book.cell(source)
    book.session.log.record(source, cell="code", number=1, outputs=())
    task = "Run `print(due)` please. What is `due`, and what does `fee` do?"
    done: AgentRun = book.ask(task, tools=("run_code",), allow=("run_code",))
    return done


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(agentnb.run_schema())


def test_a_completed_run(run: AgentRun) -> None:
    assert checked(run).state == "COMPLETED"
    assert run.receipt["definitions"]
    assert run.receipt["cells"]
    assert run.steps[2].tools[0].name == "run_code"


def test_a_failed_run(book: Any) -> None:
    run = checked(book.ask("What is it?", budget=0.000001))
    assert run.state == "FAILED"
    assert run.error is not None
    assert run.error.code == "budget.exceeded"
    assert run.latency.ttft is None


def test_a_waiting_run_and_what_was_decided(book: Any) -> None:
    run = checked(book.ask("Run `log.append(1)` please.", approval="ask", tools=("run_code",)))
    assert run.state == "WAITING"
    with agentnb.Agent(session=book.session) as agent:
        decided = checked(agent.deny(run, "Not today."))
    assert decided.receipt["approvals"]["decided"][0]["reason"] == "Not today."
    assert [use.decision.approved for step in decided.steps for use in step.tools] == [False]


def test_a_dry_run(book: Any) -> None:
    agent, run_id = book.session.agent(), book.session.new_run_id()
    run = checked(agent.dry_run(book.session.request("What is it?", cell="ask", execution="1"), run_id))
    assert run.state == "DRY_RUN"
    assert run.usage.calls == 0


def test_a_run_of_another_machine(book: Any) -> None:
    machine = book.session.machine()
    machine.register_state("COUNTING", lambda context: ("COMPLETED", {"text": "two"}))
    machine.initialize_run("counted", "COUNTING", {"n": 1})
    machine.run_to_end("counted")
    assert checked(book.session.find_run("counted")).text == "two"


def test_parts_are_typed_dicts_that_nobody_changes(run: AgentRun) -> None:
    for part in (*run.layers, run.usage, run.latency, run.cache, *run.steps, *run.steps[2].tools):
        assert json.loads(json.dumps(part)) == part == pickle.loads(pickle.dumps(part)) == copy.deepcopy(part)
        for name, value in part.items():
            assert getattr(part, name) == value
        with pytest.raises(TypeError, match="dict"):
            part["tokens"] = 1
        with pytest.raises(TypeError, match="dict"):
            part.tokens = 1
        with pytest.raises(TypeError, match="dict"):
            part.update(tokens=1)
        with pytest.raises(AttributeError, match="known: "):
            part.tokns  # noqa: B018
    assert [layer.name for layer in run.layers] == ["STATIC", "SEMI_STATIC", "HYDRATION", "DYNAMIC"]
    assert run.latency.queue_estimate.samples == run.latency["queue_estimate"]["samples"]
    assert isinstance(run.steps[1].usage, agentnb.Usage)


def test_what_an_older_document_lacks_is_none(run: AgentRun) -> None:
    latency = {name: value for name, value in run.receipt["latency"].items() if name != "streamed"}
    assert AgentRun(run.receipt | {"latency": latency}).latency.streamed is None
