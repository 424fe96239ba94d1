"""The catalogue against the providers' own lists: over the real SDKs, and as a patch that can be pasted."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agentnb.__main__ import main
from agentnb.canonical import ManualClock
from agentnb.doctor import online
from agentnb.models import catalog
from agentnb.models.catalog import ListedModel, Model
from agentnb.models.catalog_patch import patch_lines
from agentnb.settings import KEY_VARIABLES
from agentnb.simulator import Simulator

ROWS = catalog.rows()
CHANGES = {
    "claude-opus-5-5": {"max_output": 64_000},
    "gemini-3.8-flash": {"window": 500_000},
    "claude-haiku-5-5": {"name": "claude-cirrus-5"},
    "gpt-6.2-sol": {"name": "gpt-other"},
}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keys for all three, whose servers are the simulator."""
    with Simulator(speed=0) as simulator:
        for variables in KEY_VARIABLES.values():
            monkeypatch.setenv(variables[0], "sk-nobody")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.url)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{simulator.url}/v1")
        yield


@pytest.mark.server
@pytest.mark.usefixtures("keys")
def test_lists_that_agree_bring_no_patch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--online"]) == 0
    counted = {name: sum(row.provider == name for row in ROWS) for name in KEY_VARIABLES}
    assert capsys.readouterr().out.splitlines() == [
        f"# {name}: {counted[name]} models listed; as in the catalogue" for name in KEY_VARIABLES
    ]


@pytest.mark.server
@pytest.mark.usefixtures("keys")
def test_what_differs_is_a_patch_that_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    edited = tuple(replace(row, **CHANGES.get(row.name, {})) for row in ROWS)
    monkeypatch.setattr(catalog, "rows", lambda: edited)  # the simulator's wires hold the true ones
    lines = list(online(os.environ, ManualClock(1_764_504_000.0)))
    said = "\n".join(lines)
    truth = {row.name: row for row in ROWS}
    assert f"# anthropic:claude-opus-5-5\nmax_output = {truth['claude-opus-5-5'].max_output} # was 64000\n" in said
    assert f"# google:gemini-3.8-flash\nwindow = {truth['gemini-3.8-flash'].window} # was 500000\n" in said
    assert "# anthropic:claude-cirrus-5 is not in the provider's list" in said
    assert "# openai also lists, without limits: gpt-6.2-sol" in said
    (row,) = tomllib.loads("\n".join(block for block in new_rows(lines)))["model"]
    assert row == {
        "provider": "anthropic",
        "name": "claude-haiku-5-5",
        "label": "claude-haiku-5-5",
        "window": truth["claude-haiku-5-5"].window,
        "max_output": truth["claude-haiku-5-5"].max_output,
        "limits_source": "the provider's list of models",
        "limits_checked": "2025-11-30",
    }


def new_rows(lines: list[str]) -> list[str]:
    """The lines of the rows that are new: each from its head to the next comment."""
    out, inside = [], False
    for line in lines:
        inside = line.startswith("[[model]]") or (inside and not line.startswith("#"))
        out += [line] if inside else []
    return out


def test_without_keys_nobody_is_asked() -> None:
    lines = list(online({}, ManualClock(0.0)))
    assert lines == [f"# {name}: no key is set, so it was not asked" for name in KEY_VARIABLES]


@pytest.mark.server
@pytest.mark.usefixtures("keys")
def test_a_provider_that_cannot_be_reached_is_named_and_the_others_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    lines = list(online({name: "x" for names in KEY_VARIABLES.values() for name in names}, ManualClock(0.0)))
    assert [line.partition(":")[0] for line in lines] == ["# anthropic", "# google", "# openai"]
    assert "as in the catalogue" in lines[0]
    assert "listed" not in lines[2]


def patch(listed: ListedModel, *rows: Model) -> list[str]:
    return list(patch_lines("anthropic", [listed], rows, "2026-11-30"))


def test_a_rounded_window_is_no_difference_and_a_retirement_is() -> None:
    row = catalog.lookup("claude-opus-5-5")
    exact = ListedModel(name=row.name, window=1_048_576, max_output=row.max_output)
    assert patch(exact, row) == []
    retiring = patch(replace(exact, retires="2027-05-01"), row)
    assert retiring[:2] == ["# anthropic:claude-opus-5-5", 'retires = "2027-05-01" # was ""']
