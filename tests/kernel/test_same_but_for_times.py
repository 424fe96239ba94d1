"""What differs each time that the same notebook runs is told, and breaks no recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

TIMED = "%timeit -n 50 -r 3 sum(range(200))"
LOGGED = "import datetime; print(datetime.datetime.now().isoformat(sep=' '), 'INFO loaded 3 rows')"


def test_a_recorded_reply_is_found_in_a_new_kernel_whose_timings_differ(start: Callable[..., Any]) -> None:
    def asked(mode: str) -> Any:
        kernel = start()
        kernel.ok("%load_ext agentnb")
        kernel.ok(TIMED, "timed")
        kernel.ok(LOGGED, "logged")
        return kernel.ok(f"%agent --replay {mode} How long does the loop in cell 2 take?").run

    recorded, again = asked("record"), asked("replay")
    assert recorded["state"] == again["state"] == "COMPLETED"
    assert "per loop" in recorded["text"], "what is told keeps the times"
    assert again["text"] == recorded["text"]
    assert again["recorded"]
