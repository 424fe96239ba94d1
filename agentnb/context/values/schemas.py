"""A database's schema as DDL, from a connection or engine in the notebook.

Unasked only what costs nothing is told: a database in memory or in a local file, read through the user's own sqlite3 or
duckdb connection or, of a file, through one of ours that cannot write. Across a network nobody is asked unless the user
pins the engine (`read_schema`): then it is read once, in a thread, with a time limit.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from agentnb.context.values import static_inspect
from agentnb.errors import SchemaUnread

PATIENCE = 5.0
"""Seconds for a database across a network."""
CHARACTERS = 40_000
"""Of a pinned schema; of the tables beyond it only the names are told."""
FEW, MOST = 5, 40
"""Tables that are not counted, since they are seen; and those that are told unasked."""
ROWS = 5000
"""Tables of one database that are read."""
WAIT = 0.1
"""Seconds for learning whether a connection may be asked from any thread."""
Table = tuple[str, str]
"""(name, its DDL as written)."""


def kind_of(value: Any) -> str:
    """`sqlite3`, `duckdb`, `sqlalchemy` by the real class; empty for anything else."""
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


def is_bound_to_its_thread(value: Any) -> bool:
    """Whether only the thread that opened it may ask it, or sees what it holds: sqlite3, and SQLite in memory."""
    kind = kind_of(value)
    return kind == "sqlite3" or (kind == "sqlalchemy" and value.dialect.name == "sqlite" and _file_of(value) is None)


def describe_database(value: Any, *, can_be_pinned: bool = True) -> str:
    """What can be told unasked: kind and place without a password, and the DDL where reading it costs nothing."""
    about = _about(value)
    try:
        tables = _tables_at_hand(value)
    except Exception as error:  # noqa: BLE001 - the library's own code: locked, closed, of another thread
        return f"{about}, its schema cannot be read now: {_reason(error)}"
    if tables is None:
        return f"{about}; its schema is read when it is pinned (%agent_context pin NAME)" if can_be_pinned else about
    many = f", {len(tables)} tables, views and indexes" if len(tables) > FEW else "" if tables else ", empty"
    return "\n".join([f"{about}{many}", *(_one_line(ddl) for _, ddl in tables[:MOST])])


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _InUse) else static_inspect.class_name(type(error))[1]


class _InUse(Exception):
    """Another thread may be asking the same connection."""


def read_schema(value: Any, *, patience: float = PATIENCE) -> str:
    """The schema as text, CHARACTERS at most. Raises SchemaUnread where it cannot be had in time."""
    try:
        tables = _tables_at_hand(value)
    except Exception as error:
        raise _unread(error) from error
    if tables is None:
        tables = _reflected(value) if is_bound_to_its_thread(value) else _in_time(lambda: _reflected(value), patience)
    return bounded(_about(value), tables)


def bounded(about: str, tables: Sequence[Table]) -> str:
    """The tables' DDL in their order, as many as fit, then the names of the others."""
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


def _tables_at_hand(value: Any) -> list[Table] | None:
    """The tables where reading them opens nothing of the user's and waits for nobody; else None."""
    kind = kind_of(value)
    if kind == "sqlite3":
        return _sqlite_tables(value)
    if kind == "duckdb":
        return _duckdb_tables(value)
    if value.dialect.name != "sqlite":
        return None
    file = _file_of(value)
    if file is None:
        connection = _held_in_memory(value)
        return None if connection is None else _sqlite_tables(connection)
    if not file.is_file():
        return []  # connecting would create it
    return _sqlite_file(file)


def _file_of(engine: Any) -> Path | None:
    """The file of a SQLite engine; None for one in memory."""
    name = engine.url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        return None
    return Path(name)


def _sqlite_file(file: Path) -> list[Table]:
    import sqlite3

    address = f"{file.resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True, timeout=0)) as own:
        return _sqlite_tables(own)


def _held_in_memory(engine: Any) -> Any:
    """The sqlite3 connection that an engine in memory keeps for this thread; None where it keeps none, or several.

    Connecting would call the user's listeners and may wait for the pool, so the pool's own record is looked at.
    """
    own = static_inspect.own_dict(engine.pool)
    current = getattr(own.get("_conn"), "current", None)
    record = own.get("connection") or (current() if current is not None else None)
    found = getattr(record, "dbapi_connection", None)
    return found if kind_of(found) == "sqlite3" else None


# Read as bytes: text would go through the connection's own factories and converters, which may be user code.
_DATABASES = "SELECT CAST(name AS BLOB) FROM pragma_database_list ORDER BY seq"
_MASTER = (
    "SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM {}.{} WHERE sql IS NOT NULL "
    "ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'view' THEN 1 ELSE 2 END, name LIMIT {}"
)


