"""Describe live variables: short, bounded and stable.

No code of the user's runs: no `__repr__` of classes that are not known, no properties, no `__len__`. Known libraries
are recognised by what is already in `sys.modules`; nothing is imported. Other objects are told by their type and their
stored attributes. The same value gives the same text: no addresses, no times, sets in order.
"""

from __future__ import annotations

import array
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import pathlib
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from agentnb.canonical import JsonObject
from agentnb.context.redaction.redactor import names_secret
from agentnb.context.values import arrays, figures, static_inspect
from agentnb.context.values.arrays import SCAN_CELLS
from agentnb.context.values.paths import path_in_words
from agentnb.context.values.schemas import about_database
from agentnb.context.values.subclasses import as_library_class
from agentnb.context.values.text_format import ITEMS, TEXT, beginning, cell, items, quoted
from agentnb.models.framing import unframed

LIMIT = 600
DEPTH = 3
ATTRIBUTES = 500
"""Attributes of an object that are looked at."""
COUNTED = 2_000_000
"""Characters of a text whose lines are counted."""
SET_LIMIT = 1000
"""Items of a set that are put in order; of a larger one only the number is told."""
ROWS, COLUMNS = 3, 12
LAST = 3
"""Of the COLUMNS of a wider table those that stand at its end."""
OWN_WORDS_SECONDS = 0.2
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


def describe(name: str, value: object, *, limit: int = LIMIT) -> str:
    """Return `name: type, what it holds`, at most `limit` characters. An object's own `_repr_llm_()` is honoured."""
    if type(value) is str and names_secret(name):  # written so that redaction sees whose value it is
        return settled(f"{name}: str of {len(value)} characters, {name} = {quoted(value)}", limit)
    return settled(f"{name}: {in_words(value, limit=limit)}", limit)


def in_words(value: object, *, limit: int = LIMIT) -> str:
    """Return the same without a name, not yet `settled`."""
    try:
        return _own_words(value, limit) or _describe(value)
    except Exception:  # noqa: BLE001 - the known libraries' own code runs here, and containers may change meanwhile
        return static_inspect.type_name(value)


def settled(text: str, limit: int = LIMIT) -> str:
    """Return a description as a prompt may have it: no addresses, no words that frame its parts, bounded."""
    text = unframed(_ADDRESS.sub("", text))
    return text if len(text) <= limit else f"{beginning(text, limit - 1)}…"


def _describe(value: Any) -> str:
    known = _known(value)
    if known is not None:
        return known.describe(value)
    plain = as_library_class(value)
    if plain is not None:
        return f"{static_inspect.type_name(value)}: {_describe(plain)}"
    if type(value) is str:
        return _long_text(value)
    if _container(type(value)) is not None:
        return f"{static_inspect.type_name(value)} of {len(value)}: {brief(value)}"
    return f"{static_inspect.type_name(value)}: {brief(value)}" if static_inspect.is_a(value, _ATOMS) else brief(value)


def _own_words(value: object, limit: int) -> str:
    """Return what the object says of itself: by `_repr_llm_`, which its author wrote for this. Else use a library's
    `repr` that computes nothing for it. It runs in a thread and is given up after OWN_WORDS_SECONDS."""
    method = static_inspect.class_attribute(type(value), "_repr_llm_")
    top = static_inspect.class_name(type(value))[0].partition(".")[0]
    if not static_inspect.is_a(method, FunctionType):
        method = {"networkx": str}.get(top, repr)  # a graph's repr is its address
        if top not in _OWN_REPR or static_inspect.is_a(value, (type, FunctionType, ModuleType)):
            return ""
    said: list[Any] = []

    def ask() -> None:
        with contextlib.suppress(BaseException):
            said.append(method(value))

    worker = threading.Thread(target=ask, daemon=True, name="agentnb-repr-llm")
    worker.start()
    worker.join(OWN_WORDS_SECONDS)
    return said[0][: 2 * limit] if said and type(said[0]) is str else ""


