"""IPython in a real, narrow terminal: lines break between words, code stands as it is, waiting is not counted."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

pexpect = pytest.importorskip("pexpect")
pytestmark = pytest.mark.slow

COLUMNS = 44
CELLS = [
    "%load_ext agentnb",
    "%agent --dry-run what is x",
    "%agent What is a tide?",
    "%agent_runs show",
    "%agent -m nonesuch:foo hello",
    "%agent --budget 0.00001 hello there",
    "%agent_runs",
]
CODE = "log.append('a long text   with   blanks in it, and more')"
AN_HOUR_LATER = """
from agentnb.notebook import run_task
clock = get_ipython()._agentnb_notebook.session.clock
began, away, ask = clock.monotonic, [0], run_task.ask_in_terminal
clock.monotonic = lambda: began() + away[0]

def ask_slowly(document):
    answers = ask(document)
    away[0] += 3600
    return answers

run_task.ask_in_terminal = ask_slowly
log = []
"""


def terminal(tmp_path: Path, cells: list[str]) -> Any:
    """IPython that runs these cells and ends."""
    script = tmp_path / "cells.py"
    script.write_text(f"for cell in {cells!r}:\n    get_ipython().run_cell(cell)\n")
    places = {"AGENTNB_HOME": str(tmp_path / "home"), "IPYTHONDIR": str(tmp_path)}
    around = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--colors=NoColor", str(script)],
        dimensions=(40, COLUMNS),
        env=around | places | {"TERM": "xterm", "AGENTNB_SIM_SPEED": "0"},
        encoding="utf-8",
        timeout=PATIENCE,
    )


def said(shell: Any) -> list[str]:
    """The lines that stood on the terminal since it was looked at last."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b(\[[?\d;]*[A-Za-z]|\][^\x07]*\x07)", "", shell.before))


def test_all_that_is_said_fits_the_window(tmp_path: Path) -> None:
    shell = terminal(tmp_path, CELLS)
    shell.expect(pexpect.EOF)
    lines = said(shell)
    for part in ("agentnb asks", "Dry run", "ModelUnknown", "BudgetExceeded", "layer", "questions"):
        assert part in " ".join(lines)
    assert [line for line in lines if len(line) >= COLUMNS] == []


def test_code_is_shown_to_the_letter_and_a_persons_time_is_not_the_runs(tmp_path: Path) -> None:
    shell = terminal(tmp_path, ["%load_ext agentnb", AN_HOUR_LATER, f"%agent Run `{CODE}` please", "print(len(log))"])
    shell.expect("Run 1. run_code")
    assert f"   | {CODE}" in said(shell), "a terminal breaks it; no blank is lost"
    shell.sendline("y")
    shell.expect(pexpect.EOF)
    lines = said(shell)
    assert "1" in lines, "it ran once"
    (outcome,) = (line for line in lines if line.startswith("✓"))
    assert re.match(r"✓ (< )?[\d.]+ s ·", outcome)
