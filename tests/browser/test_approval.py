"""Approving a call in a real JupyterLab: a real click, the keyboard alone, what is saved, and how it looks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("at_once")]

MIME = "application/vnd.agentnb.run.v1+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
LOAD = "%load_ext agentnb\nlog = []"
TASK = "%%agent\nRun this, please:\n```\nfor level in (3, 4):\n    log.append(level)\nlog\n```"
TWO = "%%agent --tools run_code,tide\nRun `log.append(1)` and use tide on `Dover` please."  # two calls in one reply
TOOL = '''import agentnb

@agentnb.tool
def tide(place: str) -> str:
    """The tide at a place."""
    return "high"
'''
FOCUSED = "() => document.activeElement.textContent.trim()"


def asked(lab: Any, open_page: Any, name: str, cells: list[str], **size: int) -> tuple[Any, Path]:
    """A notebook whose last cell has ended with a question."""
    path = lab.put(f"{name}.ipynb", cells)
    page = open_page(path.name, **size)
    page.wait_idle()
    page.run_all()
    page.output(len(cells) - 1).get_by_role("button", name="Deny", exact=False).first.wait_for()
    return page, path


def test_a_click_lets_the_call_run_and_the_output_tells_it(lab: Any, open_page: Any, light: None) -> None:
    page, path = asked(lab, open_page, "approve", [LOAD, TASK])
    output = page.output(1)
    assert "for level in (3, 4):\n    log.append(level)" in output.locator("pre").last.inner_text()
    output.get_by_text("Waiting for your approval of 1 call").wait_for()
    page.picture("approval-light", of=output)
    waiting, buttons = page.save(path)["cells"][1]["outputs"]
    assert WIDGET_VIEW not in waiting["data"], "what was asked outlives the buttons"
    assert waiting["data"][MIME]["state"] == "WAITING"
    assert WIDGET_VIEW in buttons["data"]
    output.get_by_role("button", name="Run", exact=True).click()
    output.get_by_text("✓", exact=True).wait_for()
    output.get_by_text("Note: Approved by a button at").wait_for()
    assert output.locator("button").count() == 0
    left = output.locator(".jp-OutputArea-child").nth(1)
    assert left.evaluate("row => row.offsetHeight") == 0, "the row of buttons leaves no line"
    page.picture("approval-done", of=output)
    done = page.save(path)["cells"][1]["outputs"]
    assert done[0]["data"][MIME]["state"] == "COMPLETED"
    assert not any(WIDGET_VIEW in item["data"] for item in done)


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux can a copy of the kernel be shut in")
def test_what_the_code_would_do_stands_in_the_question(lab: Any, open_page: Any, light: None) -> None:
    cells = [f"{LOAD}\n%config AgentNB.rehearse = True", TASK]
    page, _ = asked(lab, open_page, "rehearsed", cells)
    output = page.output(1)
    output.get_by_text("Tried first:").wait_for()
    assert (
        "[3, 4]\nIt makes `level`; changes `log`.\nTried in a copy of the kernel"
        in output.locator("pre").last.inner_text()
    )
    page.picture("approval-rehearsed", of=output)
    output.get_by_role("button", name="Run", exact=True).click()
    output.get_by_text("✓", exact=True).wait_for()
    assert output.get_by_text("Tried first:").count() == 0


def test_the_keyboard_is_enough(lab: Any, open_page: Any, light: None) -> None:
    page, _ = asked(lab, open_page, "keys", [LOAD, TASK])
    output, keys = page.output(1), page.page.keyboard
    output.locator("summary").last.focus()
    reached = []
    for _ in range(8):
        keys.press("Tab")
        reached.append(page.page.evaluate(FOCUSED))
        if reached[-1] == "Deny":
            break
    assert reached[-4:] == ["Run", "Edit first", "Insert as cell", "Deny"], reached
    style = "() => getComputedStyle(document.activeElement).outlineStyle"
    assert page.page.evaluate(style) == "solid", "the focus is seen"
    page.picture("approval-focus", of=output)
    keys.press("Tab")
    keys.type("look at log first")
    keys.press("Shift+Tab")
    keys.press("Enter")
    output.get_by_text("✓", exact=True).wait_for()
    assert 'The model was told: "look at log first"' in output.inner_text()
    assert output.get_by_text("Note: Denied by a button at").count() == 1


def test_several_calls_can_be_answered_together(lab: Any, open_page: Any, light: None) -> None:
    page, _ = asked(lab, open_page, "several", [LOAD, TOOL, TWO])
    output = page.output(2)
    page.picture("approval-several", of=output)
    output.get_by_role("button", name="Deny 2").click()
    output.get_by_text("Waiting for your approval of 1 call").wait_for()
    output.get_by_role("button", name="Deny 2").wait_for(state="detached")
    output.get_by_role("button", name="Run", exact=True).click()
    output.get_by_text("✓", exact=True).wait_for()


def test_opened_again_without_its_kernel_it_says_how_to_go_on(lab: Any, open_page: Any, light: None) -> None:
    page, path = asked(lab, open_page, "reopened", [LOAD, TASK])
    saved = page.save(path)
    saved["metadata"]["from"] = "someone else"  # no signature of this machine's fits it: untrusted, without widgets
    copy = path.with_name("reopened-foreign.ipynb")
    copy.write_text(json.dumps(saved))
    output = open_page(copy.name).output(1)
    output.get_by_text("Waiting for your approval of 1 call").wait_for()
    assert "log.append(level)" in output.inner_text()
    assert "%agent_runs approve r-" in output.inner_text()


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_it_fits_a_narrow_window(lab: Any, open_page: Any, light: None, theme: str) -> None:
    lab.theme(f"JupyterLab {theme}")
    page, _ = asked(lab, open_page, f"narrow-{theme}", [LOAD, TOOL, TWO], width=420, height=1400)
    output = page.output(2)
    page.picture(f"approval-{theme.lower()}-420", of=output)
    width = output.evaluate("node => node.getBoundingClientRect().right")
    for button in output.locator("button").all():
        assert button.evaluate("node => node.getBoundingClientRect().right") <= width + 1, button.inner_text()
        assert button.evaluate("node => node.scrollWidth <= node.clientWidth + 1"), "its words are whole"
