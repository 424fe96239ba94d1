"""The whole agent on all three wires: what was expected is read, and each request only extends the one before."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from agentnb.script import Agent
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

MODELS = ("sim:gpt-4.1", "sim:gpt-6.1-sol", "sim:gemini-2.5-flash", "sim:claude-sonnet-4-6")
LONG = "def tide(x):\n    '''" + "High water comes twice a day, and low water between. " * 120 + "'''\n    return x * 2"


@pytest.mark.parametrize("model", MODELS)
def test_a_session_reads_what_was_expected(book: Any, model: str) -> None:
    book.cell(LONG, "tide")
    runs = [book.ask(f"Question {i} about `tide`?", model=model) for i in range(4)]
    book.session.namespace["x"] = 3
    runs.append(book.ask("Inspect `x` please.", model=model))
    runs.append(book.ask("And now?", model=model))
    assert not book.errors
    assert [run.state for run in runs] == ["COMPLETED"] * len(runs)
    for run in runs[1:]:
        assert run.cache.read == pytest.approx(run.cache.expected, abs=129), run.cache.reason
        assert run.cache.read > run.cache.prefix / 2
    assert runs[4].usage.calls == 2, "it called the tool and was answered"


@pytest.mark.parametrize("model", MODELS[:3])
def test_each_request_only_extends_the_one_before(book: Any, model: str) -> None:
    book.cell(LONG, "tide")
    book.session.namespace["x"] = 3
    for task in ("Explain `tide`.", "Inspect `x` please.", "Why twice?"):
        book.ask(task, model=model)
    sent = [conversation(body) for body in book.bodies]
    assert len(sent) == 4
    for before, after in itertools.pairwise(sent):
        assert after[: len(before)] == before


def conversation(body: dict[str, Any]) -> list[str]:
    """The parts of the conversation in order, marks left out: they move with it."""
    if "contents" in body:
        parts = [(turn["role"], part) for turn in body["contents"] for part in turn["parts"]]
    else:
        parts = [(item.get("role", item["type"]), part) for item in body["input"] for part in parts_of(item)]
    return [json.dumps(part, sort_keys=True).replace(MARK, "") for part in parts]


MARK = '"prompt_cache_breakpoint": {"mode": "explicit"}, '


def parts_of(item: dict[str, Any]) -> list[Any]:
    return item["content"] if item.get("type") == "message" else item.get("output", [item])


def test_the_marks_of_a_model_with_breakpoints_are_explicit(book: Any) -> None:
    book.ask("Hello?", model="sim:gpt-6.1-sol")
    book.ask("And again?", model="sim:gpt-6.1-sol")
    first, second = book.bodies
    assert first["prompt_cache_key"] == second["prompt_cache_key"]
    assert second["prompt_cache_options"]["mode"] == "explicit"
    assert second["prompt_cache_options"]["comparison_response_id"].startswith("resp_")
    assert 1 <= json.dumps(second["input"]).count("prompt_cache_breakpoint") <= 4
    assert "prompt_cache_options" not in book_of(book, "sim:gpt-4.1")


def book_of(book: Any, model: str) -> dict[str, Any]:
    book.ask("Hello?", model=model, thread="other")
    found: dict[str, Any] = book.bodies[-1]
    return found


def described(text: str) -> Any:
    from agentnb.agent.tools.tool import tool

    def long(question: str) -> str:
        return question

    long.__doc__ = text
    return tool(long)


def test_the_cache_magics_on_googles_objects(book: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from agentnb.notebook.commands.cache import agent_cache

    model = "sim:gemini-2.5-flash"
    session = book.session
    session.settings = session.settings.with_changes(model=model)
    session.extra_tools["long"] = described("Answer questions about tides. " * 900)
    session.namespace["_agent"] = book.ask("Hello?")
    provider = session.provider(model)

    def said(command: str) -> str:
        agent_cache(session, command)
        return capsys.readouterr().out

    assert "cachedContents/" in said("warm"), "asked for by hand, it needs no budget"
    assert "1 cache object, 1 of them ours" in said("list")
    assert "lives for" in said("extend")
    assert book.ask("And now?").cache.read > 2048
    provider.make_object(
        session.agent().last_call(session.namespace["_agent"].run_id).prompt, 2, seconds=99, label="agentnb old"
    )
    assert len(provider.list_caches()) == 2
    said("prune")
    assert len(provider.list_caches()) == 1, "the one in use stays"
    assert "1 cache object deleted" in said("clear")
    assert provider.list_caches() == []
    assert "Nothing is warm" in said("status")


def test_anthropics_own_placing_is_a_setting(book: Any) -> None:
    book.session.settings = book.session.settings.with_changes(marks="automatic")
    book.ask("Hello?")
    second = book.ask("And again?")
    for body in book.bodies:
        assert body["cache_control"]["type"] == "ephemeral"
        assert "cache_control" not in json.dumps({name: body[name] for name in ("system", "messages")})
    assert second.cache.read == second.cache.expected > 1024


def test_openai_finds_the_tools_again_when_the_project_changed(book: Any) -> None:
    """Requests of another key go to other machines: the key stays as long as tools and instructions do."""
    book.session.extra_tools["long"] = described("Answer questions about tides. " * 300)
    first = book.ask("Hello?", model="sim:gpt-4.1", tools=["inspect", "long"])
    book.cell(LONG, "tide")
    second = book.ask("Explain `tide`.", model="sim:gpt-4.1", thread="another", tools=["inspect", "long"])
    keys = {body["prompt_cache_key"] for body in book.bodies}
    assert len(keys) == 1
    assert first.cache.read == 0
    assert second.cache.read >= second.cache.expected > 1024


@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:gpt-6.1-sol"])
def test_a_new_segment_is_compared_with_the_one_before_it_by_the_provider_too(book: Any, model: str) -> None:
    book.cell(LONG, "tide")
    book.ask("Explain `tide`.", model=model)
    book.session.extra_tools["long"] = described("Answer questions about tides.")
    second = book.ask("And now?", model=model, tools=["inspect", "long"])
    assert "the tools changed: plan, propose_cell, read_cell, run_code gone; long new" in second.cache.reason
    assert ("the provider says tools_changed" in second.cache.reason) == ("claude" in model), "OpenAI names our own key"
    third = book.ask("And for others?", model="sim:gemini-2.5-flash")
    assert "the model changed" in third.cache.reason


@pytest.mark.parametrize("model", MODELS)
def test_the_same_question_in_another_thread_is_expected_to_hit(book: Any, model: str) -> None:
    book.cell(LONG, "tide")
    book.ask("Explain `tide`.", model=model)
    again = book.ask("Explain `tide`.", model=model, thread="another")
    assert again.cache.read == pytest.approx(again.cache.expected, abs=129)
    assert again.cache.read > again.cache.prefix / 2


def test_what_the_provider_let_go_is_told_from_what_changed(tmp_path: Path) -> None:
    clock = SimClock()  # the provider's; the session lives in the machine's own time, where an hour is not over
    with Simulator(speed=0, clock=clock) as simulator:
        settings = Settings(home=tmp_path / "home", sim_speed=0)
        session = Session(settings=settings, simulated=simulator, environment={})
        for model in MODELS:
            agent = Agent(model, session=session, tools=["inspect"], thread=model)
            agent.run(f"What is a tide? {'High and low water. ' * 400}")
            clock.advance(7200)
            said = agent.run("And why?").cache.reason
            promised = "nothing changed and the TTL was not over: the provider let it go" in said
            assert promised == (model in ("sim:gpt-6.1-sol", "sim:claude-sonnet-4-6")), said
            assert promised or "promises no hit" in said
        session.close()


def test_openai_keeps_prefixes_longer_only_when_asked_to(book: Any) -> None:
    book.ask("Hello?", model="sim:gpt-4.1")
    assert "prompt_cache_retention" not in book.bodies[-1]
    book.session.settings = book.session.settings.with_changes(cache_retention="long")
    run = book.ask("And again?", model="sim:gpt-4.1")
    assert book.bodies[-1]["prompt_cache_retention"] == "24h"
    assert run.cache.warm_until - book.session.clock.now() > 80_000
    book.ask("Hello?", model="sim:gpt-6.1-sol")
    assert book.bodies[-1]["prompt_cache_options"]["ttl"] == "12h"


def test_what_openai_keeps_for_half_a_day_costs_double_to_write(book: Any) -> None:
    """$2.50 a million tokens written for 30 minutes, $5 for 12 hours: in the cost, and in what a budget is held to."""
    book.cell(LONG, "tide")
    usual = book.ask("Explain `tide`.", model="sim:gpt-6.2-sol")
    book.session.settings = book.session.settings.with_changes(cache_retention="long")
    kept = book.ask("Explain `tide`, please.", model="sim:gpt-6.2-sol", thread="another", tools=["inspect"])
    usage, written = kept.receipt["usage"], kept.receipt["usage"]["cache_write_12h"]
    assert usual.receipt["usage"]["cache_write_5m"] > 1024
    assert "cache_write_12h" not in usual.receipt["usage"]
    assert written == kept.cache.written > 1024
    rest = usage["input"] * 2 + usage["cache_read"] * 0.1 + usage["output"] * 10
    assert kept.cost == pytest.approx((written * 5 + rest) / 1e6)
