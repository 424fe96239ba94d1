"""Show a value that a model gave to a person: rows as a table, else as Python does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from IPython.display import display

from agentnb.errors import terminal_width
from agentnb.view.number_format import plural
from agentnb.view.style import WIDTH
from agentnb.view.tables import table_bundle

MOST = 20
"""Rows that are shown; the variable has them all."""


def show_value(name: str, value: Any) -> None:
    """Show what is in the variable now. A table of a library shows itself."""
    rows = [_fields(item) for item in value] if isinstance(value, list | tuple) else [_fields(value)]
    if not rows or any(row is None for row in rows):
        display(value)
        return
    known = [row for row in rows if row is not None]
    columns = tuple(dict.fromkeys(key for row in known for key in row))
    cells = [tuple(str(row.get(column, "")) for column in columns) for row in known[:MOST]]
    notes = [f"{plural(len(known), 'row')}; the first {MOST} are shown."] if len(known) > MOST else []
    display(table_bundle(name, columns, cells, notes, width=terminal_width(WIDTH)), raw=True)


def _fields(value: Any) -> Mapping[str, Any] | None:
    """Return the fields of a record: a dataclass, a pydantic model, a mapping; None of anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    names = getattr(type(value), "model_fields", None)
    return {name: getattr(value, name) for name in names} if isinstance(names, dict) else None
