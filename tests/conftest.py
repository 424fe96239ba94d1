"""For every test: no key is visible, nothing but loopback is reachable, and a search is repeatable in CI."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

try:
    from hypothesis import settings
except ImportError:  # the browser environment has no hypothesis, and no property tests
    pass
else:
    # No deadline: timings belong in benchmarks. CI repeats the same examples, so that a red run can be repeated;
    # everywhere else each run searches anew.
    # `make check` asks for fewer examples; `make test` searches in full.
    settings.register_profile("search", deadline=None)
    settings.register_profile("quick", deadline=None, max_examples=int(os.environ.get("AGENTNB_EXAMPLES", "100")))
    settings.register_profile("ci", deadline=None, derandomize=True)
    settings.load_profile("quick" if "AGENTNB_EXAMPLES" in os.environ else "ci" if os.environ.get("CI") else "search")

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY")
LOOPBACK = ("127.", "localhost", "::1")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would reach beyond this machine, or spend, fails."""
    for name in (*KEYS, "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
