"""Run All in a real page: what has not changed is not asked again, unless a click asks."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("at_once")]

CELLS = [
    "%load_ext agentnb",
    "prices = [3, 5, 8]\nsum(prices)",
    "%%agent\nExplain the cell above.",
]
KEPT = re.compile("Kept from .*: the question and what it used are the same, so nothing was asked")


def choose(page: Any, menu: str, item: str) -> None:
    page.page.get_by_role("menuitem", name=menu, exact=True).click()
    page.page.get_by_role("menuitem", name=re.compile(rf"^{item}")).click()


def until(page: Any, count: int) -> str:
    """Wait until the cell that asks has run as the kernel's `count`th; its output's words."""
    page.cell(2).locator(".jp-InputPrompt", has_text=re.compile(rf"\[{count}\]")).wait_for()
    page.output(2).get_by_text("✓", exact=True).wait_for()
    return str(page.output(2).inner_text())


def test_an_answer_is_kept_until_its_question_or_what_it_used_changes(front: Any) -> None:
    page, path = front("keep", CELLS, upto=0)
    choose(page, "Run", "Run All Cells")
    assert not KEPT.search(until(page, 3))
    choose(page, "Run", "Run All Cells")
    assert KEPT.search(until(page, 6))
    page.picture(f"kept-{path.stem}", of=page.output(2))
    choose(page, "Kernel", "Restart Kernel and Run All Cells")
    page.page.locator(".jp-Dialog .jp-mod-accept").click()
    assert KEPT.search(until(page, 3))
    page.cell(1).locator(".cm-content").click()
    page.page.keyboard.press("Control+End")
    page.page.keyboard.type(" + 1")
    choose(page, "Run", "Run All Cells")
    assert not KEPT.search(until(page, 6)), "the cell that it explains is another one"
    choose(page, "Run", "Run All Cells")
    assert KEPT.search(until(page, 9))
    assert "widget-view" not in str(page.save(path)["cells"][2]["outputs"]), "nothing that dies with the kernel"
    page.cell(2).get_by_role("button", name="Ask again").click()
    assert not KEPT.search(until(page, 10))
    assert page.cell(2).get_by_role("button", name="Ask again").count() == 0
    page.run(2)
    assert KEPT.search(until(page, 11))


def test_what_a_kept_answer_proposes_is_offered_until_the_notebook_has_it(front: Any) -> None:
    ask = "%%agent\nWrite a function `low` that gives the lowest of a list, and try it on `prices`."
    page, _ = front("kept-proposal", [*CELLS[:2], ask], upto=3)
    rows = page.cell(2).locator(".agentnb-proposal")
    rows.wait_for()
    page.run(2)
    page.output(2).get_by_text(KEPT).wait_for()
    page.wait_idle()
    assert rows.count() == 1, "what still stands there is not offered twice"
    choose(page, "Kernel", "Restart Kernel and Run All Cells")
    page.page.locator(".jp-Dialog .jp-mod-accept").click()
    rows.wait_for(state="detached")
    until(page, 3)
    rows.get_by_role("button", name="Insert").click()
    page.cell(3).locator(".cm-content", has_text="def low").wait_for()
    page.run(2)
    page.output(2).get_by_text(KEPT).wait_for()
    page.wait_idle()
    assert rows.count() == 0, "the notebook has it"
