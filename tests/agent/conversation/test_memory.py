"""A long run keeps its prompt small: what goes is told, priced, kept in the journal, and read again by one call."""

from __future__ import annotations

import importlib
import itertools
import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from scripted_model import ScriptedModel

from agentnb.agent.conversation.recollection import Recollection
from agentnb.agent.request import Limits
from agentnb.agent.request_planner import Preparing
from agentnb.agent.tools.tool import tool
from agentnb.durable.journal import deltas
from agentnb.durable.journal.records import NewRun, StatusChange
from agentnb.errors import PromptTooLong
from agentnb.models import catalog

WIRES = ("sim:claude-sonnet-4-6", "sim:gpt-4.1", "sim:gemini-3.8-flash")
WORDS = ("water", "boat", "harbour", "tide", "north", "morning", "cargo", "signal", "rope", "anchor", "mast", "storm")


def filler(seed: object, count: int = 400) -> str:
    rng = random.Random(str(seed))
    return " ".join(rng.choice(WORDS) for _ in range(count))


@tool(safe=True)
def reading(number: int) -> str:
    """Read one of the log's pages."""
    return f"Page {number}: {filler(number)}. The gauge stood at {number * 7919 % 9973}."


def calls(count: int, then: str = "Done.") -> Any:
    """Read so many pages, one a reply; then end."""
    return lambda n: (f"I read page {n}. {filler(-n, 60)}", [("reading", {"number": n})]) if n <= count else (then, [])


@pytest.fixture
def long_book(book: Any) -> Any:
    book.session.extra_tools["reading"] = reading
    return book


def ask(book: Any, script: ScriptedModel, task: str = "Read the log.", **changes: Any) -> Any:
    with script.installed():
        return book.ask(task, **({"max_steps": 2000, "context": "none"} | changes))


def sent(body: Any) -> str:
    return json.dumps(body)


def condensed(run: Any) -> list[str]:
    return [step.what for step in run.steps if step.state == "CONDENSING"]


@pytest.mark.parametrize("model", WIRES)
def test_old_results_become_stubs_that_name_their_step_and_recall_reads_them(long_book: Any, model: str) -> None:
    def reply(n: int) -> Any:
        if n <= 20:
            return f"I read page {n}.", [("reading", {"number": n})]
        return ("Again.", [("recall", {"step": 3})]) if n == 21 else ("Done.", [])

    script = ScriptedModel(reply)
    run = ask(long_book, script, model=model, compact_at=10_500)
    assert run.state == "COMPLETED"
    assert condensed(run)[0].startswith("Condensed the results of ")
    assert re.fullmatch(r"Condensed .*: [\d,]+ tokens became [\d,]+; saves ≈ \$0\.\d+ a call\.", condensed(run)[0])
    assert sum(note.startswith("Condensed") for note in run.receipt["notes"]) == 1
    last = script.seen[-1]
    assert "recall(step=3) reads them" in script.seen[20]
    gauge = f"The gauge stood at {3 * 7919 % 9973}."
    assert gauge not in script.seen[20], "by then it was left out"
    assert gauge in last, "recall brought it back"
    assert "Page 20" in script.seen[20], "the newest stay word for word"
    assert "Read the log." in last


@pytest.mark.parametrize("model", WIRES[:2])
def test_then_old_steps_become_a_summary_and_the_next_turn_goes_on_with_it(long_book: Any, model: str) -> None:
    script = ScriptedModel(calls(18, then="The log is read."), summary=lambda _: "Found: the harbour is blue [2].")
    run = ask(long_book, script, model=model, compact_at=8_000)
    assert run.state == "COMPLETED"
    told = condensed(run)
    assert any(re.match(r"Condensed \d+ steps: ", what) for what in told)
    assert script.summaries
    last = sent(long_book.bodies[-1])
    assert "the harbour is blue" in last
    assert "Read the log." in last, "the task stays word for word"
    assert last.count("I read page") < 18
    paid = sum(step.cost or 0 for step in run.steps)
    assert run.cost == pytest.approx(paid), "the summaries are in the run's sum"
    assert run.usage["calls"] == 19 + len(script.summaries)
    after = ask(long_book, ScriptedModel(calls(0, then="Blue.")), "And the colour?", model=model, compact_at=8_000)
    assert not condensed(after)
    assert "the harbour is blue" in sent(long_book.bodies[-1])
    assert after.cache.read >= 0.9 * run.cache.prefix, "the condensed conversation is a prefix like any other"
    assert "The log is read." in sent(long_book.bodies[-1])


