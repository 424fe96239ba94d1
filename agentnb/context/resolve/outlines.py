"""Outline the project's own modules: which ones the notebook uses, and how much fits into a token budget."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from types import FunctionType, ModuleType
from typing import Any

from agentnb.canonical import JsonMapping
from agentnb.context.notebook.cells import CellIndex
from agentnb.context.static.definitions import Line
from agentnb.context.values import static_inspect

VALUES_LIMIT = 2000
"""Names of the notebook whose values are looked at for their modules."""
_DEFINES = re.compile(r"(?:@property )?(?:async )?(?:def|class) ")
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """Holds the signatures of one module, in the file's order. `partial`: there was no room for all of them."""

    module: str
    file: str
    lines: tuple[Line, ...]
    partial: bool = False

    @property
    def size(self) -> int:
        """Count the characters."""
        return sum(len(line.text) for line in self.lines)

    def told(self, scrub: Callable[[str], str]) -> Outline:
        """Return it without secrets."""
        whole = "\n".join(line.text for line in self.lines)
        if scrub(whole) == whole:  # once for all of them is faster, and hardly ever finds anything
            return self
        return replace(self, lines=tuple(replace(line, text=scrub(line.text)) for line in self.lines))


def text_of(lines: Iterable[Line]) -> str:
    """Return the lines as Python, members below their class. A class that is not among them is there by name only."""
    out: list[str] = []
    inside = ""
    for line in lines:
        owner = line.name.rpartition(".")[0]
        if owner and owner != inside:
            out.append(f"class {owner}:  # …")
        inside = owner or line.name
        out.append("".join(f"    {part}" for part in line.text.splitlines(keepends=True)) if owner else line.text)
    return "\n".join(out)


# which modules are in use ---------------------------------------------------------------------------------------------


def modules_in_use(
    cells: CellIndex, namespace: JsonMapping, is_own: Callable[[ModuleType], bool]
) -> dict[str, ModuleType]:
    """Return the loaded modules of the user's own that the notebook uses, sorted by name.

    Those are what cells import and what dotted names in cells lead through. The homes of the notebook's functions,
    classes and instances count too. A module that only another module uses is not among them. Nothing is imported.
    """
    names = dict.fromkeys([*cells.imported(), *_dotted(cells, is_own)])
    found: set[str] = {home for value in _values(namespace) if (home := home_of(value))}
    for name in names:
        found.update(_along(name.split(".")))
    loaded = ((name, static_inspect.loaded_module(name)) for name in sorted(found - {"__main__"}))
    return {name: module for name, module in loaded if module is not None and is_own(module)}


def _dotted(cells: CellIndex, is_own: Callable[[ModuleType], bool]) -> Iterator[str]:
    """Yield dotted names in cells that begin with a module of the user's, as that module is called there."""
    bound = {name: target for name, target in cells.imports().items() if _is_loaded(target, is_own)}
    if not bound:
        return
    roots = "|".join(map(re.escape, bound))
    for match in re.finditer(rf"(?<![\w.])({roots})((?:\.[^\W\d]\w*)+)", cells.code()):
        yield bound[match.group(1)] + match.group(2)


def _is_loaded(target: str, is_own: Callable[[ModuleType], bool]) -> bool:
    module = static_inspect.loaded_module(target)
    return module is not None and is_own(module)


def _along(parts: Sequence[str]) -> Iterator[str]:
    """Yield the modules that a dotted name leads through, and the one in which what it names was defined."""
    value: Any = sys.modules.get(parts[0])
    for part in parts[1:]:
        if not static_inspect.is_a(value, ModuleType):
            return
        yield home_of(value)
        value = static_inspect.attribute(value, part)
    yield home_of(value)


def _values(namespace: JsonMapping) -> list[Any]:
    """Return what the notebook's names hold. Another thread may bind more meanwhile."""
    names = [name for name in list(namespace)[:VALUES_LIMIT] if not name.startswith("_")]
    return [namespace.get(name) for name in names]


def home_of(value: Any) -> str:
    """Return the module that a function, a class or an instance's class was defined in; a module is its own."""
    if static_inspect.is_a(value, ModuleType):
        return static_inspect.module_text(value, "__name__")
    value = static_inspect.unwrap(value)
    if static_inspect.is_a(value, FunctionType):
        return static_inspect.plain(value.__module__)
    return static_inspect.class_name(value if static_inspect.is_a(value, type) else type(value))[0]


# what fits ------------------------------------------------------------------------------------------------------------


def words_of(code: str) -> AbstractSet[str]:
    """Return the names in code: what an outline keeps first where it cannot keep everything."""
    return frozenset(_WORD.findall(code))


def fitted(
    outlines: Iterable[Outline], *, room: int, wanted: AbstractSet[str], held: Mapping[str, Collection[str]]
) -> tuple[Outline, ...]:
    """Return the outlines cut to `room` characters. Small modules leave their share to the larger ones.

    Lines in `held` (names by module) stay whatever they cost: they were sent, and must not be taken for removed.
    Then come those whose name is `wanted`, then functions and classes, their members, and the rest, in the file's
    order. Characters, not tokens: what is kept must not depend on how the model counts.
    """
    waiting = sorted(outlines, key=lambda outline: (outline.size, outline.module))
    out = []
    for number, outline in enumerate(waiting):
        share = max(room, 0) // (len(waiting) - number)
        out.append(_cut(outline, share, wanted, held.get(outline.module, ())))
        room -= out[-1].size
    return tuple(sorted(out, key=lambda outline: outline.module))


def _cut(outline: Outline, share: int, wanted: AbstractSet[str], held: Collection[str]) -> Outline:
    if outline.size <= share:
        return outline
    ranked = sorted(
        outline.lines, key=lambda line: (line.name not in held, line.name.rpartition(".")[2] not in wanted, _rank(line))
    )
    kept = set()
    for line in ranked:
        if len(line.text) <= share or line.name in held:
            kept.add(line.name)
            share -= len(line.text)
    lines = tuple(line for line in outline.lines if line.name in kept)
    return replace(outline, lines=lines, partial=len(lines) < len(outline.lines))


def _rank(line: Line) -> int:
    """Return what a module is for, what it defines, their members; then constants and what it only passes on."""
    if line.name == "__doc__":
        return 0
    return (2 if "." in line.name else 1) if _DEFINES.match(line.text) else 3
