"""Run the project's tests as a tool: by a command that the project itself names, within a time limit."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from agentnb.agent.tools.tool import Outcome, shorten
from agentnb.models.framing import unframed

LIMIT = 300.0
"""Seconds that the tests may take."""
MOST_PRINTED = 1_000_000
"""Bytes that are kept of what the tests print, of its beginning and of its end each."""
_POLL = 0.1
_LAST_WORDS = 5.0
"""Seconds that the end of the output may take to be read. What has left the group may print on."""
_KEPT_BACK = re.compile(
    r"(?:.*_)?(API_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)(_.*)?|(GNU)?MAKE(FLAGS|LEVEL)|MFLAGS", re.IGNORECASE
)
"""Keys; and what a make above the kernel says to its own children: another make would warn of it."""


class ProjectTests:
    """Holds the test commands of one project. `cancelled` says that the person stopped the run."""

    def __init__(
        self, root: Path | None, *, cancelled: Callable[[], bool] = lambda: False, limit: float = LIMIT
    ) -> None:
        self._root = root
        self._cancelled = cancelled
        self._limit = limit

    def run_tests(self, command: str = "") -> Outcome:
        """Run the project's own tests and get the end of what they print. `command` is one of the project's commands,
        and may go on with files or folders of tests; without one the commands are listed."""
        assert self._root is not None
        words = shlex.split(command)
        words = [sys.executable, *words[1:]] if words[0] == "python" else words
        said, code = _finished(words, self._root, self._limit, self._cancelled)
        return Outcome(text=unframed(f"{shorten(said)}\n[{code}]"), is_error=code != "exit 0")

    def trouble(self, command: str = "") -> str:
        """Tell why a command is not run; an empty text where it may be asked about."""
        known = commands_of(self._root)
        if not known:
            return "The project names no command for its tests."
        for each in known:
            if command == each or (command.startswith(f"{each} ") and self._only_paths(command[len(each) :])):
                return ""
        return f"The project's commands for its tests are: {', '.join(f'`{each}`' for each in known)}."

    def _only_paths(self, rest: str) -> bool:
        """Tell whether what follows names files or folders of the project alone: no option, nothing else."""
        assert self._root is not None
        root = self._root.resolve()
        try:
            places = [(root / word.partition("::")[0]).resolve(strict=True) for word in shlex.split(rest)]
        except (OSError, ValueError, RuntimeError):
            return False
        return all(place.is_relative_to(root) for place in places) and not re.search(r"(^|\s)-", rest)


def commands_of(root: Path | None) -> tuple[str, ...]:
    """Return the commands that a project names for its tests, the likeliest first."""
    if root is None or not root.is_dir():
        return ()
    found = []
    if _pytest_is_set(root):
        found.append("python -m pytest")
    if (root / "tox.ini").is_file() or "tox" in _tools_of(root):
        found.append("tox")
    if (root / "noxfile.py").is_file():
        found.append("nox")
    found += [f"make {target}" for target in ("test", "tests", "check") if _has_target(root, target)]
    if not found and any((root / name).is_dir() for name in ("tests", "test")):
        found.append("python -m unittest discover")
    return tuple(found)


def _pytest_is_set(root: Path) -> bool:
    ini = any((root / name).is_file() for name in ("pytest.ini", ".pytest.ini", "conftest.py"))
    return ini or "pytest" in _tools_of(root) or (root / "tests" / "conftest.py").is_file()


def _tools_of(root: Path) -> dict[str, object]:
    try:
        found = tomllib.loads((root / "pyproject.toml").read_text("utf-8")).get("tool", {})
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _has_target(root: Path, target: str) -> bool:
    try:
        text = (root / "Makefile").read_text("utf-8", "replace")
    except OSError:
        return False
    return bool(re.search(rf"^{target}\s*:(?!=)", text, re.MULTILINE))


def _finished(words: list[str], root: Path, limit: float, cancelled: Callable[[], bool]) -> tuple[str, str]:
    """Return what the command printed, and how it ended. With its own group, so that what it starts ends with it."""
    environment = {name: value for name, value in os.environ.items() if not _KEPT_BACK.fullmatch(name)}
    try:
        process = subprocess.Popen(  # noqa: S603 - a command that the project names, and that a person approved
            words,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return f"{words[0]} cannot be started: {error.strerror}", "not started"
    printed = _Printed()
    reader = threading.Thread(target=printed.take_all, args=(process.stdout,), daemon=True)
    reader.start()
    ends, how = time.monotonic() + limit, ""
    while process.poll() is None and not how:
        reader.join(_POLL)
        how = "stopped by the person" if cancelled() else ""
        how = how or (f"stopped after {limit:.0f} s" if time.monotonic() > ends else "")
    _end(process)
    reader.join(_LAST_WORDS)
    return printed.text(), how or f"exit {process.returncode}"


class _Printed:
    """Holds what a process prints, its beginning and its end, however much that is."""

    def __init__(self) -> None:
        self._head, self._tail, self._left_out = bytearray(), bytearray(), 0

    def take_all(self, stream: IO[bytes]) -> None:
        while part := os.read(stream.fileno(), 1 << 16):
            room = MOST_PRINTED - len(self._head)
            self._head += part[:room]
            self._tail += part[room:]
            if len(self._tail) > 2 * MOST_PRINTED:
                self._left_out += len(self._tail) - MOST_PRINTED
                del self._tail[:-MOST_PRINTED]

    def text(self) -> str:
        gap = f"\n[… {self._left_out:,} bytes left out …]\n".encode() if self._left_out else b""
        return (self._head + gap + self._tail).decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command where it still runs, and what it has left running."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()