def _sqlite_tables(connection: Any) -> list[Table]:
    """The tables' own CREATE statements. Nobody is waited for: neither a lock of another connection nor a thread that
    may be using this one. A trace callback of the user's sees the questions."""
    if _is_shared(connection) and _others_are_at_work():
        raise _InUse("another thread may be using it")
    cursor = sys.modules["sqlite3"].Cursor(connection)
    cursor.row_factory = None  # the connection's own may be user code
    with _without_waiting(cursor):
        databases = [_text(name) for (name,) in cursor.execute(_DATABASES).fetchall()]
        return [table for database in databases for table in _tables_of(cursor, database)]


def _is_shared(connection: Any) -> bool:
    """Whether threads that did not open the connection may ask it: one that may not is refused before any lock."""
    return _attempt(lambda: [connection.cursor()], WAIT, swallow=True) is not None


def _others_are_at_work() -> bool:
    """Whether a thread may be inside a call of the connection: any that runs more than what waits in a notebook.

    Waiting for such a call with a thread of our own and a time limit is no way: the user may close the connection
    under the thread that was given up, which ends the process.
    """
    mine = threading.get_ident()
    return any(_is_at_work(frame) for thread, frame in sys._current_frames().items() if thread != mine)


def _is_at_work(frame: FrameType) -> bool:
    """`run` innermost is a thread whose target is no Python function: it may be the connection's own method."""
    direct = frame.f_code.co_name == "run" and frame.f_globals.get("__name__") in _RUNNERS
    return direct or not _packages_of(frame) <= _WAITING


def _packages_of(frame: FrameType | None) -> set[str]:
    found = set()
    while frame is not None:
        found.add(str(frame.f_globals.get("__name__")).partition(".")[0])
        frame = frame.f_back
    return found


_RUNNERS = ("threading", "concurrent.futures.thread")
_WAITING = (sys.stdlib_module_names - {"sqlite3"}) | {"agentnb", "debugpy", "ipykernel", "IPython", "tornado", "zmq"}
"""Packages whose threads wait: Python's, the kernel's, the debugger's, our own."""


def _tables_of(cursor: Any, database: str) -> list[Table]:
    master = "sqlite_temp_master" if database == "temp" else "sqlite_master"
    quoted = '"' + database.replace('"', '""') + '"'
    rows = cursor.execute(_MASTER.format(quoted, master, ROWS)).fetchall()
    where = f" /* in {database.replace('*/', '')} */" if database != "main" else ""
    return [(_text(name), f"{_text(sql)}{where}") for name, sql in rows]


def _text(raw: bytes) -> str:
    """Text as the database holds it: UTF-8, or UTF-16, where every other byte of a keyword is zero."""
    encoding = "utf-8" if b"\0" not in raw[:2] else "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"
    return raw.decode(encoding, "replace")


@contextlib.contextmanager
def _without_waiting(cursor: Any) -> Iterator[None]:
    (before,) = cursor.execute("PRAGMA busy_timeout").fetchone()
    cursor.execute("PRAGMA busy_timeout = 0").fetchall()
    try:
        yield
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {int(before)}").fetchall()


def _duckdb_tables(connection: Any) -> list[Table]:
    """`cursor()` is a second connection to the same database: the user's pending result stays."""
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
    """DDL as SQLAlchemy reads it back. The connection goes back to the engine's pool."""
    import sqlalchemy
    from sqlalchemy.schema import CreateIndex, CreateTable

    with engine.connect() as connection:
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
    try:
        found = _attempt(work, patience)
    except Exception as error:
        raise _unread(error) from error
    if found is None:
        todo = "Pin it again when the database answers, or add a file with the schema (%agent_context add FILE)."
        raise SchemaUnread(f"the database did not answer within {patience:g} s", todo=todo)
    return found


def _attempt(work: Callable[[], list[Any]], patience: float, *, swallow: bool = False) -> list[Any] | None:
    """What `work` gives, in a thread of its own; None where it takes longer. Its error is raised, or with `swallow`
    counts as none."""
    done: list[list[Any]] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as error:  # noqa: BLE001 - a driver's own errors; raised below
            failed.append(error)

    worker = threading.Thread(target=run, daemon=True, name="agentnb-schema")
    worker.start()
    worker.join(patience)
    if failed and not swallow:
        raise failed[0]
    return done[0] if done else None


def _unread(error: BaseException) -> SchemaUnread:
    if isinstance(error, _InUse):
        return SchemaUnread(f"the schema was not read: {error}", todo="Pin it again when that thread is done.")
    said = next(iter(str(error).strip().splitlines()), "")
    return SchemaUnread(
        "the database's schema cannot be read",
        about=f"{static_inspect.class_name(type(error))[1]}: {said}"[:300],
        todo="Pin it again when it can be, or add a file with the schema (%agent_context add FILE).",
    )


def _one_line(sql: str) -> str:
    """DDL on one line; a comment to the end of its line becomes one with an end."""
    lines = [_closed_comment(line) if "--" in line else line for line in sql.splitlines()]
    return " ".join(" ".join(lines).split())


def _closed_comment(line: str) -> str:
    """`-- why` as `/* why */`; dashes inside quotes are none."""
    quote = ""
    for i, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        elif line.startswith("--", i):
            return f"{line[:i]}/* {line[i + 2 :].strip().replace('*/', '* /')} */"
    return line
