"""Read what a project tells agents: AGENTS.md or CLAUDE.md, a script's header (PEP 723), and skills by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from agentnb.agent.hydration.project import own_root, read_added, relative_to
from agentnb.agent.tools.tool import shorten

NAMES = ("AGENTS.md", "CLAUDE.md")
"""Of the files of one folder the first that is there counts."""
CHARACTERS = 24_000
SKILLS = 60
SUMMARY = 500
"""Characters of a skill's description."""
_HEADER = re.compile(r"^# /// script[ \t]*\n((?:#(?:| .*)\n)*?)# ///[ \t]*$", re.MULTILINE)
COURSE = "TUTOR.md"
_FRONT = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"^(name|description):[ \t]*(.*(?:\n[ \t]+.*)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Skill:
    """Holds what `.agents/skills/NAME/SKILL.md` says of itself. Its body is read when it is asked for."""

    name: str
    description: str
    file: Path

    @property
    def body(self) -> str:
        return shorten(_FRONT.sub("", read_added(self.file) or "", count=1).strip(), CHARACTERS)


def instructions_of(project: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the instructions from the project's root down to the folder of the notebook, each with its file's name."""
    folders = _folders(project)
    for folder in folders:
        found = next((file for name in NAMES if _is_own(file := folder / name, folders[0])), None)
        text = read_added(found) if found is not None else None
        if found is not None and text and text.strip():
            yield relative_to(found, own_root(project) if project else None), shorten(text.strip(), CHARACTERS)


def course_of(project: Path | None) -> str:
    """Return what the course tells its tutors: the TUTOR.md nearest to the notebook."""
    folders = _folders(project)
    files = (folder / COURSE for folder in reversed(folders))
    found = next((file for file in files if _is_own(file, folders[0])), None)
    return shorten((read_added(found) or "").strip(), CHARACTERS) if found is not None else ""


def skills_of(project: Path | None) -> tuple[Skill, ...]:
    """Return the project's skills by name, those of the nearer folder first."""
    found: dict[str, Skill] = {}
    folders = _folders(project)
    for folder in reversed(folders):
        for file in sorted((folder / ".agents" / "skills").glob("*/SKILL.md"))[:SKILLS]:
            if _is_own(file, folders[0]):
                skill = _skill(file)
                found.setdefault(skill.name, skill)
    return tuple(found[name] for name in sorted(found))


def header_in(sources: Iterable[str]) -> str:
    """Return the script header (PEP 723) that stands in one of these sources; empty where none has one."""
    for source in sources:
        match = _HEADER.search(source) if "# /// script" in source else None
        if match is not None:
            return "\n".join(line[2:] for line in match.group(1).splitlines()).strip()
    return ""


def named_in(task: str, skills: Iterable[Skill]) -> tuple[Skill, ...]:
    """Return the skills that a task asks for: `/NAME`, `@NAME`, or its name with the word skill."""
    text = task.lower()
    return tuple(
        skill
        for skill in skills
        if re.search(rf"(?<![\w-])[/@]{re.escape(skill.name.lower())}(?![\w-])", text)
        or ("skill" in text and re.search(rf"(?<![\w-]){re.escape(skill.name.lower())}(?![\w-])", text))
    )


def _folders(project: Path | None) -> list[Path]:
    """Return the project's root and the folders between it and the notebook's."""
    if project is None:
        return []
    root = own_root(project)
    between = [folder for folder in project.parents if folder == root or folder.is_relative_to(root)]
    return [*reversed(between), project] if project != root else [root]


def _is_own(file: Path, root: Path) -> bool:
    """Tell whether a file is there and, where it is a link, leads to another such file below the root.

    A project that comes from elsewhere could have a link to a person's secrets.
    """
    if not file.is_file():
        return False
    real = file.resolve()
    return real.suffix == file.suffix and real.is_relative_to(root.resolve())


def _skill(file: Path) -> Skill:
    front = _FRONT.match(read_added(file) or "")
    found = _FIELD.findall(front.group(1)) if front else []
    fields = {name: " ".join(value.split()).strip("'\"") for name, value in found}
    return Skill(fields.get("name") or file.parent.name, fields.get("description", "")[:SUMMARY], file)