def _known(value: object) -> _KnownClass | None:
    """Return the describer of a library's own class. A subclass elsewhere is not taken: its methods may be the user's
    code."""
    top = static_inspect.class_name(type(value))[0].partition(".")[0]
    if top not in _TOPS:
        return None
    for known in LIBRARIES:
        cls = static_inspect.loaded_class(known.module, known.name)
        if cls is not None and static_inspect.is_a(value, cls):
            return known
    return None


# plain values ---------------------------------------------------------------------------------------------------------


def brief(value: Any, depth: int = DEPTH) -> str:
    """Return a value inside another: literals as written, containers by their first items, everything else by its
    type."""
    kind = type(value)
    if kind is str:
        return quoted(value)
    if kind is bytes:
        return f"{value[:40]!r}…" if len(value) > 40 else repr(value)
    if kind is int and value.bit_length() > 1000:
        return f"int of {value.bit_length()} bits"
    if id(kind) in _WRITTEN:
        return repr(value) if _is_plain(value) else static_inspect.type_name(value)
    say = _container(kind)
    if say is not None:
        return say(value, depth) if depth > 0 else f"{kind.__name__} of {len(value)}"
    return _object(value, depth)


def _is_plain(value: Any) -> bool:
    """Tell whether `repr` asks no class of the user's: a slice may hold anything, and a time any time zone."""
    held = (value.start, value.stop, value.step) if type(value) in (slice, range) else (getattr(value, "tzinfo", None),)
    return all(static_inspect.class_name(type(item))[0] in {"builtins", "datetime", "zoneinfo"} for item in held)


def _container(kind: type) -> Callable[[Any, int], str] | None:
    """Find it by identity: to hash or to compare a class may run its metaclass's code."""
    return _CONTAINERS.get(id(kind), (kind, None))[1]


def _long_text(text: str) -> str:
    lines = text.count("\n") + 1 if len(text) <= COUNTED else 0  # looking through more takes too long
    size = f"str of {len(text)} characters" + (f", {lines} lines" if lines > 1 else "")
    return f"{size}: {beginning(text, 400)!r}{'…' if len(text) > 400 else ''}"


def _sequence(value: Any, depth: int) -> str:
    opening, closing = ("[", "]") if type(value) is list else ("(", ")")
    return f"{opening}{items((brief(item, depth - 1) for item in value[:ITEMS]), len(value))}{closing}"


def _mapping(value: dict[Any, Any], depth: int) -> str:
    first = itertools.islice(value.items(), ITEMS)
    return f"{{{items((f'{brief(k, 1)}: {brief(v, depth - 1)}' for k, v in first), len(value))}}}"


def _set(value: Any, depth: int) -> str:
    if len(value) > SET_LIMIT:
        return f"{{… {len(value)} items}}"
    # The order of a set changes with PYTHONHASHSEED.
    first = sorted(brief(item, depth - 1) for item in value)[:ITEMS]
    return f"{{{items(first, len(value))}}}"


def _queue(value: Any, depth: int) -> str:
    return f"[{items((brief(item, depth - 1) for item in itertools.islice(value, ITEMS)), len(value))}]"


_CONTAINERS: dict[int, tuple[type, Callable[[Any, int], str] | None]] = {
    id(kind): (kind, say)
    for kind, say in (
        (collections.Counter, _mapping),
        (collections.OrderedDict, _mapping),
        (collections.defaultdict, _mapping),
        (collections.deque, _queue),
        (list, _sequence),
        (tuple, _sequence),
        (dict, _mapping),
        (set, _set),
        (frozenset, _set),
    )
}
_WRITTEN = frozenset(id(kind) for kind in (*_ATOMS, *_PLAIN))


