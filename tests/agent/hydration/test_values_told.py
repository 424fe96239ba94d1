"""A value is told beside the task that means it, and again only when it reads otherwise."""

from __future__ import annotations

import re
from typing import Any

from agentnb.agent.stale_answers import older_parts
from agentnb.agent.state import AgentState


def asked(book: Any, task: str, **changes: Any) -> str:
    """The values beside the task, as they were sent."""
    assert book.ask(task, **changes).state == "COMPLETED"
    sent = str(book.bodies[-1]["messages"][-1])
    found = re.search(r"<values>\\n(.*?)\\n</values>", sent)
    return found.group(1) if found else ""


def test_an_unchanged_value_is_told_once_and_a_changed_one_again(book: Any) -> None:
    book.cell("limits = {'low': 3, 'high': 70_000}\nscale = 2.5")
    first = asked(book, "What is in limits?")
    assert "70000" in first
    again = asked(book, "Is limits fine with scale?")
    assert "70000" not in again
    assert "2.5" in again
    assert "unchanged since told above: limits" in again
    book.cell("limits['high'] = 8", "more")
    changed = asked(book, "And limits now?")
    assert "'high': 8" in changed
    book.cell("limits['high'] = 70_000", "back")
    assert "70000" in asked(book, "And limits now?"), "the newest that was told is another"


def test_a_value_that_begins_alike_is_another_one(book: Any) -> None:
    book.cell("word = 'ab'\nwords = ['ab']")
    asked(book, "What is in `words`?")
    book.cell("words = ['ab', 'ab']", "more")
    assert "'ab', 'ab'" in asked(book, "What is in `words`?")
    assert "ab" in asked(book, "What is in `word`?")


def test_an_answer_on_a_value_told_before_knows_when_it_is_older(book: Any) -> None:
    book.cell("limits = [3, 70_000]")
    book.ask("What is in limits?")
    run = book.ask("Is limits fine?")
    state = AgentState.from_json(book.session.machine().get(run.run_id).context)
    assert older_parts(book.session.hydrator(), state) == ()
    book.cell("limits.append(4)", "more")
    assert older_parts(book.session.hydrator(), state) == ("`limits`",)
