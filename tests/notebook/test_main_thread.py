"""The main thread's side of a run: an interrupt at any line leaves no worker that goes on or waits for ever."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from patience import wait_until

from agentnb.agent.tools.tool import Outcome
from agentnb.errors import RunInterrupted
from agentnb.notebook import main_thread


@contextlib.contextmanager
def interrupted_at(line: int) -> Iterator[list[int]]:
    """Interrupt this thread at so many lines into the module; gives the count of lines."""
    lines = [0]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != main_thread.__file__:
            return None
        if event == "line":
            lines[0] += 1
            if lines[0] == line:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


def served_to_its_end(line: int) -> int:
    """Serve a run of two calls, interrupted at this line; returns how many lines there were."""
    stopped, acted = threading.Event(), []
    main = main_thread.MainThread(cancel=stopped.set)

    def act() -> Outcome:
        acted.append(threading.current_thread())
        return Outcome(text="done")

    def work() -> None:
        for _ in range(2):
            main.run_here(act)
            if stopped.is_set():
                raise RunInterrupted("stopped")
        stopped.wait(0.01)

    with contextlib.suppress(KeyboardInterrupt, RunInterrupted), interrupted_at(line) as lines:
        main.serve(work, paint=lambda: None)
        assert acted == [threading.main_thread()] * 2
    wait_until(lambda: all(thread.name != "agentnb-run" for thread in threading.enumerate()), f"line {line}: it waits")
    return lines[0]


def test_an_interrupt_at_any_line_leaves_no_worker() -> None:
    lines = served_to_its_end(0)
    for line in range(1, lines + 20):
        served_to_its_end(line)
