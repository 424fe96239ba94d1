"""Open the data directory: one diskcache opened safely, and the SQLite file in it.

diskcache serves what may be lost: token counts, the ledger of prompt caches, pins. The run journal keeps tables of its
own in the same `cache.db`, over its own connection from `connect`. Three of diskcache's habits are unsafe for this and
are switched off here (diskcache 5.6.3, read 2026-11-22):

- It unpickles values and keys that a row declares as pickled (CVE-2025-69872). So whoever can write the file could run
  code. `_raw_disk` writes and reads raw bytes only, and refuses every other mode, key form and file name.
- It evicts the oldest rows at 1 GiB. Here the eviction policy is "none" and the cull limit 0.
- It moves values of 32 KB and more into unsynced files. Here all values stay in SQLite.

This module is the home of diskcache, which is imported only when a directory is opened.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from agentnb.errors import StorageDamaged, StorageError, StorageFull, StorageLocked, StorageReadOnly, StorageUnsafe

DATABASE = "cache.db"
BUSY_SECONDS = 30.0
"""Seconds that a writer waits for another process's transaction before StorageLocked."""

_PAGE = 1024
"""Bytes of a page of a new file. A step of the journal changes two pages, and most steps add less than this. With
SQLite's 4,096 such a step costs a fifth more. One of 20 kB, which is rare, costs a quarter less."""
_LARGER_THAN_ANY_VALUE = 2**40
_AUTO_VACUUM_NONE = 0  # the free pages are reused; FULL would move pages about at every commit of the journal
_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": _LARGER_THAN_ANY_VALUE,
    "disk_pickle_protocol": 0,
    "sqlite_auto_vacuum": _AUTO_VACUUM_NONE,
    "sqlite_cache_size": 8192,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,  # with a mapping, a full disk or a damaged file would be a SIGBUS instead of an error
    "sqlite_synchronous": 1,
    "size_limit": _LARGER_THAN_ANY_VALUE,
}
_COUNTERS = {"count", "size", "hits", "misses"}


def open_storage(home: Path | str) -> Storage:
    """Return the data directory at `home`, made with mode 0700 if it is missing.

    Raises StorageUnsafe where others could write in it, StorageReadOnly, StorageDamaged, StorageLocked, StorageFull.
    """
    path = Path(home).absolute()
    make_private(path)
    return Storage(path)


class Storage:
    """Bytes under text keys that may be lost, and the path of the SQLite file. Safe from several threads."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.database = home / DATABASE
        self._opening = threading.Lock()
        self._opened: Any = None
        if not self.database.exists():
            with _translated(self.database):
                connect(self.database).close()  # gives the file its page size: diskcache would set it too late
            self._cache()
            flush_directory(home)

    def get(self, key: str) -> bytes | None:
        """Return the value under `key`, or None where there is none or its time is over."""
        value = self._call("get", key)
        return None if value is None else bytes(value)

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep `value` under `key`, for `ttl` seconds (None: for good)."""
        self._call("set", key, value, expire=ttl)

    def delete(self, key: str) -> None:
        """Forget `key`, where it is there."""
        self._call("delete", key)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys that begin with `prefix` and are not over, sorted."""
        with _translated(self.database):
            self._cache()  # makes the table
            with closing(connect(self.database)) as connection:
                return [row[0] for row in connection.execute(_KEYS, (prefix, prefix + "\U0010ffff"))]

    def prune(self) -> int:
        """Remove what is over; gives the number of rows removed."""
        return int(self._call("expire"))

    def close(self) -> None:
        """Close diskcache's connection of this thread; the next call opens it again."""
        if self._opened is not None:
            self._opened.close()

    def _call(self, name: str, *args: object, **options: object) -> Any:
        with _translated(self.database), _timeouts_translated(self.database):
            return getattr(self._cache(), name)(*args, **options)

    def _cache(self) -> Any:
        with self._opening:
            if self._opened is None:
                self._opened = _open_diskcache(self.home)
            return self._opened


