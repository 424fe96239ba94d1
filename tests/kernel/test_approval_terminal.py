"""IPython in a real terminal asks with a line; a program that runs a notebook is not asked at all."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import scripted
import shown as views
from patience import PATIENCE

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

RUN = "application/vnd.agentnb.run.v1+json"


class Terminal:
    """IPython on a pseudo-terminal."""

    def __init__(self, python: list[str], directory: Path, environment: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        command = [*python, "-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit"]
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=directory, env=environment | {"TERM": "dumb"}
        )
        os.close(slave)
        self.seen = ""

    def wait(self, pattern: str) -> str:
        """What came up to the pattern; the next wait begins after it."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.seen)) is None:
            assert time.monotonic() < deadline, self.seen[-2000:]
            if select.select([self._master], [], [], 1)[0]:
                self.seen += os.read(self._master, 65536).decode(errors="replace").replace("\r", "")
        text, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return text

    def say(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def leave(self) -> None:
        """Ctrl-D."""
        os.write(self._master, b"\x04")

    def run(self, line: str) -> str:
        self.say(line)
        return self.wait(r"\nIn \[\d+\]: ")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._master)


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str], warm_python: list[str]) -> Iterator[Terminal]:
    pytest.importorskip("pty")
    made = Terminal(warm_python, tmp_path, environment)
    made.wait(r"In \[1\]: ")
    made.run("%load_ext agentnb")
    made.run("log = []")
    yield made
    made.close()


def test_a_terminal_asks_with_a_line(terminal: Terminal) -> None:
    terminal.say("%agent Run `log.append(1)` please, then run `log.append(2)`, then run `log.append(3)`.")
    shown = terminal.wait(r"Run 1\. run_code\?.*> ")
    assert "| log.append(1)" in shown
    terminal.say("maybe")
    terminal.wait(r"Run 1\. run_code\?.*> ")
    terminal.say("n not that one")
    terminal.wait(r"Run 1\. run_code\?.*> ")
    terminal.say("a")
    done = terminal.wait(r"\nIn \[\d+\]: ")
    assert "✓" in done
    assert "[2, 3] 'COMPLETED'" in terminal.run("print(log, repr(_agent.state))")
    reasons = terminal.run("print([(d['by'], d['reason']) for d in _agent.receipt['approvals']['decided']])")
    assert "('terminal', 'not that one'), ('terminal', '')" in reasons


def test_whoever_leaves_the_question_finds_the_run_waiting(terminal: Terminal) -> None:
    terminal.say("%agent Run `log.append(1)` please")
    terminal.wait(r"Run 1\. run_code\?.*> ")
    terminal.leave()
    terminal.wait(r"In \[\d+\]: ")
    assert "[] 'WAITING'" in terminal.run("print(log, repr(_agent.state))")
    terminal.say('word = f\'approve {_agent.run_id} --digest {_agent.receipt["approvals"]["digest"]}\'')
    terminal.wait(r"In \[\d+\]: ")
    assert "✓" in terminal.run("get_ipython().run_line_magic('agent_runs', word)")
    assert "[1] 'COMPLETED'" in terminal.run("print(log, repr(_agent.state))")


def test_a_terminal_shows_what_runs(terminal: Terminal) -> None:
    code = "x = '''-----BEGIN PRIVATE KEY-----\na'''\nlog.append(1)\ny = '''-----END PRIVATE KEY-----'''\nlen(log)"
    server = scripted.Scripted("anthropic")
    server.calls = [("c", "run_code", {"code": code})]
    terminal.run(f"import os; os.environ.update(ANTHROPIC_BASE_URL={server.url!r}, ANTHROPIC_API_KEY='any')")
    terminal.run("%config AgentNB.stream = False")
    terminal.say("%agent -m anthropic:claude-sonnet-4-6 --tools run_code go")
    seen = terminal.wait(r"Run 1\. run_code\?.*> ")
    assert views.of_text(seen) == [code]
    terminal.say("y")
    terminal.wait(r"\nIn \[\d+\]: ")
    assert "[1] 'COMPLETED'" in terminal.run("print(log, repr(_agent.state))")
    server.close()


@pytest.mark.parametrize(("setting", "state"), [("", "COMPLETED"), ("ask", "WAITING")])
def test_a_program_that_runs_the_notebook_is_not_asked(
    tmp_path: Path,
    environment: dict[str, str],
    run_all: Callable[[Any, Path], None],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    state: str,
) -> None:
    for name, value in (environment | {"AGENTNB_APPROVAL": setting}).items():
        monkeypatch.setenv(name, value)
    cells = ["%load_ext agentnb\nlog = []", "%agent Run `log.append(1)` please", "print(log)"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    run_all(book, tmp_path)
    (output,) = book.cells[1].outputs
    run: dict[str, Any] = output["data"][RUN]
    assert run["state"] == state
    assert book.cells[2].outputs[0]["text"] == "[]\n"
    assert "widgets" not in book.metadata
    says = "--allow run_code" if state == "COMPLETED" else f"%agent_runs approve {run['run_id']}"
    assert says in " ".join(output["data"]["text/plain"].split())
