"""The quickstart as a user meets it: JupyterLab, Shift+Enter, the dashboard, save, open again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.slow]
RUN = "application/vnd.agentnb.run.v1+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def asking(path: Path) -> list[int]:
    """The places of the cells that ask a model."""
    return [n for n, text in enumerate(sources(path)) if text.startswith(("%%agent", "%agent --fix"))]


def sources(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]


def failing(path: Path) -> int:
    """The place of the cell that ends with an error."""
    cells = json.loads(path.read_text())["cells"]
    (found,) = (n for n, cell in enumerate(cells) if "raises-exception" in cell["metadata"].get("tags", ()))
    return found


def run_before(page: Any, path: Path, last: int) -> None:
    for index, cell in enumerate(json.loads(path.read_text())["cells"][:last]):
        if cell["cell_type"] == "code":
            page.run(index)
            page.wait_done(index)


def runs_in(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    return [output["data"][RUN] for output in outputs if RUN in output.get("data", {})]


def test_the_dashboard_is_seen_while_the_run_goes_on(quickstart: Path, open_page: Any, light: None) -> None:
    page = open_page(quickstart.name)
    page.wait_idle()
    first, *_ = asking(quickstart)
    run_before(page, quickstart, first)
    page.run(first)
    output = page.output(first)
    output.locator(".jupyter-widgets").first.wait_for()
    page.cell(first).scroll_into_view_if_needed()
    output.get_by_text("the model reads").wait_for()  # the first view comes before the prompt is known
    output.get_by_text("the model writes").wait_for()
    page.picture("quickstart-live")
    page.wait_done(first)
    output.get_by_text("✓", exact=True).wait_for()
    assert output.locator(".jupyter-widgets").count() == 0
    page.picture("quickstart-static")


def test_the_whole_notebook_runs_and_its_results_outlive_the_kernel(
    quickstart: Path, open_page: Any, light: None, at_once: None
) -> None:
    page = open_page(quickstart.name, width=1060, height=1400, fresh=True)
    page.wait_idle()
    page.run_all(failing={failing(quickstart)})
    asked = asking(quickstart)
    page.cell(asked[-1]).scroll_into_view_if_needed()
    page.output(asked[-1]).get_by_text("✓", exact=True).wait_for()
    page.cell(asked[1]).scroll_into_view_if_needed()
    page.picture("dashboard", of=page.cell(asked[1]))
    notebook = page.save(quickstart)
    runs = runs_in(notebook)
    assert [run["state"] for run in runs] == ["COMPLETED"] * len(asked)
    assert WIDGET_VIEW not in json.dumps(notebook["cells"])
    second = runs[1]
    assert second["cache"]["read"] * 2 >= second["cache"]["prefix"], "the second call reads at least half"
    shows_in_html(quickstart, runs)
    shows_untrusted_without_kernel(quickstart, notebook, open_page)


def test_a_cell_is_proposed_inserted_and_run_and_an_error_is_mended(
    quickstart: Path, open_page: Any, light: None, at_once: None
) -> None:
    page = open_page(quickstart.name, height=1400)
    page.wait_idle()
    _, write, fix = asking(quickstart)
    broken = failing(quickstart)
    run_before(page, quickstart, write)
    page.run(write)
    page.cell(write).get_by_role("button", name="Insert").click()
    page.wait_done(write)
    inserted = page.cell(write + 1)
    inserted.locator(".cm-content", has_text="def tidal_range").wait_for()
    assert page.output(write + 1).inner_text() == "", "nothing has run"
    page.run(write + 1)
    page.wait_done(write + 1)
    assert page.output(write + 1).locator("pre").inner_text().startswith("3.6")
    page.run(broken + 1)  # each stands one further down now
    page.wait_done(broken + 1, fails=True)
    page.run(fix + 1)
    page.cell(broken + 1).get_by_role("button", name="Replace").click()
    page.wait_done(fix + 1)
    page.run(broken + 1)
    page.wait_done(broken + 1)
    page.output(broken + 1).get_by_text("highest level: 3.92 m").wait_for()


def test_an_answer_to_a_question_is_checked(quickstart: Path, open_page: Any, light: None, at_once: None) -> None:
    page = open_page(quickstart.name, height=1400)
    page.wait_idle()
    question = next(n for n, text in enumerate(sources(quickstart)) if "Question 1" in text)
    run_before(page, quickstart, question)
    for answer, said in (("...", "Write your answer"), ("7", "Not yet."), ("1", "Right: 1")):
        page.cell(question).locator(".cm-content").click()
        page.page.keyboard.press("Control+a")
        page.page.keyboard.insert_text(sources(quickstart)[question].replace("check(...", f"check({answer}"))
        page.page.keyboard.press("Shift+Enter")
        page.output(question).get_by_text(said).wait_for()


def shows_in_html(path: Path, runs: list[dict[str, Any]]) -> None:
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--stdout", str(path)]
    html = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    assert html.count("What the last request sent") == len(runs)


def shows_untrusted_without_kernel(path: Path, notebook: dict[str, Any], open_page: Any) -> None:
    """As someone else's file: no signature of this machine, and a kernel that does not exist here."""
    foreign = notebook | {"metadata": {"kernelspec": {"name": "elsewhere", "display_name": "x", "language": "python"}}}
    copy = path.with_name("foreign-quickstart.ipynb")
    copy.write_text(json.dumps(foreign))
    page = open_page(copy.name, height=1400)
    refuse = page.page.locator(".jp-Dialog button", has_text=re.compile("No Kernel|Cancel"))
    refuse.first.click()
    index = asking(path)[1]
    page.cell(index).scroll_into_view_if_needed()
    output = page.output(index)
    output.get_by_text("✓", exact=True).wait_for()
    output.get_by_text("What the last request sent").wait_for()
    page.picture("quickstart-untrusted")


def test_it_is_readable_in_the_dark_and_in_a_narrow_window(
    quickstart: Path, lab: Any, open_page: Any, light: None, at_once: None
) -> None:
    lab.theme("JupyterLab Dark")
    page = open_page(quickstart.name, height=1400)
    page.wait_idle()
    first, *_ = asking(quickstart)
    run_before(page, quickstart, first)
    page.run(first)
    page.wait_done(first)
    output = page.output(first)
    output.get_by_text("✓", exact=True).wait_for()
    for width in (1280, 400):
        page.resize(width, 1400)
        output.scroll_into_view_if_needed()
        root = output.locator(".agentnb-run").first
        assert root.evaluate("node => node.scrollWidth <= node.clientWidth + 1"), "no sideways scrolling"
        page.picture(f"quickstart-dark-{width}")