_KEYS = (
    "SELECT key FROM Cache WHERE raw = 1 AND typeof(key) = 'text' AND key >= ? AND key < ?"
    " AND (expire_time IS NULL OR expire_time > (julianday('now') - 2440587.5) * 86400.0) ORDER BY key"
)


def connect(
    database: Path | str, *, synchronous: str = "FULL", busy_seconds: float = BUSY_SECONDS
) -> sqlite3.Connection:
    """Return a connection of one's own to the SQLite file: WAL, flushed at each commit, one thread at a time.

    `synchronous="NORMAL"` does not flush: a power cut may then take the newest commits with it.
    """
    with _translated(database):
        connection = sqlite3.connect(str(database), timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, database, synchronous)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, database: Path | str, synchronous: str) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute("PRAGMA journal_mode = WAL")
        flush_directory(Path(database).parent)
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if synchronous.upper() == 'NORMAL' else 'FULL'}")
    connection.execute("PRAGMA trusted_schema = OFF")  # what a tampered schema calls has no side effects
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # a damaged file shows now, not later


def flush_directory(directory: Path) -> None:
    """Make durable that files were made and deleted in it.

    SQLite's FULL deletes the rollback journal of the change to WAL without flushing the directory. If a power cut
    brought it back, it would roll the file back to before that change. The WAL with all its steps would then be
    ignored.
    """
    if sys.platform == "win32":  # which cannot open directories
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(database: Path | str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, database) from error
    except OSError as error:
        raise StorageError(
            f"the data directory cannot be used: {error.strerror or error}",
            about=str(database),
            todo="Set AGENTNB_HOME to a directory that can be written.",
        ) from error
    except UnicodeDecodeError as error:  # SQLite quotes what it cannot read
        raise StorageDamaged("the database is damaged", about=str(database), todo="Put back a copy.") from error


_BY_CODE: dict[int, tuple[type[StorageError], str, str]] = {
    sqlite3.SQLITE_FULL: (StorageFull, "the disk is full; nothing of this write was kept", "Free some space."),
    sqlite3.SQLITE_READONLY: (
        StorageReadOnly,
        "the database cannot be written",
        "Make its directory and its files writable for you, or set AGENTNB_HOME to another directory.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StorageReadOnly,
        "the database cannot be opened for writing",
        "Make its directory writable for you, or set AGENTNB_HOME to another directory.",
    ),
    sqlite3.SQLITE_BUSY: (
        StorageLocked,
        "another process has kept the database locked",
        "Try again, or end the process that holds it.",
    ),
    sqlite3.SQLITE_LOCKED: (StorageLocked, "the database is locked within this process", "Try again."),
    sqlite3.SQLITE_CORRUPT: (
        StorageDamaged,
        "the database is damaged",
        "Move it aside, or copy what can be read with `sqlite3 cache.db .recover`. Nothing was changed.",
    ),
    sqlite3.SQLITE_NOTADB: (
        StorageDamaged,
        "the file is not a database, or its beginning is damaged",
        "Move it aside (a new one is made), or put back a copy. Nothing was changed.",
    ),
}


def translate(error: sqlite3.Error, database: Path | str) -> StorageError:
    """Return our error for one of SQLite's; the one place where they are told apart."""
    code = getattr(error, "sqlite_errorcode", None)
    kind, what, todo = _BY_CODE.get((code or 0) & 0xFF, (StorageError, f"the database failed: {error}", ""))
    return kind(what, about=str(database), todo=todo)


def translate_busy(database: Path | str) -> StorageError:
    """Return what `translate` gives for SQLITE_BUSY."""
    kind, what, todo = _BY_CODE[sqlite3.SQLITE_BUSY]
    return kind(what, about=str(database), todo=todo)


