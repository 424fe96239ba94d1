"""The live view in a real JupyterLab, fed with scripted documents so that nothing depends on timing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LAYERS = [
    {"name": "STATIC", "tokens": 1040, "cached_tokens": 1040, "digest": "a", "estimated": True},
    {"name": "SEMI_STATIC", "tokens": 310, "cached_tokens": 310, "digest": "b", "estimated": True},
    {"name": "HYDRATION", "tokens": 520, "cached_tokens": 450, "digest": "c", "estimated": True},
    {"name": "DYNAMIC", "tokens": 242, "cached_tokens": 0, "digest": "d", "estimated": True},
]
ANSWER = """The drift comes from **one constituent**: `harmonic` sums five terms; the sixth (*K2*, 11.97 h) is missing.

Two ways to mend it:

1. Add `K2` and fit again; the residual drops from 4.1 cm to about 1.2 cm.
2. Refit the phases every 10 days with `refit(window=10)`.

```python
fit = harmonic(gauge, {**CONSTITUENTS, "K2": 11.967})
```

It would cost $5 or $6 in a lab, and <b>this</b> is no markup."""
COMMON: dict[str, Any] = {
    "schema": "agentnb.run.v1",
    "run_id": "r-20261122-200311-a1b2",
    "thread": "main",
    "turn": 2,
    "model": "sim:claude-sonnet-4-6",
    "label": "Claude Sonnet 4.6",
    "simulated": True,
    "task": "Why does `harmonic` drift against the gauge after day 12?",
}
STEPS: list[dict[str, Any]] = [
    {"n": 1, "state": "HYDRATING", "next": "THINKING", "seconds": 0.012, "what": "3 definitions (2 new)", "tools": []},
    {
        "n": 2,
        "state": "ACTING",
        "next": "THINKING",
        "seconds": 0.01,
        "what": "ran 2 tools",
        "tools": [
            {
                "name": "inspect",
                "arguments": {"name": "tides.refit"},
                "result": "def refit(gauge, window=10):\n    ...",
                "seconds": 0.01,
            },
            {"name": "run_code", "arguments": {"code": "harmonic(gauge).std()"}, "result": None, "refused": True},
        ],
    },
    {"n": 3, "state": "THINKING", "next": "COMPLETED", "seconds": 3.1, "what": "answered", "cost": 0.0123, "tools": []},
]
DEFINITIONS = [
    {
        "name": "tides.harmonic",
        "file": "tides.py",
        "lines": [10, 31],
        "form": "full",
        "tokens": 210,
        "reason": "named in the task",
        "new": True,
    },
    {
        "name": "tides.CONSTITUENTS",
        "file": "tides.py",
        "lines": [3, 8],
        "form": "full",
        "tokens": 90,
        "reason": "harmonic reads it",
        "new": True,
    },
    {
        "name": "gauge",
        "cell": "3f2a",
        "lines": [1, 4],
        "form": "signature",
        "tokens": 40,
        "reason": "harmonic is called with it",
        "new": False,
    },
]
EVENTS: list[dict[str, Any]] = [
    {"kind": "step", "step": 1, "state": "HYDRATING", "next_state": "THINKING", "data": STEPS[0]},
    {"kind": "step", "step": 2, "state": "ACTING", "next_state": "THINKING", "data": STEPS[1]},
    {
        "kind": "view",
        "step": 3,
        "state": "THINKING",
        "next_state": "THINKING",
        "data": {
            "context": {
                "cost": {"total": 0.0041},
                "last": {"layers": LAYERS, "latency": {"expected": {"low": 0.7, "middle": 0.9, "high": 1.2}}},
            }
        },
    },
    {
        "kind": "phase",
        "step": 3,
        "state": "THINKING",
        "next_state": "THINKING",
        "data": {"text": "waiting for the first token"},
    },
]
WRITING = {
    "kind": "delta",
    "step": 3,
    "state": "THINKING",
    "next_state": "THINKING",
    "data": {"channel": "text", "text": ANSWER[:340]},
}
LAST = COMMON | {
    "state": "COMPLETED",
    "text": ANSWER,
    "steps": STEPS,
    "layers": LAYERS,
    "definitions": DEFINITIONS,
    "usage": {"input": 12, "cache_read": 1800, "cache_write_5m": 300, "cache_write_1h": 0, "output": 140},
    "cost": {"total": 0.0123, "uncached": 0.0201, "known": True, "simulated": True},
    "latency": {
        "connect": 0.001,
        "headers": 0.98,
        "ttft": 0.98,
        "tpot": 0.0152,
        "total": 3.1,
        "queue_estimate": {"seconds": 0.08, "samples": 6},
        "modelled": True,
    },
    "cache": {
        "expected": 1790,
        "read": 1800,
        "written": 300,
        "minimum": 1024,
        "prefix": 2112,
        "reason": "hit: 1,800 of 2,112 tokens",
        "warm_until": 1732310000.0,
    },
    "budget": {"limit": 0.05, "spent": 0.0123},
}
FAILED = COMMON | {
    "state": "FAILED",
    "text": "",
    "steps": STEPS[:1],
    "error": {
        "type": "RateLimited",
        "code": "provider.rate-limited",
        "message": "the provider refused the call (429)",
        "todo": "Wait 12 s, then run the cell again.",
    },
}
# The cell waits for the test, not the test for the cell: a file appears when the browser has seen enough.
SCRIPT = """
import json, time
from pathlib import Path
from types import SimpleNamespace
from IPython.display import display
from agentnb.canonical import SystemClock
from agentnb.notebook.live.dashboard import INTERVAL, Dashboard, Widgets
from agentnb.view.progress import Progress
from agentnb.view.render import bundle

