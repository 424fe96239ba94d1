"""The live view: how often it speaks, what it sends, that it costs the same at any step, and that nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from patience import PATIENCE

from agentnb.notebook.live import dashboard as live_dashboard
from agentnb.notebook.live.dashboard import INTERVAL, TICK, VIEW_MIME, Dashboard, Widgets
from agentnb.notebook.live.growing_answer import LATEST, GrowingAnswer
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator
from agentnb.view.answer.markup import to_html
from agentnb.view.folds import step_page
from agentnb.view.progress import Progress
from agentnb.view.render import MIME, bundle

DONE = {"state": "COMPLETED", "text": "Because of K2.", "live": None, "simulated": True}


class Screen:
    """Stands where IPython's `display` stands and keeps what was shown."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []

    def __call__(
        self, data: dict[str, Any], *, raw: bool, display_id: bool = False, metadata: dict[str, Any] | None = None
    ) -> Screen | None:
        assert raw
        self.shown.append(data)
        return self if display_id else None

    def update(self, data: dict[str, Any], *, raw: bool, metadata: dict[str, Any] | None = None) -> None:
        assert raw
        self.updates.append(data)


class Wire:
    """Counts what goes to the front end over comms."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    @property
    def bytes(self) -> int:
        return sum(map(len, self.messages))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    import comm
    from comm.base_comm import BaseComm

    counted = Wire()

    class Counting(BaseComm):  # type: ignore[misc]
        def publish_msg(
            self, kind: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
        ) -> None:
            counted.messages.append(json.dumps([kind, data, metadata, keys], default=str))

    monkeypatch.setattr(comm, "create_comm", Counting)
    return counted


@pytest.fixture
def made(wire: Wire) -> tuple[Dashboard, Progress, SimClock, Screen]:
    clock, screen = SimClock(), Screen()
    return Dashboard(Widgets(screen, None), clock=clock), Progress(began=clock.monotonic()), clock, screen


def event(kind: str, *, step: int = 1, next_state: str = "THINKING", **data: Any) -> Any:
    return SimpleNamespace(kind=kind, step=step, state="THINKING", next_state=next_state, data=data)


def text(words: str) -> Any:
    return event("delta", channel="text", text=words)


def test_it_paints_four_times_a_second_at_most(made: Any, wire: Wire) -> None:
    dashboard, run, clock, _ = made
    dashboard.update(run)
    before = len(wire.messages)
    run.feed(text("Because"), clock.monotonic())
    dashboard.update(run)
    assert len(wire.messages) == before
    clock.advance(INTERVAL * 1.01)
    dashboard.update(run)
    assert "Because" in "".join(wire.messages[before:])


def test_a_tick_repaints_the_clock_alone(made: Any, wire: Wire) -> None:
    dashboard, run, clock, _ = made
    dashboard.update(run)
    before = len(wire.messages)
    for _ in range(10):
        clock.advance(TICK * 1.01)
        dashboard.update(run, changed=False)
    sent = wire.messages[before:]
    assert len(sent) == 10
    assert all("agentnb-clock" in message for message in sent)
    assert max(map(len, sent)) < 400


def test_a_view_is_built_only_when_it_is_shown(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard, run, clock, _ = made
    built: Counter[str] = Counter()
    for name in ("stage_html", "steps_html", "clock_html"):
        monkeypatch.setattr(Progress, name, counting(built, name))
    for _ in range(1000):
        run.feed(text("Because "), clock.monotonic())
        dashboard.update(run)
        clock.advance(INTERVAL / 100)
    assert set(built) == {"stage_html", "steps_html", "clock_html"}
    assert max(built.values()) <= 1000 / 100 + 1


def counting(counted: Counter[str], name: str) -> Any:
    real = getattr(Progress, name)

    def call(*given: Any) -> Any:
        counted[name] += 1
        return real(*given)

    return call


def test_the_end_comes_at_once_and_once(made: Any) -> None:
    dashboard, run, _, screen = made
    dashboard.update(run)
    for _ in range(2):
        dashboard.finish(bundle(DONE), lambda: bundle(DONE, full=True))
    dashboard.update(run)
    (final,) = screen.updates
    assert set(final) == {"text/html", "text/markdown", "text/plain", MIME}
    assert "Because of K2." in final["text/html"]


def test_a_run_that_ends_before_it_was_painted_is_shown_once(made: Any) -> None:
    dashboard, _, _, screen = made
    dashboard.finish(bundle(DONE), lambda: bundle(DONE, full=True))
    assert [MIME in data for data in screen.shown] == [True]
    assert screen.updates == []


def test_a_front_end_without_widgets_finds_html_beside_the_view(made: Any) -> None:
    dashboard, run, _, screen = made
    dashboard.update(run)
    assert "Collecting context" in screen.shown[0]["text/html"]
    assert "Collecting context" in screen.shown[0]["text/plain"]


def test_a_fold_that_was_opened_is_open_in_the_end(wire: Wire) -> None:
    screen, later = Screen(), []
    widgets = Widgets(screen, lambda _, work: later.append(work))
    run = Progress(began=0.0)
    widgets.open(run, 0.0, "")
    widgets.close(bundle(DONE), lambda: bundle(DONE, full=True))
    assert "<details open" not in screen.updates[-1]["text/html"]
    widgets._fold.selected_index = 0  # the front end's word comes when the cell is over
    later.pop()()
    assert "<details open" in screen.updates[-1]["text/html"]
    assert wire.messages[-1].startswith('["comm_close"')
    widgets.open(run, 0.0, "")
    widgets._fold.selected_index = 0
    widgets.close(bundle(DONE), lambda: bundle(DONE, full=True))
    assert "<details open" in screen.updates[-1]["text/html"], "at once, where the word came meanwhile"
    assert later == []


def test_an_interrupt_while_it_opens_leaves_no_widget(made: Any, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard, run, _, _screen = made
    made_html = live_dashboard.html_widget

    def interrupted(*given: Any) -> Any:
        monkeypatch.setattr(live_dashboard, "html_widget", made_html)
        os.kill(os.getpid(), signal.SIGINT)
        return made_html(*given)

    monkeypatch.setattr(live_dashboard, "html_widget", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dashboard.update(run)
    dashboard.finish(bundle(DONE), lambda: bundle(DONE))
    kinds = Counter(json.loads(message)[0] for message in wire.messages)
    assert kinds["comm_open"] == kinds["comm_close"] > 5


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a real run over the simulator tells: two calls, a tool between them, an answer."""
    with Simulator(speed=0) as simulator:
        settings = Settings(model="sim:claude-sonnet-4-6", home=tmp_path_factory.mktemp("home"), sim_speed=0)
        session = Session(settings=settings, simulated=simulator, environment={})
        source = "def gauge(day):\n    return day * 2\n"
        session.cells.record(source, cell_id="a", number=1)
        exec(source, session.namespace)
        agent = session.agent()
        run_id = session.new_run_id()
        agent.begin(session.request("Inspect gauge and explain it.", cell="b", execution="2"), run_id)
        heard: list[Any] = []
        stop = agent.machine.events.subscribe(heard.append, run_id=run_id)
        agent.drive(run_id)
        stop()
        session.close()
    assert {"step", "view", "phase", "delta"} <= {each.kind for each in heard}
    return heard


