"""The live view: how often it speaks, what it sends, and that nothing of it is left in the end."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from agentnb.canonical import ManualClock
from agentnb.notebook.live.dashboard import INTERVAL, VIEW_MIME, Dashboard
from agentnb.view.render import MIME

LIVE = {"state": "THINKING", "text": "Because", "live": {"phase": "answering", "elapsed": 1.0}, "simulated": True}
DONE = {"state": "COMPLETED", "text": "Because of K2.", "live": None, "simulated": True}


class Screen:
    """Stands where IPython's `display` stands and keeps what was shown."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []

    def __call__(self, data: dict[str, Any], *, raw: bool, display_id: bool = False) -> Screen | None:
        assert raw
        self.shown.append(data)
        return self if display_id else None

    def update(self, data: dict[str, Any], *, raw: bool) -> None:
        assert raw
        self.updates.append(data)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def values(screen: Screen) -> list[str]:
    from ipywidgets.widgets.widget import _instances

    box = _instances[screen.shown[0][VIEW_MIME]["model_id"]]
    return [part.value for part in box.children]


def test_it_paints_at_most_eight_times_a_second() -> None:
    clock, screen = ManualClock(), Screen()
    dashboard = Dashboard(screen, clock=clock, widgets=True)
    dashboard.update(LIVE)
    before = values(screen)
    dashboard.update(LIVE | {"text": "Because of"})
    assert values(screen) == before
    clock.advance(INTERVAL * 1.01)
    dashboard.update(LIVE | {"text": "Because of"})
    after = values(screen)
    assert "Because of" in after[0]
    assert after[2:] == before[2:], "parts that did not change are not sent"


def test_a_long_answer_is_repainted_less_often() -> None:
    clock, screen = ManualClock(), Screen()
    dashboard = Dashboard(screen, clock=clock, widgets=True)
    dashboard.update(LIVE | {"text": "x" * 160_000})
    before = values(screen)
    clock.advance(INTERVAL * 2)
    dashboard.update(LIVE)
    assert values(screen) == before
    clock.advance(INTERVAL * 10)
    dashboard.update(LIVE)
    assert values(screen) != before


def test_the_end_comes_at_once_and_once() -> None:
    screen = Screen()
    dashboard = Dashboard(screen, clock=ManualClock(), widgets=True)
    dashboard.update(LIVE)
    dashboard.finish(DONE)
    dashboard.finish(DONE)
    dashboard.update(LIVE)
    (final,) = screen.updates
    assert set(final) == {"text/html", "text/markdown", "text/plain", MIME}
    assert "Because of K2." in final["text/html"]


def test_a_run_that_ends_before_it_was_painted_is_shown_once() -> None:
    screen = Screen()
    Dashboard(screen, clock=ManualClock(), widgets=True).finish(DONE)
    assert [MIME in data for data in screen.shown] == [True]
    assert screen.updates == []


def test_a_front_end_without_widgets_finds_html_beside_the_view() -> None:
    screen = Screen()
    Dashboard(screen, clock=ManualClock(), widgets=True).update(LIVE)
    assert "Because" in screen.shown[0]["text/html"]
    assert "Because" in screen.shown[0]["text/plain"]


def test_a_terminal_gets_one_progress_line_and_then_the_text() -> None:
    clock, screen, stream = ManualClock(), Screen(), Terminal()
    dashboard = Dashboard(screen, clock=clock, widgets=False, stream=stream)
    dashboard.update(LIVE)
    clock.advance(1)
    dashboard.update(LIVE | {"live": {"phase": "answering", "elapsed": 2.0}})
    assert screen.shown == []
    assert stream.getvalue().count("\n") == 0
    assert "answering · 2.00 s" in stream.getvalue().split("\r")[-1]
    dashboard.finish(DONE)
    assert stream.getvalue().split("\r")[-2].strip() == "", "the line is wiped before the answer is printed"
    assert "Because of K2." in screen.shown[0]["text/plain"]


def test_a_pipe_gets_no_progress_line() -> None:
    stream, screen = io.StringIO(), Screen()
    dashboard = Dashboard(screen, clock=ManualClock(), widgets=False, stream=stream)
    dashboard.update(LIVE)
    dashboard.finish(DONE)
    assert stream.getvalue() == ""
    assert len(screen.shown) == 1


CELL = """
from IPython.display import display
from agentnb.canonical import ManualClock
from agentnb.notebook.live.dashboard import Dashboard
clock = ManualClock()
dashboard = Dashboard(display, clock=clock)
dashboard.update({"state": "HYDRATING", "live": {"phase": "collecting", "elapsed": 0.0}})
for count in range(3):
    clock.advance(60)
    dashboard.update({"state": "THINKING", "text": "x" * count, "live": {"phase": "answering", "elapsed": 1.0}})
dashboard.finish({"state": "COMPLETED", "text": "done"})
"""


@pytest.fixture
def messages() -> Iterator[list[dict[str, Any]]]:
    """What a real kernel sends while the cell runs."""
    manager = KernelManager()
    manager.transport = "ipc"
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        seen: list[dict[str, Any]] = []
        reply = client.execute_interactive(CELL, allow_stdin=True, output_hook=seen.append, timeout=60)
        assert reply["content"]["status"] == "ok", reply["content"]
        yield seen
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


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
    sent = [m["data"]["state"]["value"] for m in of("comm_msg") if "value" in m["data"].get("state", {})]
    assert 1 <= len([html for html in sent if html]) <= 6, "three repaints of answer and summary"
    assert sent[-4:] == [""] * 4, "no text stays behind in the models"
    kinds = [m["header"]["msg_type"] for m in messages]
    assert kinds.index("update_display_data") < kinds.index("comm_close"), "no view is left without its model"


@pytest.mark.kernel
@pytest.mark.slow
def test_a_notebook_executed_by_a_program_holds_no_widget_at_all() -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(book, timeout=60, kernel_name="python3").execute()
    (output,) = book.cells[0].outputs
    assert MIME in output["data"]
    assert "widgets" not in book.metadata
