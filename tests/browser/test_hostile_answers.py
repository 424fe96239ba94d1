"""Answers that try to run a script or to load something, all in one page of a real JupyterLab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HOSTILE: list[str] = json.loads((Path(__file__).parents[1] / "view" / "answer" / "data" / "hostile.json").read_text())
CELL = """
import json
from IPython.display import display
from agentnb.canonical import SystemClock
from agentnb.notebook.live.dashboard import Dashboard, Widgets
from agentnb.view.progress import Progress
from agentnb.view.render import run_html

texts = json.load(open({payloads!r}))
runs = [run_html(dict(run_id="r-1", state="COMPLETED", text=text, task=text, notes=[text])) for text in texts]
display({{"text/html": "".join(runs), "text/plain": ""}}, raw=True)
for text in texts[::8]:  # live views that stay open
    run = Progress(began=0.0, state=text, stage=text, text="\\n\\n".join(texts))
    run.newest.append(text)
    Dashboard(Widgets(display, None), clock=SystemClock()).update(run)
"""
FOREIGN = "script, iframe, object, embed, svg, img, form, input, video, audio, base, meta, link, style"
RAN = """() => {
    window.ran = [];
    for (const name of ["alert", "msgbox"]) window[name] = (...given) => window.ran.push([name, String(given)]);
}"""


def test_nothing_that_a_model_writes_runs_or_loads(lab: Any, open_page: Any, light: None) -> None:
    payloads = lab.files / "hostile.json"
    payloads.write_text(json.dumps(HOSTILE))
    page = open_page(lab.put("hostile.ipynb", [CELL.format(payloads=str(payloads))]).name, height=4000, fresh=True)
    outside: list[str] = []
    page.page.on("request", lambda request: outside.append(request.url) if not at_home(request.url) else None)
    page.page.on("dialog", lambda dialog: outside.append(dialog.message))
    page.page.evaluate(RAN)
    page.wait_idle()
    page.run(0)
    page.wait_done(0)
    output = page.output(0)
    assert output.locator(".agentnb-run").count() >= len(HOSTILE)
    for fold in output.locator("summary").all()[:3]:
        fold.press("Enter")
    page.picture("hostile", of=output)
    found = output.locator(".agentnb-run").locator(FOREIGN)
    foreign = found.evaluate_all("nodes => nodes.map(n => n.outerHTML)")
    ours = ("<style>.agentnb-run.agentnb-live ", "<style>.agentnb-live ")  # the answer that grows, and its bar
    assert [node for node in foreign if not node.startswith(ours)] == [], "our own style alone"
    links = output.locator("a").evaluate_all("links => links.map(a => a.href)")
    assert links
    assert [link for link in links if link and not link.startswith(("http://", "https://", "mailto:"))] == []
    found = output.evaluate("node => [...node.querySelectorAll('*')].flatMap(e => e.getAttributeNames())")
    assert [name for name in found if name.startswith("on")] == []
    page.page.wait_for_function("document.readyState === 'complete'")
    assert page.page.evaluate("window.ran") == []
    assert outside == []


def at_home(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:http://127.0.0.1"))