def make_private(home: Path) -> None:
    """Make `home` with mode 0700, or see that nobody else can write in it. An empty directory of ours is tightened."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StorageError(
            "the data directory's path is a file", about=str(home), todo="Set AGENTNB_HOME to a directory."
        ) from error
    except OSError as error:
        raise StorageReadOnly(
            f"the data directory cannot be made: {error.strerror}",
            about=str(home),
            todo="Set AGENTNB_HOME to a directory that can be made and written.",
        ) from error
    if sys.platform != "win32":
        _check_owner_and_mode(home)


def _check_owner_and_mode(home: Path) -> None:
    status = home.stat()
    if status.st_uid not in (os.getuid(), 0):
        raise StorageUnsafe("the data directory belongs to another user", about=str(home), todo="Name one of your own.")
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o077:
        return
    ours = not any(home.iterdir()) or (home / DATABASE).exists()
    if mode & 0o022 or not ours:
        raise StorageUnsafe(
            f"the data directory is open to others (mode {mode:04o})",
            about=str(home),
            todo="Name an empty or a new directory, or close this one with `chmod 700`.",
        )
    home.chmod(0o700)


def _open_diskcache(home: Path) -> Any:
    import diskcache

    if os.path.expandvars(home) != str(home):
        raise StorageError("diskcache would replace the `$` in the path", about=str(home), todo="Use another path.")
    _refuse_foreign_settings(home / DATABASE)
    with _translated(home / DATABASE), _timeouts_translated(home / DATABASE):
        return diskcache.Cache(str(home), timeout=BUSY_SECONDS, disk=_raw_disk(), **_SETTINGS)


@contextmanager
def _timeouts_translated(database: Path) -> Iterator[None]:
    import diskcache

    try:
        yield
    except diskcache.Timeout as error:
        raise translate_busy(database) from error


def _refuse_foreign_settings(database: Path) -> None:
    """Refuse what is not ours. diskcache puts what its Settings table says into PRAGMAs and attributes: only the names
    it knows may be there."""
    if not database.exists():
        return
    with _translated(database), closing(connect(database)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'Settings'").fetchone():
            return
        names = {row[0] for row in connection.execute("SELECT key FROM Settings")}
    foreign = sorted(repr(name) for name in names - _SETTINGS.keys() - _COUNTERS)
    if foreign:
        raise StorageUnsafe(
            f"the database holds settings that agentnb never writes: {', '.join(foreign)}",
            about=str(database),
            todo="It may have been tampered with; move it aside.",
        )


@functools.cache
def _raw_disk() -> type[Any]:
    from diskcache import Disk

    return type("RawDisk", (_RawOnly, Disk), {})


class _RawOnly:
    """Does what diskcache asks of a Disk, with raw bytes under text keys and with nothing else."""

    def put(self, key: object) -> tuple[object, bool]:
        if not isinstance(key, str):
            raise StorageUnsafe(f"a key must be text, not {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> object:
        if not raw or not isinstance(key, str):
            raise _tampered("a key that is not raw text")
        return key

    def store(self, value: object, read: bool, key: object = None) -> tuple[int, int, None, memoryview]:
        if read or not isinstance(value, bytes):
            raise StorageUnsafe(f"a value must be bytes, not {type(value).__name__}")
        return 0, _MODE_RAW, None, memoryview(value)

    def fetch(self, mode: object, filename: object, value: object, read: object) -> bytes:
        if mode != _MODE_RAW or filename is not None or read or not isinstance(value, bytes):
            raise _tampered(f"a value of mode {mode!r} in the file {filename!r}")
        return value

    def filename(self, key: object = None, value: object = None) -> tuple[str, str]:
        raise StorageUnsafe("values are kept in the database, never in files")

    def remove(self, file_path: object) -> None:
        raise _tampered(f"a row that names the file {file_path!r}")


_MODE_RAW = 1


def _tampered(found: str) -> StorageUnsafe:
    return StorageUnsafe(
        f"the database holds {found}, which agentnb never writes; it was not read",
        todo="The file may have been tampered with; move it aside.",
    )
