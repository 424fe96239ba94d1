"""Schemas of real databases: read when they are pinned, and never before; nothing is changed."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

from agentnb.context.values.description import describe
from agentnb.context.values.schemas import CHARACTERS, read_schema
from agentnb.errors import SchemaUnread


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    found = sqlite3.connect(":memory:")
    yield found
    found.close()


@pytest.fixture
def alchemy() -> Any:
    return pytest.importorskip("sqlalchemy")


def test_sqlite_tells_tables_first_then_views_indexes_and_triggers(connection: sqlite3.Connection) -> None:
    connection.executescript(
        '''
        CREATE TABLE "order ""x""" (id INTEGER PRIMARY KEY, -- the number
            note TEXT DEFAULT '--none'
        );
        CREATE VIEW all_orders AS SELECT * FROM "order ""x""";
        CREATE INDEX by_note ON "order ""x"""(note);
        CREATE TRIGGER t AFTER INSERT ON "order ""x""" BEGIN SELECT 1; END;
        '''
    )
    text = read_schema(connection)
    assert text == (
        "-- sqlite3 connection\n"
        'CREATE TABLE "order ""x""" (id INTEGER PRIMARY KEY, /* the number */ note TEXT DEFAULT \'--none\' )\n'
        'CREATE VIEW all_orders AS SELECT * FROM "order ""x"""\n'
        'CREATE INDEX by_note ON "order ""x"""(note)\n'
        'CREATE TRIGGER t AFTER INSERT ON "order ""x""" BEGIN SELECT 1; END'
    )


def test_asking_changes_nothing_of_the_connection(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE t (a)")
    connection.row_factory = lambda cursor, row: pytest.fail("user code ran")
    pending = connection.execute("SELECT 1 UNION SELECT 2")
    pending.row_factory = None
    changes, inside = connection.total_changes, connection.in_transaction
    assert "CREATE TABLE t" in read_schema(connection)
    assert pending.fetchall() == [(1,), (2,)]
    connection.row_factory = None
    assert (connection.total_changes, connection.in_transaction) == (changes, inside)


def test_unasked_only_kind_and_place_are_told(tmp_path: Path, alchemy: Any, connection: sqlite3.Connection) -> None:
    heard: list[str] = []
    connection.execute("CREATE TABLE t (a)")
    connection.set_trace_callback(heard.append)
    opened: list[object] = []
    engine = alchemy.create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    for event in ("connect", "checkout"):
        alchemy.event.listen(engine, event, lambda *given: opened.append(given))
    pinned = "its schema is read when it is pinned (%agent_context pin NAME)"
    assert describe("db", connection) == f"db: sqlite3 connection; {pinned}"
    assert describe("e", engine) == f"e: SQLAlchemy engine, sqlite, sqlite:///new.db; {pinned}"
    assert not (tmp_path / "new.db").exists(), "looking creates no file"
    assert heard == opened == []


def test_a_locked_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    owner = sqlite3.connect(file, isolation_level=None)
    owner.execute("CREATE TABLE t (a)")
    owner.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(file, timeout=0)
    with pytest.raises(SchemaUnread, match="cannot be read") as raised:
        read_schema(other)
    assert "OperationalError" in str(raised.value)
    owner.execute("COMMIT")
    assert "CREATE TABLE t (a)" in read_schema(other)
    for one in (owner, other):
        one.close()


def test_a_closed_connection_and_one_of_another_thread_are_named() -> None:
    made, seen = queue.SimpleQueue[sqlite3.Connection](), threading.Event()

    def open_and_stay() -> None:  # the number of a thread that has ended is given to the next one
        made.put(sqlite3.connect(":memory:"))
        seen.wait(PATIENCE)

    threading.Thread(target=open_and_stay, daemon=True).start()
    with pytest.raises(SchemaUnread, match="ProgrammingError"):
        read_schema(made.get())
    seen.set()
    closed = sqlite3.connect(":memory:")
    closed.close()
    with pytest.raises(SchemaUnread, match="ProgrammingError"):
        read_schema(closed)


def test_five_hundred_tables_are_bounded(connection: sqlite3.Connection) -> None:
    for i in range(500):
        connection.execute(
            f"CREATE TABLE table_{i:03} (id INTEGER PRIMARY KEY, name TEXT NOT NULL, more TEXT, {'x' * 30} REAL)"
        )
    text = read_schema(connection)
    assert len(text) < CHARACTERS + 5000
    assert "CREATE TABLE table_000" in text
    assert "table_499" in text, "of the tables that do not fit the names are told"


def test_an_engine_on_a_file_is_read(tmp_path: Path, alchemy: Any) -> None:
    with sqlite3.connect(tmp_path / "new.db") as own:
        own.execute("CREATE TABLE t (a)")
    own.close()
    engine = alchemy.create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    assert "CREATE TABLE t (a)" in read_schema(engine)
    engine.dispose()


def test_an_engine_in_memory_tells_what_its_thread_sees(alchemy: Any) -> None:
    engine = alchemy.create_engine("sqlite://")
    with engine.begin() as one:
        one.execute(alchemy.text("CREATE TABLE t (a INTEGER)"))
    assert "CREATE TABLE t (a INTEGER)" in read_schema(engine)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_what_the_connection_makes_of_text_is_not_asked(tmp_path: Path, encoding: str) -> None:
    sqlite3.register_converter("TEXT", lambda raw: pytest.fail("user code ran"))
    connection = sqlite3.connect(tmp_path / "shop.db", detect_types=sqlite3.PARSE_DECLTYPES)
    connection.execute(f"PRAGMA encoding = '{encoding}'")
    connection.execute("CREATE TABLE tür (a TEXT)")
    connection.text_factory = lambda raw: pytest.fail("user code ran")
    assert read_schema(connection) == "-- sqlite3 connection\nCREATE TABLE tür (a TEXT)"
    connection.text_factory = bytes
    assert "CREATE TABLE tür" in read_schema(connection)
    connection.close()


def test_attached_databases_are_told_with_their_names(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE t (a)")
    connection.execute("CREATE TEMP TABLE draft (a)")
    connection.execute('ATTACH \':memory:\' AS "old ""one"""')
    connection.execute('CREATE TABLE "old ""one""".u (b)')
    assert read_schema(connection).splitlines()[1:] == [
        "CREATE TABLE t (a)",
        "CREATE TABLE draft (a) /* in temp */",
        'CREATE TABLE u (b) /* in old "one" */',
    ]


def test_an_engine_across_a_network_is_not_asked_and_shows_no_password(alchemy: Any) -> None:
    address = "postgresql+psycopg://ann:hunter2@db.example.org:5432/shop?password=hunter3&sslmode=require"
    pytest.importorskip("psycopg")
    engine = alchemy.create_engine(address)
    text = describe("e", engine)
    assert text == (
        "e: SQLAlchemy engine, postgresql, postgresql+psycopg://ann:***@db.example.org:5432/shop; "
        "its schema is read when it is pinned (%agent_context pin NAME)"
    )


def test_a_database_that_does_not_answer_is_given_up(alchemy: Any) -> None:
    pytest.importorskip("psycopg")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        engine = alchemy.create_engine(f"postgresql+psycopg://ann:pw@127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(SchemaUnread, match="did not answer within"):
            read_schema(engine, patience=0.2)


def test_duckdb_tells_its_tables_and_keeps_the_pending_result() -> None:
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t (a INTEGER, b VARCHAR)")
    connection.execute("CREATE VIEW v AS SELECT a FROM t")
    connection.execute("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    connection.execute("SELECT a FROM t ORDER BY a")
    text = read_schema(connection)
    assert text.startswith("-- duckdb connection\nCREATE TABLE t(a INTEGER, b VARCHAR);")
    assert "CREATE VIEW v" in text
    assert connection.fetchall() == [(1,), (2,)]
    connection.close()


def user_for_postgres() -> str | None:
    """The server refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of our own, the address of its database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    initdb = shutil.which("initdb") or next((str(path / "initdb") for path in reversed(programs)), None)
    if initdb is None or not Path(initdb).exists():
        pytest.skip("no PostgreSQL server is installed here")
    pytest.importorskip("psycopg")
    pytest.importorskip("sqlalchemy")
    user = user_for_postgres()
    place = Path("/tmp") / f"agentnb-pg-{os.getpid()}"
    place.mkdir()
    try:
        if user:
            shutil.chown(place, user)
        made = subprocess.run(
            [initdb, "-D", str(place / "data"), "-U", "ann", "-A", "trust"], user=user, cwd="/", capture_output=True
        )
        if made.returncode:
            pytest.skip(f"initdb failed: {made.stderr[-200:]!r}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            str(Path(initdb).with_name("postgres")),
            "-D",
            str(place / "data"),
            "-p",
            str(port),
            "-k",
            str(place),
        ]
        server = subprocess.Popen([*command, "-c", "fsync=off"], user=user, cwd="/", stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield f"postgresql+psycopg://ann:hunter2@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(PATIENCE)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def wait_for(port: int) -> None:
    import psycopg

    for _ in range(100):
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=ann dbname=postgres connect_timeout=2").close()
        except psycopg.OperationalError:
            threading.Event().wait(0.1)
        else:
            return
    pytest.skip("the PostgreSQL server did not come up")


@pytest.mark.slow
def test_a_real_postgres_is_read_when_pinned(postgres: str, alchemy: Any) -> None:
    engine = alchemy.create_engine(postgres)
    with engine.begin() as one:
        one.execute(alchemy.text("CREATE TABLE customers (id SERIAL PRIMARY KEY, name TEXT NOT NULL)"))
        one.execute(alchemy.text('CREATE TABLE "Orders" (id INT REFERENCES customers (id), total NUMERIC(9, 2))'))
        one.execute(alchemy.text('CREATE INDEX by_total ON "Orders" (total)'))
    before = engine.pool.checkedout()
    text = read_schema(engine)
    assert text.splitlines()[0] == f"-- SQLAlchemy engine, postgresql, {postgres.replace('hunter2', '***')}"
    assert 'CREATE TABLE "Orders" ( id INTEGER, total NUMERIC(9, 2)' in text
    assert "REFERENCES customers (id)" in text
    assert 'CREATE INDEX by_total ON "Orders" (total)' in text
    assert "CREATE TABLE customers" in text
    assert engine.pool.checkedout() == before
    assert read_schema(engine) == text
    engine.dispose()
