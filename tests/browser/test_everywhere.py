"""The views in JupyterLab's themes and in Notebook 7, from 400 to 1600 pixels. `make screenshots` runs this file, and
test_renderers.py for what is not Jupyter's. Pictures go to build/screenshots; each test says what must be seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from page_checks import FAINT, STANDS_OUT

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ASKING = [
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
WORKING = [
    "%load_ext agentnb",
    "def gauge(day):\n    return 2 * day\n\ndef tide(day):\n    return gauge(day) + 1",
    "%agent Make a plan how to read the gauge, compare it with the tide and name the highest day",
    '%agent --tools delegate Delegate "What does gauge give on day 3?" and "What does tide give on day 4?"',
    "%agent --allow run_code Run `log = [gauge(1)]` please",
    "%agent_runs undo",
    "%agent_context",
    "%agent_context why gauge",
    "%agent_context prompt",
    "def gauge(day):\n    return 3 * day",
    "%agent_context stale",
    "%agent_context pin tide",
    "%agent_cache list",
    "%agent_cache warm",
    "%agent_runs replay",
    "get_ipython().run_line_magic('agent_runs', f'fork {_agent.run_id} 1')",
    "%agent_runs",
    "import agentnb\nmachine = agentnb.AgentStateMachine()\n\n@machine.state('READING')\ndef read(context):\n"
    "    if context['n'] == 7:\n        raise ValueError('gauge 7 is out of order')\n"
    "    return 'COMPLETED', {'answer': f'highest {context[\"n\"]}.20 m'}\n\nfor n in range(12):\n"
    "    machine.initialize_run(f'gauges/{n}', 'READING', {'n': n}, tags={'fleet': 'gauges'})\n"
    "for n in range(7):\n    _ = machine.run_to_end(f'gauges/{n}')\ntry:\n    machine.run_to_end('gauges/7')\n"
    "except ValueError:\n    pass\nfleet = agentnb.Fleet(machine.journal, 'gauges')\nfleet",
    "fleet.progress()",
    "!{__import__('sys').executable} -m agentnb doctor",
]
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark", "contrast": "JupyterLab Dark High Contrast"}
TALL = 5000
"""Pixels in which all of it is drawn, also at 400 pixels: a page draws what is in its window."""
WIDTHS = (1600, 1280, 640, 400)
"""640 pixels are also what a window of 1280 has at 200 % zoom."""

AT_A_GLANCE: dict[str, dict[int, dict[str, str]]] = {
    "asking": {
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
    },
    "working": {
        2: {"how far is the plan": "plan: 0 of 3 done", "did it work": "✓", "what did it cost": "$0.0"},
        3: {"did it share the work": "2 parts delegated", "why so dear": "Prompt begun anew: the model or the tools"},
        5: {"what was undone": "log = [gauge(1)]", "how is it now": "gone", "what was not": "Files, the network"},
        6: {"how much was it given": "1 cell and 2 definitions, ≈ ", "why": "in full"},
        7: {"why was it sent": "named in the task"},
        8: {"how long is it": "The last request", "what of it was cached": "Instructions, ≈ 2"},
        10: {
            "what is out of date": "3 answers to ask again",
            "why": "Based on an older gauge",
            "price": "All of them: ≈ $",
        },
        11: {"what did I choose": "tide"},
        12: {"where did it go": "What was sent to sim:claude-sonnet-4-6", "until when": " min"},
        13: {"until when": " min", "what did it cost": "$0.00", "did it answer": "Nothing was generated"},
        14: {
            "is it the same": "1 of 4 steps differs from what was recorded",
            "why": "A difference means that the notebook",
        },
        15: {"did it run": "Nothing was executed", "how does it go on": "%agent_runs resume r-"},
        16: {"what is the newest": "Forked, not begun", "what did it cost": "3 questions, $0.0"},
        17: {
            "how far is it": "7 of 12 completed",
            "what failed": "1 failed: ValueError: gauge 7 is out of order",
            "what is left": "4 queued",
            "what to do": "fleet.retry()",
        },
        18: {"how far is it": "7 of 12 completed · 1 failed · 4 queued"},
        19: {
            "whom does it ask": "model sim:claude-sonnet-4-6 (simulated",
            "can it": "reachable",
            "what is there": "ipython",
        },
    },
}
"""What a person must know of each view within three seconds, by cell, and the words that say it with nothing opened."""


def test_in_every_theme_and_width(lab: Any, open_page: Any, light: None, at_once: None) -> None:
    path, page = told("asking", ASKING, lab, open_page)
    for name, theme in THEMES.items():
        page.theme(theme)
        look(page, name, WIDTHS, until="Deny")
    page.theme(THEMES["light"])
    look(open_page(path.name, height=TALL, in_notebook=True), "notebook", (1280, 400), until="Deny")


def test_what_is_at_work_light_and_dark(lab: Any, open_page: Any, light: None, at_once: None) -> None:
    _, page = told("working", WORKING, lab, open_page)
    for name in ("dark", "light"):
        page.theme(THEMES[name])
        look(page, f"working-{name}", (1280, 400), until="opentelemetry-api")


def told(name: str, cells: list[str], lab: Any, open_page: Any) -> tuple[Path, Any]:
    """Run the cells, look for what each view must tell at a glance, and open the notebook again as it was saved."""
    path = lab.put(f"{name}.ipynb", cells)
    page = open_page(path.name, height=TALL)
    page.wait_idle()
    page.run_all()
    for index, asked in AT_A_GLANCE[name].items():
        seen = words_of(page, index)
        unsaid = {question: said for question, said in asked.items() if said not in seen}
        assert unsaid == {}, (index, seen, [c.get("execution_count") for c in page.save(path)["cells"]], counts(page))
    page.save(path)
    page.close_notebook()
    return path, page.open_next(path.name)


def counts(page: Any) -> list[str]:
    """The prompts as the page shows them."""
    return list(page.page.locator(".jp-Notebook .jp-Cell .jp-InputPrompt").all_inner_texts())


def words_of(page: Any, index: int) -> str:
    """What is seen of an output, once Lab has drawn it: it draws what is near the window, and draws it anew."""
    for _ in range(480):
        page.cell(index).scroll_into_view_if_needed()
        if seen := " ".join(page.output(index).inner_text().split()):
            return seen
        page.page.wait_for_timeout(250)
    return ""


def look(page: Any, name: str, widths: tuple[int, ...], *, until: str) -> None:
    """Take a picture at each width: nothing scrolls sideways, and every word can be read. `until` stands in the last
    output."""
    page.wait_idle()
    page.resize(widths[0], TALL)
    page.page.get_by_text(until).last.wait_for()
    for width in widths:
        page.resize(width, TALL)
        page.picture(f"everywhere-{name}-{width}")
        assert page.page.evaluate(STANDS_OUT) == [], f"{name}, {width}"
    assert page.page.evaluate(FAINT) == [], name
