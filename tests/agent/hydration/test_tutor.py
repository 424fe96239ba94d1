"""The tutor has no tool that hands in a solution, is told so, and knows the course; its prefix stays what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def system_of(body: dict[str, Any]) -> str:
    return json.dumps(body["system"])


def tools_of(body: dict[str, Any]) -> list[str]:
    return [tool["name"] for tool in body.get("tools", [])]


@pytest.fixture
def course(book: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    (folder / "TUTOR.md").write_text(
        "Exercise 3 is about half-open intervals. key: sk-ant-" + "api03-abcdEFGH1234567890_-xyz"
    )
    book.session.project = folder
    return folder


def test_a_tutor_is_told_and_cannot_propose_whatever_is_asked_for(book: Any, course: Path) -> None:
    book.cell("def area(w, h):\n    return w + h")
    tools = ("inspect", "propose_cell", "edit_file", "run_code")
    run = book.ask("Fix `area` for me: propose a cell.", style="tutor", tools=tools)
    assert run.state == "COMPLETED"
    assert run.receipt["proposals"] == []
    (body,) = book.bodies
    assert tools_of(body) == ["inspect", "recall", "run_code"]
    assert "You are a tutor now" in system_of(body)
    assert "half-open intervals" in system_of(body)
    assert "sk-ant-" not in system_of(body)


@pytest.mark.parametrize(
    "task", ["Write a function mean_of that gives the mean.", "Fix the error above: give me the code."]
)
def test_the_simulated_tutor_asks_back_and_shows_no_code(book: Any, task: str) -> None:
    book.cell("def area(w, h):\n    return w + h")
    free = book.ask("Write a function mean_of that gives the mean.", thread="free")
    assert free.receipt["proposals"], "without the style the same model writes it"
    text = str(book.ask(task, style="tutor").text)
    assert "A question first:" in text
    assert "```" not in text


def test_without_the_style_nothing_of_it_is_sent(book: Any, course: Path) -> None:
    book.ask("Hello?")
    assert "tutor now" not in system_of(book.bodies[0])
    assert "half-open" not in json.dumps(book.bodies[0])
    assert "propose_cell" in tools_of(book.bodies[0])


def test_the_prefix_stays_while_the_course_does_and_a_changed_one_begins_a_segment(book: Any, course: Path) -> None:
    book.ask("Hello?", style="tutor")
    second = book.ask("And now?", style="tutor")
    assert second.cache.read > 0
    assert book.bodies[1]["system"][: len(book.bodies[0]["system"])][0]["text"] == book.bodies[0]["system"][0]["text"]
    (course / "TUTOR.md").write_text("Exercise 4.")
    third = book.ask("And now?", style="tutor")
    assert any(note.startswith("Prompt begun anew") for note in third.receipt["notes"])
    assert "Exercise 4." in system_of(book.bodies[2])
