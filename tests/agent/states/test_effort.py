"""How much a model thinks: sent only where it takes that, told where it does not, and shown where it is thought."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from agentnb.errors import SettingsError
from agentnb.models import catalog
from agentnb.simulator.openai import wire
from agentnb.simulator.openai.checks import refuse
from agentnb.view.progress import Progress
from agentnb.view.render import details_text, run_html

WIRES = {
    "sim:claude-sonnet-4-6": ("output_config", {"effort": "low"}),
    "sim:claude-sonnet-5-5": ("output_config", {"effort": "low"}),
    "sim:gpt-6.2-sol": ("reasoning", {"effort": "low", "summary": "auto"}),
}
WITHOUT = ("sim:claude-haiku-4-5", "sim:gpt-4.1", "sim:gemini-2.5-flash")


@pytest.mark.parametrize("model", WIRES)
def test_the_effort_goes_out_where_the_model_takes_it(book: Any, model: str) -> None:
    run = book.ask("Hello?", model=model, effort="low")
    name, value = WIRES[model]
    assert (run.state, book.bodies[-1][name]) == ("COMPLETED", value)
    assert not any("effort" in note for note in run.receipt["notes"])
    book.ask("And now?", model=model, thread="other")
    assert "effort" not in book.bodies[-1].get(name, {})


def test_gemini_calls_it_a_level(book: Any) -> None:
    run = book.ask("Hello?", model="sim:gemini-3.8-flash", effort="medium")
    assert run.state == "COMPLETED"
    assert book.bodies[-1]["generationConfig"]["thinkingConfig"] == {
        "thinking_level": "MEDIUM",
        "include_thoughts": True,
    }


@pytest.mark.parametrize("model", WITHOUT)
def test_a_model_that_takes_none_is_asked_without_and_one_note_says_so(book: Any, model: str) -> None:
    run = book.ask("Hello?", model=model, effort="high")
    assert run.state == "COMPLETED"
    said = str(book.bodies[-1])
    assert not any(word in said for word in ("'effort'", "reasoning_effort", "thinking_level", "'reasoning'"))
    (note,) = [note for note in run.receipt["notes"] if "effort" in note]
    assert note.endswith("does not take the effort 'high', so none was sent. It takes none.")


def test_a_level_that_this_model_lacks_names_those_it_has(book: Any) -> None:
    run = book.ask("Hello?", model="sim:claude-sonnet-4-6", effort="xhigh")
    assert "output_config" not in book.bodies[-1]
    assert any(note.endswith("It takes low, medium, high, max.") for note in run.receipt["notes"])


def test_a_level_that_nobody_has_is_refused(book: Any) -> None:
    with pytest.raises(SettingsError):
        book.session.settings.with_changes(effort="enormous")


@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:gpt-6.2-sol"])
def test_the_same_effort_hits_and_another_is_expected_to_miss_what_it_spoils(book: Any, model: str) -> None:
    book.cell("def tide(x):\n    '''" + "High water comes twice a day. " * 300 + "'''\n    return x", "tide")
    first, second = (book.ask(f"Question {i} about `tide`?", model=model, effort="low") for i in range(2))
    assert second.cache.read == pytest.approx(second.cache.expected, abs=129)
    assert second.cache.read > first.cache.prefix / 2
    third = book.ask("Question 3 about `tide`?", model=model, effort="high")
    assert third.cache.read < second.cache.read
    # Where the frame ends within the tokens that replies reported is an estimate.
    assert third.cache.read == pytest.approx(third.cache.expected, rel=0.1, abs=129), third.cache.reason
    fourth = book.ask("Question 4 about `tide`?", model=model, effort="high")
    assert fourth.cache.read == pytest.approx(fourth.cache.expected, abs=129)
    assert fourth.cache.read > first.cache.prefix / 2


def test_a_model_that_hides_its_thinking_is_asked_to_show_it(book: Any) -> None:
    book.session.namespace["x"] = 3
    run = book.ask("Inspect `x` please.", model="sim:claude-sonnet-5-5")
    assert (run.state, run.usage.calls) == ("COMPLETED", 2)
    assert {str(body["thinking"]) for body in book.bodies} == {"{'type': 'adaptive', 'display': 'summarized'}"}
    thoughts = run.receipt["thinking"]
    assert thoughts, "the thinking between tools is told"
    assert all(text in run_html(run.receipt) for text in thoughts)
    assert f"thinking:\n     {thoughts[0][:40]}" in details_text(run.receipt, 80)
    plain = book.ask("Hello?", model="sim:claude-sonnet-4-6", thread="other")
    assert "thinking" not in book.bodies[-1]
    assert plain.receipt["thinking"] == []


@pytest.mark.parametrize("model", ["sim:gpt-6.2-sol", "sim:gemini-3.8-flash", "sim:gemini-2.5-flash"])
def test_summaries_of_hidden_thinking_are_asked_for_and_shown_and_the_next_call_hits(book: Any, model: str) -> None:
    first = book.ask("Run `1 + 1`.", model=model, allow=("run_code",), tools=("run_code",))
    assert (first.state, first.usage.calls) == ("COMPLETED", 2)
    assert first.receipt["thinking"], "what the model thought before the call"
    again = book.ask("And now?", model=model, tools=("run_code",))
    assert again.cache.read == pytest.approx(again.cache.expected, abs=129)
    assert again.cache.read > first.cache.prefix / 2 or first.cache.prefix < first.cache["minimum"]
    sent_back = [part for turn in book.bodies[-1].get("contents", ()) for part in turn["parts"] if part.get("thought")]
    assert not sent_back, "a summary is for people; the thoughts come back by their signature"


def test_an_organization_that_gets_no_summaries_is_asked_without(book: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unverified(asked: Any, row: object, *, param: str) -> None:
        if isinstance(asked, dict) and asked.get("summary"):
            said = "Your organization must be verified to generate reasoning summaries. Please go to: (address)"
            raise refuse(said, param="reasoning.summary")

    monkeypatch.setattr(wire, "check_reasoning", unverified)
    run = book.ask("Hello?", model="sim:gpt-6.2-sol", effort="low")
    assert run.state == "COMPLETED"
    assert [body.get("reasoning") for body in book.bodies] == [
        {"effort": "low", "summary": "auto"},
        {"effort": "low"},
    ]
    book.ask("And now?", model="sim:gpt-6.2-sol", effort="low")
    assert book.bodies[2]["reasoning"] == {"effort": "low"}, "once refused, it is not asked for again"


def test_a_recorded_reply_of_another_effort_is_another_reply(
    book: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # recordings lie where the kernel works
    book.ask("Hello?", model="sim:claude-sonnet-4-6", effort="low", replay="record")
    other = book.ask("Hello?", model="sim:claude-sonnet-4-6", effort="high", replay="replay", thread="other")
    assert "this request is not recorded: Effort changed" in other.receipt["error"]["message"]
    same = book.ask("Hello?", model="sim:claude-sonnet-4-6", effort="low", replay="replay", thread="third")
    assert same.receipt["recorded"]


class Delta:
    kind, step, state, next_state = "delta", 1, "THINKING", "THINKING"

    def __init__(self, text: str, channel: str = "thinking") -> None:
        self.data = {"channel": channel, "text": text}


def test_the_live_line_tells_the_newest_of_the_thinking() -> None:
    run = Progress(began=0.0, state="THINKING", call_began=0.0)
    for i in range(200):
        run.feed(Delta(f"thought {i}\n"), 1.0)
    line = run.line(2.0)
    assert "the model thinks: … " in line
    assert "thought 199" in line
    assert len(line) < 200
    run.feed(Delta("So", channel="text"), 2.0)
    assert "thought" not in run.line(3.0)


def test_every_row_with_levels_says_from_where() -> None:
    rows = [row for row in catalog.rows() if row.effort.levels]
    assert all(row.effort.source and row.effort.checked for row in rows)
    assert {row.effort.spoils for row in rows} <= {"", "messages", "all"}
    known = ("low", "medium", "high", "xhigh", "max")
    places = [[known.index(level) for level in row.effort.levels] for row in rows]
    assert all(a < b for order in places for a, b in itertools.pairwise(order))
