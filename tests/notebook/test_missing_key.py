"""A key that is missing is told before anything is loaded; where none is needed, nothing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentnb.errors import KeyMissing
from agentnb.notebook.flags import check_key
from agentnb.settings import Settings

CLAUDE, GEMINI = "anthropic:claude-sonnet-4-6", "google:gemini-2.5-flash"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({"model": CLAUDE}, {}),
        ({}, {"model": GEMINI}),
        ({"model": CLAUDE, "replay": "record"}, {"model": "sim:gpt-4.1"}),
    ],
)
def test_it_is_told(given: dict[str, Any], settings: dict[str, Any]) -> None:
    with pytest.raises(KeyMissing, match="API_KEY"):
        check_key(given, Settings(**settings))


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({}, {}),
        ({"model": "sim:claude-sonnet-4-6"}, {"model": CLAUDE}),
        ({"model": CLAUDE, "replay": "replay"}, {}),
        ({"model": CLAUDE}, {"replay": "auto"}),
        ({"model": CLAUDE, "dry-run": True}, {}),
        ({"machine": "planner"}, {"model": CLAUDE}),
    ],
)
def test_it_is_not_needed(given: dict[str, Any], settings: dict[str, Any]) -> None:
    check_key(given, Settings(**settings))


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"])
def test_whatever_may_give_the_sdk_a_key_is_left_to_it(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "any")
    check_key({"model": CLAUDE}, Settings())
    monkeypatch.setenv(variable, "")
    with pytest.raises(KeyMissing):
        check_key({"model": CLAUDE}, Settings())
