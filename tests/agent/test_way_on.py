"""A run that an error has ended names the command that goes on, also with another model."""

from __future__ import annotations

from typing import Any

import pytest

from agentnb.agent.request import Limits
from agentnb.agent.run_document import document_of
from agentnb.agent.state import AgentState
from agentnb.agent.way_on import RESUME, way_on
from agentnb.errors import AgentnbError
from agentnb.view.render import bundle

CLAUDE, GPT, GEMINI = "sim:claude-sonnet-4-6", "sim:gpt-4.1", "sim:gemini-3.1-pro-preview"
FAULTS = [*((CLAUDE, kind) for kind in ("429", "529", "drop", "garbage")), (GPT, "500"), (GEMINI, "503")]


def document(book: Any, run_id: str) -> Any:
    machine = book.session.machine()
    return document_of(machine.get(run_id), machine.history(run_id))


@pytest.mark.parametrize(("model", "kind"), FAULTS)
def test_every_error_of_a_provider_names_the_command(book: Any, model: str, kind: str) -> None:
    book.simulator.inject(kind=kind, times=9)
    run = book.ask("Hello?", model=model, retry_wait=0.0)
    assert run.state == "FAILED"
    (error,) = book.errors
    assert f"{RESUME} {run.run_id}" in error.todo
    assert "-m MODEL" in error.todo
    shown = bundle(document(book, run.run_id))
    for form in ("text/html", "text/markdown", "text/plain"):
        text = " ".join(shown[form].replace("<wbr>", "").replace("\\", "").split())
        assert text.count(RESUME) == 1, "once, in each form of what the journal has"


def test_limits_name_the_flag_that_raises_them(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    run = book.ask("Inspect `tax`.", context="none", max_steps=2)
    assert f"{RESUME} {run.run_id} --max-steps 6" in str(book.errors[-1])
    agent = book.session.agent()
    agent.resume(run.run_id, Limits(max_steps=1))
    agent.drive(run.run_id)
    assert f"{RESUME} {run.run_id} --max-steps 6" in str(agent.raised), "more than it has made, whatever the limit was"
    run = book.ask("Hello?", budget=0.000001)
    assert f"{RESUME} {run.run_id} --budget USD" in str(book.errors[-1])


def test_every_error_has_a_way_on() -> None:
    def codes(kind: type[AgentnbError]) -> set[str]:
        return {kind.code}.union(*(codes(each) for each in kind.__subclasses__()))

    for code in codes(AgentnbError):
        assert way_on(code, "r-1").startswith(f"{RESUME} r-1 ")
    assert "--accept-versions" in way_on("state.version", "r-1")
    assert "--take-over" in way_on("run.leased", "r-1")
    assert "-m MODEL" in way_on("key.missing", "r-1")
    assert way_on("", "r-1") == f"{RESUME} r-1 goes on from there."


@pytest.mark.parametrize("other", [GPT, GEMINI, "sim:claude-haiku-4-5"])
def test_a_run_goes_on_with_another_model_in_a_segment_of_its_own(book: Any, other: str) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    first = book.ask("Explain `tax`.")
    run = book.ask("Inspect `math.floor` and explain it.", max_steps=2)
    assert run.error.code == "steps.limit"
    agent = book.session.agent()
    agent.resume(run.run_id, Limits(max_steps=10, model=other))
    done = agent.drive(run.run_id)
    assert done.state == "COMPLETED", done.error
    assert done.model == other
    assert done.usage.calls == 2
    assert [note for note in done.receipt["notes"] if note.startswith("Prompt begun anew: the run goes on with")]
    sent = str(book.bodies[-1])
    assert "Explain `tax`" in sent, "the turn before goes along"
    assert "result of inspect" in sent, "what the old model's tools gave goes along as text"
    machine = book.session.agent().machine
    assert machine.replay(run.run_id, 4).same, "the step that changed the model replays like any other"

    again = book.ask("And why?", model=other)
    assert not again.receipt["notes"], "the next question goes on with that model's segment"
    state = AgentState.from_json(machine.get(again.run_id).context)
    assert state.segment.root == run.run_id
    assert again.cache.read == again.cache.expected
    back = book.ask("And now?")
    assert back.state == "COMPLETED", back.error
    assert AgentState.from_json(machine.get(back.run_id).context).segment.root == first.run_id, "and back again"


def test_a_first_turn_that_failed_goes_on_with_another_model(book: Any) -> None:
    run = book.ask("Hello?", budget=0.000001)
    assert run.state == "FAILED"
    agent = book.session.agent()
    agent.resume(run.run_id, Limits(model="sim:claude-haiku-4-5", budget=1.0))
    done = agent.drive(run.run_id)
    assert (done.state, done.model) == ("COMPLETED", "sim:claude-haiku-4-5")
    assert book.ask("More?", model="sim:claude-haiku-4-5").receipt["notes"] == []