*events, writing, last = json.loads(Path({documents!r}).read_text())
clock = SystemClock()
run = Progress(began=clock.monotonic(), simulated=True)
dashboard = Dashboard(Widgets(display, get_ipython().kernel.io_loop.call_later), clock=clock)
dashboard.update(run)
for event in events:
    run.feed(SimpleNamespace(**event), clock.monotonic())
while not Path("go-on").exists():
    dashboard.update(run)
    if Path("write").exists() and writing:
        run.feed(SimpleNamespace(**writing), clock.monotonic())
        writing = None
    time.sleep(INTERVAL)
dashboard.finish(bundle(last), lambda: bundle(last, full=True))
"""
FLEET = """
%load_ext agentnb
import threading, time
from pathlib import Path
import agentnb

machine = agentnb.AgentStateMachine()

@machine.state("READING")
def read(context):
    while context["n"] == 8 and not Path("go-on").exists():
        time.sleep(0.05)
    if context["n"] == 7:
        raise ValueError("gauge 7 is out of order")
    return "COMPLETED", {"answer": f"highest {context['n']}.20 m"}

def work():
    for n in range(12):
        try:
            machine.run_to_end(f"gauges/{n}")
        except ValueError:
            pass

for n in range(12):
    machine.initialize_run(f"gauges/{n}", "READING", {"n": n}, tags={"fleet": "gauges"})
fleet = agentnb.Fleet(machine.journal, "gauges")
threading.Thread(target=work).start()
_ = fleet.wait()
"""
STATIC = """
import json
from pathlib import Path
from IPython.display import display
from agentnb.view.render import bundle
from agentnb.view.tables import Code, Figure, Stacked, table_bundle

documents = json.loads(Path({documents!r}).read_text())
for document in documents:
    display(bundle(document), raw=True)
display(table_bundle("Runs", ("state", "task and run", "cost"), [("COMPLETED", Stacked("a task of " + "many " * 20,
    (Code("r-20261122-200311-a1b2"), "4 steps", "sim:claude-sonnet-4-6")), Figure("$0.0123"))]), raw=True)