def replayed(events: list[Any], steps: int) -> Iterator[list[Any]]:
    """The run's events again and again, as one long run: those of one step at a time."""
    step = 0
    while step < steps:
        group: list[Any] = []
        for each in events:
            if each.kind in ("step", "view", "phase", "delta"):
                group.append(
                    SimpleNamespace(
                        kind=each.kind, step=step + 1, state=each.state, data=each.data, next_state="THINKING"
                    )
                )
            if each.kind == "step":
                step += 1
                yield group
                group = []


@pytest.mark.slow
def test_a_step_costs_the_same_at_any_time_and_little(
    made: Any, wire: Wire, events: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    dashboard, run, clock, _ = made
    dashboard.update(run)
    costs, paints = [], []
    for group in replayed(events, 500):
        before, written = wire.bytes, any(e.kind == "delta" and e.data.get("channel") == "text" for e in group)
        for each in (*group, None):
            if each is not None:
                run.feed(each, clock.monotonic())
            clock.advance(0.0125 if each is not None and each.kind == "delta" else INTERVAL * 1.5)  # 80 tokens a second
            begun, sent = time.process_time(), len(wire.messages)
            dashboard.update(run, changed=each is not None)
            paints += [time.process_time() - begun] if len(wire.messages) > sent else []
        costs += [wire.bytes - before] if not written else []  # a written answer has a test of its own
    early, late = sum(costs[5:55]), sum(costs[-50:])
    with capsys.disabled():
        print(
            f"\n  {len(costs)} steps without an answer: {median(costs):,.0f} bytes each; "
            f"{len(paints)} paints: {1000 * median(paints):.2f} ms CPU each, at most {1000 * max(paints):.1f}"
        )
    assert late < 1.1 * early
    assert median(costs) <= 2_000
    assert median(paints) <= 0.02, "2 ms on the reference machine"


PARTS = "".join(f"## Part {n}\n\n{'Some words of an answer. ' * 12}\n\n```python\nx = {n}\n```\n\n" for n in range(40))
ITEMS = "Ways:\n\n" + "".join(
    f"{n}. Add `K2` and fit *again*; the residual drops to about 1.2 cm.\n" for n in range(1, 99)
)
FUNCTIONS = "".join(f'def part_{n}(day):\n    """Add {n}."""\n    return day + {n}\n\n\n' for n in range(80))
ANSWERS = {"parts": PARTS, "list": ITEMS, "code": f"Here it is:\n\n```python\n{FUNCTIONS}```\n\nIt works.\n"}


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_streamed_answer_is_not_sent_again_and_again(
    made: Any, wire: Wire, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dashboard, run, clock, _ = made
    answer = ANSWERS[kind]
    dashboard.update(run)
    before = len(wire.messages)
    for at in range(0, len(answer), 4):
        run.feed(text(answer[at : at + 4]), clock.monotonic())
        clock.advance(0.0125)  # 80 tokens a second
        dashboard.update(run)
    messages = [message for message in wire.messages[before:] if "agentnb-clock" not in message]
    sent = sum(map(len, messages))
    with capsys.disabled():
        print(f"\n  an answer of {len(answer):,} characters: {sent:,} bytes ({sent / len(answer):.1f} times)")
    assert sent < 5 * len(answer)
    assert max(map(len, messages)) < 8_000


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_is_shown_of_a_growing_answer_is_the_answer(wire: Wire, kind: str) -> None:
    """Read piece by piece or as a whole: the same words in the same order, code by the line."""
    import ipywidgets

    answer, growing = ANSWERS[kind][:5_000], GrowingAnswer(ipywidgets)
    for at in range(0, len(answer), 7):
        growing.show(answer[:at], float(at))
    growing.show(answer, float(len(answer)) + LATEST)
    assert len(growing.widgets) > 2
    shown = "".join(widget.value for widget in growing.widgets)
    assert words(shown) == words(to_html(answer))
    growing.show("Anew.", 0.0)
    assert [words(widget.value) for widget in growing.widgets] == [["Anew."]]


def words(html: str) -> list[str]:
    return unescape(re.sub(r"<[^>]*>", " ", re.sub(r"</?(?:i|span)\b[^>]*>", "", html))).split()


def test_what_is_saved_of_a_long_run_is_bounded(events: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    step = {"state": "ACTING", "next": "THINKING", "seconds": 1.0, "what": "ran 1 tool"}
    tool = {"name": "run_code", "arguments": {"code": "x = 1\n" * 2_000}, "result": "1\n" * 20_000, "seconds": 0.1}
    definition = {
        "name": "tides.harmonic",
        "file": "tides.py",
        "lines": [1, 9],
        "form": "full",
        "tokens": 90,
        "new": True,
    }
    document = DONE | {
        "run_id": "r-1",
        "steps": [step | {"n": n, "tools": [tool]} for n in range(1, 601)],
        "definitions": [definition] * 300,
        "notes": [f"note {n} " + "x" * 100 for n in range(100)],
        "images": [{"name": "fig", "media_type": "image/png", "data": "A" * 400_000, "width": 640, "height": 480}],
    }
    size = len(json.dumps(bundle(document)))
    with capsys.disabled():
        print(f"\n  saved of 600 steps: {size:,} bytes")
    assert size < 60_000
    html = bundle(document, full=True)["text/html"]
    assert "600 steps, the last 12 shown" in html
    assert "588 earlier steps: %agent_runs show r-1 --all" in html
    pages, before = [], None
    while before != 0:
        page, before = step_page(document, before)
        pages.append(page)
    assert len(pages) == 24
    assert all(len(page) < 150_000 for page in pages)
    found = [int(n) for page in reversed(pages) for n in re.findall(r">step (\d+): run_code", page)]
    assert found == list(range(1, 601)), "each step is on one page"


def test_a_cut_result_is_said_to_be_whole_elsewhere() -> None:
    step = {"n": 1, "state": "ACTING", "tools": [{"name": "run_code", "arguments": {"code": "x"}, "result": "1" * 500}]}
    html = bundle(DONE | {"run_id": "r-1", "steps": [step]})["text/html"]
    assert "All calls and whole results: %agent_runs show r-1 --all" in html
    short = step | {"tools": [step["tools"][0] | {"result": "1"}]}
    assert "show r-1 --all" not in bundle(DONE | {"run_id": "r-1", "steps": [short]})["text/html"]


def test_a_reply_with_hundreds_of_calls_is_saved_in_few_bytes() -> None:
    calls = [{"name": "page", "arguments": {"number": n}, "result": f"{n} " + "x" * 500} for n in range(300)]
    step = {"n": 1, "state": "ACTING", "tools": calls, "what": ", ".join(["page"] * 300)}
    document = DONE | {"run_id": "r-1", "steps": [step | {"n": n} for n in range(1, 5)]}
    saved = bundle(document)
    assert len(json.dumps(saved)) < 40_000
    assert "page(number=299)" in saved["text/html"], "the newest stay"
    assert "All calls and whole results: %agent_runs show r-1 --all" in saved["text/html"]
    assert "page(number=0)" in step_page(document, None)[0]


CELL = """
from types import SimpleNamespace
from IPython.display import display
from agentnb.simulator import SimClock
from agentnb.notebook.live.dashboard import Dashboard, Widgets, someone_watches
from agentnb.view.answer.markup import to_html
from agentnb.view.folds import step_page
from agentnb.view.progress import Progress
from agentnb.view.render import bundle
import sys
from agentnb.notebook.live.terminal_view import TerminalView
clock = SimClock()
later = get_ipython().kernel.io_loop.call_later
painter = Widgets(display, later) if someone_watches() else TerminalView(display, sys.stdout)
dashboard = Dashboard(painter, clock=clock)
run = Progress(began=0.0)
dashboard.update(run)
for count in range(3):
    clock.advance(60)
    run.feed(SimpleNamespace(kind="delta", data={"channel": "text", "text": "x"}), 1.0)
    dashboard.update(run)
done = {"state": "COMPLETED", "text": "done"}
dashboard.finish(bundle(done), lambda: bundle(done, full=True))
"""


@pytest.fixture
def messages(warm_python: list[str]) -> Iterator[list[dict[str, Any]]]:
    """What a real kernel sends while the cell runs, and until the next one has run."""
    manager = KernelManager()
    manager.transport = "ipc"
    manager.kernel_spec.argv = [*warm_python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        seen: list[dict[str, Any]] = []
        reply = client.execute_interactive(CELL, allow_stdin=True, output_hook=seen.append, timeout=PATIENCE)
        assert reply["content"]["status"] == "ok", reply["content"]
        while counted(seen, "comm_close") < counted(seen, "comm_open"):
            seen.append(client.get_iopub_msg(timeout=PATIENCE))
        yield seen
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def counted(messages: list[dict[str, Any]], kind: str) -> int:
    return sum(message["header"]["msg_type"] == kind for message in messages)


@pytest.mark.kernel
@pytest.mark.slow
def test_a_real_kernel_sends_widgets_then_replaces_them_and_closes_them(messages: list[dict[str, Any]]) -> None:
    def of(kind: str) -> list[dict[str, Any]]:
        return [m["content"] for m in messages if m["header"]["msg_type"] == kind]

    (shown,), (final,) = of("display_data"), of("update_display_data")
    assert VIEW_MIME in shown["data"]
    assert VIEW_MIME not in final["data"]
    assert shown["transient"] == final["transient"]
    opened = {m["comm_id"] for m in of("comm_open")}
    closed = {m["comm_id"] for m in of("comm_close")}
    assert closed == opened
    kinds = [m["header"]["msg_type"] for m in messages]
    assert kinds.index("update_display_data") < kinds.index("comm_close"), "no view is left without its model"
    values: dict[str, str] = {}
    for message in of("comm_msg"):
        value = message["data"].get("state", {}).get("value")
        values[message["comm_id"]] = values.get(message["comm_id"], "") if value is None else value
    assert not any(values.values()), "no text stays behind in the models"


@pytest.mark.kernel
@pytest.mark.slow
def test_a_notebook_executed_by_a_program_holds_no_widget_at_all(run_all: Any, tmp_path: Path) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    run_all(book, tmp_path)
    (output,) = book.cells[0].outputs
    assert MIME in output["data"]
    assert "widgets" not in book.metadata
