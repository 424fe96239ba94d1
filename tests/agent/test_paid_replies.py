"""What was paid is never lost: what fails after a reply leaves its usage and cost in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.request import Limits
from agentnb.agent.states import thinking
from agentnb.errors import StorageFull


def test_what_fails_after_a_reply_leaves_its_cost_in_the_journal(book: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good = book.ask("Say hello.", "a")

    def fails(*_: object, **__: object) -> Any:
        raise StorageFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(thinking, "learn_call", fails)
        lost = book.ask("Say hello.", "b")
    assert lost.state == "FAILED"
    assert lost.cost > 0
    assert lost.usage.output > 0
    assert lost.cost == pytest.approx(good.cost, rel=1)
    again = resumed(book, lost.run_id)
    assert again.state == "COMPLETED"
    assert again.usage.calls == 2
    assert again.cost > lost.cost


def resumed(book: Any, run_id: str) -> Any:
    agent = book.session.agent()
    agent.resume(run_id, Limits())
    return agent.drive(run_id)


def test_a_reply_that_cannot_be_recorded_is_paid_all_the_same(
    tmp_path: Path, book: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agentnb.providers.cassettes.Cassette._write", fails)
    run = book.ask("Say hello.", replay="record")
    assert run.state == "FAILED"
    assert "could not be recorded" in run.error.message
    assert run.cost > 0
