"""What was paid is never lost: what fails after a reply leaves its usage and cost in the journal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.money.costs import LOST, Lost, lost_calls
from agentnb.agent.request import Limits
from agentnb.agent.states import thinking
from agentnb.canonical import load
from agentnb.durable.events import Event
from agentnb.durable.journal.deltas import data_of
from agentnb.errors import StorageFull
from agentnb.models.messages import Usage
from agentnb.models.prices import Cost


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


def test_a_reply_that_died_before_its_step_is_lost_though_the_next_step_came_without_one() -> None:
    """After the kill the conversation was condensed first: that step holds no reply."""
    used = Lost(usage=Usage(input=100, output=5), cost=Cost(total=0.1, uncached=0.1), estimated=False).to_json()
    noted = Event(run_id="r", step=1, kind="noted", state="THINKING", next_state="THINKING", at=0.0, data={LOST: used})
    outgrown = replace(noted, step=2, kind="step", next_state="CONDENSING", data={"what": "too many"})
    answered = replace(outgrown, data={"usage": used["usage"]})
    assert len(lost_calls([noted, outgrown])) == 1
    assert len(lost_calls([noted, answered])) == 0
    assert len(lost_calls([noted, noted, answered])) == 1


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


@pytest.mark.parametrize("journal", ["", "the journal is full too"], ids=["killed", "full"])
def test_a_reply_whose_step_was_never_committed_is_paid_when_the_run_goes_on(
    book: Any, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the commit: what the reply had used stands in the journal. On a full disk it stands in the kernel."""
    store = book.session.machine().journal
    commit, died = store.commit, []

    def fails(write: Any) -> Any:
        if write.state != "THINKING":
            return commit(write)
        died.append(write)
        raise StorageFull("the disk is full") if journal else KeyboardInterrupt

    def is_full(*_: object) -> None:
        raise StorageFull("the disk is full")

    request, run_id = book.session.request("Say hello.", cell="b", execution="9"), book.session.new_run_id()
    agent = book.session.agent()
    agent.begin(request, run_id)
    with monkeypatch.context() as patch:
        patch.setattr(store, "commit", fails)
        if journal:
            patch.setattr(store, "note", is_full)
        with pytest.raises((StorageFull, KeyboardInterrupt)) as caught:
            agent.drive(run_id)
    lost = load(data_of(died[0].frame, died[0].data) or b"")["cost"]
    if journal:
        assert f"What the reply had cost (${lost:.4f}) is kept" in str(caught.value)
        assert "%agent_runs resume" in str(caught.value)
    else:
        assert book.session.find_run(run_id).cost == pytest.approx(lost), "told also before the run goes on"
    again = resumed(book, run_id)
    assert again.state == "COMPLETED"
    assert again.usage.calls == 2
    assert again.cost == pytest.approx(lost + sum(step.cost for step in again.steps if step.cost))
    assert book.session.find_run(run_id).cost == pytest.approx(again.cost), "no reply counts twice"
    assert any("without a whole reply" in note for note in again.receipt["notes"])