_LENGTHS: tuple[tuple[type, Callable[[Any], int]], ...] = (
    (list, list.__len__),
    (tuple, tuple.__len__),
    (dict, dict.__len__),
    (set, set.__len__),
    (frozenset, frozenset.__len__),
    (str, str.__len__),
    (bytes, bytes.__len__),
    (bytearray, bytearray.__len__),
    (array.array, array.array.__len__),
    (type({}.keys()), len),
    (type({}.values()), len),
    (type({}.items()), len),
)


def _object(value: object, depth: int) -> str:
    """Return an object by its type and its stored plain attributes; not those that its constructor sets by itself."""
    for kind, say in _SAID:
        if static_inspect.is_a(value, kind):
            return say(value)
    known = _known(value)
    if known is not None:
        return known.short(value)
    plain = as_library_class(value)
    if plain is not None:
        return f"{static_inspect.type_name(value)}: {brief(plain, depth)}"
    module = static_inspect.loaded_class("torch.nn", "Module")
    if module is not None and static_inspect.is_a(value, module):
        return arrays.network(value) if depth == DEPTH else static_inspect.type_name(value)
    usual = _defaults(type(value))
    own = {key: item for key, item in _state(value).items() if not _is_usual(usual, key, item)}
    if not own or depth <= 0:
        return _sized(value, depth)
    shown = [f"{key}={brief(item, depth - 1)}" for key, item in itertools.islice(own.items(), ITEMS)]
    return f"{static_inspect.type_name(value)}({items(shown, len(own))})"


def _state(value: Any) -> JsonObject:
    """Return an object's own attributes: a named tuple's fields, what `__slots__` holds, and its dictionary's."""
    cls = type(value)
    fields = static_inspect.class_attribute(cls, "_fields")
    if static_inspect.is_a(value, tuple) and type(fields) is tuple and all(type(field) is str for field in fields):
        return dict(zip(fields, tuple.__iter__(value), strict=False))
    stored = itertools.islice(static_inspect.own_dict(value).items(), ATTRIBUTES)
    return {key: item for key, item in (*static_inspect.slots_of(value), *stored) if _is_state(cls, key)}


def _is_state(cls: type, key: object) -> bool:
    """Tell whether an attribute is the object's own state: not private, and not left by a cached property. Both change
    though the value does not."""
    if type(key) is not str or key.startswith("_"):
        return False
    return not static_inspect.is_a(static_inspect.class_attribute(cls, key), functools.cached_property)


def _defaults(cls: type) -> JsonObject:
    """Return what a class's own constructor takes where nothing is given."""
    made = static_inspect.class_attribute(cls, "__init__")
    if not static_inspect.is_a(made, FunctionType):
        return {}
    names = made.__code__.co_varnames[: made.__code__.co_argcount]
    last = made.__defaults__ or ()
    return dict(zip(names[len(names) - len(last) :], last, strict=True)) | (made.__kwdefaults__ or {})


def _is_usual(usual: JsonObject, key: str, item: object) -> bool:
    default = usual.get(key, static_inspect.MISSING)
    return item is default or (type(item) is type(default) and type(item) in (*_ATOMS, str) and bool(item == default))


_exception_args = vars(BaseException)["args"].__get__
_SAID: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (type, lambda value: f"class {static_inspect.class_name(value)[1]}"),
    (ModuleType, lambda value: f"module {static_inspect.own_dict(value).get('__name__')}"),
    (FunctionType, lambda value: f"function {value.__qualname__}"),
    (enum.Enum, lambda value: f"{static_inspect.type_name(value)}.{static_inspect.own_dict(value).get('_name_')}"),
    (pathlib.PurePath, path_in_words),
    (re.Pattern, lambda value: f"re.compile({quoted(value.pattern) if type(value.pattern) is str else '…'})"),
    (functools.partial, lambda value: f"partial of {brief(value.func, 1)}"),
    (BaseException, lambda value: f"{static_inspect.type_name(value)}{brief(_exception_args(value), 1)}"),
)


