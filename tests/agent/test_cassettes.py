"""Recorded replies: found by layer digests, played without a server, and a miss that says what changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentnb.errors import InputError, NotRecorded
from agentnb.providers.cassettes import FILE


@pytest.fixture(autouse=True)
def beside_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / FILE


def conversation(book: Any, mode: str, thread: str) -> list[Any]:
    book.session.namespace["x"] = 3
    tasks = ("Hello there", "Inspect `x` please.", "And now?")
    return [book.ask(task, replay=mode, thread=thread) for task in tasks]


@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:gemini-2.5-flash", "sim:gpt-6.1-sol"])
def test_a_recorded_conversation_plays_again_without_a_request(book: Any, model: str) -> None:
    book.session.settings = book.session.settings.with_changes(model=model)
    recorded = conversation(book, "record", "first")
    sent = len(book.simulator.requests)
    again = conversation(book, "replay", "second")
    assert not book.errors
    assert len(book.simulator.requests) == sent, "nothing was sent"
    assert [run.text for run in again] == [run.text for run in recorded]
    assert [run.usage for run in again] == [run.usage for run in recorded]
    for run in again:
        assert run.cost == 0
        assert model.removeprefix("sim:") in run.receipt["recorded"]
        assert any(note.startswith("Recorded ") for note in run.receipt["notes"])
    assert recorded[0].receipt["recorded"] is None


def test_auto_records_what_is_missing(book: Any) -> None:
    book.ask("Hello", replay="auto", thread="a")
    book.ask("Hello", replay="auto", thread="b")
    assert len(book.simulator.requests) == 1


def test_a_miss_names_the_layer_that_changed(book: Any) -> None:
    book.ask("Hello", replay="record", thread="a")
    book.ask("Something else", replay="replay", thread="b")
    (error,) = book.errors
    assert isinstance(error, NotRecorded)
    assert "DYNAMIC changed" in str(error)
    assert "STATIC changed" not in str(error)
    assert "Hello" in str(error), "it names the nearest recording"
    assert "--replay record" in error.todo


def test_another_model_is_named(book: Any) -> None:
    book.ask("Hello", replay="record", thread="a")
    book.ask("Hello", replay="replay", thread="b", model="sim:claude-haiku-4-5")
    assert "no reply of claude-haiku-4-5 is recorded" in str(book.errors[0])


def test_the_file_is_readable_and_holds_no_request(book: Any, beside_the_notebook: Path) -> None:
    book.session.namespace["secret_sauce"] = "umami"
    book.ask("What is `secret_sauce`?", replay="record")
    text = beside_the_notebook.read_text()
    (entry,) = json.loads(text)["entries"]
    assert set(entry) == {"model", "recorded", "simulated", "task", "layers", "reply"}
    assert set(entry["layers"]) == {"STATIC", "SEMI_STATIC", "HYDRATION", "DYNAMIC"}
    assert "authorization" not in text.lower()
    assert "You are the assistant inside a Jupyter notebook" not in text
    assert len(text) < 4000


def test_a_damaged_file_is_a_clear_error(book: Any, beside_the_notebook: Path) -> None:
    beside_the_notebook.write_text("{not json")
    book.ask("Hello", replay="replay")
    assert isinstance(book.errors[0], InputError)
    assert beside_the_notebook.read_text() == "{not json"
