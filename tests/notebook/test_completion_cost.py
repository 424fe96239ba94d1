"""Completion in a fresh kernel: nothing is opened for it, so it is there before a person looks up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FRESH = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.completer import provisionalcompleter
shell = InteractiveShell.instance()
shell.run_cell("%load_ext agentnb")
before = time.process_time()
with provisionalcompleter():
    words = [found.text for found in shell.Completer.completions("%agent --tools ", 15)]
took = time.process_time() - before
print(json.dumps([took, words, "agentnb.session" in sys.modules]))
"""


def test_tools_and_servers_are_completed_without_opening_anything(tmp_path: Path) -> None:
    (tmp_path / ".mcp.json").write_text(json.dumps({"mcpServers": {"harbour": {"command": "python"}}}))
    (tmp_path / "pyproject.toml").touch()
    environment = os.environ | {"AGENTNB_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", FRESH]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    took, words, opened = json.loads(said.splitlines()[-1])
    assert {"inspect", "run_code", "mcp:harbour"} <= set(words)
    assert not opened
    assert took < 1, "0.1 s of the processor"
