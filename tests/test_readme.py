"""The README and the pages keep up: every flag and setting that exists is named, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentnb.notebook.completion import SUBCOMMANDS
from agentnb.notebook.flags import AGENT_FLAGS
from agentnb.options import Option, options_of
from agentnb.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "agentnb" / "docs" / "pages").rglob("*.md"))
TOLD = "\n".join([README, *(page.read_text() for page in PAGES)])
"""What a reader can find."""
LIMITS = {".gif": 1_500_000, ".png": 200_000}
VARIABLE = re.compile(r"\bAGENTNB_[A-Z_]+\b")


@pytest.mark.parametrize("flag", AGENT_FLAGS, ids=lambda flag: flag.name)
def test_each_flag_is_explained_where_a_user_looks(flag: object) -> None:
    forms = [f"--{flag.name}", *([f"-{flag.short} "] if flag.short else [])]
    assert any(form in TOLD for form in forms), f"--{flag.name} is told nowhere"


def test_each_flag_that_is_named_exists() -> None:
    known = {f"--{flag.name}" for flag in AGENT_FLAGS}
    used = set(re.findall(r"%%?agent [^`|\n]*?(--[a-z-]+)", TOLD))
    assert used <= known, used - known


@pytest.mark.parametrize("option", [each for each in options_of(Settings) if each.declared.config])
def test_each_setting_is_named(option: Option) -> None:
    assert f"AgentNB.{option.name}" in TOLD


def test_each_environment_variable_that_is_named_is_read() -> None:
    assert set(VARIABLE.findall(TOLD)) <= {option.variable for option in options_of(Settings)} | {"AGENTNB_NAME"}


@pytest.mark.parametrize("magic", SUBCOMMANDS)
def test_each_magic_is_named(magic: str) -> None:
    assert f"%{magic}" in TOLD


def test_each_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z-]+)", README)):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) or target in ("and",), target


def test_pictures_are_there_and_small() -> None:
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        if name.endswith("badge_logo.svg"):
            continue
        address, _, place = name.partition("/main/")
        assert address.startswith("https://"), "an index shows the README too, without the files beside it"
        picture = ROOT / place
        assert picture.stat().st_size < LIMITS[picture.suffix]


def test_nobody_is_told_to_install_the_other_package() -> None:
    assert not re.search(r"pip install '?agentnb(?!-jupyter)", TOLD)
