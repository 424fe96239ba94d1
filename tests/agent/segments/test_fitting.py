"""A conversation that outgrows the model's window goes on in a condensed form; what never fits is said clearly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentnb.errors import PromptTooLong
from agentnb.models import catalog

SMALL, LARGE = 20_000, 60_000


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model takes a fiftieth of what it really takes, or less: a full window would cost a minute a test."""
    rows = tuple(replace(row, window=LARGE if "gemini" in row.name else SMALL) for row in catalog.rows())
    monkeypatch.setattr(catalog, "rows", lambda: rows)


def long(word: str, times: int = 500) -> str:
    return f"What of this? {f'The {word} came in at noon. ' * times}"


def said(body: Any) -> str:
    return str(body["system"]) + str(body["messages"])


def test_before_the_window_is_full_the_oldest_turns_become_a_summary(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2\n\ndef fee(x):\n    return x + 1", "money")
    book.ask(f"Explain `tax`. {long('boat')}")
    book.ask(f"Explain `fee`. {long('train')}")
    book.ask(long("ship"))
    run = book.ask(long("plane"))
    assert run.state == "COMPLETED"
    assert any(note.startswith("Condensed 2 steps: ") for note in run.receipt["notes"])
    sent = said(book.bodies[-1])
    assert sent.count("The boat came") < 30, "of the oldest task its beginning stays, in the person's own words"
    assert "Explain `tax`. What of this?" in sent
    assert "The plane came" in sent
    assert "recall(step=N)" in sent, "the model is told how to read it whole"
    again = book.ask("And `tax`?")
    assert not any("Prompt begun anew" in note for note in again.receipt["notes"])
    assert again.cache.read == run.cache.read + run.cache.written, "the shorter conversation is a prefix like any other"
    assert "x * 0.2" in said(book.bodies[-1]), "what is touched again is sent again"


def test_a_model_with_a_smaller_window_gets_what_fits(book: Any) -> None:
    for word in ("boat", "train", "ship", "plane"):
        assert book.ask(long(word), model="sim:gemini-3.1-pro-preview").state == "COMPLETED"
    run = book.ask("And now?")
    assert run.state == "COMPLETED"
    assert "The plane came" in said(book.bodies[-1])
    assert said(book.bodies[-1]).count("The boat came") < 30


@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:gemini-3.1-pro-preview", "sim:gpt-4.1"])
def test_a_task_that_never_fits_is_a_clear_error(book: Any, model: str) -> None:
    run = book.ask(long("boat", 12_000), model=model)
    assert run.state == "FAILED"
    assert isinstance(book.errors[-1], PromptTooLong)
    assert "larger window" in str(book.errors[-1])
    assert book.ask("Something shorter.", model=model).state == "COMPLETED"
