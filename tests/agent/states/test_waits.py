"""A provider that refuses for now, and one that cannot stream: what the user sees of it."""

from __future__ import annotations

from typing import Any

import pytest

from agentnb.errors import SettingsError
from agentnb.settings import Settings, from_environment

MODELS = ["sim:claude-sonnet-4-6", "sim:gemini-2.5-flash", "sim:gpt-4.1"]


def phases_of(book: Any, task: str, **changes: Any) -> tuple[Any, list[str]]:
    """The run, and the phases that its live view named."""
    session = book.session
    request = session.request(task, cell="ask", execution="1", **changes)
    agent = session.agent()
    heard: list[str] = []
    agent.machine.events.subscribe(lambda event: heard.append(event.data["text"]), kinds=["phase"])
    run_id = session.new_run_id()
    agent.begin(request, run_id)
    return agent.drive(run_id), heard


@pytest.mark.parametrize("model", MODELS)
def test_the_view_says_that_and_how_long_it_waits(book: Any, model: str) -> None:
    book.simulator.inject(kind="429", retry_after=0.2)
    run, heard = phases_of(book, "Hello there", model=model)
    assert run.state == "COMPLETED"
    assert [text.partition(" ")[2] for text in heard if "answered" in text] == ["answered 429; asking again in 0.2 s"]
    assert run.latency["attempts"] == 2


@pytest.mark.parametrize("model", MODELS)
def test_a_conversation_with_tools_in_one_piece(book: Any, model: str) -> None:
    book.session.settings = book.session.settings.with_changes(stream=False)
    book.session.namespace["tide"] = 3
    streamed = book.ask("Inspect `tide` please.", thread="streamed", stream=True, model=model)
    run = book.ask("Inspect `tide` please.", thread="plain", model=model)
    assert not book.errors
    assert len(run.steps) == len(streamed.steps)
    assert run.text == streamed.text
    assert run.usage["output"] == streamed.usage["output"]
    last = book.simulator.requests[-1]
    assert not last.body.get("stream")
    assert "streamGenerateContent" not in last.path


def test_the_setting_comes_from_the_environment() -> None:
    assert Settings().stream
    assert not from_environment({"AGENTNB_STREAM": "0"}).stream
    assert from_environment({"AGENTNB_STREAM": "yes"}).stream
    assert from_environment({"AGENTNB_REPLAY_SPEED": "1"}).replay_speed == 1.0
    with pytest.raises(SettingsError, match="AGENTNB_STREAM"):
        from_environment({"AGENTNB_STREAM": "perhaps"})
    with pytest.raises(SettingsError, match="replay_speed"):
        from_environment({"AGENTNB_REPLAY_SPEED": "-1"})
    with pytest.raises(SettingsError, match="AGENTNB_RETRY_WAIT wants a number"):
        from_environment({"AGENTNB_RETRY_WAIT": "a minute"})


@pytest.mark.parametrize("sum_", ["nan", "inf", "-1"])
def test_what_is_no_sum_limits_nothing_and_is_refused(sum_: str) -> None:
    with pytest.raises(SettingsError, match="cache_budget is"):
        from_environment({"AGENTNB_CACHE_BUDGET": sum_})
