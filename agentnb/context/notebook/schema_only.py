"""Describe values by type, shape, columns and dtypes alone: no value, no category, no label of a row, nobody's
words."""

from __future__ import annotations

from typing import Any

from agentnb.context.notebook.namespace import line_of
from agentnb.context.values import static_inspect

COLUMNS = 200
WITHHELD = 'not shown: AgentNB.values = "schema"'
"""Stands in the place of every value, output and result."""


def describe_schema(name: str, value: object) -> str:
    """Return `df: DataFrame 100 x 5, columns: price float64, city object`."""
    line = line_of(name, value) or f"{name}: module"
    try:
        columns = _columns(static_inspect.unwrap(value))
    except Exception:  # noqa: BLE001 - a library's own attributes: a lazy table may fail to tell its columns
        columns = []
    if not columns:
        return line
    more = f", … {len(columns) - COLUMNS} more" if len(columns) > COLUMNS else ""
    return f"{line}, columns: {', '.join(columns[:COLUMNS])}{more}"


def _columns(value: Any) -> list[str]:
    """Columns with dtypes of the tables that are known; the dtype of an array."""
    module = static_inspect.class_name(type(value))[0].partition(".")[0]
    if module == "pandas" and _is(value, "pandas", "DataFrame"):
        return [f"{_label(name)} {_dtype(kind)}" for name, kind in zip(value.columns, value.dtypes, strict=True)]
    if module == "pandas" and _is(value, "pandas", "Series"):
        return [f"{_label(value.name)} {_dtype(value.dtype)}"]
    if module == "polars" and _is(value, "polars", "DataFrame"):
        return [f"{name} {kind.base_type().__name__}" for name, kind in value.schema.items()]
    if module == "pyarrow" and _is(value, "pyarrow", "Table"):
        return [f"{field.name} {field.type}" for field in value.schema]
    if module in ("numpy", "torch") and not _is(value, "numpy", "generic"):
        kind = getattr(value, "dtype", None)
        return [f"dtype {_dtype(kind)}"] if kind is not None else []
    return []


def _is(value: object, module: str, name: str) -> bool:
    cls = static_inspect.loaded_class(module, name)
    return cls is not None and static_inspect.is_a(value, cls)


def _label(name: object) -> str:
    """Return a column's label where it is text; of another its type, for it may be a value."""
    if type(name) is str:
        return name
    if type(name) is tuple and all(type(part) is str for part in name):
        return "/".join(name)
    return "unnamed" if name is None else f"({static_inspect.class_name(type(name))[1]})"


def _dtype(kind: object) -> str:
    """Return a dtype by name: a category without its categories, a sparse one without the value that fills it."""
    name = getattr(kind, "name", None)
    said = name if type(name) is str else str(kind)
    return f"{said.partition(',')[0]}]" if said.startswith("Sparse[") and "," in said else said
