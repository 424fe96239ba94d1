"""With `rehearse` a question tells what its call would do: after the calls before it, and without secrets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted

from agentnb.agent.approvals import COMMAND, Answer
from agentnb.agent.run_document import AgentRun
from agentnb.session import Session
from agentnb.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can a copy of the kernel be shut in")
SECRET = "xK9-vv31-Qp7z-88aL"


@pytest.fixture
def session(tmp_path: Path, server: scripted.Scripted) -> Iterator[Session]:
    settings = Settings(model=scripted.MODELS["anthropic"], home=tmp_path / "home", stream=False, approval="ask")
    made = Session(settings=settings, environment={}, namespace={"db_password": SECRET, "log": []})
    yield made
    made.close()


def ask(session: Session, server: scripted.Scripted, *codes: str, **changes: Any) -> AgentRun:
    server.calls = [(f"c{number}", "run_code", {"code": code}) for number, code in enumerate(codes)]
    request = session.request("go", tools=("run_code",), **changes)
    agent, run_id = session.agent(), session.new_run_id()
    agent.begin(request, run_id)
    return agent.drive(run_id)


def told(run: AgentRun) -> list[str]:
    return [question.get("rehearsal", "") for question in run.receipt["approvals"]["waiting"]]


def test_each_call_is_tried_after_the_ones_before_it(session: Session, server: scripted.Scripted) -> None:
    run = ask(session, server, "total = 40; log.append(1)", "print(total + 2)", "1/0", rehearse=True)
    assert run.state == "WAITING"
    first, second, third = told(run)
    assert "It makes `total`; changes `log`." in first
    assert second.startswith("It prints:\n42")
    assert "ZeroDivisionError" in third
    assert session.namespace["log"] == []
    assert "total" not in session.namespace
    agent = session.agent()
    agent.answer(run.run_id, [Answer(question=item, approved=True, by=COMMAND) for item in agent.questions(run.run_id)])
    assert agent.drive(run.run_id).state == "COMPLETED"
    assert session.namespace["total"] == 40
    assert "rehearsal" not in json.dumps(agent.as_it_stands(run.run_id).receipt["approvals"]["decided"])


def test_a_secret_that_it_prints_is_not_kept(session: Session, server: scripted.Scripted, tmp_path: Path) -> None:
    run = ask(session, server, "print('key:', db_password)", rehearse=True)
    (text,) = told(run)
    assert "key:" in text
    assert SECRET not in text
    session.close()
    assert not [
        file for file in (tmp_path / "home").rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()
    ]


def test_unasked_nothing_is_tried(session: Session, server: scripted.Scripted) -> None:
    assert told(ask(session, server, "1 + 1")) == [""]


def test_what_was_asked_about_goes_to_the_model_without_the_trial(session: Session, server: scripted.Scripted) -> None:
    run = ask(session, server, "print('only tried')", rehearse=True)
    agent = session.agent()
    agent.answer(
        run.run_id, [Answer(question=item, approved=False, by=COMMAND) for item in agent.questions(run.run_id)]
    )
    agent.drive(run.run_id)
    assert "Tried in a copy" not in json.dumps(server.bodies)
