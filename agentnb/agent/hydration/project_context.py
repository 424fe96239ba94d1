"""Tell a model what the project's files say: tree, outlines, added files, schemas, instructions, skills; redacted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from agentnb.agent.hydration.notebook_context import CELL
from agentnb.agent.hydration.project import own_root, read_added, relative_to, tree_of
from agentnb.agent.hydration.project_instructions import Skill, header_in, instructions_of, named_in, skills_of
from agentnb.agent.scrubber import Scrubber
from agentnb.context.notebook.cell_runs import CellLog, says
from agentnb.context.notebook.cells import CellIndex
from agentnb.context.notebook.trace import is_library
from agentnb.context.resolve.files import SHARED
from agentnb.context.resolve.outlines import Outline, fitted, modules_in_use, words_of
from agentnb.context.static.definitions import Definition
from agentnb.context.values import static_inspect
from agentnb.prompt.project_parts import OUTLINE, TREE, AnyPart, OutlinePart, Part, TreePart

OUTLINE_ROOM = 12_000
"""Characters for the outlines of the project's modules: about 3,000 tokens."""


@dataclass(kw_only=True)
class Pins:
    """Holds what the user pinned (definitions by name), added (files) and allowed (marks or kinds of secrets) for a
    thread.

    `schemas` are database schemas by the variable that they were read from, redacted, as they were when pinned.
    `hidden` are names, and cells as `cell:ID`, that are never sent.
    """

    names: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    allow: list[str] = field(default_factory=list)
    schemas: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)

    def hides(self, found: Definition) -> bool:
        """Tell whether the person keeps this out: itself, what it stands in, its cell, or a name in its text."""
        parts = found.name.split(".")
        names = (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        said = (name for name in self.hidden if found.cell and says(found.source, name))
        return f"{CELL}{found.cell}" in self.hidden or any(name in self.hidden for name in names) or any(said)


@dataclass(frozen=True, kw_only=True)
class ProjectContext:
    """Holds the project as a model is told of it. `seen` remembers the outlines that were there in this session."""

    cells: CellIndex
    namespace: Mapping[str, Any]
    scrub: Scrubber
    project: Path | None
    pins: Pins
    seen: set[str]
    log: CellLog

    def parts(
        self, count: Callable[[str], int], held: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    ) -> tuple[AnyPart, ...]:
        """Return the project as it is: files by name, outlines of modules in use, added files and pinned schemas.

        What of an outline the thread already holds stays in it, whatever the budget.
        """
        told = (*self._instructions(count), *self._skills(count, held))
        return (
            *told,
            *self._tree(count, held),
            *self._outlines(count, held),
            *self._files(count),
            *self._schemas(count),
        )

    def skill(self, name: str, count: Callable[[str], int]) -> Part | None:
        """Return the body of `skill:NAME`."""
        wanted = name.removeprefix("skill:") if name.startswith("skill:") else ""
        found = next((skill for skill in self._known_skills() if wanted and skill.name == wanted), None)
        return self._part("skill", found.name, found.body, count) if found is not None else None

    def skills_named(self, task: str, count: Callable[[str], int]) -> tuple[Part, ...]:
        """Return the bodies of the skills that the task asks for."""
        return tuple(
            self._part("skill", skill.name, skill.body, count) for skill in named_in(task, self._known_skills())
        )

    def _known_skills(self) -> tuple[Skill, ...]:
        return skills_of(self.project)

    def _instructions(self, count: Callable[[str], int]) -> Iterator[Part]:
        """Yield what the project tells agents, and the header of the notebook or of the script that runs."""
        for file, text in instructions_of(self.project):
            yield self._part("instructions", file, text, count)
        script = getattr(sys.modules.get("__main__"), "__file__", None)
        header = header_in(
            [*(run.source for run in self.log.runs), *([read_added(Path(script)) or ""] if script else [])]
        )
        if header:
            yield self._part("header", "PEP 723", header, count)

    def _skills(self, count: Callable[[str], int], held: Mapping[str, Mapping[str, Any]]) -> Iterator[Part]:
        """Yield the list of skills, and the bodies of those that the thread holds, as they are now."""
        skills = self._known_skills()
        if skills:
            lines = "\n".join(f"{skill.name}: {skill.description}" for skill in skills)
            yield self._part("skills", "by name", lines, count)
        yield from (
            self._part("skill", skill.name, skill.body, count) for skill in skills if f"skill:{skill.name}" in held
        )

    def _part(self, kind: str, file: str, text: str, count: Callable[[str], int]) -> Part:
        clean = self.scrub(text)
        return Part(kind=kind, file=file, text=clean, tokens=count(clean))

    def packages(self) -> dict[str, str]:
        """Imported top-level packages of others, with their versions."""
        found = {}
        for target in self.cells.imports().values():
            top = target.partition(".")[0]
            module = sys.modules.get(top)
            if module is not None and top not in sys.stdlib_module_names and not self.is_own(module):
                found[top] = _version(module)
        return found

    def _tree(self, count: Callable[[str], int], held: Mapping[str, Mapping[str, Any]]) -> Iterator[TreePart]:
        known = [name.removeprefix(TREE) for name in held if name.startswith(TREE)]
        tree = tree_of(self.project, known)
        if tree is not None:  # else what the thread holds is not known to be gone
            files = {(clean := self.scrub(file)): count(clean) for file in tree.files}
            yield TreePart(files=files, more=tree.more, others=tree.others)

    def _outlines(self, count: Callable[[str], int], held: Mapping[str, Mapping[str, Any]]) -> Iterator[OutlinePart]:
        known = lines_held(held)
        own = modules_in_use(self.cells, self.namespace, self.is_own) if self.project is not None else ()
        found = [self._outline(name) for name in sorted({*own, *known})]
        present = [outline for outline in found if outline is not None]
        short = sum(outline.size for outline in present) > OUTLINE_ROOM
        wanted = words_of(self.cells.code()) if short else frozenset[str]()
        for outline in fitted(present, room=OUTLINE_ROOM, wanted=wanted, held=known):
            self.seen.add(f"{OUTLINE}{outline.module}")
            yield OutlinePart(outline=outline.told(self.scrub), count=count)

    def _outline(self, module: str) -> Outline | None:
        """Return a module's outline as its file has it; without lines where it is gone since this session saw it."""
        loaded = static_inspect.loaded_module(module)
        file = self._own_file(loaded) if loaded is not None else None
        found = SHARED.definitions(file, module=module) if file is not None else None
        if file is not None and found is not None:
            return Outline(module=module, file=self._shown(file, found.file), lines=found.outline)
        return Outline(module=module, file="", lines=()) if f"{OUTLINE}{module}" in self.seen else None

    def _shown(self, file: Path, below_package: str) -> str:
        inside = self.project is not None and file.is_relative_to(self.project)
        return relative_to(file, self.project) if inside else below_package

    def _files(self, count: Callable[[str], int]) -> list[Part]:
        out = []
        for name in sorted(self.pins.files):
            text = read_added(Path(name))
            if text is not None:
                clean = self.scrub(text)
                shown = relative_to(Path(name), self.project)
                out.append(Part(kind="file", file=shown, text=clean, tokens=count(clean)))
        return out

    def _schemas(self, count: Callable[[str], int]) -> list[Part]:
        """Pinned schemas as they were read: pinning one again reads it again."""
        return [
            Part(kind="schema", file=name, text=text, tokens=count(text))
            for name, text in sorted(self.pins.schemas.items())
        ]

    def is_own(self, module: ModuleType) -> bool:
        """Tell whether a module is one of the project's."""
        return self._own_file(module) is not None

    def _own_file(self, module: ModuleType) -> Path | None:
        """Return the file of a module of the project; None for any other. Nothing of a lazy module is set off."""
        file = static_inspect.module_text(module, "__file__")
        return _below(file, own_root(self.project)) if self.project is not None and file.endswith(".py") else None


@lru_cache(4096)
def _below(file: str, root: Path) -> Path | None:
    """Return the file, where it lies below the folder and is no installed package's."""
    path = Path(file)
    return path if path.is_relative_to(root) and not is_library(file) else None


def _version(module: ModuleType) -> str:
    version = static_inspect.attribute(module, "__version__") if static_inspect.is_a(module, ModuleType) else ""
    return version if isinstance(version, str) else ""


_WHOLE_PARTS = ("file:", "schema:", "instructions:", "header:", "skills:", "skill:")
"""Prefixes of the names of parts that are sent as a whole."""


def digests_now(parts: Iterable[AnyPart], held: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the digests of the project's parts as they are; "" for a held part that is gone."""
    current: dict[str, str] = {}
    for part in parts:
        current |= part.digests
        current |= dict.fromkeys(part.gone(held) if not isinstance(part, Part) else (), "")
    files = (name for name in held if name.startswith(_WHOLE_PARTS))
    return dict.fromkeys(files, "") | current


def lines_held(held: Iterable[str]) -> dict[str, set[str]]:
    """Return the names of the outline lines that a thread holds, by module."""
    found: dict[str, set[str]] = {}
    for name in held:
        if name.startswith(OUTLINE):
            module, _, line = name.removeprefix(OUTLINE).rpartition(":")
            found.setdefault(module, set()).add(line)
    return found
