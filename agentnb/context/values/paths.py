"""Put paths into words: the last part alone, for the rest differs from machine to machine, and the head."""

from __future__ import annotations

import codecs
import itertools
import pathlib
import re
import stat

from agentnb.context.values import static_inspect
from agentnb.context.values.text_format import ITEMS, beginning, items

ENTRIES = 1000
"""Entries of a directory that are put in order."""
HEAD, LINES = 400, 3
"""Characters and lines of a file that are shown."""
_PRIVATE = re.compile(r"^\.|\.(?:pem|key|p12|pfx|jks|kdbx)$|^id_|\.env$|secret|credential|passw", re.IGNORECASE)
"""Names of files whose content is nobody's business."""


def path_in_words(value: pathlib.PurePath) -> str:
    """Return a path by its last part: what stands before it differs from machine to machine. A text file with its
    head."""
    if not static_inspect.class_name(type(value))[0].startswith("pathlib"):
        return static_inspect.type_name(value)
    name = str(pathlib.PurePath.__str__(value)).rpartition("/")[2]
    return f"{static_inspect.type_name(value)}: a path named {name!r}{_head(value, name)}"


_LEFT_BEHIND = re.compile(r"__pycache__$|\.ipynb_checkpoints$|\.DS_Store$|\.\w+_cache$")
"""Folders that Python and tools keep beside the files: they come and go by themselves."""


def _listing(names: list[str]) -> str:
    kept = sorted(name for name in names if not _LEFT_BEHIND.match(name))
    return items(kept[:ITEMS], len(kept))


def _head(path: pathlib.PurePath, name: str) -> str:
    if type(path) not in {pathlib.PosixPath, pathlib.WindowsPath} or _PRIVATE.search(name):
        return ""
    try:
        found = pathlib.Path(path).stat()
        if stat.S_ISDIR(found.st_mode):
            names = [item.name for item in itertools.islice(pathlib.Path(path).iterdir(), ENTRIES + 1)]
            # Beyond that the file system's own order would show.
            many = len(names) > ENTRIES
            return f", a directory of over {ENTRIES} entries" if many else f", a directory: {_listing(names)}"
        if not stat.S_ISREG(found.st_mode):
            return ""
        with pathlib.Path(path).open("rb") as file:
            # The last character may be cut; what is no text at all is refused.
            text = beginning(codecs.getincrementaldecoder("utf-8")().decode(file.read(2 * HEAD)), HEAD)
    except (OSError, ValueError):
        return ""
    head = "\n".join(text.splitlines()[:LINES]) if "\0" not in text else "(binary)"
    return f", a file of {found.st_size} bytes:\n{head}"
