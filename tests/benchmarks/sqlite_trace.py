"""See every write and every flush that SQLite makes, from inside its own file layer, with nothing to install.

A layer over SQLite's default VFS, made with ctypes in the very library that Python's sqlite3 uses: `xSync` is called
once for each fsync or fdatasync of a file, so counting it counts flushes exactly (`strace -c -e fdatasync,fsync`
agrees, but for the one fsync of the directory when a file is made). The writes are kept too, so that a power cut can
be played: what was not flushed may be lost, wholly or in part. Source of the structures: sqlite3.h, 3.40.
"""

from __future__ import annotations

import ctypes
import os
import random
import stat
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

WORD = ctypes.sizeof(ctypes.c_void_p)
OK = 0

_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        ("delete", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 13),
    ]  # fmt: skip


_METHODS = ctypes.c_void_p * 20  # version (padded), xClose, xRead, xWrite, xTruncate, xSync, ...


class Operation(NamedTuple):
    """`kind` is write, truncate, sync, delete, directory (flushed by us) or ack; `note` is what was acknowledged."""

    kind: str
    name: str
    offset: int = 0
    data: bytes = b""
    note: Any = None


class Trace:
    """What SQLite did to its files, in order, since the trace was opened."""

    def __init__(self, *, keep_data: bool, delay: float) -> None:
        self.keep_data = keep_data
        self.delay = delay
        self.operations: list[Operation] = []
        self.flushes: Counter[str] = Counter()
        self.written = 0

    def acknowledge(self, note: Any) -> None:
        """Say that a caller has been told: this is durable."""
        self.operations.append(Operation("ack", "", note=note))

    def note(self, operation: Operation) -> None:
        if operation.kind == "sync":
            self.flushes[operation.name] += 1
        self.written += len(operation.data)
        if self.keep_data:
            self.operations.append(operation)


def _library() -> ctypes.CDLL:
    import _sqlite3

    library = ctypes.CDLL(_sqlite3.__file__)  # its symbols include those of the SQLite that it is linked with
    library.sqlite3_vfs_find.restype = ctypes.c_void_p
    library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
    library.sqlite3_vfs_register.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.sqlite3_vfs_unregister.argtypes = [ctypes.c_void_p]
    return library


def available() -> bool:
    """False where Python was built with a SQLite whose symbols cannot be reached."""
    try:
        return bool(_library().sqlite3_vfs_find(None))
    except (OSError, AttributeError, ImportError):
        return False


# Callbacks and structures must live as long as SQLite may call them: to the end of the process.
_KEPT: list[Any] = []


@contextmanager
def tracing(*, keep_data: bool = False, delay: float = 0.0) -> Iterator[Trace]:
    """Trace all SQLite files that are opened in this block, in this process; each flush takes `delay` seconds more."""
    library, trace = _library(), Trace(keep_data=keep_data, delay=delay)
    address = library.sqlite3_vfs_find(None)
    layer = _layer(address, trace)
    library.sqlite3_vfs_register(ctypes.byref(layer), 1)
    fsync = os.fsync

    def flush(descriptor: int) -> None:
        fsync(descriptor)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            trace.note(Operation("directory", ""))

    os.fsync = flush
    try:
        yield trace
    finally:
        os.fsync = fsync
        library.sqlite3_vfs_register(address, 1)
        library.sqlite3_vfs_unregister(ctypes.byref(layer))


