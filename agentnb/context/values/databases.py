"""Connections, sessions, tables and queries in words. Nothing is opened, loaded or run."""

from __future__ import annotations

import itertools
from typing import Any

from agentnb.context.values.schemas import describe_database
from agentnb.context.values.text_format import ITEMS, items, quoted

COLUMNS = 12
"""Columns of a table that are told."""


def relation(value: Any) -> str:
    """A query that has not run: names and types of what it would give."""
    pairs = zip(value.columns[:COLUMNS], value.types, strict=False)
    return f"duckdb relation, not run: {items((f'{quoted(n)} {kind}' for n, kind in pairs), len(value.columns))}"


def connection(value: Any) -> str:
    """An SQLAlchemy Connection, by its engine."""
    return f"SQLAlchemy connection on {describe_database(value.engine, can_be_pinned=False)}"


def async_engine(value: Any) -> str:
    """An SQLAlchemy AsyncEngine, by the engine that it drives."""
    return describe_database(value.sync_engine, can_be_pinned=False)


def orm_session(value: Any) -> str:
    """An SQLAlchemy Session: where it is bound, and what it has not written yet."""
    bind = f" on {describe_database(value.bind).partition(chr(10))[0]}" if value.bind is not None else ""
    return f"SQLAlchemy session{bind}; {len(value.new)} new, {len(value.deleted)} deleted objects"


def orm_table(value: Any) -> str:
    """An SQLAlchemy Table: its columns with their types."""
    columns = (f"{column.name} {column.type}" for column in itertools.islice(value.columns, COLUMNS))
    return f"SQLAlchemy table {value.fullname}({items(columns, len(value.columns))})"


def orm_metadata(value: Any) -> str:
    """SQLAlchemy MetaData: its tables."""
    tables = sorted(value.tables.values(), key=lambda table: str(table.fullname))
    shown = [orm_table(table).removeprefix("SQLAlchemy table ") for table in tables[:ITEMS]]
    return "\n".join([f"SQLAlchemy metadata, {len(tables)} tables", *shown])
