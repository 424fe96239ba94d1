"""The index of packages: one SQLite row a file (size, time, digest, entries), and the names that each defines.

It stands in a file of its own beside the journal's, so that filling it never keeps a run waiting, and is never loaded
as a whole. It may be lost or stale at any time: whoever reads a place from it reads that file's present text. A damaged
one is made anew; while it is locked or cannot be written it holds nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agentnb.context.static.definitions import FileDefinitions
from agentnb.errors import StorageDamaged, StorageError
from agentnb.storage import connect, make_private

DATABASE = f"index-{sys.version_info[0]}.{sys.version_info[1]}.db"
"""One for each Python version: which branch of a module counts depends on it."""
FORMAT = 3
"""Grows when what is stored, or how it is read out of a source, changes: the index is made anew then."""
BUSY_SECONDS = 0.2
"""A task never waits for the index: when another process writes for longer, it does without."""
NAMES_LIMIT = 200
_Stamp = tuple[int, int]
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRow:
    """What is known of one file. `stamp` is (modification time in ns, size), `digest` that of its bytes.

    `entries` are the bytes of `files.to_stored`; None for a file that parses as fast as it is looked up.
    """

    path: str
    stamp: _Stamp
    digest: str
    module: str
    entries: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a name is defined, as far as the index knows: `qualified` inside the file, `Graph.add_edge`."""

    path: str
    module: str
    qualified: str
    kind: str
    lines: tuple[int, int]

    rank: tuple[bool, bool, bool, bool]
    """Lower is likelier to be meant: no test, public, at its module's top, no constant."""


