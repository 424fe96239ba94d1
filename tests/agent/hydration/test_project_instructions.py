"""What a project tells agents: its instructions, a script's header, skills that are read when they are asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.hydration.project_instructions import (
    course_of,
    header_in,
    instructions_of,
    named_in,
    skills_of,
)

HEADER = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["pandas"]\n# ///\nimport pandas'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "AGENTS.md").write_text("Use SI units.")
    inner = tmp_path / "notebooks"
    (inner / ".agents" / "skills" / "tides").mkdir(parents=True)
    (inner / "CLAUDE.md").write_text("Plots have titles.")
    (inner / ".agents" / "skills" / "tides" / "SKILL.md").write_text(
        "---\nname: tides\ndescription: >\n  How tides are\n  computed here\n---\nUse harmonic constants.\n"
    )
    return inner


def test_instructions_from_the_root_down_and_skills_by_name(project: Path) -> None:
    assert list(instructions_of(project)) == [
        ("AGENTS.md", "Use SI units."),
        ("notebooks/CLAUDE.md", "Plots have titles."),
    ]
    (skill,) = skills_of(project)
    assert (skill.name, skill.body) == ("tides", "Use harmonic constants.")
    assert "How tides are computed here" in skill.description
    assert list(instructions_of(None)) == []
    assert skills_of(None) == ()


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_leads_to_no_file_that_is_not_the_projects_own(project: Path, tmp_path_factory: Any) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "diary.md"
    secret.write_text("canary")
    hidden = project / ".env"
    hidden.write_text("canary")
    skill = project / ".agents" / "skills" / "tides" / "SKILL.md"
    for target in (secret, hidden, project / "loop.md"):
        for link in (project / "CLAUDE.md", project / "TUTOR.md", skill):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        assert list(instructions_of(project)) == [("AGENTS.md", "Use SI units.")]
        assert course_of(project) == ""
        assert skills_of(project) == ()
    (project / "CLAUDE.md").unlink()
    (project / "CLAUDE.md").symlink_to(project.parent / "AGENTS.md")
    assert list(instructions_of(project))[1:] == [("notebooks/CLAUDE.md", "Use SI units.")]


@pytest.mark.parametrize(
    ("task", "named"),
    [("/tides please", True), ("Use the tides skill.", True), ("@tides", True), ("How high are the tides?", False)],
)
def test_a_skill_is_asked_for_by_name(project: Path, task: str, named: bool) -> None:
    assert bool(named_in(task, skills_of(project))) is named


def test_a_header_is_found_in_any_cell() -> None:
    assert header_in(["x = 1", HEADER]) == 'requires-python = ">=3.11"\ndependencies = ["pandas"]'
    assert header_in(["# /// other\n# ///"]) == ""


def test_a_skill_that_is_read_changes_no_byte_of_the_prefix(book: Any, project: Path) -> None:
    book.session.project = project
    book.session.log.record(HEADER, cell="first", number=1)
    book.ask("Hello")
    first = json.dumps(book.bodies[-1]["system"])
    for part in ("Use SI units.", "Plots have titles.", "tides: ", "requires-python"):
        assert part in first
    assert "harmonic constants" not in first
    book.ask("Use the tides skill.")
    second = book.bodies[-1]
    bare = [{name: value for name, value in block.items() if name != "cache_control"} for block in second["system"]]
    before = [{n: v for n, v in block.items() if n != "cache_control"} for block in json.loads(first)]
    assert bare == before
    assert "Use harmonic constants." in json.dumps(second["messages"])
    read = book.session.hydrator().look("skill:tides", count=len)
    assert "Use harmonic constants." in read.text
    assert [item["name"] for item in read.holds] == ["skill:tides"]
