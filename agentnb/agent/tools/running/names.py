"""Tell what code did to the notebook's names: which it made, changed and deleted, by copies of what they hold. Pure."""

from __future__ import annotations

import contextlib
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType, SimpleNamespace

from agentnb.context.values.static_inspect import class_name

LARGE = 50_000_000
"""Bytes that the copies of a name's arrays and tables have at most."""
MANY = 100_000
"""Items that the copies of a name's lists, dicts, sets and own objects have at most."""
_CONTAINERS = (list, dict, set, OrderedDict, defaultdict, Counter)
_SHELL = frozenset({"In", "Out", "exit", "quit", "get_ipython"})
_TABLES = (("numpy", "ndarray"), ("pandas", "DataFrame"), ("pandas", "Series"))
_FIXED = (
    *(int, float, complex, str, bytes, type(None), range),
    *(type, ModuleType, FunctionType, BuiltinFunctionType),
)
"""Types whose objects code does not change in place, or only by means that nobody uses on data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameHeld:
    """Holds what a name was bound to. `parts` are the containers, arrays and tables in it, each with a shallow copy.
    The attributes of an object whose class the notebook defines are one of them.

    It is `whole` where nothing else in it can be changed in place.
    """

    value: object
    parts: tuple[tuple[object, object], ...] = ()
    whole: bool = False

    def is_still(self, value: object) -> bool:
        """Tell whether the name holds the same object, with the same items as far as there are copies."""
        return value is self.value and all(same(part, copy) for part, copy in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Holds the names that code made, bound anew or changed in place, and deleted.

    Inside the `unseen` it may have changed something: they are too large to copy, or no containers.
    """

    made: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Return `It makes `total`; changes `df`.`"""
        parts = (("makes", self.made), ("changes", self.changed), ("deletes", self.deleted))
        lines = [f"{verb} {listed(names)}" for verb, names in parts if names]
        return f"It {'; '.join(lines)}." if lines else "It makes, changes and deletes no name."


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def names_in(code: str) -> frozenset[str]:
    """Return the words of the code that may be names; magics and what stands in texts counts too."""
    return frozenset(re.findall(r"[^\W\d]\w*", code))


def snapshot(namespace: Mapping[str, object], mentioned: frozenset[str]) -> dict[str, NameHeld]:
    """Return all names of the notebook, with copies of what the mentioned ones hold."""
    return {
        name: _held(value) if name in mentioned else NameHeld(value=value)
        for name, value in list(namespace.items())
        if not name.startswith("_") and name not in _SHELL
    }


def changes(was: Mapping[str, NameHeld], namespace: Mapping[str, object], mentioned: frozenset[str]) -> Changes:
    """Return what differs now from the snapshot."""
    now = snapshot(namespace, frozenset())
    kept = was.keys() & now.keys()
    changed = {name for name in kept if not was[name].is_still(now[name].value)}
    unseen = {name for name in (kept & mentioned) - changed if not was[name].whole}
    return Changes(
        made=tuple(sorted(now.keys() - was.keys())),
        changed=tuple(sorted(changed)),
        deleted=tuple(sorted(was.keys() - now.keys())),
        unseen=tuple(sorted(unseen)),
    )


def same(value: object, copy: object) -> bool:
    """Tell whether a container holds the very items of its copy, an array or table the same values."""
    match value:
        case dict() if isinstance(copy, dict):
            return _ids(value) == _ids(copy) and _ids(value.values()) == _ids(copy.values())
        case set() if isinstance(copy, set):
            return sorted(_ids(value)) == sorted(_ids(copy))
        case list() if isinstance(copy, list):
            return _ids(value) == _ids(copy)
    if type(value).__name__ == "ndarray":
        alike = value.dtype == copy.dtype and value.shape == copy.shape  # type: ignore[attr-defined]
        return bool(alike and value.tobytes() == copy.tobytes())  # type: ignore[attr-defined]
    return bool(value.equals(copy))  # type: ignore[attr-defined]


def restored(held: NameHeld) -> object:
    """Return the value with what its copies hold, so that its other names see that too.

    An array that has another shape or type now is replaced by its copy.
    """
    for part, copy in held.parts:
        if not same(part, copy):
            _put_back(part, copy)
    part, copy = held.parts[0] if held.parts else (held.value, None)
    return held.value if copy is None or part is not held.value or same(part, copy) else copy


def _put_back(value: object, copy: object) -> None:
    """Give the value what its copy holds. A table is filled anew."""
    match value:
        case list() if isinstance(copy, list):
            value[:] = copy
        case dict() if isinstance(copy, dict):
            value.clear()
            value.update(copy)
        case set() if isinstance(copy, set):
            value.clear()
            value.update(copy)
        case _ if type(value).__name__ != "ndarray":
            type(value).__init__(value, copy.copy())  # type: ignore[attr-defined, call-arg]
        case _ if value.shape == copy.shape and value.dtype == copy.dtype:  # type: ignore[attr-defined]
            value[...] = copy  # type: ignore[index]


def _ids(items: Iterable[object]) -> list[int]:
    return list(map(id, items))


def _held(value: object) -> NameHeld:
    """Return the value with its copies; without any where one cannot be made."""
    with contextlib.suppress(Exception):  # MemoryError; a dict that a thread changes meanwhile
        return _with_copies(value)
    return NameHeld(value=value)


def _with_copies(value: object) -> NameHeld:
    """Copy each container, array and table that the value leads to, as far as there is room."""
    parts: list[tuple[object, object]] = []
    seen: set[int] = set()
    waiting, whole, items, size = [value], True, MANY, LARGE
    while waiting:
        each = waiting.pop()
        if isinstance(each, _FIXED) or id(each) in seen:
            continue
        seen.add(id(each))
        match each:
            case tuple() | frozenset():
                waiting.extend(each)
            case list() | dict() | set() if type(each) in _CONTAINERS and len(each) <= items:
                items -= len(each)
                parts.append((each, each.copy()))
                waiting.extend(each.values() if isinstance(each, dict) else each)
            case _ if (attributes := _attributes(each)) is not None:
                waiting.append(attributes)
                whole = whole and not _has_more(each)
            case _ if _is_table(each) and (needs := _size(each)) <= size:
                size -= needs
                parts.append((each, each.copy()))  # type: ignore[attr-defined]
            case _:
                whole = False
    return NameHeld(value=value, parts=tuple(parts), whole=whole)


def _is_table(value: object) -> bool:
    return (class_name(type(value))[0].partition(".")[0], type(value).__name__) in _TABLES


def _attributes(value: object) -> dict[str, object] | None:
    """Return the attributes of an object whose class the notebook defines. A library's may hold threads and files."""
    if type(value) is not SimpleNamespace and class_name(type(value))[0] != "__main__":
        return None
    with contextlib.suppress(AttributeError):  # its class has slots alone
        found = object.__getattribute__(value, "__dict__")
        return found if type(found) is dict else None
    return None


def _has_more(value: object) -> bool:
    """Tell whether the object holds more than its attributes: slots, or what a base class in C keeps."""
    bases = type(value).__mro__[:-1]
    return any("__slots__" in vars(base) or class_name(base)[0] == "builtins" for base in bases)


def _size(value: object) -> int:
    """Bytes of an array or a table."""
    if type(value).__name__ == "DataFrame":
        return int(value.memory_usage().sum())  # type: ignore[attr-defined]
    return int(value.nbytes)  # type: ignore[attr-defined]
