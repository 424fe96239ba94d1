"""The tools of an agent without a notebook."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def server(server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model that proposes what it is told to, in the place of Anthropic's."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    return server
