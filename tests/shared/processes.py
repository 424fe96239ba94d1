"""Processes that begin at the same moment: each says `ready`, and goes on once it is told to."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from patience import PATIENCE


def started(command: Sequence[str]) -> subprocess.Popen[str]:
    """A process that is ready."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def run_together(*commands: Sequence[str]) -> None:
    """Run them side by side to their ends, each of which must be a good one."""
    processes = [started(command) for command in commands]
    go(*processes)
    for process in processes:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
