"""The steps of a long run: the notebook keeps the newest, and a click brings the others, also after a restart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SETUP = f"""import os, sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "shared")!r})
import scripted
class Busy(scripted.Scripted):
    def reply(self, body):
        self.bodies.append(body)
        count = len(self.bodies)
        calls = [(f"t{{count}}", "run_code", {{"code": f"print('x' * 2000, {{count}})"}})]
        return self._say(calls if count <= 20 else [], self.last_word)
server = Busy("anthropic")
os.environ |= {{"ANTHROPIC_API_KEY": "any", "ANTHROPIC_BASE_URL": server.url}}
%load_ext agentnb
%config AgentNB.model = "anthropic:claude-sonnet-4-6"
%config AgentNB.stream = False
%config AgentNB.live = False"""
CELLS = [SETUP, "%agent --allow run_code --max-steps 60 Count, one number a call."]
LEFT = re.compile(r"Show earlier steps \((\d+) more\)")


def numbers(output: Any) -> list[int]:
    """The numbers of the steps that are seen, from top to bottom."""
    rows = output.locator("details details[open] td:first-child").all_inner_texts()
    return [int(text) for text in rows if text.isdigit()]


def open_steps(output: Any) -> None:
    output.locator("summary", has_text="details").click()
    output.locator("summary", has_text="the last 12 shown").click()


def test_earlier_steps_are_a_click_away_and_are_not_saved(lab: Any, open_page: Any, light: None, at_once: None) -> None:
    path = lab.put("steps.ipynb", CELLS)
    page = open_page(path.name, height=1600)
    page.wait_idle()
    page.run_all()
    output = page.output(1)
    open_steps(output)
    kept = numbers(output)
    page.picture("steps-kept", of=page.cell(1))
    press_all(output, kept)
    page.picture("steps-all", of=page.cell(1))
    saved = json.dumps(page.save(path)["cells"][1]["outputs"])
    assert "earlier steps: %agent_runs show" in saved
    assert len(saved) < 60_000

    page.page.evaluate("() => void window.jupyterapp.commands.execute('kernelmenu:restart')")
    page.page.locator(".jp-Dialog .jp-mod-accept").click()
    more = output.get_by_role("button", name="Show them here")
    more.wait_for(state="hidden")
    page.wait_idle()
    page.close_notebook()
    page.open_next(path.name)
    page.wait_idle()
    page.run(0)
    page.wait_done(0)
    output = page.output(1)
    open_steps(output)
    press_all(output, kept)


def press_all(output: Any, kept: list[int]) -> None:
    """By keyboard: press until nothing is left."""
    assert len(kept) == 12
    output.get_by_role("button", name="Show them here").press("Enter")
    more = output.get_by_role("button", name=LEFT)
    more.wait_for()
    seen = numbers(output)
    assert seen[-12:] == kept
    assert len(seen) == 25
    assert "more characters" not in output.locator("pre").last.inner_text(), "results are whole"
    more.press("Enter")
    more.wait_for(state="hidden")
    assert numbers(output) == list(range(1, kept[-1] + 1))
