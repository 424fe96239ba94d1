"""List the notebook's own names, one line each: type, and shape or length. Nobody's code is run to tell them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from agentnb.canonical import JsonMapping
from agentnb.context.values import static_inspect
from agentnb.models.framing import framed

MOST = 200
"""Names that are listed; the newest of more."""
_SHELL = frozenset({"In", "Out", "exit", "quit", "open", "get_ipython"})
_SIZED = (list, tuple, dict, set, frozenset, str, bytes, bytearray)
_PLAIN = frozenset(id(kind) for kind in (int, float, bool, complex, type(None)))
_SHAPED = frozenset(
    [
        "numpy",
        "pandas",
        "polars",
        "torch",
        "tensorflow",
        "jax",
        "jaxlib",
        "scipy",
        "xarray",
        "dask",
        "pyarrow",
        "cupy",
        "geopandas",
        "modin",
    ]
)


@dataclass(frozen=True, slots=True)
class NameLine:
    """Holds one name of the notebook as the list has it."""

    name: str
    text: str

    @property
    def key(self) -> str:
        return f"name:{self.name}"

    @property
    def digest(self) -> str:
        """Return the line itself: it is short, and holds no value."""
        return self.text


def names_of(namespace: JsonMapping, bound: Iterable[str]) -> tuple[NameLine, ...]:
    """Return the user's names that hold something now, in the order in which cells bound them; modules are left out."""
    names = [name for name in bound if name in namespace and not name.startswith("_") and name not in _SHELL]
    lines = (NameLine(name, line) for name in names[-MOST:] if (line := line_of(name, namespace[name])))
    return tuple(lines)


def line_of(name: str, value: object) -> str:
    """Return `df: DataFrame 100 x 5`; an empty text for a module."""
    kind = type(value)
    if id(kind) in _PLAIN:
        return f"{name}: {kind.__name__}"
    if kind is ModuleType or static_inspect.is_a(value, ModuleType):
        return ""
    if kind is FunctionType:
        return f"{name}: function"
    if static_inspect.is_a(value, type):
        return f"{name}: class"
    size = _size(value)
    return f"{name}: {static_inspect.class_name(type(value))[1]}{f' {size}' if size else ''}"


def _size(value: Any) -> str:
    kind = type(value)
    if any(kind is each for each in _SIZED):
        return f"of {len(value):,}"
    if static_inspect.class_name(kind)[0].partition(".")[0] not in _SHAPED:
        return ""
    try:
        shape = value.shape
        return " x ".join(str(int(part)) for part in shape) if type(shape) is tuple else ""
    except Exception:  # noqa: BLE001 - a library's own attribute: a lazy array may not know its shape
        return ""


def ran_into(namespace: JsonMapping, bound: Container[str], modules: Iterable[str]) -> list[str]:
    """Return the user's names that no cell's code has bound: `%run`, `exec` or a magic did.

    A name that one of `modules` has with the same value came from there, by a star.
    """
    stars = [static_inspect.module_dict(found) for one in modules if (found := sys.modules.get(one)) is not None]
    others = ((name, value) for name, value in static_inspect.public(namespace) if name not in bound)
    return [
        name
        for name, value in others
        if name not in _SHELL and _is_own(value) and not any(star.get(name, namespace) is value for star in stars)
    ]


def _is_own(value: Any) -> bool:
    """Tell whether a value is no function or class of a package."""
    if type(value) is FunctionType:
        return value.__module__ == "__main__"
    is_class = static_inspect.is_a(value, type)
    return type(value) is not BuiltinFunctionType and (
        not is_class or static_inspect.class_name(value)[0] == "__main__"
    )


def names_text(
    lines: Iterable[NameLine], gone: Iterable[str] = (), *, renewed: bool, more: int = 0, scrub: Callable[[str], str]
) -> str:
    """Return the list as an element; `renewed` where an earlier list is only added to. `more` are not listed."""
    left = ", ".join(gone)
    return framed(
        "names",
        scrub("\n".join(line.text for line in lines)),
        changes="yes" if renewed else "",
        removed=left,
        left_out=f"{more:,} older names" if more > 0 else "",
    )
