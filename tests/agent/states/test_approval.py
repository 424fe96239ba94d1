"""Calls that act wait for a person's word: the run is committed, the first word counts, nothing runs twice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

import agentnb
from agentnb.agent.approvals import AWAITING_APPROVAL, BUTTON, EVENT, Answer, call_digest
from agentnb.agent.built_in import BuiltInAgent
from agentnb.agent.request import Limits
from agentnb.agent.run_document import AgentRun
from agentnb.errors import InputError
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator


def asked(book: Any, task: str = "Run `log.append(1)` please.", **changes: Any) -> AgentRun:
    book.session.namespace.setdefault("log", [])
    run: AgentRun = book.ask(task, approval="ask", **changes)
    return run


def answers(agent: BuiltInAgent, run: AgentRun, **word: Any) -> list[Answer]:
    return [Answer(question=item, by=BUTTON, **word) for item in agent.questions(run.run_id)]


def answered(book: Any, run: AgentRun, **word: Any) -> AgentRun:
    agent = book.session.agent()
    assert agent.answer(run.run_id, answers(agent, run, **word)) > 0
    return agent.drive(run.run_id)


def tools_of(run: AgentRun) -> list[Any]:
    return [tool for step in run.steps for tool in step.tools]


def last_results(book: Any) -> str:
    return str([part for part in book.bodies[-1]["messages"][-1]["content"] if part["type"] == "tool_result"])


def two_tools(book: Any) -> AgentRun:
    """A reply that asks for two calls at once."""

    @agentnb.tool
    def tide(station: str) -> str:
        """The tide table of a station, fetched."""
        book.session.namespace["log"].append(station)
        return f"high water at {station}"

    book.session.extra_tools["tide"] = tide
    tools = ("inspect", "run_code", "tide")
    return asked(book, "Run `log.append(1)` and use tide on `Dover` please.", tools=tools)


def test_a_call_that_acts_waits_and_nothing_runs(book: Any) -> None:
    run = asked(book)
    assert run.state == "WAITING"
    (waits,) = run.receipt["approvals"]["waiting"]
    assert (waits["tool"], waits["arguments"]) == ("run_code", {"code": "log.append(1)"})
    assert book.session.namespace["log"] == []
    assert len(book.bodies) == 1
    row = book.session.machine().get(run.run_id)
    assert (row.state, row.status) == (AWAITING_APPROVAL, "waiting")
    assert book.session.agent().drive(run.run_id).state == "WAITING", "it waits until somebody speaks"


def test_an_approved_call_runs_once_and_the_word_is_journaled(book: Any) -> None:
    run = asked(book)
    done = answered(book, run, approved=True)
    assert done.state == "COMPLETED", done.error
    assert book.session.namespace["log"] == [1]
    (word,) = done.receipt["approvals"]["decided"]
    assert (word["run"], word["tool"], word["approved"], word["by"]) == (run.run_id, "run_code", True, "button")
    history = book.session.machine().history(run.run_id)
    (event,) = (event for event in history if event.kind == "woken")
    assert event.data["data"]["digest"] == word["digest"] == call_digest("run_code", {"code": "log.append(1)"})
    assert tools_of(done)[0].decision.at == word["at"]
    assert [step.what for step in done.steps][2:4] == ["asked about run_code", "approved run_code (button)"]


def test_a_denied_call_tells_the_model_why(book: Any) -> None:
    run = answered(book, asked(book), approved=False, reason="not on this data")
    assert run.state == "COMPLETED"
    assert book.session.namespace["log"] == []
    assert "not on this data" in last_results(book)
    assert tools_of(run)[0].refused
    assert not tools_of(run)[0].decision.approved


def test_a_reason_is_told_without_its_secrets(book: Any, tmp_path: Path) -> None:
    key = "sk-ant-api03-" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9" * 3
    run = answered(book, asked(book), approved=False, reason=f"you would need {key}")
    assert "you would need" in last_results(book)
    assert key not in last_results(book) + str(run.receipt)
    assert not any(key.encode() in path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())


def test_of_two_words_the_first_counts(book: Any) -> None:
    run = asked(book)
    first, second = book.session.agent(), book.session.agent()
    yes, no = answers(first, run, approved=True), answers(second, run, approved=False)
    assert first.answer(run.run_id, yes) == 1
    assert second.answer(run.run_id, no) == 0, "this one comes from a stale copy of the question"
    assert second.answer(run.run_id, yes) == 0, "and this one is a second click"
    assert first.drive(run.run_id).state == "COMPLETED"
    assert second.answer(run.run_id, yes) == 0
    assert book.session.namespace["log"] == [1]
    assert first.drive(run.run_id).state == "COMPLETED"
    assert book.session.namespace["log"] == [1], "never twice"


@pytest.mark.parametrize(
    "data", [None, "yes", {"approved": True}, {"step": 3, "number": 1, "digest": "other", "approved": True}]
)
def test_a_word_about_no_call_that_waits_changes_nothing(book: Any, data: Any) -> None:
    run = asked(book)
    agent = book.session.agent()
    agent.machine.send(run.run_id, EVENT, data)
    assert agent.drive(run.run_id).state == "WAITING"
    assert book.session.namespace["log"] == []
    assert answered(book, run, approved=True).state == "COMPLETED"
    assert book.session.namespace["log"] == [1]


def test_a_word_that_comes_late_is_none_on_the_next_question(book: Any) -> None:
    run = asked(book, "Run `log.append(1)`, then run `log.append(2)`.")
    agent = book.session.agent()
    (first,) = answers(agent, run, approved=True)
    agent.answer(run.run_id, [first])
    agent.machine.send(run.run_id, EVENT, first.to_json())  # without its key, as a foreign program might
    again = agent.drive(run.run_id)
    assert again.state == "WAITING"
    assert book.session.namespace["log"] == [1]
    assert agent.answer(run.run_id, [first]) == 0
    assert agent.drive(run.run_id).state == "WAITING"
    assert answered(book, run, approved=True).state == "COMPLETED"
    assert book.session.namespace["log"] == [1, 2]


def test_calls_in_parallel_are_decided_one_by_one_and_run_together(book: Any) -> None:
    run = two_tools(book)
    agent = book.session.agent()
    code, tide = answers(agent, run, approved=True)
    assert agent.answer(run.run_id, [code]) == 1
    half = agent.drive(run.run_id)
    assert half.state == "WAITING"
    assert [item["tool"] for item in half.receipt["approvals"]["waiting"]] == ["tide"]
    assert book.session.namespace["log"] == [], "nothing runs before all is said: the order is the reply's"
    no = Answer(question=tide.question, approved=False, by=BUTTON, reason="no network")
    assert agent.answer(run.run_id, [no]) == 1
    done = agent.drive(run.run_id)
    assert done.state == "COMPLETED"
    assert book.session.namespace["log"] == [1]
    assert [tool.refused for tool in tools_of(done)] == [False, True]


def test_calls_in_parallel_can_be_approved_together(book: Any) -> None:
    run = two_tools(book)
    assert answered(book, run, approved=True).state == "COMPLETED"
    assert book.session.namespace["log"] == [1, "Dover"]


def test_a_tool_can_be_approved_for_the_rest_of_this_run_alone(book: Any) -> None:
    run = asked(book, "Run `log.append(1)`, then run `log.append(2)`.")
    done = answered(book, run, approved=True, rest=True)
    assert done.state == "COMPLETED"
    assert book.session.namespace["log"] == [1, 2]
    assert asked(book, "Run `log.append(3)` too.").state == "WAITING"
    assert book.session.namespace["log"] == [1, 2]


def test_what_is_allowed_is_not_asked_about_nor_is_a_call_that_cannot_be_made(book: Any) -> None:
    assert asked(book, allow=("run_code",)).state == "COMPLETED"
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    assert asked(book, "Inspect `tax`.", context="none").state == "COMPLETED", "it changes nothing"
    assert book.session.namespace["log"] == [1]


def test_where_nobody_is_asked_the_model_is_told(book: Any) -> None:
    run = book.ask("Run `log.append(1)` please.")
    assert run.state == "COMPLETED"
    assert tools_of(run)[0].refused
    assert "--allow run_code" in last_results(book)


def test_a_fork_asks_again(book: Any) -> None:
    run = asked(book)
    answered(book, run, approved=True, rest=True)
    steps = [event.step for event in book.session.machine().history(run.run_id) if event.kind == "step"]
    for step in steps[:-1]:
        fork = book.session.fork(run.run_id, step)
        state = book.session.agent().drive(fork).state
        acted = step > 4  # after the step in which the call ran
        assert state == ("COMPLETED" if acted else "WAITING"), step
    assert book.session.namespace["log"] == [1]


def test_every_step_replays_the_same(book: Any) -> None:
    run = two_tools(book)
    answered(book, run, approved=True)
    machine = book.session.agent().machine
    last = machine.get(run.run_id).step
    replays = [machine.replay(run.run_id, step) for step in range(2, last + 1)]  # the first one tells what `log` holds
    assert all(replay.same for replay in replays)
    assert book.session.namespace["log"] == [1, "Dover"]


def test_waiting_does_not_use_up_the_steps(book: Any) -> None:
    run = asked(book, "Run `log.append(1)`, then run `log.append(2)`.", max_steps=7)
    while run.state == "WAITING":
        run = answered(book, run, approved=True)
    assert run.state == "COMPLETED", run.error
    assert len(run.steps) > 7


def test_resume_with_allow_goes_on_and_counts_as_a_word(book: Any) -> None:
    run = asked(book, "Run `log.append(1)`, then run `log.append(2)`.")
    agent = book.session.agent()
    agent.resume(run.run_id, Limits())
    assert agent.drive(run.run_id).state == "WAITING"
    agent.resume(run.run_id, Limits(allow=("run_code",)))
    done = agent.drive(run.run_id)
    assert done.state == "COMPLETED"
    assert book.session.namespace["log"] == [1, 2]
    assert [word["by"] for word in done.receipt["approvals"]["decided"]] == ["command"]


def test_a_paused_question_can_be_answered_and_a_cancelled_one_cannot(book: Any) -> None:
    run = asked(book)
    book.session.machine().pause(run.run_id)
    assert answered(book, run, approved=True).state == "COMPLETED"
    other = asked(book, "Run `log.append(2)` please.")
    book.session.machine().cancel(other.run_id)
    agent = book.session.agent()
    with pytest.raises(agentnb.errors.RunFinished):
        agent.answer(other.run_id, answers(agent, other, approved=True))
    assert book.session.namespace["log"] == [1]


def test_a_question_shows_what_runs_and_every_other_copy_is_without_secrets(book: Any) -> None:
    secret = "tr0ub4dor&3zebra"
    book.session.namespace["password"] = secret
    run = asked(book, f"Run `log.append('{secret}')` please.")
    (question,) = run.receipt["approvals"]["waiting"]
    assert question["arguments"] == {"code": f"log.append('{secret}')"}
    done = answered(book, run, approved=True)
    assert book.session.namespace["log"] == [secret], "it is shown, and runs, to the letter"
    assert secret not in str(done.receipt["approvals"]) + str(tools_of(done))
    assert "append" in str(done.receipt["approvals"])


def test_in_a_script(tmp_path: Path) -> None:
    log: list[int] = []
    with Simulator(speed=0) as simulator:
        settings = Settings(model="sim:claude-sonnet-4-6", home=tmp_path, sim_speed=0, approval="ask")
        session = Session(settings=settings, simulated=simulator, environment={})
        with agentnb.Agent(session=session, tools=["run_code"], namespace={"log": log}) as agent:
            run = agent.run("Run `log.append(1)` please.")
            assert run.state == "WAITING"
            assert agent.approve(run).state == "COMPLETED"
            assert agent.deny(agent.run("Run `log.append(2)` please."), "enough").state == "COMPLETED"
            with pytest.raises(InputError, match="does not wait"):
                agent.approve(run)
    assert log == [1]


# --- killed at any moment -----------------------------------------------------------------------------------------

WORKER = """
import os, sys
from pathlib import Path
from agentnb.agent.approvals import Answer
from agentnb.session import Session
from agentnb.settings import Settings

