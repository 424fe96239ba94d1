"""Python files on disk -> FileDefinitions, each parsed once per version; and which file a module's name means.

What a long file defines is also kept in the data directory, by the file's content: the next kernel reads the text and
looks its entries up, which is over ten times faster than parsing. Only files that a name leads to are ever read, so
there is no cold start to wait for. Nothing here imports a module: names are looked up in `sys.modules` and on the
import path only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import sys
import threading
import tokenize
import zipimport
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

from agentnb.canonical import dump, load
from agentnb.context.definitions import (
    Entry,
    FileDefinitions,
    Import,
    ParseError,
)
from agentnb.context.scanning import parse_definitions
from agentnb.context.syntax import normalise
from agentnb.errors import StorageError
from agentnb.storage import Storage

BYTES_LIMIT = 32 * 2**20
"""Files above this are not read: no module written by hand is as long."""
KEPT_LINES = 600_000
"""Lines of parsed files that are kept in memory, about 100 MB."""


STORED_FROM = 20_000
"""Characters from which a file's entries are stored: a shorter one parses as fast as it is looked up."""
STORED_SECONDS = 90 * 86_400.0
FORMAT = 2
"""Grows when what is stored, or how it is read out of a source, changes."""


@dataclass(frozen=True, slots=True)
class _Kept:
    stamp: tuple[int, int]
    parsed: FileDefinitions


class FileIndex:
    """Parsed files by path. A file is read again when its size or modification time changes.

    A file that no longer parses keeps its last version that did, with `error` set. Safe to call from several threads.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        self.storage = storage
        """Where long files' entries outlive the kernel; None keeps them in memory only."""
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._lines = 0
        self._lock = threading.Lock()

    def definitions(self, path: Path, *, module: str) -> FileDefinitions | None:
        """The file's definitions; None when it cannot be read. `module` names it: `networkx.classes.graph`."""
        stamp = stamp_of(path)
        with self._lock:
            kept = self._kept.get(path)
        if kept and kept.stamp == stamp:
            return kept.parsed
        parsed = self._parse(path, module, kept)
        # A file that changes while it is read is read again next time.
        if parsed is not None and stamp_of(path) == stamp:
            self._keep(path, _Kept(stamp, parsed))
        return parsed

    def _parse(self, path: Path, module: str, kept: _Kept | None) -> FileDefinitions | None:
        try:
            text = read_source(path)
        except (OSError, zipimport.ZipImportError):
            return None
        except (SyntaxError, ValueError, LookupError) as error:
            return _unreadable(path, module, str(error))
        parsed = self._parse_text(text, module, relative_file(path, module))
        if parsed.error and kept and kept.parsed.entries:
            return replace(kept.parsed, error=parsed.error)
        return parsed

    def _parse_text(self, text: str, module: str, file: str) -> FileDefinitions:
        if self.storage is None or len(text) < STORED_FROM:
            return parse_definitions(text, module=module, file=file)
        key = _key(text, module, file)
        stored = self._load(key)
        if stored is not None:
            return from_stored(stored, text, module=module, file=file)
        parsed = parse_definitions(text, module=module, file=file)
        if not parsed.error:
            self._store(key, parsed)
        return parsed

    def _load(self, key: str) -> Any:
        assert self.storage is not None
        try:
            data = self.storage.get(key)
            return None if data is None else load(data)
        except (StorageError, ValueError):
            return None

    def _store(self, key: str, parsed: FileDefinitions) -> None:
        """The index may be lost: when the data directory is full or locked, it simply does not grow."""
        assert self.storage is not None
        with contextlib.suppress(StorageError):
            self.storage.set(key, dump(to_stored(parsed)), STORED_SECONDS)

    def _keep(self, path: Path, kept: _Kept) -> None:
        with self._lock:
            old = self._kept.pop(path, None)
            self._kept[path] = kept
            self._lines += len(kept.parsed.lines) - (len(old.parsed.lines) if old else 0)
            while self._lines > KEPT_LINES and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._lines -= len(dropped.parsed.lines)


