"""Schemas of real databases: unasked where it costs nothing, across a network only when pinned; nothing is changed."""

from __future__ import annotations

import os
import queue
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb.context.values.description import LIMIT, describe
from agentnb.context.values.schemas import CHARACTERS, is_bound_to_its_thread, read_schema
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
    text = describe("db", connection)
    assert text == (
        "db: sqlite3 connection\n"
        'CREATE TABLE "order ""x""" (id INTEGER PRIMARY KEY, /* the number */ note TEXT DEFAULT \'--none\' )\n'
        'CREATE VIEW all_orders AS SELECT * FROM "order ""x"""\n'
        'CREATE INDEX by_note ON "order ""x"""(note)\n'
        'CREATE TRIGGER t AFTER INSERT ON "order ""x""" BEGIN SELECT 1; END'
    )


def test_asking_changes_nothing_of_the_connection(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE t (a)")
    connection.execute("PRAGMA busy_timeout = 4321")
    connection.row_factory = lambda cursor, row: pytest.fail("user code ran")
    pending = connection.execute("SELECT 1 UNION SELECT 2")
    pending.row_factory = None
    changes, inside = connection.total_changes, connection.in_transaction
    assert "CREATE TABLE t" in describe("db", connection)
    assert pending.fetchall() == [(1,), (2,)]
    connection.row_factory = None
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (4321,)
    assert (connection.total_changes, connection.in_transaction) == (changes, inside)


def test_a_locked_database_is_told_at_once(tmp_path: Path, alchemy: Any) -> None:
    file = tmp_path / "shop.db"
    owner = sqlite3.connect(file, isolation_level=None)
    owner.execute("CREATE TABLE t (a)")
    owner.execute("BEGIN EXCLUSIVE")
    patience = 30.0  # what the user's own connection would wait for
    other = sqlite3.connect(file, timeout=patience)
    engine = alchemy.create_engine(f"sqlite:///{file}")
    for value in (other, engine):
        started = time.monotonic()
        assert "its schema cannot be read now: OperationalError" in describe("db", value)
        assert time.monotonic() - started < patience / 2, "waiting takes no CPU time"
        with pytest.raises(SchemaUnread, match="cannot be read"):
            read_schema(value)
    owner.execute("COMMIT")
    assert "CREATE TABLE t (a)" in describe("db", other)
    assert "CREATE TABLE t (a)" in describe("db", engine)
    for one in (owner, other):
        one.close()


def test_a_closed_connection_and_one_of_another_thread_are_named() -> None:
    made, seen = queue.SimpleQueue[sqlite3.Connection](), threading.Event()

    def open_and_stay() -> None:  # the number of a thread that has ended is given to the next one
        made.put(sqlite3.connect(":memory:"))
        seen.wait(60)

    threading.Thread(target=open_and_stay, daemon=True).start()
    assert describe("db", made.get()) == "db: sqlite3 connection, its schema cannot be read now: ProgrammingError"
    seen.set()
    closed = sqlite3.connect(":memory:")
    closed.close()
    assert describe("db", closed) == "db: sqlite3 connection, its schema cannot be read now: ProgrammingError"


def test_five_hundred_tables_are_bounded(connection: sqlite3.Connection) -> None:
    for i in range(500):
        connection.execute(
            f"CREATE TABLE table_{i:03} (id INTEGER PRIMARY KEY, name TEXT NOT NULL, more TEXT, {'x' * 30} REAL)"
        )
    short = describe("db", connection)
    assert short.startswith("db: sqlite3 connection, 500 tables, views and indexes\n")
    assert len(short) <= LIMIT
    text = read_schema(connection)
    assert len(text) < CHARACTERS + 5000
    assert "CREATE TABLE table_000" in text
    assert "table_499" in text, "of the tables that do not fit the names are told"


def test_an_engine_on_a_file_is_read_without_the_engine(tmp_path: Path, alchemy: Any) -> None:
    opened: list[object] = []
    engine = alchemy.create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    alchemy.event.listens_for(engine, "connect")(lambda *_: opened.append("opened"))
    assert describe("e", engine) == "e: SQLAlchemy engine, sqlite, sqlite:///new.db, empty"
    assert not (tmp_path / "new.db").exists(), "looking creates no file"
    with sqlite3.connect(tmp_path / "new.db") as own:
        own.execute("CREATE TABLE t (a)")
    own.close()
    assert "CREATE TABLE t (a)" in describe("e", engine)
    assert opened == []
    assert not is_bound_to_its_thread(engine)


def test_an_engine_in_memory_tells_what_its_thread_sees(alchemy: Any) -> None:
    engine = alchemy.create_engine("sqlite://")
    with engine.begin() as one:
        one.execute(alchemy.text("CREATE TABLE t (a INTEGER)"))
    assert is_bound_to_its_thread(engine)
    assert "CREATE TABLE t (a INTEGER)" in describe("e", engine)


def test_an_engine_in_memory_is_neither_connected_nor_waited_for(alchemy: Any) -> None:
    heard: list[str] = []
    fresh = alchemy.create_engine("sqlite://")
    for event in ("connect", "checkout"):
        alchemy.event.listen(fresh, event, lambda *given, event=event: heard.append(event))
    assert "its schema is read when it is pinned" in describe("e", fresh)
    assert heard == []
    one = alchemy.create_engine("sqlite://", poolclass=alchemy.pool.QueuePool, pool_size=1, max_overflow=0)
    with one.connect():
        assert "its schema is read when it is pinned" in describe("e", one)
    static = alchemy.create_engine("sqlite://", poolclass=alchemy.pool.StaticPool)
    with static.begin() as connection:
        connection.execute(alchemy.text("CREATE TABLE s (a)"))
        assert "CREATE TABLE s (a)" in describe("e", static)
        assert describe("c", connection) == f"c: SQLAlchemy connection on {describe('e', static)[3:]}"
    assert "CREATE TABLE s (a)" in read_schema(static)
    assert "connection" not in vars(fresh.pool)


@pytest.mark.parametrize("direct", [False, True])
def test_a_connection_that_another_thread_is_using_is_not_waited_for(tmp_path: Path, direct: bool) -> None:
    shared = sqlite3.connect(tmp_path / "shop.db", check_same_thread=False)
    shared.execute("CREATE TABLE t (a)")
    begun, go_on = threading.Event(), threading.Event()
    shared.create_function("hold", 0, lambda: (begun.set(), go_on.wait(20)) and 1)
    query = ("SELECT hold()",)
    target = shared.execute if direct else lambda text: shared.execute(text).fetchall()
    user = threading.Thread(target=target, args=query)
    user.start()
    assert begun.wait(20)
    assert (
        describe("db", shared)
        == "db: sqlite3 connection, its schema cannot be read now: another thread may be using it"
    )
    with pytest.raises(SchemaUnread, match="another thread may be using it"):
        read_schema(shared)
    go_on.set()
    user.join()
    shared.close()


ALONE = """
import sqlite3, sys, threading
from agentnb.context.values.description import describe
shared = sqlite3.connect(sys.argv[1], check_same_thread=False)
shared.execute("PRAGMA busy_timeout = 77")
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(describe("db", shared), shared.execute("PRAGMA busy_timeout").fetchone())
"""


def test_a_shared_connection_is_read_where_no_thread_is_at_work(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as made:
        made.execute("CREATE TABLE t (a)")
    made.close()
    command = [sys.executable, "-c", ALONE, str(tmp_path / "shop.db")]  # other tests leave threads behind
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out == "db: sqlite3 connection\nCREATE TABLE t (a) (77,)\n"


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_what_the_connection_makes_of_text_is_not_asked(tmp_path: Path, encoding: str) -> None:
    sqlite3.register_converter("TEXT", lambda raw: pytest.fail("user code ran"))
    connection = sqlite3.connect(tmp_path / "shop.db", detect_types=sqlite3.PARSE_DECLTYPES)
    connection.execute(f"PRAGMA encoding = '{encoding}'")
    connection.execute("CREATE TABLE tür (a TEXT)")
    connection.text_factory = lambda raw: pytest.fail("user code ran")
    assert describe("db", connection) == "db: sqlite3 connection\nCREATE TABLE tür (a TEXT)"
    connection.text_factory = bytes
    assert "CREATE TABLE tür" in read_schema(connection)
    connection.close()


def test_attached_databases_are_told_with_their_names(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE t (a)")
    connection.execute("CREATE TEMP TABLE draft (a)")
    connection.execute('ATTACH \':memory:\' AS "old ""one"""')
    connection.execute('CREATE TABLE "old ""one""".u (b)')
    assert describe("db", connection).splitlines()[1:] == [
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
    text = describe("d", connection)
    assert text.startswith("d: duckdb connection\nCREATE TABLE t(a INTEGER, b VARCHAR);")
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
            server.wait(10)
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
