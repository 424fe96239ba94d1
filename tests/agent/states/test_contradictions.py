"""A reply that contradicts the catalogue is noted once, however many calls say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentnb.models.contradictions import CONTRADICTS
from agentnb.models.messages import Usage
from agentnb.providers import anthropic


def test_it_is_noted_once_a_run(book: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = anthropic.decode_usage

    def shifted(wire: Any) -> Usage:
        usage = decoded(wire)
        return replace(usage, input=usage.input_total - 100, cache_read=100, cache_write_5m=0, cache_write_1h=0)

    fine = book.ask("Hello?")
    monkeypatch.setattr(anthropic, "decode_usage", shifted)
    book.session.namespace["x"] = 3
    run = book.ask("Inspect `x` please.", thread="other")
    assert (run.state, run.usage.calls) == ("COMPLETED", 2)
    assert not any(note.startswith(CONTRADICTS) for note in fine.receipt["notes"])
    (note,) = [note for note in run.receipt["notes"] if note.startswith(CONTRADICTS)]
    assert "anthropic:claude-sonnet-4-6" in note
