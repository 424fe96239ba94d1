"""Read a database's schema as DDL, from a connection or engine in the notebook that the user pins.

Unasked, only the kind and the place of a database are told: nothing is opened or read. A pinned one is read once; one
across a network in a thread, with a time limit.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agentnb.context.values import static_inspect
from agentnb.errors import SchemaUnread

PATIENCE = 5.0
"""Seconds for a database across a network."""
CHARACTERS = 40_000
"""Of a pinned schema; of the tables beyond it only the names are told."""
ROWS = 5000
"""Tables of one database that are read."""
Table = tuple[str, str]
"""(name, its DDL as written)."""


def kind_of(value: object) -> str:
    """Return `sqlite3`, `duckdb`, `sqlalchemy` by the real class; empty for anything else."""
    for module, name, kind in _KINDS:
        loaded = sys.modules.get(module)
        cls = static_inspect.attribute(loaded, name) if loaded is not None else None
        if (
            isinstance(cls, type)
            and static_inspect.is_a(value, cls)
            and static_inspect.class_name(type(value))[0].split(".")[0] in _TOPS
        ):
            return kind
    return ""


_KINDS = (
    ("sqlite3", "Connection", "sqlite3"),
    ("duckdb", "DuckDBPyConnection", "duckdb"),
    ("sqlalchemy.engine", "Engine", "sqlalchemy"),
)
_TOPS = {"sqlite3", "duckdb", "_duckdb", "sqlalchemy"}


def about_database(value: object) -> str:
    """Return what is told unasked: the kind and the place, without a password. Nothing is opened or read."""
    return f"{_about(value)}; its schema is read when it is pinned (%agent_context pin NAME)"


def read_schema(value: Any, *, patience: float = PATIENCE) -> str:
    """Return the schema as text, CHARACTERS at most. Raises SchemaUnread where it cannot be had in time.

    To be called in the main thread: a sqlite3 connection, and SQLite in memory, answer only where they were opened.
    """
    read = {"sqlite3": _sqlite_tables, "duckdb": _duckdb_tables}.get(kind_of(value), _reflected)
    local = read is not _reflected or value.dialect.name == "sqlite"
    try:
        tables = read(value) if local else _in_time(lambda: read(value), patience)
    except SchemaUnread:
        raise
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "")
        raise SchemaUnread(
            "the database's schema cannot be read",
            about=f"{static_inspect.class_name(type(error))[1]}: {said}"[:300],
            todo="Pin it again when it can be, or add a file with the schema (%agent_context add FILE).",
        ) from error
    return bounded(_about(value), tables)


def bounded(about: str, tables: Sequence[Table]) -> str:
    """Return the tables' DDL in their order, as many as fit, then the names of the others."""
    lines, left = [f"-- {about}"], CHARACTERS
    rest: list[str] = []
    for name, written in tables:
        ddl = _one_line(written) if left > 0 else ""
        left -= len(ddl) + 1
        if left > 0:
            lines.append(ddl)
        else:
            rest.append(name)
    if rest:
        more = ", ".join(rest)
        lines.append(f"-- {len(rest)} more: {more[:4000]}{'…' if len(more) > 4000 else ''}")
    return "\n".join(lines)


def _about(value: Any) -> str:
    kind = kind_of(value)
    if kind != "sqlalchemy":
        return f"{kind} connection"
    # The query may hold passwords of its own (`?password=`, `?sslkey=`).
    url = value.url.set(query={})
    place = url if url.host else url.set(database=Path(url.database).name if url.database else None)
    return f"SQLAlchemy engine, {value.dialect.name}, {place.render_as_string(hide_password=True)}"


# Read as bytes: text would go through the connection's own factories and converters, which may be user code.
_DATABASES = "SELECT CAST(name AS BLOB) FROM pragma_database_list ORDER BY seq"
_MASTER = (
    "SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM {}.{} WHERE sql IS NOT NULL "
    "ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'view' THEN 1 ELSE 2 END, name LIMIT {}"
)