def _sized(value: object, depth: int) -> str:
    """Return a subclass of a built-in type, by what the built-in itself holds: its own methods are not asked."""
    for kind in (int, float):
        if static_inspect.is_a(value, kind):
            return f"{static_inspect.type_name(value)} {kind.__repr__(value)}"
    for base, length in _LENGTHS:
        if static_inspect.is_a(value, base):
            count, head = length(value), _head_of(value, depth)
            return f"{static_inspect.type_name(value)} of {count}{f': {head}' if head else ''}"
    return static_inspect.type_name(value)


def _head_of(value: Any, depth: int) -> str:
    """Return the first items of a subclass of a list, tuple, dictionary or text, as those of the type itself."""
    if depth <= 1:
        return ""
    if static_inspect.is_a(value, dict):
        return brief(dict(itertools.islice(dict.items(value), ITEMS)), depth - 1)
    for base in (list, tuple, str):
        if static_inspect.is_a(value, base):
            return brief(base.__getitem__(value, slice(TEXT if base is str else ITEMS)), depth - 1)
    return ""


# known libraries ------------------------------------------------------------------------------------------------------


def _frame(value: Any) -> str:
    rows, columns = value.shape
    places = _shown_columns(columns)
    first = value.iloc[:, places]  # a table of thousands of columns is only looked at where it is shown
    names = first.columns.tolist()
    types = [f"{brief(name, 1)} {_dtype(kind)}" for name, kind in zip(names, first.dtypes.tolist(), strict=True)]
    cells = [_column(name, first.iloc[:ROWS, j].tolist(), first.index[:ROWS].tolist()) for j, name in enumerate(names)]
    memory = f", {_size(value.memory_usage(deep=False).sum())}" if columns <= COLUMNS else ""
    about = f"DataFrame, {rows} rows x {columns} columns{memory}{_rows_by(value.index)}"
    levels = ", ".join(brief(name, 1) for name in value.columns.names if name is not None)
    head = f"columns{f' by {levels}' if levels else ''}: {_listed(types, columns) or 'none'}"
    return "\n".join([about, head, *_missing(first), *_rows(cells, columns)])


def _shown_columns(count: int) -> list[int]:
    """Return the places of the columns that are shown. Of many these are the first and the last, often the target."""
    return list(range(count)) if count <= COLUMNS else [*range(COLUMNS - LAST), *range(count - LAST, count)]


def _listed(shown: list[str], count: int) -> str:
    left_out = [f"… {count - COLUMNS} more"] if count > COLUMNS else []
    return ", ".join([*shown[: COLUMNS - LAST], *left_out, *shown[COLUMNS - LAST :]])


def _rows(columns: list[list[str]], count: int) -> list[str]:
    """Return the first rows, by their cells column by column."""
    gap = ["…"] if count > COLUMNS else []
    rows = zip(*columns, strict=True)
    return [" | ".join([*row[: COLUMNS - LAST], *gap, *row[COLUMNS - LAST :]]) for row in rows]


_HIDDEN = re.compile(
    r"(?:^|[_\W])(?:pass(?:word|wd|phrase|code)|pwd|secret|(?:api|private|access|secret)[_ -]?key|auth[_ -]?token)s?$",
    re.IGNORECASE,
)


def _column(name: object, cells: list[Any], rows: Iterable[object] = ()) -> list[str]:
    """Return a column's cells, but none that its column's or row's name calls secret: its shape may not show it."""
    hidden = [_is_hidden(name) or _is_hidden(row) for row in rows] or [_is_hidden(name)] * len(cells)
    return ["(not shown)" if secret else _plain(item) for item, secret in zip(cells, hidden, strict=True)]


def _is_hidden(name: object) -> bool:
    return type(name) is str and bool(_HIDDEN.search(name))


