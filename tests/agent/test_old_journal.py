"""A journal written before the agent's state had a type is read, shown, resumed and followed up.

The sample and its maker are in data/ (see make_journal.py).
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.approvals import BUTTON, Answer
from agentnb.agent.request import Limits
from agentnb.agent.run_document import AgentRun
from agentnb.agent.state import AgentState
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator
from agentnb.view.render import run_html, run_text

DATA = Path(__file__).parent / "data"
DOCUMENTS: dict[str, Any] = json.loads((DATA / "documents.json").read_text())
CLEAN = (
    'def clean(rows):\n    """Rows without what is missing."""\n    return [row for row in rows if row is not None]\n'
)

TOOLS_THEN = ("inspect", "run_code")


class Old:
    """A session over the stored journal."""

    def __init__(self, home: Path, simulator: Simulator) -> None:
        home.mkdir(mode=0o700)
        database = sqlite3.connect(home / "cache.db")
        tables = gzip.decompress((DATA / "journal.sql.gz").read_bytes()).decode()
        database.executescript(f"BEGIN; {tables} COMMIT;")
        database.close()
        settings = Settings(model="sim:claude-sonnet-4-6", home=home, sim_speed=0, tools=("inspect", "run_code"))
        self.simulator = simulator
        self.session = Session(settings=settings, simulated=simulator, environment={})
        self.session.namespace["log"] = []

    def resume(self, name: str, **limits: Any) -> AgentRun:
        agent, run_id = self.session.agent(), DOCUMENTS[name]["run_id"]
        agent.resume(run_id, Limits(**limits))
        return agent.drive(run_id)

    def ask(self, task: str, **changes: Any) -> AgentRun:
        agent, run_id = self.session.agent(), self.session.new_run_id()
        agent.begin(self.session.request(task, **({"tools": TOOLS_THEN} | changes)), run_id)
        return agent.drive(run_id)


def without_call_ids(value: Any) -> Any:
    """The same without the model's own ids of calls that were asked about: they are not kept any more."""
    if isinstance(value, dict):
        return {name: without_call_ids(item) for name, item in value.items() if name != "call"}
    return [without_call_ids(item) for item in value] if isinstance(value, list) else value


def only(now: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """What the newer one says of the older one's keys: it may have more."""
    return {name: value for name, value in now.items() if name in then}


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Old]:
    with Simulator(speed=0, record=True) as simulator:
        made = Old(tmp_path / "home", simulator)
        yield made
        made.session.close()


def test_every_run_is_shown_as_it_was(old: Old) -> None:
    for name, document in DOCUMENTS.items():
        run = old.session.find_run(document["run_id"])
        shown = json.loads(json.dumps(run.receipt))
        shown["approvals"].pop("digest", None)  # what a command names has come since
        if document["error"]:  # what goes on with it is told by the code that reads it
            document["error"]["todo"] = shown["error"]["todo"]
        assert only(shown, document) == without_call_ids(document), name
        assert run.run_id in run_html(run.receipt), name
        assert run_text(run.receipt), name


@pytest.mark.parametrize("name", ["begun", "broken", "interrupted"])
def test_a_run_that_stopped_goes_on(old: Old, name: str) -> None:
    before = DOCUMENTS[name]
    run = old.resume(name)
    assert run.state == "COMPLETED", run.error
    assert run.usage.calls == before["usage"]["calls"] + 1
    assert run.cost == pytest.approx(before["cost"]["total"] + run.steps[-1].cost)


def test_a_run_goes_on_under_new_limits(old: Old) -> None:
    assert old.resume("too_dear", budget=1.0).state == "COMPLETED"
    assert old.resume("limited", max_steps=9).state == "COMPLETED"


def test_a_run_that_waits_takes_a_person_s_word(old: Old) -> None:
    agent, run_id = old.session.agent(), DOCUMENTS["waits"]["run_id"]
    words = [Answer(question=question, approved=True, by=BUTTON) for question in agent.questions(run_id)]
    assert agent.answer(run_id, words) == 1
    assert agent.drive(run_id).state == "COMPLETED"
    assert old.session.namespace["log"] == [1]


@pytest.mark.parametrize("name", ["follow_up", "decided", "inspects", "pictured", "shared", "forked"])
def test_a_follow_up_sends_what_was_said(old: Old, name: str) -> None:
    before = DOCUMENTS[name]
    last = (before["run_id"], len(before["steps"]))
    run = old.ask("And then?", thread=before["thread"], origin=last if name in ("follow_up", "forked") else None)
    assert run.state == "COMPLETED", run.error
    sent = json.dumps(old.simulator.requests[-1].body)
    earlier = old.session.machine().get(before["run_id"]).context
    # Instructions and tools may have changed since: then a new segment begins, and holds the definitions itself.
    texts = [b["content"]["text"] for b in earlier["blocks"] if b["content"]["type"] == "text" and not b["holds"]]
    assert texts
    assert all(json.dumps(text) in sent for text in texts)


def test_a_changed_definition_is_sent_again_in_an_old_thread(old: Old) -> None:
    old.session.cells.record(CLEAN.replace("not None", "not None and row"), cell_id="clean", number=1)
    run = old.ask("Is `clean` better now?", thread="tides")
    assert run.state == "COMPLETED", run.error
    assert "if row is not None and row]" in json.dumps(old.simulator.requests[-1].body)


def test_an_old_step_is_replayed_alike(old: Old) -> None:
    for name in ("first", "inspects", "pictured"):
        agent, run_id = old.session.agent(), DOCUMENTS[name]["run_id"]
        steps = [step["n"] for step in DOCUMENTS[name]["steps"] if step["state"] == "THINKING"]
        for replay in (agent.machine.replay(run_id, step) for step in steps):
            assert only(replay.context, replay.recorded_context) == replay.recorded_context, name
            assert replay.next_state == replay.recorded_state


def test_every_step_s_state_is_written_as_it_was_read(old: Old) -> None:
    machine = old.session.machine()
    for name, document in DOCUMENTS.items():
        for step in range(machine.get(document["run_id"]).step + 1):
            context = machine.context_at(document["run_id"], step)
            written = AgentState.from_json(context).to_json()
            assert only(written, context) == without_call_ids(context), (name, step)
            assert AgentState.from_json(written).to_json() == written
