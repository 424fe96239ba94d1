"""IPython in a narrow terminal: every line that agentnb prints there breaks between words."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

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


def test_all_that_is_said_fits_the_window(tmp_path: Path) -> None:
    script = tmp_path / "cells.py"
    script.write_text(f"for cell in {CELLS!r}:\n    get_ipython().run_cell(cell)\n")
    environment = {
        "AGENTNB_HOME": str(tmp_path / "home"),
        "IPYTHONDIR": str(tmp_path),
        "TERM": "xterm",
        "AGENTNB_SIM_SPEED": "0",
    }
    shell = pexpect.spawn(
        sys.executable,
        ["-m", "IPython", "--colors=NoColor", str(script)],
        dimensions=(40, COLUMNS),
        env=os.environ | environment,
        encoding="utf-8",
        timeout=150,
    )
    shell.expect(pexpect.EOF)
    said = re.sub(r"\x1b(\[[?\d;]*[A-Za-z]|\][^\x07]*\x07)", "", shell.before)
    for part in ("agentnb asks", "Dry run", "ModelUnknown", "BudgetExceeded", "layer", "questions"):
        assert part in re.sub(r"\s+", " ", said), said
    assert [line for line in re.split(r"[\r\n]+", said) if len(line) >= COLUMNS] == []