_TEST = re.compile(r"(?:^|\.)(?:tests?|_?testing_?|conftest|benchmarks?|examples?)(?=\.|$)|(?:^|\.)test_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the index has come with one package."""

    package: str
    done: int
    files: int

    def __str__(self) -> str:
        if self.done < self.files:
            return f"index: {self.package} {self.done:,} of {self.files:,} files"
        return f"index: {self.package}, {self.files:,} file{'' if self.files == 1 else 's'}"


class PackageIndex:
    """The index in the data directory `home`, opened when it is first asked. Safe from several threads.

    No question raises: what cannot be read is not there. `fill`, `drop` and `announce` raise StorageError.
    """

    def __init__(self, home: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.home = home
        self._busy_seconds = busy_seconds
        self.database = home / DATABASE
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def row(self, path: Path) -> FileRow | None:
        """What is known of this file."""
        found = self._ask("SELECT path, mtime, size, digest, module, entries FROM file WHERE path = ?", (str(path),))
        return _file_row(found[0]) if found else None

    def keep(self, row: FileRow) -> None:
        """Take in one file that was read because a name led to it. Where that fails, the index does not grow."""
        with contextlib.suppress(StorageError):
            self._write(lambda connection: _put(connection, "", row, named=0))

    def stamps(self, package: Path) -> dict[str, _Stamp]:
        """Path -> stamp of the package's files whose names are in the index."""
        sql = "SELECT path, mtime, size FROM file WHERE package = ? AND named = 1"
        return {path: (mtime, size) for path, mtime, size in self._ask(sql, (str(package),))}

    def fill(self, package: Path, files: Iterable[tuple[FileRow, FileDefinitions]]) -> None:
        """Take in files of a package with their names, in one transaction."""

        def write(connection: sqlite3.Connection) -> None:
            for row, parsed in files:
                number = _put(connection, str(package), row, named=1)
                connection.execute("DELETE FROM name WHERE file = ?", (number,))
                connection.executemany("INSERT OR IGNORE INTO name VALUES (?, ?, ?, ?, ?, ?)", _names(parsed, number))

        self._write(write)

    def drop(self, paths: Iterable[str]) -> None:
        """Forget files that are gone."""

        def write(connection: sqlite3.Connection) -> None:
            for path in paths:
                connection.execute("DELETE FROM name WHERE file = (SELECT id FROM file WHERE path = ?)", (path,))
                connection.execute("DELETE FROM file WHERE path = ?", (path,))

        self._write(write)

    def forget_missing(self) -> None:
        """Forget packages whose directory is gone: environments come and go."""
        gone = [(path,) for (path,) in self._ask("SELECT path FROM package", ()) if not Path(path).exists()]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM name WHERE file IN (SELECT id FROM file WHERE package = ?)", gone)
            connection.executemany("DELETE FROM file WHERE package = ?", gone)
            connection.executemany("DELETE FROM package WHERE path = ?", gone)

        if gone:
            self._write(write)

    def announce(self, package: Path, name: str, *, done: int, files: int) -> None:
        """Say how far the index has come with a package."""
        sql = "INSERT OR REPLACE INTO package VALUES (?, ?, ?, ?)"
        self._write(lambda connection: connection.execute(sql, (str(package), name, done, files)))

    def progress(self, packages: Iterable[Path]) -> list[Progress]:
        """How far the index has come with each of these packages that it has begun with."""
        wanted = {str(package) for package in packages}
        found = self._ask("SELECT path, name, done, files FROM package ORDER BY name", ())
        return [Progress(package=name, done=done, files=files) for path, name, done, files in found if path in wanted]

    def named(self, name: str, packages: Sequence[Path]) -> list[Place]:
        """Where `name` (`pagerank`, `Graph.add_edge`) is defined in these packages; likeliest first."""
        rows = self._ask(_NAMED.format(marks=_marks(packages)), (name.rpartition(".")[2], *map(str, packages)))
        inside = tuple(f"{package}{'' if package.suffix else os.sep}" for package in packages)
        places = (_place(row) for row in rows if row[0].startswith(inside))  # no path from elsewhere is ever read
        fitting = (place for place in places if f".{place.qualified}".endswith(f".{name}"))
        return sorted(fitting, key=lambda place: (place.rank, place.module.count("."), place.module, place.qualified))

    def beginning(self, prefix: str, packages: Sequence[Path], limit: int = 50) -> list[str]:
        """Public names that begin with `prefix`, of what these packages define at their modules' top."""
        sql = _BEGINNING.format(marks=_marks(packages))
        rows = self._ask(sql, (prefix, f"{prefix}\U0010ffff", *map(str, packages), limit * 10))
        public = (place.qualified for place in map(_place, rows) if not any(place.rank[:3]))
        return list(dict.fromkeys(public))[:limit]

    def close(self) -> None:
        """Close the connection; the next question opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _ask(self, sql: str, values: Sequence[object]) -> list[Any]:
        if self._connection is None and not self.database.exists():
            return []
        try:
            return self._with(lambda connection: connection.execute(sql, values).fetchall())
        except StorageError:
            return []

    def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def transaction(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                work(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

        self._with(transaction)

    def _with(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._lock:
            try:
                return work(self._open())
            except (sqlite3.Error, StorageDamaged) as error:
                if isinstance(error, StorageDamaged) or type(error) is sqlite3.DatabaseError:
                    self._begin_anew()
                raise StorageError(f"the index cannot be used: {error}", about=str(self.database)) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            make_private(self.home)
            connection = connect(self.database, synchronous="NORMAL", busy_seconds=self._busy_seconds)
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _begin_anew(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for ending in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self.database}{ending}").unlink(missing_ok=True)


_TABLES = (
    "CREATE TABLE package (path TEXT PRIMARY KEY, name TEXT, done INTEGER, files INTEGER) WITHOUT ROWID",
    "CREATE TABLE file (id INTEGER PRIMARY KEY, package TEXT, path TEXT UNIQUE, mtime INTEGER, size INTEGER,"
    " named INTEGER, digest TEXT, module TEXT, entries BLOB)",
    "CREATE INDEX file_stamp ON file (package, named, path, mtime, size)",
    "CREATE TABLE name (name TEXT, file INTEGER, qualified TEXT, kind TEXT, first INTEGER, last INTEGER,"
    " PRIMARY KEY (name, file, qualified)) WITHOUT ROWID",
    "CREATE INDEX name_file ON name (file)",
)
_PLACES = "SELECT file.path, module, qualified, kind, first, last FROM name JOIN file ON file.id = name.file"
_NAMED = f"{_PLACES} WHERE name = ? AND package IN ({{marks}}) LIMIT {NAMES_LIMIT}"
_BEGINNING = f"{_PLACES} WHERE name >= ? AND name < ? AND package IN ({{marks}}) LIMIT ?"


def _prepare(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] == FORMAT:
        return
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
        for table in ("package", "file", "name"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for sql in _TABLES:
            connection.execute(sql)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _put(connection: sqlite3.Connection, package: str, row: FileRow, *, named: int) -> int:
    values = (package, *row.stamp, named, row.digest, row.module, row.entries)
    found = connection.execute("SELECT id, package FROM file WHERE path = ?", (row.path,)).fetchone()
    if found is None:
        sql = "INSERT INTO file (package, mtime, size, named, digest, module, entries, path) VALUES (?,?,?,?,?,?,?,?)"
        return int(connection.execute(sql, (*values, row.path)).lastrowid or 0)
    sql = (
        "UPDATE file SET package = ?, mtime = ?, size = ?, named = ?, digest = ?, module = ?, entries = ? WHERE id = ?"
    )
    connection.execute(sql, (package or found[1], *values[1:], found[0]))
    return int(found[0])


def _names(parsed: FileDefinitions, number: int) -> Iterable[tuple[object, ...]]:
    """What people may name: not what is inside functions, and no `__special__` methods, which every class has."""
    for qualified, entry in parsed.chosen.items():
        name = qualified.rpartition(".")[2]
        if "<locals>" not in qualified and not (name.startswith("__") and name.endswith("__")):
            yield name, number, qualified, entry.kind, *entry.lines


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _file_row(row: tuple[Any, ...]) -> FileRow:
    path, mtime, size, digest, module, entries = row
    return FileRow(path=path, stamp=(mtime, size), digest=digest, module=module, entries=entries)


def _place(row: tuple[Any, ...]) -> Place:
    path, module, qualified, kind, first, last = row
    private = "._" in f".{module}.{qualified}"
    rank = (bool(_TEST.search(module)), private, "." in qualified, kind in {"constant", "type alias"})
    return Place(path=path, module=module, qualified=qualified, kind=kind, lines=(first, last), rank=rank)
