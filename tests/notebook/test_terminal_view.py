"""The live view in a terminal, as the terminal's screen shows it."""

from __future__ import annotations

import io
import os
import re
from types import SimpleNamespace
from typing import Any

import pytest

from agentnb.notebook.live.dashboard import INTERVAL, Dashboard
from agentnb.notebook.live.terminal_view import TerminalView
from agentnb.simulator import SimClock
from agentnb.view.progress import Progress
from agentnb.view.render import bundle

ANSWER = (
    "The drift comes from **one** term.\n\n```python\nx = 1\n```\n\nIt costs $5, and this is the end of a longer line."
)
DONE = {"state": "COMPLETED", "text": ANSWER, "clock": {"seconds": 3.1}, "cost": {"total": 0.012, "uncached": 0.02}}


class Terminal(io.StringIO):
    """Keeps what was written, and says what stands on its screen then."""

    def isatty(self) -> bool:
        return True

    @property
    def screen(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for piece in re.findall(r"\x1b\[[\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.getvalue()):
            if piece == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif piece == "\r":
                column = 0
            elif piece.endswith("A"):
                row -= int(piece[2:-1])
            elif piece.endswith("J"):
                lines[row:] = [lines[row][:column]]
            elif piece.endswith("K"):
                lines[row] = lines[row][:column]
            elif not piece.startswith("\x1b"):
                lines[row] = (lines[row].ljust(column)[:column] + piece + lines[row][column + len(piece) :]).rstrip()
                column += len(piece)
        return lines


def shown(
    terminal: io.StringIO, *, width: int = 60, pieces: int = 7, **environment: str
) -> tuple[list[list[str]], list[Any]]:
    """The screen after each piece of the answer and at the end, and what went to `display`."""
    clock, displayed, screens = SimClock(), [], []
    view = TerminalView(
        lambda data, raw: displayed.append(data),
        terminal,
        environment=environment,
        size=lambda: os.terminal_size((width, 24)),
    )
    dashboard = Dashboard(view, clock=clock)
    run = Progress(began=clock.monotonic(), state="THINKING")
    dashboard.update(run)
    for at in range(0, len(ANSWER), pieces):
        run.feed(
            SimpleNamespace(kind="delta", data={"channel": "text", "text": ANSWER[at : at + pieces]}), clock.monotonic()
        )
        clock.advance(INTERVAL * 1.1)
        dashboard.update(run)
        screens.append(list(getattr(terminal, "screen", [])))
    dashboard.finish(bundle(DONE), lambda: bundle(DONE, full=True))
    screens.append(list(getattr(terminal, "screen", [])))
    return screens, displayed


@pytest.mark.parametrize("pieces", [1, 7, 40, 200])
def test_the_answer_streams_and_ends_with_one_line(pieces: int) -> None:
    screens, displayed = shown(Terminal(), pieces=pieces)
    assert any("The drift" in " ".join(screen) for screen in screens[:-1])
    assert all(sum("●" in line for line in screen) == 1 for screen in screens[:-1]), "one status line"
    assert [line for line in screens[-1] if line] == [
        "The drift comes from one term.",
        "    x = 1",
        "It costs $5, and this is the end of a longer line.",
        "✓ 3.1 s · $0.012 (saved 40 %)",
    ]
    assert displayed == []


def test_it_follows_the_width_of_the_window() -> None:
    screens, _ = shown(Terminal(), width=28)
    assert max(len(line) for screen in screens for line in screen) <= 28, "the outcome's line too"
    screens, _ = shown(Terminal(), width=34)
    assert max(len(line) for screen in screens for line in screen) <= 34
    assert "It costs $5, and this is the end" in screens[-1]


def test_colours_are_left_out_where_they_are_not_wanted() -> None:
    coloured, plain = Terminal(), Terminal()
    shown(coloured)
    shown(plain, NO_COLOR="1")
    assert "\x1b[1m" in coloured.getvalue()
    assert not re.search(r"\x1b\[[\d;]*m", plain.getvalue())


def test_a_pipe_and_a_dumb_terminal_get_the_outcome_alone() -> None:
    pipe, dumb = io.StringIO(), Terminal()
    assert len(shown(pipe)[1]) == 1
    assert pipe.getvalue() == ""
    assert len(shown(dumb, TERM="dumb")[1]) == 1
    assert dumb.getvalue() == ""