def _sqlite_tables(connection: object) -> list[Table]:
    """Return the tables' own CREATE statements. A trace callback of the user's sees the questions."""
    cursor = sys.modules["sqlite3"].Cursor(connection)
    cursor.row_factory = None  # the connection's own may be user code
    databases = [_text(name) for (name,) in cursor.execute(_DATABASES).fetchall()]
    return [table for database in databases for table in _tables_of(cursor, database)]


def _tables_of(cursor: Any, database: str) -> list[Table]:
    master = "sqlite_temp_master" if database == "temp" else "sqlite_master"
    quoted = '"' + database.replace('"', '""') + '"'
    rows = cursor.execute(_MASTER.format(quoted, master, ROWS)).fetchall()
    where = f" /* in {database.replace('*/', '')} */" if database != "main" else ""
    return [(_text(name), f"{_text(sql)}{where}") for name, sql in rows]


def _text(raw: bytes) -> str:
    """Return text as the database holds it: UTF-8, or UTF-16, where every other byte of a keyword is zero."""
    encoding = "utf-8" if b"\0" not in raw[:2] else "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
    return raw.decode(encoding, "replace")


def _duckdb_tables(connection: Any) -> list[Table]:
    """List by `cursor()`, which is a second connection to the same database: the user's pending result stays."""
    with contextlib.closing(connection.cursor()) as cursor:
        query = (
            "SELECT table_name, sql, database_name FROM duckdb_tables() WHERE NOT internal UNION ALL "
            "SELECT view_name, sql, database_name FROM duckdb_views() WHERE NOT internal UNION ALL "
            "SELECT index_name, sql, database_name FROM duckdb_indexes() WHERE sql IS NOT NULL ORDER BY 1 LIMIT ?"
        )
        (current,) = cursor.execute("SELECT current_database()").fetchone()
        rows = cursor.execute(query, [ROWS]).fetchall()
    return [(name, sql if place in (current, "temp") else f"{sql} /* in {place} */") for name, sql, place in rows]


def _reflected(engine: Any) -> list[Table]:
    """Return DDL as SQLAlchemy reads it back. The connection goes back to the engine's pool."""
    import sqlalchemy
    from sqlalchemy.schema import CreateIndex, CreateTable

    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        if kind_of(driver) == "sqlite3":
            return _sqlite_tables(driver)
        metadata = sqlalchemy.MetaData()
        metadata.reflect(bind=connection, views=True)
        out: list[Table] = []
        for table in sorted(metadata.tables.values(), key=lambda table: str(table.fullname)):
            name = str(table.fullname)
            out.append((name, str(CreateTable(table).compile(engine))))
            indexes = sorted(table.indexes, key=lambda index: str(index.name))
            out += [(str(index.name), str(CreateIndex(index).compile(engine))) for index in indexes]
        return out


def _in_time(work: Callable[[], list[Table]], patience: float) -> list[Table]:
    """Return what `work` gives, in a thread of its own that is given up after `patience` seconds."""
    done: list[list[Table]] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001 - a driver's own errors; raised below
            failed.append(error)

    worker = threading.Thread(target=run, daemon=True, name="agentnb-schema")
    worker.start()
    worker.join(patience)
    if failed:
        raise failed[0]
    if not done:
        todo = "Pin it again when the database answers, or add a file with the schema (%agent_context add FILE)."
        raise SchemaUnread(f"the database did not answer within {patience:g} s", todo=todo)
    return done[0]


def _one_line(sql: str) -> str:
    """DDL on one line; a comment to the end of its line becomes one with an end."""
    lines = [_closed_comment(line) if "--" in line else line for line in sql.splitlines()]
    return " ".join(" ".join(lines).split())


def _closed_comment(line: str) -> str:
    """Return `-- why` as `/* why */`; dashes inside quotes are none."""
    quote = ""
    for i, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif line.startswith("--", i):
            return f"{line[:i]}/* {line[i + 2 :].strip().replace('*/', '* /')} */"
    return line
