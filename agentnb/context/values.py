"""Live variables -> short, bounded, stable descriptions.

No code of the user's runs: no `__repr__` of classes that are not known, no properties, no `__len__`. Known libraries
are recognised by what is already in `sys.modules`; nothing is imported. The same value gives the same text: no
addresses, no times, sets in order.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import pathlib
import re
import sys
import uuid
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from agentnb.context import live

LIMIT = 600
ITEMS = 8
"""Items of a container that are shown; of the rest only the number is told."""
DEPTH = 3
TEXT = 160
"""Characters of a text inside a container."""
ROWS, COLUMNS = 3, 12
_ATOMS = (bool, int, float, complex, type(None), bytes, range, slice)
_PLAIN = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def describe(name: str, value: Any, *, limit: int = LIMIT) -> str:
    """`name: type, what it holds`, at most `limit` characters."""
    try:
        text = f"{name}: {_describe(value)}"
    except Exception:  # noqa: BLE001 - the known libraries' own code runs here, and containers may change meanwhile
        text = f"{name}: {_type_name(value)}"
    text = _ADDRESS.sub("", text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _describe(value: Any) -> str:
    for module, class_name, describe_known in _LIBRARIES:
        cls = _class(module, class_name)
        if cls is not None and live.is_a(value, cls):
            return describe_known(value)
    if type(value) is str:
        return _long_text(value)
    if type(value) in _CONTAINERS:
        return f"{_type_name(value)} of {len(value)}: {brief(value)}"
    return f"{_type_name(value)}: {brief(value)}" if live.is_a(value, _ATOMS) else brief(value)


def _class(module: str, name: str) -> type | None:
    loaded = sys.modules.get(module)
    found = live.attribute(loaded, name) if isinstance(loaded, ModuleType) else None
    return found if isinstance(found, type) else None


def _type_name(value: Any) -> str:
    module, name = live.class_name(type(value))
    return name if module in {"builtins", "__main__"} else f"{module}.{name}"


# plain values ---------------------------------------------------------------------------------------------------------


def brief(value: Any, depth: int = DEPTH) -> str:
    """A value inside another: literals as written, containers by their first items, everything else by its type."""
    kind = type(value)
    if kind is str:
        return _quoted(value, TEXT)
    if kind is bytes:
        return f"{value[:40]!r}…" if len(value) > 40 else repr(value)
    if kind is int and value.bit_length() > 1000:
        return f"int of {value.bit_length()} bits"
    if kind in _ATOMS or kind in _PLAIN:
        return repr(value)
    if kind in _CONTAINERS:
        return _CONTAINERS[kind](value, depth) if depth > 0 else f"{kind.__name__} of {len(value)}"
    return _object(value, depth)


def _quoted(text: str, limit: int) -> str:
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}… ({len(text)} characters)"


def _long_text(text: str) -> str:
    lines = text.count("\n") + 1
    size = f"str of {len(text)} characters" + (f", {lines} lines" if lines > 1 else "")
    return f"{size}: {text[:400]!r}{'…' if len(text) > 400 else ''}"


def _items(shown: Iterable[str], total: int) -> str:
    listed = list(shown)
    more = [f"… {total - len(listed)} more"] if total > len(listed) else []
    return ", ".join([*listed, *more])


def _sequence(value: Any, depth: int) -> str:
    opening, closing = ("[", "]") if type(value) is list else ("(", ")")
    return f"{opening}{_items((brief(item, depth - 1) for item in value[:ITEMS]), len(value))}{closing}"


def _mapping(value: dict[Any, Any], depth: int) -> str:
    first = list(value.items())[:ITEMS]
    return f"{{{_items((f'{brief(k, 1)}: {brief(v, depth - 1)}' for k, v in first), len(value))}}}"


def _set(value: Any, depth: int) -> str:
    # The order of a set changes with PYTHONHASHSEED.
    first = sorted(brief(item, depth - 1) for item in value)[:ITEMS]
    return f"{{{_items(first, len(value))}}}"


_CONTAINERS: dict[type, Callable[[Any, int], str]] = {
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
    set: _set,
    frozenset: _set,
}


_LENGTHS: tuple[tuple[type, Callable[[Any], int]], ...] = (
    (list, list.__len__),
    (tuple, tuple.__len__),
    (dict, dict.__len__),
    (set, set.__len__),
    (frozenset, frozenset.__len__),
    (str, str.__len__),
    (bytes, bytes.__len__),
)


def _object(value: Any, depth: int) -> str:
    """An object by its type and its stored plain attributes."""
    if live.is_a(value, type):
        return f"class {live.class_name(value)[1]}"
    if live.is_a(value, ModuleType):
        return f"module {value.__name__}"
    if live.is_a(value, FunctionType):
        return f"function {value.__qualname__}"
    if live.is_a(value, enum.Enum):
        return f"{_type_name(value)}.{value._name_}"
    if live.is_a(value, pathlib.PurePath):
        return f"{_type_name(value)}: a path named {str(pathlib.PurePath.__str__(value)).rpartition('/')[2]!r}"
    if live.is_a(value, BaseException):
        return f"{_type_name(value)}{brief(tuple(value.args), depth - 1)}"
    own = live.own_dict(value)
    if not own or depth <= 0:
        return _sized(value)
    shown = [f"{key}={brief(item, depth - 1)}" for key, item in list(own.items())[:ITEMS]]
    return f"{_type_name(value)}({_items(shown, len(own))})"


def _sized(value: Any) -> str:
    """A subclass of a built-in container is told by the length that the built-in itself counts."""
    for base, length in _LENGTHS:
        if live.is_a(value, base):
            return f"{_type_name(value)} of {length(value)}"
    return _type_name(value)


# known libraries ------------------------------------------------------------------------------------------------------


def _frame(value: Any) -> str:
    rows, columns = value.shape
    types = _items((f"{name} {kind}" for name, kind in list(value.dtypes.items())[:COLUMNS]), columns)
    missing = {str(name): int(n) for name, n in value.isna().sum().items() if n} if value.size <= 2_000_000 else {}
    gaps = f"\nmissing: {missing}" if missing else ""
    head = value.iloc[:ROWS, :COLUMNS].to_csv(index=True, float_format="%.6g").strip()
    return f"DataFrame, {rows} rows x {columns} columns\ncolumns: {types}{gaps}\n{head}"


def _series(value: Any) -> str:
    head = _items((brief(item) for item in value.iloc[:ITEMS].tolist()), len(value))
    return f"Series {value.name!r}, {len(value)} x {value.dtype}: [{head}]"


def _polars(value: Any) -> str:
    types = _items((f"{name} {kind}" for name, kind in list(value.schema.items())[:COLUMNS]), value.width)
    head = value.head(ROWS).write_csv().strip()
    return f"polars DataFrame, {value.height} rows x {value.width} columns\ncolumns: {types}\n{head}"


def _array(value: Any) -> str:
    about = f"ndarray, shape {tuple(value.shape)}, {value.dtype}"
    if value.dtype.hasobject or value.dtype.fields or not value.size:
        return about
    first = ", ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value.flat[:ITEMS].tolist())
    spread = f", from {value.min():.6g} to {value.max():.6g}" if value.dtype.kind in "iuf" and value.size < 5e6 else ""
    return f"{about}{spread}: {first}{', …' if value.size > ITEMS else ''}"


def _tensor(value: Any) -> str:
    return f"tensor, shape {tuple(value.shape)}, {value.dtype}, on {value.device.type}"


def _graph(value: Any) -> str:
    kind = ("directed " if value.is_directed() else "") + ("multigraph" if value.is_multigraph() else "graph")
    nodes = _items((brief(node, 1) for node in list(value._node)[:ITEMS]), len(value._node))
    return f"{_type_name(value)}: {kind}, {len(value._node)} nodes, {value.size()} edges; nodes {nodes}"


def _figure(value: Any) -> str:
    axes = [f"{type(axis).__name__} {axis.get_title()!r}" for axis in value.axes[:ITEMS]]
    return f"matplotlib figure, {len(value.axes)} axes: {_items(axes, len(value.axes))}"


_LIBRARIES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("pandas", "DataFrame", _frame),
    ("pandas", "Series", _series),
    ("polars", "DataFrame", _polars),
    ("numpy", "ndarray", _array),
    ("torch", "Tensor", _tensor),
    ("networkx", "Graph", _graph),
    ("matplotlib.figure", "Figure", _figure),
)