home, log, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
session = Session(settings=Settings(model="sim:claude-sonnet-4-6", home=home, sim_speed=0), environment={})
session.namespace["log"] = log
agent = session.agent()
request = session.request("Run `print(1, file=open(log, 'a'))` please.", approval="ask")
agent.begin(request, "r-1")
agent.drive("r-1")
die = lambda *_: os._exit(9)
if moment == "asked":
    die()
if moment == "told":  # the word is delivered, and no step has taken it
    agent.machine.execute_step = die
agent.answer("r-1", [Answer(question=item, approved=True, by="button") for item in agent.questions("r-1")])
if moment == "taken":
    die()
agent.machine.journal.end_action = die  # the call has run, and nobody has noted it
agent.drive("r-1")
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["asked", "told", "taken", "run"])
def test_a_kernel_that_is_killed_loses_no_word_and_repeats_no_call(
    tmp_path: Path, warm_python: list[str], moment: str
) -> None:
    log = tmp_path / "log"
    script = [*warm_python, "-c", WORKER, str(tmp_path / "home"), str(log), moment]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("API_KEY")}
    died = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert died.returncode == 9, died.stderr
    assert log.exists() == (moment == "run")
    settings = Settings(model="sim:claude-sonnet-4-6", home=tmp_path / "home", sim_speed=0)
    session = Session(settings=settings, environment={})
    session.namespace["log"] = str(log)
    agent = session.agent()
    agent.resume("r-1", Limits(), {"unsure": "skip"} if moment == "run" else {})
    run = agent.drive("r-1")
    if moment == "asked":
        assert run.state == "WAITING", "nobody has said anything yet"
        agent.answer("r-1", [Answer(question=item, approved=True, by=BUTTON) for item in agent.questions("r-1")])
        run = agent.drive("r-1")
    assert run.state == "COMPLETED", run.error
    assert log.read_text() == "1\n"
    assert [word["by"] for word in run.receipt["approvals"]["decided"]] == ["button"]
    session.close()