def _layer(address: int, trace: Trace) -> _Vfs:
    original = _Vfs.from_address(address)
    layer = _Vfs()
    ctypes.memmove(ctypes.byref(layer), address, ctypes.sizeof(_Vfs))
    open_below, delete_below = _OPEN(original.open), _DELETE(original.delete)
    names: dict[int, str] = {}
    methods: dict[int, Any] = {}

    # A name is passed on as the pointer it came as: SQLite keeps it, and a copy of Python's would be gone by then.
    def open_file(vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        code = open_below(address, name, file, flags, out)
        table = ctypes.c_void_p.from_address(file)
        if code == OK and table.value and name:
            names[file] = _file_name(name)
            if table.value not in methods:
                methods[table.value] = _wrapped(table.value, trace, names)
            table.value = ctypes.addressof(methods[table.value])
        return int(code)

    def delete_file(vfs: int, name: int, sync: int) -> int:
        trace.note(Operation("delete", _file_name(name), offset=sync))
        return int(delete_below(address, name, sync))

    callbacks = (_OPEN(open_file), _DELETE(delete_file))
    layer.name = b"traced"
    layer.open = ctypes.cast(callbacks[0], ctypes.c_void_p).value
    layer.delete = ctypes.cast(callbacks[1], ctypes.c_void_p).value
    _KEPT.append((layer, callbacks, names, methods, open_below, delete_below))
    return layer


def _file_name(address: int) -> str:
    return Path(ctypes.string_at(address).decode()).name


def _wrapped(address: int, trace: Trace, names: dict[int, str]) -> Any:
    table = _METHODS()
    ctypes.memmove(table, address, ctypes.sizeof(ctypes.c_void_p) * 19)
    write_below, truncate_below, sync_below = _WRITE(table[3]), _TRUNCATE(table[4]), _SYNC(table[5])

    def write(file: int, data: int, amount: int, offset: int) -> int:
        content = ctypes.string_at(data, amount) if trace.keep_data else b""
        trace.note(Operation("write", names[file], offset, content))
        return int(write_below(file, data, amount, offset))

    def truncate(file: int, size: int) -> int:
        trace.note(Operation("truncate", names[file], size))
        return int(truncate_below(file, size))

    def sync(file: int, flags: int) -> int:
        code = int(sync_below(file, flags))
        if trace.delay:
            time.sleep(trace.delay)
        trace.note(Operation("sync", names[file]))
        return code

    callbacks = (_WRITE(write), _TRUNCATE(truncate), _SYNC(sync))
    for index, callback in zip((3, 4, 5), callbacks, strict=True):
        table[index] = ctypes.cast(callback, ctypes.c_void_p).value
    _KEPT.append((table, callbacks, write_below, truncate_below, sync_below))
    return table


def after_power_cut(operations: list[Operation], cut: int, chance: random.Random) -> dict[str, bytes]:
    """The files as a disk may hold them when the power fails after `cut` operations.

    What was flushed is there. Of what was written since a file's last flush, any part may be: each write is lost,
    kept, or torn at a sector of 512 bytes, whatever became of the ones before it.
    """
    files: dict[str, bytearray] = {}
    last_sync = {o.name: index for index, o in enumerate(operations[:cut]) if o.kind in ("sync", "directory")}
    for index, operation in enumerate(operations[:cut]):
        if operation.kind in ("write", "truncate", "delete"):
            flushed = index < last_sync.get("" if operation.kind == "delete" else operation.name, -1)
            flushed |= _is_synced_delete(operation)
            _apply(files, operation, None if flushed else chance)
    return {name: bytes(data) for name, data in files.items()}


def _is_synced_delete(operation: Operation) -> bool:
    """SQLite flushes the directory after such a deletion, before it goes on."""
    return operation.kind == "delete" and bool(operation.offset)


def _apply(files: dict[str, bytearray], operation: Operation, chance: random.Random | None) -> None:
    data, file = operation.data, files.setdefault(operation.name, bytearray())
    if chance is not None:
        fate = chance.random()
        if fate < 0.4:
            return
        if fate < 0.6:
            data = data[: 512 * chance.randrange(len(data) // 512 + 1)]
    if operation.kind == "delete":
        files.pop(operation.name, None)
    elif operation.kind == "truncate":
        del file[operation.offset :]
    elif data:
        if len(file) < operation.offset:
            file.extend(bytes(operation.offset - len(file)))
        file[operation.offset : operation.offset + len(data)] = data
