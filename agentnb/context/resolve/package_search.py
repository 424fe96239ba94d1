"""Search the text of the packages in use for a name that nothing in the notebook leads to.

It happens when such a name is asked for: in backticks, by `inspect`, or to pin it. A file is read if it is new or has
changed. Only one that seems to define the name is parsed. Nothing is imported.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from agentnb.canonical import JsonMapping
from agentnb.context.notebook.trace import is_library
from agentnb.context.resolve.files import module_file
from agentnb.context.resolve.text import Texts
from agentnb.context.static.definitions import Definition
from agentnb.context.values import static_inspect

SEARCHES = 5
"""Names of one task that are searched for: a pasted page of documentation names a hundred."""
FILE_BYTES = 4 * 2**20
"""Files above this are left out: no module written by hand is as long."""
TOTAL_BYTES = 150 * 2**20
"""Bytes of one search, about 0.25 s: the user's own packages come first."""
SECONDS = 0.3
"""Time for all searches of one task: what was found by then counts."""
PARSED = 6
"""Files that are parsed for one name; more that seem to define it leave it ambiguous anyway."""
KEPT = 20_000
"""Files and names whose answers are remembered."""
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
_TEST = re.compile(r"(?:^|\.)(?:tests?|_?testing_?|conftest|benchmarks?|examples?)(?=\.|$)|(?:^|\.)test_")
_Stamp = tuple[int, int]


def packages_in_use(targets: Iterable[str], namespace: JsonMapping, roots: Iterable[Path] = ()) -> dict[str, Path]:
    """Name -> directory (or the one file) of the packages that cells import and that the namespace's modules are of.

    `targets` are dotted names as cells import them. Compiled and built-in modules have no files. Imports nothing.
    """
    named = static_inspect.public(namespace)
    modules = [
        static_inspect.module_text(value, "__name__") for _, value in named if static_inspect.is_a(value, ModuleType)
    ]
    roots = tuple(roots)
    found = (_package_of(target, roots) for target in dict.fromkeys([*targets, *modules]))
    return dict(sorted(item for item in found if item))


def _package_of(target: str, roots: Iterable[Path]) -> tuple[str, Path] | None:
    """Return the outermost package that has a file: for `google.genai.types` that is `google.genai`."""
    parts = target.split(".")
    for end in (1, 2):
        name = ".".join(parts[:end])
        path = module_file(name, roots)
        if path is not None and name != "__main__":
            return name, path.parent if path.name == "__init__.py" else path
    return None


class PackageSearch:
    """Holds the packages in use as one task searches them, the user's own first."""

    def __init__(
        self, texts: Texts, packages: Mapping[str, Path], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._texts = texts
        self._clock = clock
        self._left = SECONDS
        self._packages = sorted(packages.items(), key=lambda item: is_library(str(item[1])))
        self._found: dict[str, list[Definition]] = {}

    def likeliest(self, name: str) -> Definition | None:
        """Return the one definition of that name, or the one that stands out: public, at its module's top, no
        constant."""
        found = self._search(name)
        return found[0] if len(found) == 1 else None

    def candidates(self, name: str) -> list[str]:
        """Return the full names among which `likeliest` cannot choose."""
        return [definition.name for definition in self._search(name)]

    def _search(self, name: str) -> list[Definition]:
        if name not in self._found and len(self._found) < SEARCHES:
            self._found[name] = list(self._best(name))
        return self._found.get(name, [])

    def _best(self, name: str) -> Iterator[Definition]:
        """Yield the likeliest definitions of that name as they stand in their files now."""
        places = list(self._places(name))
        least = min((place.rank for place in places), default=None)
        for place in [place for place in places if place.rank == least][:PARSED]:
            file = self._texts.read(Path(place.path), place.module)
            for qualified in file.chosen if file else ():
                if f".{qualified}".endswith(f".{name}") and file:
                    yield file.by_name[qualified]

    def _places(self, name: str) -> Iterator[_LikelyFile]:
        left, begun = TOTAL_BYTES, self._clock()
        for package, root in self._packages:
            for path, stamp in _listed(root, tests=name.lower().startswith("test")).items():
                left -= stamp[1]
                in_time = self._clock() - begun < self._left
                wanted = 0 < stamp[1] <= FILE_BYTES and left > 0 and in_time
                rank = _rank(path, stamp, name) if wanted else None
                if rank is not None:
                    module = _module_in(root, package, path)
                    private = any(part.startswith("_") for part in f"{module}.{name}".split("."))
                    yield _LikelyFile(path, module, (private, *rank))
        self._left -= self._clock() - begun


@dataclass(frozen=True, slots=True)
class _LikelyFile:
    """Holds a file that seems to define a name. The lower its rank, the likelier it is meant."""

    path: str
    module: str
    rank: tuple[bool, bool, bool]
    """Order of the places: private (name or module), inside something, a constant."""


@lru_cache(KEPT)
def _rank(path: str, stamp: _Stamp, name: str) -> tuple[bool, bool] | None:
    """Return (inside something, a constant) of the definition that the file seems to hold; None where it holds none.

    Remembered for each version of a file, which `stamp` tells.
    """
    owner, _, last = name.rpartition(".")
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - thousands of files: a Path each would take as long as reading
            text = file.read(FILE_BYTES)
    except OSError:
        return None
    if last.encode() not in text or not all(part.encode() in text for part in owner.split(".")):
        return None
    found = re.search(_DEFINED % (re.escape(last).encode(), re.escape(last).encode()), text, re.MULTILINE)
    return None if found is None else (bool(found[1]), found[2] is None)


_DEFINED = rb"^([ \t]*)(?:async[ \t]+)?(def|class)[ \t]+%s\b|^%s[ \t]*(?::[^=\n]+)?=(?!=)"


def _listed(root: Path, *, tests: bool) -> dict[str, _Stamp]:
    """Path -> (modification time in ns, size) of the package's Python files, or of the module's one file.

    Links to directories are not followed, so no loop can hold it up; tests count only for who names one.
    """
    if root.suffix == ".py":
        return {str(root): stamp} if (stamp := _stamp_of(root)) else {}
    out: dict[str, _Stamp] = {}
    waiting = [str(root)]
    while waiting:
        for entry in _entries(waiting.pop()):
            if not tests and _TEST.search(entry.name.removesuffix(".py")):
                continue
            if entry.is_dir(follow_symlinks=False):
                if entry.name[0] != "." and entry.name not in _SKIPPED:
                    waiting.append(entry.path)
            elif entry.name.endswith(".py") and (stamp := _stamp_of(entry)):
                out[entry.path] = stamp
    return dict(sorted(out.items()))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _stamp_of(file: Path | os.DirEntry[str]) -> _Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None


def _module_in(package: Path, name: str, path: str) -> str:
    """Return the dotted name of a file of the package `name` that stands at `package`."""
    if str(package) == path:
        return name
    parts = Path(path).relative_to(package).with_suffix("").parts
    return ".".join([name, *(parts[:-1] if parts[-1] == "__init__" else parts)])
