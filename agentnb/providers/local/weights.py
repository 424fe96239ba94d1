"""Tell which weights can be fetched, which lie on this machine, and which file a model's name means."""

from __future__ import annotations

import hashlib
import importlib.util
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from agentnb.errors import InputError, ModelUnknown, WeightsMissing, nearest
from agentnb.models.catalog import LOCAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Holds one row of weights.toml. `size` and `sha256` are those of the joined file; `source` is the maker's name
    for it."""

    name: str
    label: str
    maker: str
    source: str
    licence: str
    tools: bool
    file: str
    size: int
    sha256: str
    package: str
    parts: int
    version: str

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the packages that carry the parts, in order."""
        return tuple(self.package.format(part=number) for number in range(1, self.parts + 1))


@cache
def known() -> tuple[Weights, ...]:
    """Return every row of weights.toml, in file order."""
    raw = tomllib.loads(resources.files("agentnb.providers.local").joinpath("weights.toml").read_text("utf-8"))
    return tuple(Weights(**row) for row in raw["weights"])


def named(name: str) -> Weights:
    """Return the row of that name. Raises ModelUnknown."""
    found = next((row for row in known() if row.name == name), None)
    if found is None:
        names = [row.name for row in known()]
        todo = f"{nearest(name, names)} Known: {', '.join(names)}.".strip()
        raise ModelUnknown(f"no weights are called {name!r}", todo=todo)
    return found


def directory(home: Path) -> Path:
    """Return where fetched weights lie in the data directory."""
    return home / "models"


def path_of(row: Weights, home: Path) -> Path | None:
    """Return the file on this machine: fetched, or in its installed package, which is found and never imported."""
    fetched = directory(home) / row.file
    if fetched.is_file():
        return fetched
    spec = importlib.util.find_spec(row.package.replace("-", "_")) if row.parts == 1 else None
    places = [Path(place) / row.file for place in (spec.submodule_search_locations or [])] if spec else []
    return next((place for place in places if place.is_file()), None)


def here(home: Path) -> Iterator[tuple[Weights, Path]]:
    """Yield the rows whose file is on this machine, the most capable first."""
    for row in known():
        if (path := path_of(row, home)) is not None:
            yield row, path


def runs_here() -> bool:
    """Tell whether what runs a model on this machine is installed."""
    return all(importlib.util.find_spec(package) for package in ("xllamacpp", "openai"))


def digest_of(path: Path, home: Path) -> str:
    """Return a file's SHA-256: of fetched weights the one that was checked then, of another file what is read now."""
    fetched = next((row for row in known() if path == directory(home) / row.file), None)
    if fetched is not None and path.stat().st_size == fetched.size:
        return fetched.sha256
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def offered(home: Path) -> str:
    """Return the address of the best model that can be asked now and use tools; empty where there is none."""
    best = next((row for row, _ in here(home) if row.tools), None)
    return f"{LOCAL}:{best.name}" if best and runs_here() else ""


def find(name: str, home: Path) -> Path:
    """Return the file that a name of weights.toml or a path means. Raises InputError, ModelUnknown and
    WeightsMissing."""
    if name.endswith(".gguf") or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise InputError("there is no such file", about=name, todo="Name a model's GGUF file.")
        return path.absolute()
    row = named(name)
    path_here = path_of(row, home)
    if path_here is None:
        mb = row.size // 1_000_000
        raise WeightsMissing(
            f"the weights of {row.label} are not on this machine",
            about=f"{mb:,} MB",
            todo=f"Run: python -m agentnb local get {row.name}",
        )
    return path_here