@pytest.mark.parametrize("model", ["sim:claude-sonnet-5-5", "sim:gpt-6.2-sol"])
def test_the_thinking_of_condensed_steps_is_shown_and_that_of_other_turns_is_not(long_book: Any, model: str) -> None:
    first = ask(long_book, ScriptedModel(calls(2)), model=model)
    run = ask(long_book, ScriptedModel(calls(14)), "Read on.", model=model, compact_at=8_000)
    assert condensed(run)
    assert [len(each.receipt["thinking"]) for each in (first, run)] == [3, 15], "one for each reply"


@pytest.mark.parametrize("models", [("sim:claude-sonnet-5-5", "sim:gpt-6.2-sol"), ("sim:gpt-6.2-sol", "sim:gpt-4.1")])
def test_the_thinking_of_a_run_that_goes_on_with_another_model_is_shown(long_book: Any, models: Any) -> None:
    first, second = models
    with ScriptedModel(calls(4)).installed():
        run = long_book.ask("Read the log.", model=first, context="none", max_steps=4)
        agent = long_book.session.agent()
        agent.resume(run.run_id, Limits(model=second, max_steps=30))
        after = agent.drive(run.run_id)
    assert (run.state, after.state) == ("FAILED", "COMPLETED")
    shown, more = run.receipt["thinking"], sum("gpt-6" in body["model"] for body in long_book.bodies)
    assert shown
    assert len(after.receipt["thinking"]) == (len(shown) + more if second == "sim:gpt-6.2-sol" else len(shown))
    sent_on = [json.dumps(body) for body in long_book.bodies if body["model"] == second.removeprefix("sim:")]
    assert not any('"type": "thinking"' in body or '"type": "reasoning"' in body for body in sent_on[:1])


def test_after_each_compaction_the_task_and_the_plan_stand_at_the_tail(long_book: Any) -> None:
    def reply(n: int) -> Any:
        if n == 2:
            return "", [("plan", {"items": [{"text": "read the pages", "state": "doing"}, {"text": "sum up"}]})]
        return (f"I read page {n}. {filler(-n, 60)}", [("reading", {"number": n})]) if n <= 30 else ("Done.", [])

    script = ScriptedModel(reply)
    run = ask(long_book, script, compact_at=8_000)
    assert run.state == "COMPLETED", run.error
    assert any(re.match(r"Condensed \d+ steps: ", what) for what in condensed(run))
    machine = long_book.session.machine()
    for step in (step.n for step in run.steps if step.state == "CONDENSING"):
        tail = machine.context_at(run.run_id, step)["blocks"][-1]
        assert tail["label"] == "reminder"
        assert "Read the log." in tail["content"]["text"]
        assert "[>] read the pages\n[ ] sum up" in tail["content"]["text"]
    assert "[>] read the pages" in script.seen[-1]
    assert script.seen[-1].count("The task, as it was asked") <= 3, "older ones are condensed like anything else"


@pytest.mark.parametrize("model", WIRES)
def test_between_two_compactions_each_request_only_extends_the_one_before(long_book: Any, model: str) -> None:
    script = ScriptedModel(calls(18))
    run = ask(long_book, script, model=model, compact_at=8_000)
    conversations = [flat(body) for body in long_book.bodies]
    breaks = sum(before != after[: len(before)] for before, after in itertools.pairwise(conversations))
    assert 0 < breaks <= len(condensed(run)) + len(script.summaries)


@pytest.mark.parametrize("model", WIRES)
def test_a_run_that_was_condensed_replays_the_same(long_book: Any, model: str) -> None:
    """Also once other runs have changed what tokens are estimated at."""
    run = ask(long_book, ScriptedModel(calls(16)), model=model, compact_at=8_000)
    assert condensed(run)
    ask(long_book, ScriptedModel(calls(3)), "Once more.", model=model)
    machine, asked = long_book.session.agent().machine, len(long_book.bodies)
    differ = [step.n for step in run.steps if not machine.replay(run.run_id, step.n).same]
    assert not differ
    assert len(long_book.bodies) == asked, "nothing is asked"


