"""The pass that fills the index of packages: it lists a package's files, reads what changed, and imports nothing.

It runs in a process of its own, at the lowest priority (`main`; indexer.py starts it), or where there can be none in a
thread that yields after each file. One pass at a time for a package and data directory: a second waits, or leaves it.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentnb.canonical import dump_exact, load
from agentnb.context.resolve.files import STORED_FROM, content_digest, parsed_source, to_stored
from agentnb.context.resolve.packages import FileRow, PackageIndex
from agentnb.context.static.definitions import FileDefinitions
from agentnb.errors import StorageError

LOCK = "index.lock"
FILES_LIMIT = 20_000
"""Files of one package that are looked at; no package that people import has more."""
FILE_BYTES = 4 * 2**20
"""Files above this wait until a name leads to them: parsing one takes seconds and a gigabyte."""
BATCH_SECONDS = 0.3
"""How often what was read is committed, and with it how far the pass has come."""
STORAGE_FAILED = 3
"""What the process returns where the index cannot be written."""
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
_Stamp = tuple[int, int]


def listed(package: Path) -> dict[str, _Stamp]:
    """Path -> stamp (modification time in ns, size) of the package's Python files, or of the module's one file.

    Links to directories are not followed, so no loop can hold it up; what is no regular file is left out.
    """
    if package.suffix == ".py":
        found = _stamp_of(package)
        return {str(package): found} if found else {}
    out: dict[str, _Stamp] = {}
    waiting = [str(package)]
    while waiting and len(out) < FILES_LIMIT:
        for entry in _entries(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                if entry.name[0] != "." and entry.name not in _SKIPPED:
                    waiting.append(entry.path)
            elif entry.name.endswith(".py"):
                found = _stamp_of(entry)
                if found:
                    out[entry.path] = found
    return out


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Behind:
    """What the index lacks of a package of `files` files: files to read, and files that are gone."""

    changed: list[str]
    gone: list[str]
    files: int


def behind(index: PackageIndex, package: Path) -> Behind:
    """What is to be done for a package: a stat of each file and one query. Tests and deep modules come last."""
    known, present = index.stamps(package), listed(package)
    changed = [path for path, found in present.items() if known.get(path) != found]
    changed.sort(key=lambda path: ("test" in path[len(str(package)) :], path.count(os.sep), path))
    return Behind(changed=changed, gone=[path for path in known if path not in present], files=len(present))


def index_package(
    index: PackageIndex, name: str, package: Path, *, after_file: Callable[[], None] = lambda: None, wait: bool = False
) -> bool:
    """Bring one package up to date. False where another pass is at it, unless it is to `wait`. Raises StorageError."""
    with _locked(index.home, str(package), wait=wait) as ours:
        if not ours:
            return False
        todo = behind(index, package)
        index.drop(todo.gone)
        left = len(todo.changed)
        index.announce(package, name, done=todo.files - left, files=todo.files)
        for read, batch in _batches(name, package, todo.changed, after_file):
            index.fill(package, batch)
            left -= read
            index.announce(package, name, done=todo.files - left, files=todo.files)
    return True


def _batches(
    name: str, package: Path, paths: list[str], after_file: Callable[[], None]
) -> Iterator[tuple[int, list[tuple[FileRow, FileDefinitions]]]]:
    """(files looked at, those that were read) for every third of a second or so."""
    count, batch, since = 0, [], time.monotonic()
    for path in paths:
        read = read_file(Path(path), module_in(package, name, path))
        count += 1
        batch += [read] if read else []
        after_file()
        if time.monotonic() - since > BATCH_SECONDS:
            yield count, batch
            count, batch, since = 0, [], time.monotonic()
    yield count, batch


def module_in(package: Path, name: str, path: str) -> str:
    """The dotted name of a file of the package `name` that stands at `package`."""
    if str(package) == path:
        return name
    parts = Path(path).relative_to(package).with_suffix("").parts
    return ".".join([name, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def read_file(path: Path, module: str) -> tuple[FileRow, FileDefinitions] | None:
    """The row of one file as it is now, and what it defines; None where it changes meanwhile.

    One that cannot be read, or is too long, defines nothing: the pass does not come back to it until it changes.
    """
    before = _stamp_of(path)
    if before is None:
        return None
    try:
        data = path.read_bytes() if before[1] <= FILE_BYTES else b""
    except OSError:
        data = b""
    if data and (_stamp_of(path) != before or len(data) != before[1]):
        return None  # the next pass finds it as it is then
    parsed = parsed_source(data, path, module)
    entries = dump_exact(to_stored(parsed)) if len(data) >= STORED_FROM and not parsed.error else None
    return FileRow(path=str(path), stamp=before, digest=content_digest(data), module=module, entries=entries), parsed


# one pass at a time ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(home: Path, package: str, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process has the package for itself: a lock on one byte of a file, which ends with the process."""
    place = int.from_bytes(hashlib.sha256(package.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 2
    with (home / LOCK).open("a+b") as file:
        yield _lock(file.fileno(), place, wait=wait)  # closing the file lets go of it


def _lock(descriptor: int, place: int, *, wait: bool) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, place, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
    except OSError:
        return False
    return True


# a process of its own -------------------------------------------------------------------------------------------------


def main() -> None:
    """Index what one line of JSON on standard input names, `{"home": …, "packages": {name: path}}`.

    Ends with the input: so it does not outlive the kernel, however that ends.
    """
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 65536)
        if not part:
            return
        line += part
    job = load(line)
    threading.Thread(target=_end_with_input, daemon=True).start()
    _step_back()
    gc.disable()  # syntax trees hold no circles, and looking for some takes as long as parsing
    index = PackageIndex(Path(job["home"]), busy_seconds=10.0)
    code = _index_all(index, {str(name): Path(path) for name, path in job["packages"].items()})
    index.close()
    os._exit(code)


def _index_all(index: PackageIndex, packages: Mapping[str, Path]) -> int:
    parent = os.getppid()

    def stop_when_orphaned() -> None:
        if os.getppid() != parent:
            os._exit(0)

    try:
        for name, package in packages.items():
            index_package(index, name, package, after_file=stop_when_orphaned, wait=True)
        index.forget_missing()
    except StorageError:
        return STORAGE_FAILED
    return 0


def _end_with_input() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


def _step_back() -> None:
    """Use only what nobody else wants: the user's own cells come first."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
