"""Read Python files into FileDefinitions, each parsed once per version; tell which file a module's name means.

Nothing here imports a module: names are looked up in `sys.modules`
and on the import path only.
"""

from __future__ import annotations

import importlib.machinery
import sys
import threading
import tokenize
import zipimport
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

from agentnb.context.notebook.trace import is_library
from agentnb.context.static.definitions import FileDefinitions, ParseError
from agentnb.context.static.scanner import parse_definitions
from agentnb.context.values import static_inspect

BYTES_LIMIT = 32 * 2**20
"""Files above this are not read: no module written by hand is as long."""
KEPT_LINES = 600_000
"""Lines of parsed files that are kept in memory, about 100 MB."""
TRIES = 3
"""Attempts at reading a file that changes meanwhile."""


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: tuple[int, int]
    parsed: FileDefinitions


class FileIndex:
    """Parsed files by path. A file is read again when its size or modification time changes.

    A file that no longer parses keeps its last version that did, with `error` set. Safe to call from several threads.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._lines = 0
        self._lock = threading.Lock()

    def definitions(self, path: Path, *, module: str) -> FileDefinitions | None:
        """Return the file's definitions; None when it cannot be read. `module` names it: `networkx.classes.graph`."""
        stamp = stamp_of(path)
        with self._lock:
            kept = self._kept.get(path)
        if kept and kept.stamp == stamp:
            return kept.parsed
        for _ in range(TRIES):
            parsed = self._parse(path, module, kept.parsed if kept else None)
            before, stamp = stamp, stamp_of(path)
            if stamp == before:
                break  # else it changed while it was read; one that never comes to rest is read again next time
        else:
            return parsed
        if parsed is not None:
            self._keep(path, _Kept(stamp, parsed))
        return parsed

    def _parse(self, path: Path, module: str, before: FileDefinitions | None) -> FileDefinitions | None:
        try:
            data = read_bytes(path)
        except (OSError, zipimport.ZipImportError):
            return None
        before = before if before and before.module == module else None
        parsed = parsed_source(data, path, module)
        if parsed.error and before and before.entries and (before.outdated or not before.error):
            return replace(before, error=parsed.error, outdated=True)
        return parsed

    def _keep(self, path: Path, kept: _Kept) -> None:
        with self._lock:
            old = self._kept.pop(path, None)
            self._kept[path] = kept
            self._lines += len(kept.parsed.lines) - (len(old.parsed.lines) if old else 0)
            while self._lines > KEPT_LINES and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._lines -= len(dropped.parsed.lines)


def parsed_source(data: bytes, path: Path, module: str) -> FileDefinitions:
    """Return what a file of these bytes defines."""
    file = relative_file(path, module)
    try:
        text = decoded(data)
    except (SyntaxError, ValueError, LookupError) as error:
        why = ParseError(line=0, message=f"cannot be decoded: {error}")
        return FileDefinitions(module=module, file=file, lines=(), entries=(), imports=(), error=why)
    parsed = parse_definitions(text, module=module, file=file)
    return replace(parsed, library=True) if is_library(str(path)) else parsed


def stamp_of(path: Path) -> tuple[int, int]:
    """Return (modification time in ns, size). (0, 0) stands for no file of its own: gone, or inside a zip."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_bytes(path: Path) -> bytes:
    """Return the file's bytes; zips are looked into. Raises OSError."""
    if not path.is_file():
        return _from_zip(path)
    with path.open("rb") as file:
        return file.read(BYTES_LIMIT + 1)


def decoded(data: bytes) -> str:
    """Return the text in its declared encoding. Raises SyntaxError, ValueError or LookupError."""
    if len(data) > BYTES_LIMIT:
        raise ValueError(f"larger than {BYTES_LIMIT >> 20} MB")
    encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
    return data.decode(encoding)


def _from_zip(path: Path) -> bytes:
    for parent in path.parents:
        if parent.is_file():
            return zipimport.zipimporter(str(parent)).get_data(str(path))
    raise FileNotFoundError(str(path))


# modules and files ----------------------------------------------------------------------------------------------------


PYTHON = (".py", ".pyw", ".pyi")


def loaded_file(module: ModuleType) -> Path | None:
    """Return the Python file of a loaded module; None for built-in and compiled ones."""
    if not static_inspect.is_a(module, ModuleType):
        return None  # cffi puts objects into sys.modules that only call themselves modules
    file = static_inspect.module_text(module, "__file__")
    return path_of(file) if file.endswith(PYTHON) else None


@lru_cache(8192)
def path_of(file: str) -> Path:
    """Return the file's path. Taking its text apart costs more than what follows."""
    return Path(file)


def module_file(name: str, roots: Iterable[Path] = ()) -> Path | None:
    """Return the file of the module `name`, loaded or not; `roots` come before the import path. Imports nothing."""
    loaded = static_inspect.loaded_module(name)
    if loaded is not None:
        return loaded_file(loaded)
    search: list[str] | None = [*(str(root) for root in roots), *sys.path]
    spec = None
    parts = name.split(".")
    for i in range(len(parts)):
        spec = _find_spec(".".join(parts[: i + 1]), search)
        if spec is None:
            return None
        search = list(spec.submodule_search_locations or ())
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith((".py", ".pyw")) else None


def stub_file(name: str) -> Path | None:
    """Return the `.pyi` beside a compiled module, or beside the Python file of a package."""
    loaded = static_inspect.loaded_module(name)
    spec = static_inspect.module_dict(loaded).get("__spec__") if loaded is not None else None
    origin = static_inspect.plain(static_inspect.own_dict(spec).get("origin"))
    if not origin:
        return None
    path = Path(origin)
    beside = path.with_name(f"{path.name.partition('.')[0]}.pyi")
    return beside if beside.is_file() else None


def _find_spec(name: str, search: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.machinery.PathFinder.find_spec(name, search)
    except (ImportError, OSError, ValueError, AttributeError):
        return None


def module_name(path: Path) -> str:
    """Return the dotted name of a file, from the loaded modules, or else from the packages that it lies in."""
    return _loaded_names().get(str(path)) or _name_from_packages(path)


_names: tuple[int, dict[str, str]] = (0, {})


def _loaded_names() -> dict[str, str]:
    global _names
    if _names[0] != len(sys.modules):
        found: dict[str, str] = {}
        modules: list[tuple[str, Any]] = list(sys.modules.items())  # anybody may put anything there
        for name, module in modules:
            file = static_inspect.module_text(module, "__file__") if static_inspect.is_a(module, ModuleType) else ""
            if file.endswith(PYTHON) and name != "__main__":
                found.setdefault(file, name)
        _names = (len(sys.modules), found)
    return _names[1]


def _name_from_packages(path: Path) -> str:
    parts = [] if path.stem == "__init__" else [path.stem]
    for parent in path.parents:
        if not (parent / "__init__.py").is_file():
            break
        parts.insert(0, parent.name)
    return ".".join(parts) or path.parent.name


def relative_file(path: Path, module: str) -> str:
    """Return the path below the package's parent (`networkx/classes/graph.py`): the same on every machine."""
    wanted = module.split(".")
    if path.stem == "__init__":
        wanted = [*wanted, "__init__"]
    tail = [*path.parts[-len(wanted) : -1], path.stem]
    return "/".join([*wanted[:-1], path.name]) if tail == wanted else path.name


SHARED = FileIndex()
"""The process's index."""
