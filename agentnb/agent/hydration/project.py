"""Find the user's project on disk: its folder, its tree of files, and files added by name."""

from __future__ import annotations

import codecs
import itertools
import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from agentnb.agent.tools.tool import shorten
from agentnb.providers.cassettes import FILE as CASSETTE

TREE_SUFFIXES = frozenset(
    {".py", ".ipynb", ".md", ".toml", ".csv", ".json", ".parquet", ".sql", ".txt", ".yaml", ".yml"}
)
ABOVE = 4
"""Folders above the project that may hold the user's own code."""
TREE_FILES = 60
TREE_SCAN = 2000
TREE_FOLDERS, TREE_ENTRIES = 200, 20_000
"""Folders that are looked into, and entries of them after which no further one is: it happens at every turn."""
FILE_CHARACTERS = 60_000
FILE_READ = 2**20
"""Bytes of an added file that are read; the files of a turn are read again at each."""


@lru_cache(64)
def own_root(project: Path) -> Path:
    """Return the directory that holds the user's own code: the repository around the project where there is one.

    A notebook often stands in a folder beside the package that it uses.
    """
    above = [project, *project.parents[:ABOVE]]
    inside = itertools.takewhile(lambda folder: folder not in (Path.home(), Path(folder.anchor)), above)
    marked = (folder for folder in inside if any((folder / mark).exists() for mark in (".git", "pyproject.toml")))
    return next(marked, project)


def relative_to(file: Path, project: Path | None) -> str:
    return file.relative_to(project).as_posix() if project and file.is_relative_to(project) else file.name


def read_added(file: Path) -> str | None:
    """Return the text of an added file, at most 60 kB of it. None where it is gone or no text.

    Of a file too large to be sent whole only its beginning and its end are read.
    """
    try:
        text = _ends(file) if file.is_file() else None
    except (OSError, ValueError):
        return None
    return None if text is None else shorten(text.replace("\r\n", "\n"), FILE_CHARACTERS)


def _ends(file: Path) -> str:
    """Return the file's text; of one above FILE_READ bytes its beginning and its end, with what stands between left
    out."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if size <= FILE_READ:
            return opened.read().decode("utf-8-sig")
        head = opened.read(FILE_READ // 2)
        opened.seek(-FILE_READ // 2, os.SEEK_END)
        tail = opened.read()
    start = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # a character may end beyond the cut
    tail = tail.lstrip(bytes(range(0x80, 0xC0)))  # or have begun before it
    return f"{start}\n[… {size - FILE_READ:,} bytes not read …]\n{tail.decode('utf-8')}"


@dataclass(frozen=True, slots=True)
class Tree:
    """Holds the files that are listed, sorted; how many more were seen, and whether there may be others still."""

    files: tuple[str, ...]
    more: int = 0
    others: bool = False


def tree_of(project: Path | None, known: Collection[str] = ()) -> Tree | None:
    """Return the project's files that a reader would care for, sorted, at most 60; hidden and generated ones left out.
    None where no folder is the project.

    `known` are files that a list of before had: they stay while they exist. Where that list was full, what comes after
    its end is not new: it only had no room.
    """
    if project is None or project in (Path.home(), Path(project.anchor)) or not project.is_dir():
        return None
    seen, others = _files_seen(project)
    listed = seen[:TREE_FILES]
    full = len(known) >= TREE_FILES
    found = {file for file in listed if not full or file <= max(known)}
    found.update(file for file in known if file in listed or _may_exist(project / file))
    return Tree(tuple(sorted(found)), len(set(seen) - found), others)


def _may_exist(file: Path) -> bool:
    """Tell whether a file is there: one that may not be looked at is not known to be gone."""
    try:
        return file.exists()
    except OSError:
        return True


def _files_seen(project: Path) -> tuple[list[str], bool]:
    """Files, sorted, and whether folders were left out. Yield folders in the order of their content. Once all that a
    further one has would come too late, none is opened."""
    here, seen = _listed(project)
    found = sorted(name for name, folder in here if not folder)
    folders = sorted(f"{name}/" for name, folder in here if folder)
    for number, folder in enumerate(folders):
        late = len(found) >= TREE_FILES and found[TREE_FILES - 1] < folder
        if number >= TREE_FOLDERS or seen > TREE_ENTRIES or late:
            return found, True
        inside, looked = _listed(project / folder)
        seen += looked
        found = sorted([*found, *(f"{folder}{inner}" for inner, deeper in inside if not deeper)])
    return found, False


def _listed(folder: Path) -> tuple[list[tuple[str, bool]], int]:
    """Return (name, whether it is a folder) of what is not hidden, sorted, and how many entries were looked at. At most
    the first 2,000 are."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in itertools.islice(entries, TREE_SCAN)]
    except OSError:
        return [], 0
    # The recorded replies are no part of the project: to record would change what the next request says.
    # A name that cannot be printed could close the list and begin a text of its own.
    kept = ((n, d) for n, d in found if n[0] not in "._" and n != CASSETTE and n.isprintable())
    return sorted((n, d) for n, d in kept if d or Path(n).suffix in TREE_SUFFIXES), len(found)
