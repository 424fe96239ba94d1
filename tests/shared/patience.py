"""Wait for what comes by itself, as long as a machine may take for it that does ten other things."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

PATIENCE = 150
"""Seconds after which a test gives up."""
NBCLIENT = {"startup_timeout": PATIENCE, "iopub_timeout": PATIENCE}
"""For who executes a notebook: nbclient waits a minute for a kernel, and four seconds for an output after its cell."""
NBCONVERT = [f"--ExecutePreprocessor.{name}={seconds}" for name, seconds in NBCLIENT.items()]


def wait_until(holds: Callable[[], object], why: object = "it did not come") -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, why
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    """Tell whether a process runs that need not be ours."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int) -> None:
    wait_until(lambda: not is_there(pid), f"process {pid} still runs")
