"""What installing brings: bounds on every requirement, and licences as ARCHITECTURE.md tells them."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from dependency_table import PROJECT, ROOT, declared, told
from packaging.requirements import Requirement
from packaging.version import Version

ALL = {str(one): one for ones in declared().values() for one in ones}
OTHERS = ("license", "licence", "proprietary", "unknown", "agpl", "gpl-3.0-or-later", "sspl", "busl")


@pytest.mark.parametrize("text", ALL)
def test_every_requirement_has_a_lowest_and_an_upper_bound(text: str) -> None:
    signs = {part.operator for part in ALL[text].specifier}
    assert signs == {">=", "<"}


@pytest.mark.parametrize("text", ALL)
def test_what_is_installed_lies_within_the_bounds(text: str) -> None:
    """The suite runs with the newest that the bounds allow: an upper bound is raised when that passes."""
    try:
        version = importlib.metadata.version(ALL[text].name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not in this environment")
    assert ALL[text].specifier.contains(version, prereleases=True)


def test_the_build_is_bounded_too() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert all({part.operator for part in Requirement(text).specifier} == {">=", "<"} for text in asked)
    assert Version(PROJECT["requires-python"].lstrip(">=")) == Version("3.11")


def test_the_table_names_every_requirement_with_a_licence() -> None:
    """Run `python tests/dependency_table.py` to write it anew. Sizes differ between machines: they are not compared."""
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in told().split("\n")[2:]]
    assert [name for name, _, _ in rows[:-1]] == [one.name for one in declared()[""]]
    for name, licence, size in rows:
        assert licence
        assert not any(other in licence.lower() for other in OTHERS), name
        assert re.fullmatch(r"[\d.]+ MB", size)
