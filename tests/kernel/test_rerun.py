"""Run All: an answer stays while its question and all that it used are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

RUN = "application/vnd.agentnb.run.v1+json"
pytestmark = [pytest.mark.kernel, pytest.mark.slow]

TASK = "What does `clean` do, and what does the cell above show? Explain cell 2 too."
NOTEBOOK = [
    ("load", "%load_ext agentnb"),
    ("data", "prices = [3, 5, 8]\nsum(prices)"),
    ("clean", "def clean(rows):\n    return [row for row in rows if row]"),
    ("ask", "%%agent\n" + TASK),
]


def run_all(kernel: Any, **changes: str) -> Any:
    """Run every cell; the outcome of the one that asks."""
    return [kernel.ok(changes.get(cell, source), cell) for cell, source in NOTEBOOK][-1].run


def is_kept(run: Any) -> bool:
    return any(note.startswith("Kept from") for note in run["notes"])


def test_run_all_keeps_the_answer_also_after_a_restart(start: Callable[..., Any]) -> None:
    kernel = start()
    first = run_all(kernel)
    assert not is_kept(first)
    again = run_all(kernel)
    assert is_kept(again)
    assert again["run_id"] == first["run_id"]
    assert kernel.value("_agent.run_id") == first["run_id"]
    kernel.stop()
    restarted = run_all(start(new=True))
    assert is_kept(restarted)
    assert restarted["text"] == first["text"]


@pytest.mark.parametrize(
    "changes",
    [
        {"ask": "%%agent\nWhat else does `clean` do?"},
        {"ask": "%%agent --style tutor\n" + TASK},
        {"ask": "%%agent -m sim:gpt-4.1\n" + TASK},
        {"ask": "%%agent --tools none\n" + TASK},
        {"ask": "%%agent --context marks\n" + TASK},
        {"ask": "%%agent --effort low\n" + TASK},
        {"ask": "%%agent --allow run_code\n" + TASK},
        {"data": "prices = [3, 5, 9]\nsum(prices)"},
        {"clean": "def clean(rows):\n    return [row for row in rows if row is not None]"},
        {"load": '%load_ext agentnb\n%config AgentNB.rerun = "ask"'},
    ],
)
def test_a_changed_question_cell_or_definition_is_asked_about_again(
    start: Callable[..., Any], changes: dict[str, str]
) -> None:
    kernel = start()
    first = run_all(kernel)
    again = run_all(kernel, **changes)
    assert not is_kept(again)
    assert again["run_id"] != first["run_id"]


def test_a_cell_that_has_not_run_here_is_not_taken_for_the_same(start: Callable[..., Any]) -> None:
    kernel = start()
    run_all(kernel)
    kernel.stop()
    fresh = start(new=True)
    fresh.ok(NOTEBOOK[0][1], "load")
    fresh.ok(NOTEBOOK[2][1], "clean")
    shown = fresh.run(NOTEBOOK[3][1], "ask")
    assert shown.status == "error" or not is_kept(shown.run)


def sent_last(kernel: Any) -> str:
    """The last request, as %agent_context prompt shows it."""
    return str(kernel.ok("%agent_context prompt").text)


def test_after_a_restart_the_conversation_goes_on_where_the_kept_answer_stands(start: Callable[..., Any]) -> None:
    kernel = start()
    first = run_all(kernel)
    kernel.stop()
    fresh = start(new=True)
    assert is_kept(run_all(fresh))
    later = fresh.ok("%%agent\nAnd the other one?", "later").run
    assert later["thread"] == first["thread"]
    assert TASK in sent_last(fresh)


def test_a_follow_up_is_asked_again_where_the_question_before_it_was(start: Callable[..., Any]) -> None:
    kernel = start()
    run_all(kernel)
    second = kernel.ok("%%agent\nAnd `prices`?", "second").run
    assert is_kept(kernel.ok("%%agent\nAnd `prices`?", "second").run)
    kernel.ok("%%agent\nWhat is `clean` for?", "ask")
    again = kernel.ok("%%agent\nAnd `prices`?", "second").run
    assert not is_kept(again)
    assert again["run_id"] != second["run_id"]


@pytest.mark.parametrize(
    "source",
    [
        "for _ in range(2):\n    get_ipython().run_line_magic('agent', 'Roll a die.')",
        "%agent What is `prices`?\n%agent What is `clean`?",
        "%%agent -t lasting\nWhat is `prices`?",
        "%%agent --replay record\nWhat is `prices`?",
        "%%agent --allow run_code\nRun `made = sum(prices)` and tell me the value.",
    ],
)
def test_what_is_asked_more_than_once_elsewhere_or_has_acted_is_asked_again(
    start: Callable[..., Any], source: str
) -> None:
    kernel = start()
    run_all(kernel)
    before = kernel.ok(source, "more")
    again = kernel.ok(source, "more")
    assert again.run["run_id"] != before.run["run_id"]
    assert not is_kept(again.run)


def test_what_the_model_looked_up_is_looked_up_again(start: Callable[..., Any]) -> None:
    kernel = start()
    run_all(kernel)
    kernel.ok("globals()['made'] = [1]", "make")
    ask = "%%agent --context none\nInspect `made`."
    first = kernel.ok(ask, "look").run
    assert [tool["name"] for step in first["steps"] for tool in step.get("tools", ())] == ["inspect"]
    assert is_kept(kernel.ok(ask, "look").run)
    kernel.ok("made.append(13)", "other")
    assert not is_kept(kernel.ok(ask, "look").run)
    assert is_kept(kernel.ok(ask, "look").run)


def test_a_copy_of_the_notebook_asks_for_itself(start: Callable[..., Any]) -> None:
    """VS Code tells the notebook's path in a variable."""
    kernel = start()
    run_all(kernel)
    kernel.ok("__vsc_ipynb_file__ = '/nowhere/copy.ipynb'")
    assert not is_kept(run_all(kernel))
    assert is_kept(run_all(kernel))