def _rows_by(index: Any) -> str:
    """Return what the rows are called by, where it is more than their number."""
    if type(index).__name__ == "RangeIndex" and index.name is None and (index.start, index.step) == (0, 1):
        return ""
    names = ", ".join(brief(name, 1) for name in index.names if name is not None)
    return f", index {type(index).__name__}{f' {names}' if names else ''} {_ends(index)}"


def _ends(index: Any) -> str:
    """Return the ends. Only times and numbers of rows tell by them what lies between."""
    if not len(index):
        return "empty"
    ordered = type(index).__name__ in {"RangeIndex", "DatetimeIndex", "PeriodIndex", "TimedeltaIndex"}
    form = "from {} to {}" if ordered else "first {}, last {}"
    return form.format(_plain(index[0]), _plain(index[-1]))


def _dtype(kind: Any) -> str:
    """Return a category with its values, which the table itself holds."""
    values = static_inspect.loaded_class("pandas", "CategoricalDtype")
    if values is None or not static_inspect.is_a(kind, values) or kind.categories is None:
        return str(kind)
    shown = items(map(_plain, kind.categories[:4].tolist()), len(kind.categories))
    return f"{'ordered ' if kind.ordered else ''}category of {len(kind.categories)} ({shown})"


def _missing(table: Any) -> list[str]:
    if table.size > SCAN_CELLS:
        return []
    counts = zip(table.columns.tolist(), table.isna().sum().tolist(), strict=True)
    gaps = [f"{brief(name, 1)} {n}" for name, n in counts if n]
    return [f"missing: {', '.join(gaps)}"] if gaps else []


def _plain(item: Any) -> str:
    """Return a cell of a table, without quotes; other people's objects by their type."""
    if type(item) in (datetime.datetime, datetime.date, datetime.time) and _is_plain(item):
        return str(item.isoformat())
    return cell(item) if type(item) in (str, float) else brief(item, 1)


def _size(count: Any) -> str:
    size = int(count)
    return f"{size} bytes" if size < 10_000 else f"{size / 1000:.0f} kB" if size < 10**7 else f"{size / 10**6:.0f} MB"


def _series(value: Any) -> str:
    head = items(_column(value.name, value.iloc[:ITEMS].tolist(), value.index[:ITEMS].tolist()), len(value))
    gaps = int(value.isna().sum()) if len(value) <= SCAN_CELLS else 0
    missing = f", {gaps} missing" if gaps else ""
    return f"Series {brief(value.name)}, {len(value)} x {_dtype(value.dtype)}{missing}{_rows_by(value.index)}: [{head}]"


def _extension(value: Any) -> str:
    head = items((_plain(item) for item in value[:ITEMS].tolist()), len(value))
    return f"{static_inspect.type_name(value)}, {len(value)} x {_dtype(value.dtype)}: [{head}]"


def _index(value: Any) -> str:
    shown = items((_plain(item) for item in value[:ITEMS].tolist()), len(value))
    names = ", ".join(brief(name) for name in value.names if name is not None)
    return f"{type(value).__name__}{f' {names}' if names else ''}, {len(value)} x {value.dtype}: [{shown}]"


def _groups(value: Any) -> str:
    """Grouping is lazy: how many groups there are is not asked."""
    return f"{type(value).__name__} by {brief(value.keys, 2)} of {_shaped(value.obj)}"


def _polars(value: Any) -> str:
    first = value[:, _shown_columns(value.width)]
    types = [f"{brief(name, 1)} {kind}" for name, kind in first.schema.items()]
    cells = [_column(name, first[name].head(ROWS).to_list()) for name in first.columns]
    about = f"polars DataFrame, {value.height} rows x {value.width} columns, {_size(value.estimated_size())}"
    counts = zip(first.columns, first.null_count().row(0), strict=True)
    gaps = [f"{brief(name, 1)} {n}" for name, n in counts if n]
    missing = [f"missing: {', '.join(gaps)}"] if gaps else []
    return "\n".join([about, f"columns: {_listed(types, value.width)}", *missing, *_rows(cells, value.width)])


