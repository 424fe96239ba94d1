"""Decide which calls need no question: a tool by its exact name, or with a pattern for one argument. Pure.

`edit_file(path=notes/*)` allows changes below `notes`, `run_tests(command=make test)` that command. A pattern holds for
a whole text on one line. None is taken on code, where it would let anything through, and none matches a path with `..`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from agentnb.errors import InputError

_ENTRY = re.compile(r"(?P<tool>[\w-]+)(?:\((?P<argument>\w+)=(?P<pattern>.+)\))?")
_CODE = ("code", "source")


def allowed_tools(entries: Iterable[str]) -> list[str]:
    """Return the names of the tools that the entries speak of. Raises InputError on an entry that is none."""
    return [_read(entry)["tool"] for entry in entries]


def allows(entries: Iterable[str], tool: str, arguments: Mapping[str, object]) -> bool:
    """Tell whether one of the entries lets this very call run unasked."""
    return any(_fits(_read(entry), tool, arguments) for entry in entries)


def _fits(entry: re.Match[str], tool: str, arguments: Mapping[str, object]) -> bool:
    if entry["tool"] != tool:
        return False
    if entry["argument"] is None:
        return True
    value = arguments.get(entry["argument"])
    plain = isinstance(value, str) and value.isprintable() and ".." not in re.split(r"[\\/]", value)
    return plain and fnmatchcase(str(value), entry["pattern"])


def _read(entry: str) -> re.Match[str]:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        todo = "Write a tool's name, or e.g. edit_file(path=notes/*)."
        raise InputError(f"--allow does not know {entry!r}", todo=todo)
    if found["argument"] in _CODE and re.search(r"[*?\[]", found["pattern"]):
        todo = f"Write {found['tool']} alone, or approve each call."
        raise InputError("a pattern on code would let anything through", about=entry, todo=todo)
    return found