def _key(text: str, module: str, file: str) -> str:
    """By content; by name too, since relative imports depend on it, and by Python version, since branches do."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    digest = hashlib.sha256("\0".join([module, file, text]).encode("utf-8", "surrogatepass")).hexdigest()
    return f"definitions/{FORMAT}/{version}/{digest}"


def to_stored(parsed: FileDefinitions) -> dict[str, Any]:
    """A file's entries as JSON; its text is not part of it."""
    return {
        "entries": [[e.name, e.kind, e.spans, e.weight, e.bases] for e in parsed.entries],
        "imports": [[i.bound, i.target, i.line, i.whole] for i in parsed.imports],
        "stars": parsed.stars,
        "doc": parsed.doc,
    }


def from_stored(stored: Any, text: str, *, module: str, file: str) -> FileDefinitions:
    """The same FileDefinitions as parsing `text` gives."""
    entries = (
        Entry(name=name, kind=kind, spans=tuple((a, b) for a, b in spans), weight=weight, bases=tuple(bases))
        for name, kind, spans, weight, bases in stored["entries"]
    )
    imports = (
        Import(bound=bound, target=target, line=line, whole=whole) for bound, target, line, whole in stored["imports"]
    )
    return FileDefinitions(
        module=module,
        file=file,
        lines=tuple(normalise(text).split("\n")),
        entries=tuple(entries),
        imports=tuple(imports),
        stars=tuple(stored["stars"]),
        doc=stored["doc"],
    )


def _unreadable(path: Path, module: str, why: str) -> FileDefinitions:
    error = ParseError(line=0, message=f"cannot be decoded: {why}")
    return FileDefinitions(
        module=module, file=relative_file(path, module), lines=(), entries=(), imports=(), error=error
    )


def stamp_of(path: Path) -> tuple[int, int]:
    """(modification time in ns, size), or (0, 0) for what is not a file of its own (inside a zip, gone)."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def read_source(path: Path) -> str:
    """The file's text in its declared encoding. Raises OSError, SyntaxError or ValueError; zips are looked into."""
    data = path.read_bytes() if path.is_file() else _from_zip(path)
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


def loaded_file(module: ModuleType) -> Path | None:
    """The Python file of a loaded module; None for built-in and compiled ones."""
    if not issubclass(type(module), ModuleType):
        return None  # cffi puts objects into sys.modules that only call themselves modules
    file = object.__getattribute__(module, "__dict__").get("__file__")
    if not isinstance(file, str) or not file.endswith((".py", ".pyw", ".pyi")):
        return None
    return Path(file)


def module_file(name: str, roots: Iterable[Path] = ()) -> Path | None:
    """The file of the module `name`, loaded or not; `roots` come before the import path. Imports nothing."""
    loaded = sys.modules.get(name)
    if isinstance(loaded, ModuleType):
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
    """The `.pyi` beside a compiled module, or beside the Python file of a package."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    origin = getattr(spec, "origin", None)
    if not isinstance(origin, str):
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
    """The dotted name of a file, from the loaded modules, or else from the packages that it lies in."""
    return _loaded_names().get(str(path)) or _name_from_packages(path)


_names: tuple[int, dict[str, str]] = (0, {})


def _loaded_names() -> dict[str, str]:
    global _names
    if _names[0] != len(sys.modules):
        found: dict[str, str] = {}
        modules: list[tuple[str, object]] = list(sys.modules.items())  # anybody may put anything there
        for name, module in modules:
            file = loaded_file(module) if isinstance(module, ModuleType) else None
            if file is not None and name != "__main__":
                found.setdefault(str(file), name)
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
    """The path below the package's parent (`networkx/classes/graph.py`): the same on every machine."""
    wanted = module.split(".")
    if path.stem == "__init__":
        wanted = [*wanted, "__init__"]
    tail = [*path.parts[-len(wanted) : -1], path.stem]
    return "/".join([*wanted[:-1], path.name]) if tail == wanted else path.name


SHARED = FileIndex()
"""The process's index. Whoever opens the data directory sets `SHARED.storage`."""
