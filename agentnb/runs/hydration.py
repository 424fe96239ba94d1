"""What this kernel can tell a model: definitions, values, the project outline, all redacted. One object per session."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from agentnb.context import values
from agentnb.context.cells import CellIndex
from agentnb.context.definitions import parse_definitions
from agentnb.context.redaction import redact
from agentnb.context.resolution import Resolver, Unresolved
from agentnb.context.selection import Chosen, Selection, marks, render, select
from agentnb.prompt.compiler import receipt_entry
from agentnb.runs.tools import Outcome, shorten

OUTLINE_TOKENS = 3000
MAX_VALUES = 12
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_SCAN = 20_000  # characters of the task that are searched for variable names; a pasted log goes on for much longer


@dataclass(kw_only=True)
class Scrubber:
    """Takes secrets out of everything that leaves the kernel, and keeps the list of what it took."""

    allow: frozenset[str] = frozenset()
    found: dict[str, str] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        result = redact(text, allow=self.allow)
        self.found.update({mark: kind for kind, mark in result.found})
        return result.text

    def report(self) -> list[dict[str, str]]:
        return [{"kind": kind, "mark": mark} for mark, kind in sorted(self.found.items())]


@dataclass(frozen=True, kw_only=True)
class Hydrator:
    """The notebook as the agent sees it. `project` is the directory that counts as the user's own code."""

    cells: CellIndex
    namespace: Mapping[str, Any]
    project: Path | None = None

    def select(self, task: str, *, mode: str, count: Callable[[str], int], budget: int) -> Selection:
        """The definitions that the task touches, and what they need one step on."""
        return select(task, self._resolver(), mode=mode, count=count, budget=budget)

    def look(self, name: str, *, count: Callable[[str], int], scrub: Callable[[str], str]) -> Outcome:
        """One more definition by name, or a variable's value, for the `inspect` tool."""
        name = name.strip().strip("`@")
        found = self._resolver().resolve(name)
        if not isinstance(found, Unresolved):
            text = render(Chosen(definition=found, form="full", reason="inspected", tokens=0))
            chosen = Chosen(definition=found, form="full", reason="inspected by the model", tokens=count(text))
            return Outcome(text=scrub(text), holds=(receipt_entry(chosen),))
        if name in self.namespace:
            return Outcome(text=shorten(scrub(values.describe(name, self.namespace[name]))))
        hint = f" {found.nearest}" if found.nearest else ""
        return Outcome(text=f"{found.reason}{hint}", is_error=True)

    def describe_values(self, task: str, *, mode: str) -> tuple[str, ...]:
        """Short descriptions of the live variables that the task names, in the order of their first mention."""
        if mode == "none":
            return ()
        words = list(marks(task))
        if mode == "auto":
            words += _WORD.findall(task[:_SCAN])
        names = [name for name in dict.fromkeys(words) if self._is_data(name)]
        return tuple(values.describe(name, self.namespace[name]) for name in names[:MAX_VALUES])

    def packages(self) -> dict[str, str]:
        """Imported top-level packages of others, with their versions."""
        found = {}
        for target in self.cells.imports().values():
            top = target.partition(".")[0]
            module = sys.modules.get(top)
            if module is not None and top not in sys.stdlib_module_names and not self._is_own(module):
                found[top] = _version(module)
        return found

    def outlines(self, *, count: Callable[[str], int]) -> dict[str, str]:
        """Public signatures of the project's own modules that the notebook imports, by file, within a budget."""
        out: dict[str, str] = {}
        left = OUTLINE_TOKENS
        for name, file in sorted(self._own_modules().items()):
            text = _outline(name, file, self.project)
            cost = count(text)
            if text and cost <= left:
                out[_relative(file, self.project)] = text
                left -= cost
        return out

    def _resolver(self) -> Resolver:
        return Resolver(cells=self.cells, namespace=self.namespace, project=self.project)

    def _own_modules(self) -> dict[str, Path]:
        found = {}
        for target in self.cells.imports().values():
            for name in (target, target.rpartition(".")[0]):
                module = sys.modules.get(name)
                if module is not None and self._is_own(module):
                    found[name] = Path(str(module.__file__))
        return found

    def _is_own(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        if self.project is None or not file or not str(file).endswith(".py"):
            return False
        path = Path(file)
        return path.is_relative_to(self.project) and "site-packages" not in path.parts

    def _is_data(self, name: str) -> bool:
        if name.startswith("_") or name not in self.namespace:
            return False
        value = self.namespace[name]
        return not (isinstance(value, type | ModuleType) or callable(value) or name in _SHELL_NAMES)


_SHELL_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython"})


def _version(module: ModuleType) -> str:
    version = vars(module).get("__version__", "")
    return version if isinstance(version, str) else ""


def _outline(name: str, file: Path, project: Path | None) -> str:
    try:
        source = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""
    return parse_definitions(source, module=name, file=_relative(file, project)).outline()


def _relative(file: Path, project: Path | None) -> str:
    return file.relative_to(project).as_posix() if project and file.is_relative_to(project) else file.name
