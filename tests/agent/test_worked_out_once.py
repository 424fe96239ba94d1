"""A turn is worked out once and handed on: a follow-up task asks the catalogue and the journal for little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from agentnb.agent import run_document
from agentnb.agent.conversation.threads import Threads
from agentnb.agent.kernel_context import Hydrator
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine
from agentnb.models import catalog


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each was called since the counter was cleared."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counted[what] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(Threads, "turns", "turns")
    count(catalog, "lookup", "lookup")
    count(AgentStateMachine, "get", "get")
    count(EmbeddedJournal, "_read", "read")
    count(Hydrator, "refresh", "refresh")
    count(run_document, "run_document", "documents")
    return counted


def test_a_follow_up_task(book: Any, calls: Counter[str]) -> None:
    book.cell("def clean(rows):\n    return [row for row in rows if row]\n")
    book.ask("Explain `clean`.")
    book.ask("In other words, please.")
    calls.clear()
    assert book.ask("And in one word?").state == "COMPLETED"
    assert calls["turns"] == 1
    assert calls["lookup"] <= 3
    assert calls["get"] <= 4
    assert calls["read"] <= 8
    assert calls["refresh"] == 1, "what the thread holds is compared with what is there once"
    assert calls["documents"] == 1, "the one that is given back"


def test_each_tool_round_reads_no_more(book: Any, calls: Counter[str]) -> None:
    """The state of the step before is handed on in memory; what the path says is known since the turn began."""
    book.session.namespace["log"] = []
    book.ask("Hello?")
    calls.clear()
    run = book.ask("Run `log.append(1)` please.", allow=("run_code",))
    assert [step.state for step in run.steps] == ["HYDRATING", "THINKING", "ACTING", "THINKING"]
    assert calls["turns"] == 1
    assert calls["read"] <= 8


def test_a_follow_up_in_a_long_thread_reads_each_turn_once(book: Any, calls: Counter[str]) -> None:
    for number in range(6):
        book.ask(f"Say {number}.")
    calls.clear()
    book.ask("Say more.")
    assert calls["read"] <= 8, "only the newest turn is read: the session knows the others"
