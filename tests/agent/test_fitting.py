"""A conversation that outgrows the model's window goes on without its oldest turns; what never fits is said clearly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.segments.window import turns_to_leave_out
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


def test_the_oldest_turns_go_before_the_window_is_full(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2\n\ndef fee(x):\n    return x + 1", "money")
    book.ask(f"Explain `tax`. {long('boat')}")
    book.ask(f"Explain `fee`. {long('train')}")
    run = book.ask(long("plane"))
    assert run.state == "COMPLETED"
    note = next(note for note in run.receipt["notes"] if "New segment" in note)
    assert "20,000" in note
    assert "the oldest turn is left out" in note
    sent = said(book.bodies[-1])
    assert "The boat came" not in sent
    assert "The train came" in sent
    assert "The plane came" in sent
    assert "began 1 turn before" in sent, "the model is told"
    assert [item["name"] for item in run.receipt["definitions"]] == ["fee"], (
        "what only the oldest turn touched goes too"
    )
    again = book.ask("And `tax`?")
    assert not again.receipt["notes"]
    assert again.cache.read == run.cache.read + run.cache.written, "the shorter conversation is a prefix like any other"
    assert "The boat came" not in said(book.bodies[-1])
    assert "x * 0.2" in said(book.bodies[-1]), "what is touched again is sent again"


def test_a_model_with_a_smaller_window_gets_what_fits(book: Any) -> None:
    for word in ("boat", "train", "plane"):
        assert book.ask(long(word), model="sim:gemini-3.1-pro-preview").state == "COMPLETED"
    run = book.ask("And now?")
    assert run.state == "COMPLETED"
    assert "The plane came" in said(book.bodies[-1])
    assert "The boat came" not in said(book.bodies[-1])


@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:gemini-3.1-pro-preview", "sim:gpt-4.1"])
def test_a_task_that_never_fits_is_a_clear_error(book: Any, model: str) -> None:
    run = book.ask(long("boat", 12_000), model=model)
    assert run.state == "FAILED"
    assert isinstance(book.errors[-1], PromptTooLong)
    assert "larger window" in str(book.errors[-1])
    assert book.ask("Something shorter.", model=model).state == "COMPLETED"


@given(turns=st.lists(st.integers(1, 1000), max_size=30), room=st.integers(0, 5000))
def test_what_stays_fits_and_no_more_goes_than_must(turns: list[int], room: int) -> None:
    gone = turns_to_leave_out(turns, room)
    assert sum(turns[gone:]) <= room
    if gone:
        assert sum(turns[gone - 1 :]) > room / 2