def _polars_series(value: Any) -> str:
    head = items(_column(value.name, value.head(ITEMS).to_list()), len(value))
    return f"polars Series {brief(value.name)}, {len(value)} x {value.dtype}: [{head}]"


def _picture(value: Any) -> str:
    width, height = value.size
    return f"PIL image, {width} x {height} pixels, {value.mode}{f', {value.format}' if value.format else ''}"


@dataclass(frozen=True, slots=True)
class _KnownClass:
    """Tells how values of one library's class are told: at length, and inside another value."""

    module: str
    name: str
    describe: Callable[[Any], str]
    short: Callable[[Any], str]


def _shaped(value: Any) -> str:
    return f"{static_inspect.class_name(type(value))[1]} {' x '.join(map(str, value.shape))}"


LIBRARIES: tuple[_KnownClass, ...] = (
    _KnownClass("pandas", "DataFrame", _frame, _shaped),
    _KnownClass("pandas", "Series", _series, _shaped),
    _KnownClass("pandas", "Timestamp", lambda value: value.isoformat(), lambda value: value.isoformat()),
    _KnownClass("pandas._libs.tslibs.nattype", "NaTType", lambda value: "NaT", lambda value: "NaT"),
    _KnownClass("pandas._libs.missing", "NAType", lambda value: "NA", lambda value: "NA"),
    _KnownClass("pandas", "Timedelta", lambda value: value.isoformat(), lambda value: value.isoformat()),
    _KnownClass("pandas", "Period", str, str),
    _KnownClass("pandas", "Interval", str, str),
    _KnownClass(
        "pandas.io.formats.style", "Styler", lambda value: f"Styler of {_shaped(value.data)}", static_inspect.type_name
    ),
    _KnownClass("pandas.api.extensions", "ExtensionArray", _extension, static_inspect.type_name),
    _KnownClass("pandas", "Index", _index, lambda value: f"{type(value).__name__} of {len(value)}"),
    _KnownClass("pandas.core.groupby", "GroupBy", _groups, static_inspect.type_name),
    _KnownClass("polars", "DataFrame", _polars, _shaped),
    _KnownClass("polars", "Series", _polars_series, _shaped),
    _KnownClass("polars", "LazyFrame", lambda value: "polars LazyFrame, not collected", lambda value: "LazyFrame"),
    _KnownClass("numpy", "ndarray", arrays.array, arrays.short),
    _KnownClass(
        "numpy", "generic", lambda value: f"{value.dtype} {_plain(value.item())}", lambda value: _plain(value.item())
    ),
    _KnownClass("torch", "Tensor", arrays.tensor, _shaped),
    _KnownClass("matplotlib.figure", "Figure", figures.matplotlib_figure, static_inspect.type_name),
    _KnownClass("matplotlib.axes", "Axes", figures.matplotlib_axes, static_inspect.type_name),
    _KnownClass("matplotlib.artist", "Artist", figures.matplotlib_artist, static_inspect.type_name),
    _KnownClass(
        "PIL.Image",
        "Image",
        _picture,
        lambda value: f"{static_inspect.type_name(value)} {value.size[0]} x {value.size[1]}",
    ),
    _KnownClass("sqlite3", "Connection", about_database, static_inspect.type_name),
    _KnownClass("duckdb", "DuckDBPyConnection", about_database, static_inspect.type_name),
    _KnownClass("sqlalchemy.engine", "Engine", about_database, static_inspect.type_name),
)
_TOPS = frozenset(known.module.partition(".")[0] for known in LIBRARIES) | {"_duckdb", "mpl_toolkits"}
"""Top packages whose classes are taken at their word; their subclasses elsewhere are not."""
_OWN_REPR = frozenset({"dask", "networkx", "pyarrow", "scipy", "xarray"})
"""Top packages whose classes are told by their own `repr`, which computes and opens nothing."""
