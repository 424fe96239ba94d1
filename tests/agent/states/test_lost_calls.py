"""Calls that bring no reply: what they had used is billed, so the run's sums and its budget hold it."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from agentnb.agent.request import Limits
from agentnb.models import catalog, prices
from agentnb.models.messages import Usage
from agentnb.view.render import run_text

PAGE = f"Explain this page, please:\n\n{textwrap.__doc__ or ''}{open.__doc__ or ''}" * 2
MODELS = ["sim:claude-sonnet-4-6", "sim:gemini-2.5-flash", "sim:gpt-4.1"]


def taken_up(book: Any, run_id: str, **limits: Any) -> Any:
    agent = book.session.agent()
    agent.resume(run_id, Limits(**limits))
    run = agent.drive(run_id)
    if agent.raised is not None:
        book.errors.append(agent.raised)
    return run


@pytest.mark.parametrize("model", MODELS)
def test_what_broken_replies_had_used_is_in_the_sums(book: Any, model: str) -> None:
    early = 1 if "gemini" in model else 6
    book.simulator.inject(kind="drop", after_events=early)
    lost = book.ask("Explain how tides work, please.", model=model, budget=5.0)
    assert lost.state == "FAILED"
    assert lost.usage.input > 0
    assert lost.usage.output > 0
    assert lost.cost > 0
    assert lost.receipt["budget"]["spent"] == pytest.approx(lost.cost)
    assert lost.steps[-1].cost == pytest.approx(lost.cost)
    assert any("without a whole reply" in note for note in lost.receipt["notes"])

    book.simulator.inject(kind="drop", after_events=early)
    twice = taken_up(book, lost.run_id)
    assert twice.usage.calls == 2
    assert twice.cost > lost.cost

    run = taken_up(book, lost.run_id)
    assert run.state == "COMPLETED"
    assert run.usage.calls == 3
    last = run.steps[-1]
    assert run.cost == pytest.approx(twice.cost + last.cost)
    assert run.receipt["budget"]["spent"] == pytest.approx(run.cost)
    assert book.session.find_run(run.run_id).cost == pytest.approx(run.cost)
    machine = book.session.agent().machine
    steps = range(1, machine.get(run.run_id).step + 1)
    assert [step for step in steps if not machine.replay(run.run_id, step).same] == [], "a replay counts them too"


def test_a_resumed_run_may_spend_only_what_is_left(book: Any) -> None:
    book.simulator.inject(kind="drop", after_events=6)
    lost = book.ask("Explain how tides work, please.", budget=5.0)
    again = taken_up(book, lost.run_id, budget=lost.cost * 1.9)
    assert again.state == "FAILED"
    assert again.error.code == "budget.exceeded"
    assert again.usage.calls == 1


@pytest.mark.parametrize("model", MODELS)
def test_an_interrupted_call_is_in_the_sums(book: Any, model: str) -> None:
    run = stopped_after(book, "Explain how tides work, please.", pieces=1, model=model)
    assert run.state == "PAUSED"
    assert run.usage.input > 0
    assert run.cost > 0
    after = taken_up(book, run.run_id)
    assert after.state == "COMPLETED"
    assert after.cost == pytest.approx(run.cost + after.steps[-1].cost)


@pytest.mark.parametrize("model", MODELS)
def test_what_had_streamed_of_a_stopped_call_counts_and_stays(book: Any, model: str) -> None:
    """Anthropic names one output token when a reply begins, the others none: the text that came says how many."""
    run = stopped_after(book, "Explain how tides work, please.", pieces=2, model=model)
    text = run.receipt["stopped"]["text"]
    assert text.strip()
    assert run.text == ""
    assert run.usage.output >= len(text) // 8
    used = Usage.from_json({name: value for name, value in run.usage.items() if name != "calls"})
    assert run.cost == pytest.approx(prices.cost_of(catalog.lookup(model), used).total)
    assert run.receipt["stopped"]["seconds"] >= 0
    assert "Stopped by you after" in run_text(run.receipt)
    assert text.split()[-1].strip("*:") in run_text(run.receipt)
    after = taken_up(book, run.run_id)
    assert after.receipt["stopped"] is None
    assert after.usage.output > run.usage.output


def stopped_after(book: Any, task: str, *, pieces: int, **changes: Any) -> Any:
    """The run as it stands after a person stopped it when so many pieces of text had come."""
    session, came = book.session, []
    agent = session.agent()

    def hear(event: Any) -> None:
        came.append(event)
        if len(came) == pieces:
            session.cancel()

    agent.machine.events.subscribe(hear, kinds=["delta"])
    run_id = session.new_run_id()
    agent.begin(session.request(task, cell="ask", execution="1", **changes), run_id)
    with pytest.raises(Exception, match="interrupted"):
        agent.drive(run_id)
    return agent.as_it_stands(run_id)


@pytest.mark.parametrize("model", MODELS)
def test_a_resumed_run_knows_what_its_interrupted_call_warmed(book: Any, model: str) -> None:
    book.cell("def long(x):\n" + "".join(f"    x = x * {i} + {i}\n" for i in range(200)))  # before the last part
    run = stopped_after(book, f"{PAGE} And `long`?", pieces=1, model=model)
    after = taken_up(book, run.run_id)
    assert after.state == "COMPLETED"
    cache = next(step.cache for step in after.steps if step.cache)
    assert cache.read > 0
    assert cache.reason.startswith("hit: ")
    assert "another kernel" not in cache.reason
    assert cache.expected > 1000