def test_a_run_that_was_resumed_under_other_limits_replays_the_same(long_book: Any) -> None:
    run = ask(long_book, ScriptedModel(calls(6)), max_steps=4)
    with ScriptedModel(calls(2)).installed():
        agent = long_book.session.agent()
        agent.resume(run.run_id, Limits(max_steps=90, budget=7.0, model="sim:gpt-4.1"))
        run = agent.drive(run.run_id)
    assert run.state == "COMPLETED"
    assert [step.n for step in run.steps if not agent.machine.replay(run.run_id, step.n).same] == []


def flat(body: Any) -> list[str]:
    """The request's items in order, without the marks, which move."""
    items = body.get("messages") or body.get("input") or body.get("contents")
    parts = [
        (item.get("role"), part)
        for item in items
        for part in (item.get("content") or item.get("parts") or item.get("output") or [item])
    ]
    bare = [
        {k: v for k, v in part.items() if k not in ("cache_control", "prompt_cache_breakpoint")} for _, part in parts
    ]
    return [json.dumps(item, sort_keys=True) for item in bare]


@pytest.mark.parametrize("told", [True, False], ids=["told", "as older journals are"])
def test_a_step_is_recalled_from_the_one_record_that_holds_it(
    long_book: Any, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask(long_book, ScriptedModel(calls(30)), compact_at=8_000)
    assert len(condensed(run)) > 3
    machine, threads = long_book.session.machine(), long_book.session.agent()._services.threads
    history, context_at, read = machine.history, machine.context_at, []
    if not told:
        events = [replace(event, data={}) for event in history(run.run_id, state="CONDENSING")]
        monkeypatch.setattr(machine, "history", lambda run_id, state: events)
    recollection = Recollection(machine, threads)
    steps = recollection.steps(run.run_id)
    assert list(steps) == list(range(32))
    monkeypatch.setattr(machine, "context_at", lambda *place: read.append(place) or context_at(*place))
    for number in range(1, 32):
        read.clear()
        assert recollection.step(run.run_id, number) == steps[number]
        assert len(read) <= (3 if told else 7), "the run's beginning, twice, and the record"
    assert recollection.step(run.run_id, 0) == recollection.step(run.run_id, 32) == ()


def test_a_second_search_reads_only_what_is_new(long_book: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ask(long_book, ScriptedModel(calls(30)), compact_at=8_000)
    machine, threads = long_book.session.machine(), long_book.session.agent()._services.threads
    recollection, context_at, read = Recollection(machine, threads), machine.context_at, []
    first = recollection.steps(run.run_id)
    monkeypatch.setattr(machine, "context_at", lambda *place: read.append(place) or context_at(*place))
    assert recollection.steps(run.run_id) == first
    last = machine.get(run.run_id).step
    assert [place for place in read if place[1]] == [(run.run_id, last)], "the records of before are known"
    assert list(first) == list(range(32))


def test_a_step_s_journal_is_little_more_than_what_came_new(long_book: Any) -> None:
    """Results of hex digits, which deflate to a half and no further: each stands in the journal once."""

    @tool(safe=True)
    def reading(number: int) -> str:
        """Read one of the log's pages."""
        return random.Random(number).randbytes(1000).hex()

    long_book.session.extra_tools["reading"] = reading
    run = ask(long_book, ScriptedModel(calls(60)), compact_at=12_000)
    assert condensed(run)
    execute = long_book.session.machine().journal._connection.execute
    stored = execute("SELECT sum(length(frame) + coalesce(length(data), 0)) FROM agentnb_history").fetchone()[0]
    assert stored / len(run.steps) < 1_700, "of a result, 500 bytes a step; of words, 200; of what a call used, 100"


@pytest.mark.parametrize("model", WIRES[:2])
def test_a_crash_in_the_middle_of_a_compaction_costs_that_call_alone(long_book: Any, model: str) -> None:
    session, script = long_book.session, ScriptedModel(calls(14))
    request = session.request("Read the log.", model=model, compact_at=8_000, max_steps=500, context="none")
    run_id = session.new_run_id()
    with script.installed():
        agent = session.agent()
        agent.begin(request, run_id)
        journal, died = agent.machine.journal, []
        commit = journal.commit

        def dies_once(write: Any) -> Any:
            if script.summaries and not died:
                died.append(write.state)
                raise KeyboardInterrupt
            return commit(write)

        journal.commit = dies_once
        with pytest.raises(KeyboardInterrupt):
            agent.drive(run_id)
        journal.commit = commit
        assert died == ["CONDENSING"]
        asked, summed = script.asked, len(script.summaries)
        agent = session.agent()
        agent.resume(run_id, Limits())
        run = agent.drive(run_id)
    assert run.state == "COMPLETED"
    assert script.asked == 15, "no step was asked for twice"
    assert (asked, summed) != (15, 0)
    assert len(script.summaries) == sum("Condensed" in step.what and bool(step.usage) for step in run.steps) + 1


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's window is smaller than the catalogue says: only its refusal tells."""

    def find(name: str, provider: str = "") -> Any:
        row = catalog.find(name, provider)
        return replace(row, window=7_000) if row else None

    for module in ("anthropic.checks", "openai.checks", "google.wire"):
        monkeypatch.setattr(importlib.import_module(f"agentnb.simulator.{module}"), "find", find)


@pytest.mark.parametrize("model", WIRES)
def test_a_prompt_that_the_provider_finds_too_long_is_condensed_and_sent_again(
    long_book: Any, model: str, smaller: None
) -> None:
    script = ScriptedModel(calls(14))
    run = ask(long_book, script, model=model)
    assert run.state == "COMPLETED", run.error
    assert any("too many for the provider" in step.what for step in run.steps)
    refused = [r for r in long_book.simulator.requests if r.status == 400]
    assert 1 <= len(refused) <= 3
    assert script.asked == 15


def test_what_cannot_be_condensed_is_said_at_once(long_book: Any, smaller: None) -> None:
    run = ask(long_book, ScriptedModel(calls(0)), "What of this? " + filler("x", 12_000))
    assert run.state == "FAILED"
    assert isinstance(long_book.errors[-1], PromptTooLong)
    assert len([r for r in long_book.simulator.requests if r.status == 400]) == 1


@pytest.mark.parametrize("model", WIRES[:2])
def test_many_large_results_at_once_fit_a_window_of_32k(
    long_book: Any, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(replace(row, window=32_000) for row in catalog.rows())
    monkeypatch.setattr(catalog, "rows", lambda: rows)

    @tool(safe=True)
    def page(number: int) -> str:
        """Read one large page."""
        return filler(number, 2_000)

    long_book.session.extra_tools["page"] = page
    many = [("page", {"number": n}) for n in range(24)]
    script = ScriptedModel(lambda n: ("I read on.", many) if n <= 2 else ("Done.", []))
    run = ask(long_book, script, model=model)
    assert run.state == "COMPLETED", run.error
    assert all(request.status == 200 for request in long_book.simulator.requests)
    assert "call=1) reads them" in "\n".join(script.seen)


@pytest.mark.parametrize("model", WIRES)
def test_a_new_question_after_a_failed_run_carries_what_it_had_found(long_book: Any, model: str) -> None:
    failed = ask(long_book, ScriptedModel(calls(30)), "Read it all.", model=model, max_steps=7)
    assert failed.state == "FAILED"
    script = ScriptedModel(calls(0, then="It stood at 7919."))
    run = ask(long_book, script, "How high was the gauge?", model=model)
    assert run.state == "COMPLETED"
    assert "The gauge stood at 7919." in script.seen[-1]
    assert "Read it all." in script.seen[-1]
    assert any(failed.run_id in note for note in run.receipt["notes"]), "and it is told"
    after = ScriptedModel(calls(0))
    ask(long_book, after, "And then?", model=model)
    assert "The gauge stood at 7919." in after.seen[-1], "it stays in the conversation"


def test_a_cell_that_asks_again_after_a_failure_makes_a_new_attempt(long_book: Any) -> None:
    script = ScriptedModel(calls(30))
    with script.installed():
        long_book.ask("Read it all.", "cell", max_steps=7, context="none")
        long_book.ask("Read it all.", "cell", max_steps=7, context="none")
    assert script.seen[-1].count("Page 1:") <= 1
    assert "An error ended" not in script.seen[-1]


def test_the_simulated_model_goes_on_after_a_summary_and_makes_no_call_again(long_book: Any) -> None:
    task = " then ".join(f"call `reading` with {number}" for number in range(40, 54))
    run = long_book.ask(task, context="none", max_steps=200, compact_at=8_000)
    assert condensed(run)
    assert [tool.arguments["number"] for step in run.steps for tool in step.tools] == list(range(40, 54))


def test_another_model_may_write_the_summaries_and_its_price_counts(long_book: Any) -> None:
    script = ScriptedModel(calls(14), summary=lambda _: "Found: the harbour is blue [2].")
    run = ask(long_book, script, compact_at=8_000, compact_model="sim:claude-haiku-4-5")
    assert run.state == "COMPLETED", run.error
    asked = [body for body in long_book.bodies if "haiku" in body["model"]]
    assert len(asked) == len(script.summaries) > 0
    assert all("tools" not in body for body in asked), "it reads the steps alone, as text"
    assert "[1] called reading" in sent(asked[0])
    assert "the harbour is blue" in sent(long_book.bodies[-1])
    assert run.cost == pytest.approx(sum(step.cost or 0 for step in run.steps))


def test_the_budget_holds_with_the_summaries_in_it(long_book: Any) -> None:
    run = ask(long_book, ScriptedModel(calls(60)), compact_at=8_000, budget=0.2)
    assert run.state == "FAILED"
    assert run.error.code == "budget.exceeded"
    assert condensed(run)
    assert (
        run.cost == pytest.approx(run.receipt["budget"]["spent"]) == pytest.approx(sum(s.cost or 0 for s in run.steps))
    )
    assert run.cost <= 0.2


@pytest.mark.parametrize("model", WIRES)
def test_a_run_that_failed_before_there_was_condensing_resumes_by_it(
    long_book: Any, model: str, smaller: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal knows of no numbers of steps, nor of a ceiling."""
    with monkeypatch.context() as patch:
        patch.setattr(Preparing, "outgrown", lambda *_: False)
        failed = ask(long_book, ScriptedModel(calls(14)), model=model)
    assert (failed.state, failed.error.type) == ("FAILED", "PromptTooLong")
    old = as_older(long_book.session.machine(), failed.run_id)
    read = len(failed.steps)

    def reply(n: int) -> Any:
        return ("Again.", [("recall", {"words": f"Page 1: {1 * 7919 % 9973}"})]) if n == 1 else ("Done.", [])

    script = ScriptedModel(reply)
    with script.installed():
        agent = long_book.session.agent()
        agent.resume(old, Limits())
        run = agent.drive(old)
    assert run.state == "COMPLETED", (run.error.message, [(s.state, s.what) for s in run.steps[-4:]])
    assert condensed(run)
    assert len(run.steps) < read + 8
    assert "Read the log." in script.seen[0]
    newest = max(int(number) for number in re.findall(r"I read page (\d+)", script.seen[0]))
    assert f"Page {newest}: " in script.seen[0], "the newest result stays word for word"
    assert "The gauge stood at 7919." not in script.seen[0]
    assert "The gauge stood at 7919." in script.seen[-1], "recall finds what went"


NEWER = ("replies", "refused", "source", "waits", "compact_at", "compact_model", "stale_limit", "plan")


def as_older(machine: Any, run_id: str) -> str:
    """Put a copy of a failed run into the journal as it was before runs were condensed; its name."""
    run = machine.get(run_id)
    context = {name: value for name, value in run.context.items() if name not in NEWER}
    for block in context["blocks"]:
        block.pop("step", None)
    old = json.loads(json.dumps(context).replace(run_id, "r-older"))
    frame = deltas.keyframe(deltas.encode(old))
    machine.journal.create(
        NewRun(run_id="r-older", state=run.failed_in, status="running", frame=frame, tags=dict(run.tags))
    )
    error = json.dumps({"type": run.error.type, "code": run.error.code, "message": run.error.message, "traceback": ""})
    machine.journal.mark(
        StatusChange("r-older", "failed", "failed", "FAILED", None, error=error.encode(), failed_in=run.failed_in)
    )
    return "r-older"
