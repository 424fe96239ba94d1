"""Show a run live in a terminal: the answer as it streams, and one line that is written over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from agentnb.notebook.live.dashboard import Bundle
from agentnb.view.answer.markup import settled
from agentnb.view.answer.terminal import answer_text
from agentnb.view.progress import Progress
from agentnb.view.render import MIME, run_text

WIDEST = 110
"""Columns. Longer lines are hard to read, however wide the window is."""
_CLEAR_BELOW, _CLEAR_LINE, _UP = "\x1b[J", "\x1b[K", "\x1b[{}A"


class TerminalView:
    """Prints once what is settled of the answer. Its last block and the status line are written over.

    Where nobody looks (a pipe, a file, a terminal that moves no cursor) the outcome alone is shown.
    """

    def __init__(
        self,
        display: Callable[..., Any],
        stream: TextIO,
        *,
        full: bool = False,
        environment: Mapping[str, str] = os.environ,
        size: Callable[[], os.terminal_size] = shutil.get_terminal_size,
    ) -> None:
        self._display = display
        self._stream = stream
        self._full = full
        self._watched = stream.isatty() and environment.get("TERM") != "dumb"
        self._colours = self._watched and not environment.get("NO_COLOR")
        self._size = size
        self._printed = 0
        self._text = ""
        self._below = 0  # lines that are written over
        self._line = ""

    def open(self, run: Progress, now: float, beside: str) -> None:
        self.paint(run, now, beside)

    def paint(self, run: Progress, now: float, beside: str) -> None:
        if not self._watched:
            return
        text = run.answer
        if not text.startswith(self._text[: self._printed]) or (self._text and not text):
            self._end_of_text()
        self._text = text
        self._line = run.line(now, beside)
        length = settled(text[self._printed :])
        self._write(self._shown(text[self._printed : self._printed + length]), self._rest(length), self._line)
        self._printed += length

    def tick(self, run: Progress, now: float) -> None:
        if self._watched:
            self._line = run.line(now)
            self._stream.write(f"\r{self._line[: self._width - 1]}{_CLEAR_LINE}")
            self._stream.flush()

    def close(self, final: Bundle, opened: Callable[[], Bundle]) -> None:
        if not self._watched:
            self._display(final, raw=True)
            return
        document = dict(final[MIME])
        answer = str(document.get("text") or "")
        if answer.startswith(self._text[: self._printed]):
            rest = self._shown(answer[self._printed :])
        else:
            self._end_of_text()
            rest = self._shown(answer)
        told = (
            final["text/plain"]
            if not answer
            else run_text(document | {"text": ""}, full=self._full, width=self._width - 1)
        )
        self._write(rest, [], "")
        self._stream.write(f"{told}\n")
        self._stream.flush()
        self._printed, self._text, self._below = 0, "", 0

    @property
    def _width(self) -> int:
        return min(WIDEST, self._size().columns)

    def _end_of_text(self) -> None:
        """End the text of one call: what follows is another one's."""
        self._write(self._shown(self._text[self._printed :]), [], "")
        self._printed, self._text = 0, ""

    def _shown(self, text: str) -> str:
        return answer_text(text, width=self._width - 1, colours=self._colours) if text.strip() else ""

    def _rest(self, length: int) -> list[str]:
        shown = self._shown(self._text[self._printed + length :])
        return shown.split("\n")[-max(1, self._size().lines - 3) :] if shown else []

    def _write(self, settled_text: str, rest: list[str], line: str) -> None:
        """Print what stays, then what is written over next time."""
        start = "\r" + (_UP.format(self._below) if self._below else "") + _CLEAR_BELOW
        stays = f"{settled_text}\n\n" if settled_text else ""
        goes = "".join(f"{each}\n" for each in rest) + ("\n" if rest else "")
        self._stream.write(f"{start}{stays}{goes}{line[: self._width - 1]}")
        self._stream.flush()
        self._below = goes.count("\n")
