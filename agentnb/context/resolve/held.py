"""Remember what the definitions that a thread holds were when last looked at, until their cell or file changes.

A thread holds a hundred definitions, and hardly any changes from one question to the next. A name is resolved again
only if its cell ran, its file was written, or its live object is another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from agentnb.canonical import JsonMapping
from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve.files import module_file, stamp_of
from agentnb.context.static.definitions import Definition
from agentnb.context.values import static_inspect

_Mark = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class HeldNow:
    """Tells what a held name was: its digest, what its signature shows, and what was noted about it."""

    digest: str
    shown: str
    notes: tuple[str, ...] = ()
    cell: str | None = None


@dataclass(frozen=True, slots=True)
class _KeptName:
    seen: HeldNow
    mark: _Mark
    file: Path | None
    roots: tuple[str, ...]


@dataclass(slots=True)
class HeldNames:
    """Holds what is remembered in a session, by name and form."""

    _kept: dict[tuple[str, str], _KeptName] = field(default_factory=dict)
    _stamps: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """Holds the files' stamps as this look at the thread found them, each asked for once."""

    def look_anew(self) -> None:
        """Forget the files' stamps: a new look at the thread begins."""
        self._stamps.clear()

    def known(self, name: str, form: str, cells: CellIndex, namespace: JsonMapping) -> HeldNow | None:
        """Return what the name is, where nothing that it depends on has changed since it was looked at."""
        kept = self._kept.get((name, form))
        if kept is None or self._mark(name, kept.file, kept.roots, cells, namespace) != kept.mark:
            return None
        return kept.seen

    def keep(self, form: str, found: Definition, seen: HeldNow, cells: CellIndex, namespace: JsonMapping) -> None:
        """Remember what a definition is now."""
        file = _file_of(found)
        roots = tuple(dict.fromkeys(name.partition(".")[0].removesuffix("()") for name in found.references))
        roots = roots if found.origin == "cell" else ()  # the imports that go along with it are the cells' own
        mark = self._mark(found.name, file, roots, cells, namespace)
        self._kept[found.name, form] = _KeptName(seen, mark, file, roots)

    def _mark(
        self, name: str, file: Path | None, roots: tuple[str, ...], cells: CellIndex, namespace: JsonMapping
    ) -> _Mark:
        """Return what a name's meaning depends on: bindings of its root and imports, live objects, the file's stamp."""
        parts = name.split(".")
        value = namespace.get(parts[0], static_inspect.MISSING)
        live = [id(value)]
        for part in parts[1:] if value is not static_inspect.MISSING else ():
            value = static_inspect.attribute(value, part)
            live.append(id(value))
            if value is static_inspect.MISSING:
                break
        bound = [cells.order_of(root) for root in (parts[0], *roots)]
        if file is not None and file not in self._stamps:
            self._stamps[file] = stamp_of(file)
        return (*live, *bound, self._stamps[file] if file else ())


def _file_of(found: Definition) -> Path | None:
    parts = found.name.split(".") if found.origin == "file" else []
    files = (module_file(".".join(parts[:end])) for end in range(len(parts), 0, -1))
    return next((file for file in files if file is not None), None)
