"""Keep on disk what a local model has read, so that a fresh process need not read it again.

llama.cpp's server takes any file for its own: a truncated one kills it, a changed one gives nonsense. So each file has
a sidecar beside it, written last. A file is only handed over if it fits its sidecar, the weights and the server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agentnb.errors import StorageDamaged
from agentnb.models.catalog import LOCAL

MOST = 2_000_000_000
"""Bytes that all kept files may have together; the ones used longest ago go first."""
ENDING = ".json"
HOUR = 3600.0
LAST = 253_402_300_799
"""The last second that a date can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits:
    """Tells which server can read a file: weights by digest, the type and length of its memory, its version."""

    weights: str
    kv_type: str
    window: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """Tells what a kept file holds. `prefix` is the digest of the blocks that it begins with, `held` are
    the tokens in the whole file. `until` is in seconds since the epoch.
    """

    name: str
    model: str
    label: str
    prefix: str
    held: int
    size: int
    sha256: str
    fits: Fits
    until: float


class KeptFiles:
    """Holds the files of one directory, which belongs to one model's server."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def all(self) -> list[Sidecar]:
        """Return the sidecars that can be read, in the order of their names."""
        return [kept for path in sorted(self.directory.glob(f"*{ENDING}")) if (kept := _read(path))]

    def find(self, name: str) -> Sidecar | None:
        return _read(self.directory / f"{name}{ENDING}")

    def take_in(self, written: Path, kept: Sidecar) -> Sidecar:
        """Give a file that the server has written its name and its sidecar, which is written last."""
        whole = replace(kept, size=written.stat().st_size, sha256=_sum(written))
        written.chmod(0o600)
        written.replace(self.directory / kept.name)
        self.note(whole)
        return whole

    def note(self, kept: Sidecar) -> None:
        """Write a sidecar, in the place of an older one."""
        fresh = self.directory / f"{kept.name}.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(kept), file)
        fresh.replace(self.directory / f"{kept.name}{ENDING}")

    def check(self, name: str, fits: Fits, *, now: float) -> Sidecar:
        """Return the sidecar of a file that this server can read now. Raises StorageDamaged, and deletes any other.

        That it was asked for counts as its last use.
        """
        kept, path = self.find(name), self.directory / name
        if kept is None or not path.is_file():
            raise StorageDamaged("what was kept of a prompt is gone", about=name, todo="It is read anew.")
        if kept.until <= now or kept.fits != fits or not self.has_size(kept) or _sum(path) != kept.sha256:
            self.remove(name)
            raise StorageDamaged(
                "what was kept of a prompt is over or does not fit", about=name, todo="It is read anew."
            )
        os.utime(path)
        return kept

    def has_size(self, kept: Sidecar) -> bool:
        """Tell whether the file is there and as large as its sidecar says."""
        path = self.directory / kept.name
        return path.is_file() and path.stat().st_size == kept.size

    def remove(self, name: str) -> bool:
        """Delete a file and its sidecar, the sidecar first. Return False where there was none."""
        there = False
        for path in (self.directory / f"{name}{ENDING}", self.directory / name):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                there = True
        return there

    def leftovers(self, now: float) -> list[Path]:
        """Return files of ours that got no sidecar within an hour: who was to write it has ended."""
        known = {name for kept in self.all() for name in (kept.name, f"{kept.name}{ENDING}")}
        others = (path for path in self.directory.glob(f"{LOCAL}-*") if path.name not in known and not path.is_dir())
        return [path for path in others if now - _used(path) > HOUR]


def sweep(servers: Path, now: float, most: int = MOST) -> list[str]:
    """Delete files that are over or not of their size, then those used longest ago until the rest has room.

    Return their names. It looks at the files of all models. What a killed process left without a sidecar goes too.
    """
    every = [(files, kept) for files in everywhere(servers) for kept in files.all()]
    gone = [(files, kept) for files, kept in every if kept.until <= now or not files.has_size(kept)]
    rest = sorted(
        (each for each in every if each not in gone), key=lambda each: _used(each[0].directory / each[1].name)
    )
    size = sum(kept.size for _, kept in rest)
    while rest and size > most:
        size -= rest[0][1].size
        gone.append(rest.pop(0))
    for files, kept in gone:
        files.remove(kept.name)
    for files in everywhere(servers):
        for path in files.leftovers(now):
            path.unlink(missing_ok=True)
    return [kept.name for _, kept in gone]


def everywhere(servers: Path) -> Iterator[KeptFiles]:
    """Yield the directories of all models' servers."""
    yield from (KeptFiles(place) for place in sorted(servers.glob("*.slots")))


def _used(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _read(path: Path) -> Sidecar | None:
    """Return a sidecar; None where it is damaged, or names another file than the one that it lies beside.

    Its words are text, and its numbers finite and none below zero: each is shown, or reckoned with.
    """
    try:
        value = json.loads(path.read_text())
        kept = Sidecar(**(value | {"fits": Fits(**value["fits"])}))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    words = all(isinstance(value[name], str) for name in ("name", "model", "label", "prefix", "sha256"))
    amounts = [value[name] for name in ("held", "size", "until")]
    numbers = all(isinstance(each, int | float) and 0 <= each <= LAST for each in amounts)
    return kept if words and numbers and f"{kept.name}{ENDING}" == path.name else None


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