def test_a_kept_answer_is_there_at_once_also_where_the_cell_asks_in_the_background(start: Callable[..., Any]) -> None:
    kernel = start()
    run_all(kernel)
    kernel.ok("%%agent --out counted --as int\nThere are `3` prices.", "count")
    shown = kernel.ok("%%agent --bg --out counted --as int\nThere are `3` prices.", "count")
    assert is_kept(next(each[RUN] for each in shown.displays if RUN in each))
    assert kernel.value("counted") == 3


def test_an_answer_that_was_stopped_by_its_budget_is_asked_for_again(start: Callable[..., Any]) -> None:
    kernel = start()
    run_all(kernel)
    assert kernel.run("%%agent --budget 0.000001\nWhat is `prices`?", "poor").error
    assert not is_kept(kernel.ok("%%agent --budget 1\nWhat is `prices`?", "poor").run)
    assert is_kept(kernel.ok("%%agent --budget 2\nWhat is `prices`?", "poor").run), "a limit is no other question"


TYPED = """
from dataclasses import dataclass
@dataclass
class Count:
    how_many: int{more}
"""


@pytest.mark.parametrize("kind", ["list[Count]", "dict[str, Count]"])
def test_a_kept_answer_gives_its_value_again_also_after_a_restart(start: Callable[..., Any], kind: str) -> None:
    """By the provider's structured output, and by the tool."""
    ask = f"%%agent --out counted --as {kind}\nThere are `3` prices."
    kernel = start()
    cells = [(NOTEBOOK[0][1], "load"), (TYPED.format(more=""), "type"), (ask, "ask")]
    first = [kernel.ok(*cell) for cell in cells][-1]
    kernel.stop()
    fresh = start(new=True)
    again = [fresh.ok(*cell) for cell in cells][-1]
    assert is_kept(next(each[RUN] for each in again.displays if RUN in each))
    values = "counted.values() if isinstance(counted, dict) else counted"
    assert fresh.value(f"[(type(each) is Count, each.how_many) for each in ({values})]") == [[True, 3]]
    assert first.displays[-1]["text/plain"] == again.displays[-1]["text/plain"], "the table stands below again"
    fresh.ok(TYPED.format(more="\n    of: str"), "type")
    assert not is_kept(fresh.ok(ask, "ask").run), "another type is asked for"