"""
# What has more than it shows and would scroll sideways.
SCROLLS = """root => [...root.querySelectorAll('.agentnb-run, .agentnb-run *')]
    .filter(node => getComputedStyle(node).overflowX !== 'visible' && node.scrollWidth > node.clientWidth + 1)
    .map(node => `${node.tagName} ${node.scrollWidth} > ${node.clientWidth}: ${node.innerText.slice(0, 60)}`)"""
# What makes the view itself scroll sideways.
STANDS_OUT = """root => root.scrollWidth <= root.clientWidth + 1 ? [] : [...root.querySelectorAll('*')]
    .filter(node => node.getBoundingClientRect().right > root.getBoundingClientRect().right + 1)
    .map(node => `${node.tagName} ${node.getBoundingClientRect().width}: ${node.innerText.slice(0, 60)}`)"""
TEXT_SIZES = """roots => roots.flatMap(root => [...root.querySelectorAll('*')])
    .filter(node => node.checkVisibility() && [...node.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(node => parseFloat(getComputedStyle(node).fontSize))"""
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def scripted(lab: Any, name: str, cell: str, documents: list[dict[str, Any]]) -> Path:
    source = lab.files / f"{name}.json"
    source.write_text(json.dumps(documents))
    for name_of in ("go-on", "write"):
        (lab.files / name_of).unlink(missing_ok=True)
    return lab.put(f"{name}.ipynb", [cell.format(documents=source.name)])


LIVE = [*EVENTS, WRITING, LAST]


@pytest.fixture
def finished(lab: Any, open_page: Any, light: None) -> tuple[Any, Path]:
    """A notebook whose run was watched live and has ended."""
    path = scripted(lab, "live", SCRIPT, LIVE)
    page = open_page(path.name)
    page.wait_idle()
    watch(lab, page, "light")
    return page, path


def watch(lab: Any, page: Any, theme: str) -> None:
    page.run(0)
    output = page.output(0)
    output.get_by_text("the model reads ≈ 2,112 tokens, ≈ 1,800 of them cached").wait_for()
    assert output.locator(".jupyter-widgets").count() > 0
    page.picture(f"live-reading-{theme}", of=page.cell(0))
    (lab.files / "write").touch()
    output.get_by_text("The drift comes from").wait_for()
    page.picture(f"live-writing-{theme}", of=page.cell(0))
    (lab.files / "go-on").touch()
    page.wait_done(0)
    output.get_by_text("details", exact=True).wait_for()


def test_an_open_fold_stays_open_when_the_run_ends(lab: Any, open_page: Any, light: None) -> None:
    lab.theme("JupyterLab Dark")
    page = open_page(scripted(lab, "fold", SCRIPT, LIVE).name)
    page.wait_idle()
    page.run(0)
    output = page.output(0)
    output.get_by_text("steps so far").click()
    output.get_by_text("2 running a tool: ran 2 tools").wait_for()
    page.picture("live-open-dark", of=page.cell(0))
    (lab.files / "write").touch()
    output.get_by_text("The drift comes from").wait_for()
    (lab.files / "go-on").touch()
    page.wait_done(0)
    output.get_by_text("What the last request sent").wait_for()  # the front end's word comes when the cell is over
    page.picture("live-ended-open-dark", of=page.cell(0))
    output.locator(".jupyter-widgets").wait_for(state="detached")


def test_the_live_view_gives_way_to_a_static_one(finished: tuple[Any, Path]) -> None:
    page, path = finished
    output = page.output(0)
    assert output.locator(".jupyter-widgets").count() == 0
    assert output.locator("b").count() == 0, "the model's markup is shown, not obeyed"
    assert output.locator("mjx-container").count() == 0, "dollars are money, not formulas"
    page.picture("dashboard-static")
    (saved,) = page.save(path)["cells"][0]["outputs"]
    assert WIDGET_VIEW not in saved["data"]
    assert set(saved["data"]) == {
        "text/html",
        "text/markdown",
        "text/plain",
        "application/vnd.agentnb.run.v1+json",
    }


WITHOUT_BUTTONS = """node => {
    const copy = node.cloneNode(true);
    copy.querySelectorAll("button").forEach(button => button.remove());
    return copy.textContent;
}"""
"""The text of a view. Its buttons are the page's: what they may do differs by who has written the notebook."""


def test_a_saved_notebook_from_someone_else_shows_the_same(finished: tuple[Any, Path], open_page: Any) -> None:
    page, path = finished
    shown = page.output(0).evaluate(WITHOUT_BUTTONS)
    foreign = json.loads(json.dumps(page.save(path)))
    foreign["metadata"]["from"] = "someone else"  # no signature of this machine's fits it: untrusted
    copy = path.with_name("foreign.ipynb")
    copy.write_text(json.dumps(foreign))
    other = open_page(copy.name)
    output = other.output(0)
    output.get_by_text("✓ 3.1 s").wait_for()
    assert output.evaluate(WITHOUT_BUTTONS) == shown
    output.locator("summary").first.press("Enter")
    bar = output.locator("td div div").first
    assert bar.evaluate("node => getComputedStyle(node).borderTopWidth") == "1px", "the bars keep their style"
    other.picture("dashboard-untrusted")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_a_fleet_is_seen_while_it_works(lab: Any, open_page: Any, light: None, theme: str) -> None:
    lab.theme(f"JupyterLab {theme}")
    (lab.files / "go-on").unlink(missing_ok=True)
    page = open_page(lab.put("fleet.ipynb", [FLEET, "fleet"]).name)
    page.wait_idle()
    page.run(0)
    page.output(0).get_by_text("7 of 12 completed").wait_for()
    page.output(0).get_by_text("1 failed: ValueError: gauge 7 is out of order").wait_for()
    page.picture(f"live-fleet-{theme.lower()}", of=page.cell(0))
    (lab.files / "go-on").touch()
    page.wait_done(0)
    assert "11 of 12 completed" in page.ran(1)
    page.picture(f"ended-fleet-{theme.lower()}", of=page.cell(1))


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_the_static_view_fits_its_window(lab: Any, open_page: Any, light: None, theme: str) -> None:
    lab.theme(f"JupyterLab {theme}")
    path = scripted(lab, "static", STATIC, [LAST, FAILED])
    page = open_page(path.name, height=2600)
    page.wait_idle()
    page.run(0)
    page.wait_done(0)
    output = page.output(0)
    output.get_by_text("RateLimited").wait_for()
    page.picture(f"compact-{theme.lower()}", of=output)
    for number in range(output.locator("summary").count()):
        output.locator("summary").nth(number).press("Enter")  # folds open with the keyboard
    for width in (1280, 600, 400):
        page.resize(width, 2600)
        page.picture(f"static-{theme.lower()}-{width}", of=output)
        root = output.locator(".agentnb-run").first
        assert root.evaluate(STANDS_OUT) == [], "no sideways scrolling"
        if width >= 600:
            assert output.evaluate(SCROLLS) == [], "in a fold or a table either"


def test_the_view_is_as_large_as_the_page(lab: Any, open_page: Any, light: None) -> None:
    """A class reads it on a projector, where the teacher has made Lab's text larger."""
    theme = {"theme": "JupyterLab Light", "overrides": {"content-font-size1": "24px"}}
    lab.set("@jupyterlab/apputils-extension/themes", theme)
    page = open_page(scripted(lab, "large", STATIC, [LAST]).name, height=2600)
    page.wait_idle()
    page.run(0)
    page.wait_done(0)
    output = page.output(0)
    output.get_by_text("✓ 3.1 s").wait_for()
    page.picture("static-large", of=output)
    sizes = output.locator(".agentnb-run").evaluate_all(TEXT_SIZES)
    assert min(sizes) > 19
