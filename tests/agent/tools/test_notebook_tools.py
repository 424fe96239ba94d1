"""Proposed cells reach the run's document exactly as written and run nowhere; a question waits for its answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted

from agentnb.agent.approvals import COMMAND, Answer
from agentnb.agent.run_document import AgentRun
from agentnb.agent.tools.proposals import text_digest
from agentnb.session import Session
from agentnb.settings import Settings

CELLS = {3: "total = 1\n", 7: "# nothing"}
QUESTION = {"question": "Which column?", "choices": ["a", "b"]}


class Asking:
    """A session before a server that makes the calls it is told to."""

    def __init__(self, server: scripted.Scripted, home: Path) -> None:
        self.server = server
        self.home = home
        self.open()

    def open(self) -> None:
        settings = Settings(model=scripted.MODELS["anthropic"], home=self.home, stream=False)
        self.session = Session(settings=settings, environment={}, cell_text=CELLS.get)

    def ask(self, *calls: scripted.Call, **changes: Any) -> AgentRun:
        self.server.calls = calls
        tools = ("propose_cell", "ask_user", "run_code")
        given = {"approval": "ask", "tools": tools, "thread": self.session.new_run_id()}
        request = self.session.request("go", **(given | changes))
        agent, run_id = self.session.agent(), self.session.new_run_id()
        agent.begin(request, run_id)
        return agent.drive(run_id)

    def answer(self, run: AgentRun, **word: Any) -> AgentRun:
        agent = self.session.agent()
        agent.answer(run.run_id, [Answer(question=item, by=COMMAND, **word) for item in agent.questions(run.run_id)])
        return agent.drive(run.run_id)


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    server = scripted.Scripted("anthropic")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    made = Asking(server, tmp_path / "home")
    yield made
    made.session.close()
    server.close()


def results(run: AgentRun) -> list[Any]:
    return [tool for step in run.receipt["steps"] for tool in step["tools"]]


def test_several_proposals_are_kept_in_order_exactly_as_written_and_nothing_runs(asking: Asking) -> None:
    source = "key = 'sk-ant-" + "api03-abcdEFGH1234567890_-xyz'\nran.append(1)"
    asking.session.namespace["ran"] = []
    run = asking.ask(
        ("a", "propose_cell", {"source": source, "why": "To begin."}),
        ("b", "propose_cell", {"source": "\r\ntotal = 2\r\n", "why": "To mend.", "replaces": 3}),
    )
    assert run.state == "COMPLETED"
    first, second = run.receipt["proposals"]
    assert first == {"source": source, "why": "To begin.", "replaces": 0, "digest": ""}
    assert second == {"source": "total = 2", "why": "To mend.", "replaces": 3, "digest": text_digest("total = 1\n")}
    assert asking.session.namespace["ran"] == []
    assert all("Nothing has run" in tool["result"] for tool in results(run))
    asking.session.close()
    asking.open()
    assert asking.session.find_run(run.run_id).receipt["proposals"] == [first, second]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"source": " \n", "why": "x"}, "empty"),
        ({"source": "x", "why": "x", "replaces": 4}, "No cell has run as number 4"),
        ({"source": "x", "why": "x", "replaces": -1}, "No cell has run as number -1"),
        ({"source": "x", "why": "x", "replaces": "3"}, "valid integer"),
        ({"source": "x" * 20_001, "why": "x"}, "at most"),
        ({"source": "if admin:\u202e # \u2066check", "why": "x"}, "holds U+202E, which nobody sees"),
        ({"source": "print(1)\x00", "why": "x"}, "holds U+0000"),
        ({"source": "x", "why": "x" * 1_001}, "say it in one sentence"),
        ({"source": "x"}, "missing: why"),
    ],
)
def test_a_proposal_that_cannot_be_shown_goes_back_to_the_model(
    asking: Asking, arguments: dict[str, Any], said: str
) -> None:
    run = asking.ask(("a", "propose_cell", arguments))
    (tool,) = results(run)
    assert tool["is_error"]
    assert said in tool["result"]
    assert run.receipt["proposals"] == []


def test_a_question_waits_and_its_answer_is_the_result(asking: Asking) -> None:
    run = asking.ask(("a", "ask_user", QUESTION))
    assert run.state == "WAITING"
    (waiting,) = run.receipt["approvals"]["waiting"]
    assert waiting["asks"]
    assert waiting["arguments"] == QUESTION
    asking.session.close()
    asking.open()
    done = asking.answer(run, approved=True, reason="b, of course")
    assert done.state == "COMPLETED"
    (tool,) = results(done)
    assert tool["result"] == "The person answers: b, of course"
    assert not tool["is_error"]


def test_a_question_cannot_be_allowed_away_nor_answered_for_the_rest(asking: Asking) -> None:
    run = asking.ask(("a", "ask_user", QUESTION), allow=("ask_user",))
    assert run.state == "WAITING"
    again = asking.answer(run, approved=True, reason="a", rest=True)
    assert again.receipt["approvals"]["decided"][0]["rest"] is False
    assert asking.ask(("a", "ask_user", QUESTION)).state == "WAITING"


def test_without_an_answer_the_model_goes_on(asking: Asking) -> None:
    run = asking.ask(("a", "ask_user", QUESTION))
    (tool,) = results(asking.answer(run, approved=False))
    assert tool["result"].startswith("No answer. Go on with the likeliest answer")
    nobody = asking.ask(("a", "ask_user", QUESTION), approval="deny")
    assert nobody.state == "COMPLETED"
    (tool,) = results(nobody)
    assert tool["result"].startswith("Nobody is here to answer.")


@pytest.mark.parametrize("choices", [["a", "a"], ["a", " "], list("abcdefg"), "ab", [1, 2], ["a" * 101]])
def test_a_question_with_odd_choices_is_not_asked(asking: Asking, choices: Any) -> None:
    run = asking.ask(("a", "ask_user", {"question": "Which?", "choices": choices}))
    assert run.state == "COMPLETED"
    assert results(run)[0]["is_error"]


def test_a_question_that_nobody_reads_is_not_asked(asking: Asking) -> None:
    run = asking.ask(("a", "ask_user", {"question": "Which? " * 200, "choices": ["a", "b"]}))
    assert run.state == "COMPLETED"
    assert "ask in at most 1,000" in results(run)[0]["result"]
