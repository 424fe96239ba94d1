"""The views in every theme and width, in nbconvert's html, in a sanitized page and run by a program. `make screenshots`
runs this file and leaves the pictures in build/screenshots; each test also says what must be seen there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CELLS = [
    "%load_ext agentnb",
    "def gauge(day):\n    return 2 * day",
    "%agent Explain gauge with an example",
    "%config AgentNB.view = 'full'",
    "%agent What does gauge give on day 3?",
    "%agent Run `log.append(1)` please",
    "%agent_runs",
    "%agent_cache status",
    "%agent_cache explain",
    "%agent_cache latency",
    "%agent --dry-run Explain gauge again",
]
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark", "contrast": "JupyterLab Dark High Contrast"}
WIDTHS = (1600, 1280, 600, 400)
STANDS_OUT = """root => root.scrollWidth <= root.clientWidth + 1 ? [] : [...root.querySelectorAll('*')]
    .filter(node => node.getBoundingClientRect().right > root.getBoundingClientRect().right + 1)
    .map(node => `${node.tagName} ${node.getBoundingClientRect().width}: ${node.innerText.slice(0, 60)}`)"""


@pytest.mark.parametrize("theme", THEMES)
def test_in_every_theme_and_width(lab: Any, open_page: Any, light: None, theme: str) -> None:
    lab.theme(THEMES[theme])
    page = open_page(lab.put(f"everywhere-{theme}.ipynb", CELLS).name, height=3600)
    page.wait_idle()
    page.run_all()
    for width in WIDTHS:
        page.resize(width, 3600)
        page.picture(f"everywhere-{theme}-{width}")
        for root in page.page.locator(".agentnb-run").all():
            assert root.evaluate(STANDS_OUT) == [], f"no sideways scrolling at {width}"


def test_as_html_of_nbconvert_run_by_a_program(lab: Any, browser: Any, tmp_path: Path) -> None:
    book = lab.put("program.ipynb", [cell for cell in CELLS if "log.append" not in cell])
    made = tmp_path / "program.html"
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "--output", str(made), str(book)]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    html = made.read_text()
    assert html.count("<details") >= 2
    assert "widget-view" not in html
    page = browser.new_page(viewport={"width": 1280, "height": 3600})
    page.goto(made.as_uri())
    page.locator(".agentnb-run summary").first.click()
    page.get_by_text("What the last request sent").first.wait_for()
    page.screenshot(path=str(pictures() / "nbconvert.png"))
    page.close()


def test_where_every_style_is_dropped(lab: Any, browser: Any, tmp_path: Path) -> None:
    """As some code hosts do: what is said stays readable in its order, and nothing is told by style alone."""
    from agentnb.view.render import run_html

    document = json.loads((Path(__file__).parent / "data" / "run.json").read_text())
    page = browser.new_page(viewport={"width": 800, "height": 1800})
    page.set_content(f"<html><body>{run_html(document, full=True)}</body></html>")
    page.evaluate("() => document.querySelectorAll('[style]').forEach(node => node.removeAttribute('style'))")
    words = page.inner_text("body")
    for said in ("✓ 3.1 s", "$0.012 (saved 39 %)", "Instructions", "≈ 1,040", "100 %", "write the answer"):
        assert said in words, said
    page.screenshot(path=str(pictures() / "without-styles.png"))
    page.close()


def pictures() -> Path:
    place = Path(__file__).parents[2] / "build" / "screenshots"
    place.mkdir(parents=True, exist_ok=True)
    return place
