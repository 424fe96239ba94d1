"""Tell what code did to the notebook's names: which it made, changed and deleted, by shallow copies. Pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType

LARGE = 50_000_000
"""Bytes from which no copy of an array or a table is kept."""
MANY = 100_000
"""Items from which no copy of a list, dict or set is kept."""
_SHELL = frozenset({"In", "Out", "exit", "quit", "get_ipython"})
_TABLES = (("numpy", "ndarray"), ("pandas", "DataFrame"), ("pandas", "Series"))
_FIXED = (
    *(int, float, complex, str, bytes, type(None), tuple, frozenset, range),
    *(type, ModuleType, FunctionType, BuiltinFunctionType),
)
"""Types whose objects code does not change in place, or only by means that nobody uses on data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameHeld:
    """Holds what a name was bound to, and a shallow copy of it; None where none is kept."""

    value: object
    copy: object = None

    def is_still(self, value: object) -> bool:
        """Tell whether the name holds the same object, with the same items as far as there is a copy."""
        return value is self.value and (self.copy is None or same(value, self.copy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The names that code made, bound anew or changed in place, and deleted.

    Inside the `unseen` it may have changed something: they are too large to copy, or no containers.
    """

    made: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """`It makes `total`; changes `df`.`"""
        parts = (("makes", self.made), ("changes", self.changed), ("deletes", self.deleted))
        lines = [f"{verb} {listed(names)}" for verb, names in parts if names]
        return f"It {'; '.join(lines)}." if lines else "It makes, changes and deletes no name."


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def names_in(code: str) -> frozenset[str]:
    """The words of the code that may be names; magics and what stands in texts counts too."""
    return frozenset(re.findall(r"[^\W\d]\w*", code))


def snapshot(namespace: Mapping[str, object], mentioned: frozenset[str]) -> dict[str, NameHeld]:
    """All names of the notebook, with copies of what the mentioned ones hold."""
    return {
        name: NameHeld(value=value, copy=_copy(value) if name in mentioned else None)
        for name, value in list(namespace.items())
        if not name.startswith("_") and name not in _SHELL
    }


def changes(was: Mapping[str, NameHeld], namespace: Mapping[str, object], mentioned: frozenset[str]) -> Changes:
    """Return what differs now from the snapshot."""
    now = snapshot(namespace, frozenset())
    kept = was.keys() & now.keys()
    changed = {name for name in kept if not was[name].is_still(now[name].value)}
    unseen = {name for name in (kept & mentioned) - changed if was[name].copy is None}
    return Changes(
        made=tuple(sorted(now.keys() - was.keys())),
        changed=tuple(sorted(changed)),
        deleted=tuple(sorted(was.keys() - now.keys())),
        unseen=tuple(sorted(name for name in unseen if not isinstance(was[name].value, _FIXED))),
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
        return bool(value.dtype == copy.dtype and value.tobytes() == copy.tobytes())  # type: ignore[attr-defined]
    return bool(value.equals(copy))  # type: ignore[attr-defined]


def restored(held: NameHeld) -> object:
    """The value with what its copy holds. Its other names see that too, but for a table, which the copy replaces."""
    value, copy = held.value, held.copy
    if copy is None or same(value, copy):
        return value
    match value:
        case list() if isinstance(copy, list):
            value[:] = copy
        case dict() if isinstance(copy, dict):
            value.clear()
            value.update(copy)
        case set() if isinstance(copy, set):
            value.clear()
            value.update(copy)
        case _ if type(value).__name__ == "ndarray" and value.shape == copy.shape:  # type: ignore[attr-defined]
            value[...] = copy  # type: ignore[index]
        case _:
            return copy
    return value


def _ids(items: Iterable[object]) -> list[int]:
    return list(map(id, items))


def _copy(value: object) -> object:
    """A shallow copy; None of what is large, cannot be copied, or is no plain container, array or table."""
    with contextlib.suppress(Exception):  # MemoryError; a dict that a thread changes meanwhile
        return _copy_of(value)
    return None


def _copy_of(value: object) -> object:
    if type(value) in (list, dict, set):
        return value.copy() if len(value) <= MANY else None  # type: ignore[attr-defined, arg-type]
    module, name = type(value).__module__.partition(".")[0], type(value).__name__
    if (module, name) not in _TABLES or _size(value) > LARGE:
        return None
    copied: object = value.copy()  # type: ignore[attr-defined]
    return copied


def _size(value: object) -> int:
    """Bytes of an array or a table."""
    if type(value).__name__ == "DataFrame":
        return int(value.memory_usage().sum())  # type: ignore[attr-defined]
    return int(value.nbytes)  # type: ignore[attr-defined]
