"""Wait for the end of a process that is not ours to wait for."""

from __future__ import annotations

import os
import time

import pytest

PATIENCE = 60.0


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} still runs")
