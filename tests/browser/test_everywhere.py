"""The views in JupyterLab's themes and in Notebook 7, from 400 to 1600 pixels. `make screenshots` runs this file, and
test_renderers.py for what is not Jupyter's. Pictures go to build/screenshots; each test says what must be seen.
"""

from __future__ import annotations

from typing import Any

import pytest
from page_checks import FAINT, STANDS_OUT

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
TALL = 5000
"""Pixels in which all of it is drawn, also at 400 pixels: a page draws what is in its window."""
WIDTHS = (1600, 1280, 640, 400)
"""640 pixels are also what a window of 1280 has at 200 % zoom."""

AT_A_GLANCE = {
    2: {"did it work": "✓", "what did it cost": "$0.0", "what did it see": "1 cell", "is it real": "simulated"},
    4: {"what was sent": "Your notebook", "was it cached": "97 %", "where did the time go": "write the answer"},
    5: {
        "does it wait for me": "Run this in your kernel?",
        "did it run": "Nothing of it has run",
        "what": "log.append(1)",
    },
    6: {
        "what did I ask": "What does gauge give",
        "what did it cost": "3 questions, $0.0",
        "did the cache pay": "saved",
    },
    7: {
        "will the next call hit": "of the next question's",
        "until when": "warm for",
        "why so": "is cheapest at your pace",
    },
    8: {"did it hit": "input tokens read from the prompt cache", "what stayed warm": "end of Instructions"},
    9: {"how long until words come": "first token expected in", "from what": "8 of 10 times"},
    10: {
        "was it sent": "Nothing was sent",
        "what would it cost": "plus up to $0.0",
        "would it hit": "Prompt cache, expected",
    },
}
"""What a person must know of each view within three seconds, by cell, and the words that say it with nothing opened."""


def test_in_every_theme_and_width(lab: Any, open_page: Any, light: None, at_once: None) -> None:
    path = lab.put("everywhere.ipynb", CELLS)
    page = open_page(path.name, height=TALL)
    page.wait_idle()
    page.run_all()
    for index, asked in AT_A_GLANCE.items():
        told = " ".join(page.output(index).inner_text().split())
        assert {question: said for question, said in asked.items() if said not in told} == {}, index
    page.save(path)
    page.close_notebook()
    page.open_next(path.name)
    for name, theme in THEMES.items():
        page.theme(theme)
        look(page, name, WIDTHS)
    page.theme(THEMES["light"])
    look(open_page(path.name, height=TALL, in_notebook=True), "notebook", (1280, 400))


def look(page: Any, name: str, widths: tuple[int, ...]) -> None:
    """Take a picture at each width: nothing scrolls sideways, and every word can be read."""
    page.wait_idle()
    page.resize(widths[0], TALL)
    page.page.get_by_role("button", name="Deny").wait_for()
    for width in widths:
        page.resize(width, TALL)
        page.picture(f"everywhere-{name}-{width}")
        assert page.page.evaluate(STANDS_OUT) == [], f"{name}, {width}"
    assert page.page.evaluate(FAINT) == [], name
