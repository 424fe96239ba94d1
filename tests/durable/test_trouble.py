"""When the ground gives way: a full disk, a lock, damage, tampering. Each is a clear error, and nothing is lost."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from contextlib import closing

import pytest

from agentnb.canonical import SystemClock
from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import (
    ActionUnsure,
    AgentnbError,
    InputError,
    StorageDamaged,
    StorageFull,
    StorageLocked,
)
from agentnb.storage import open_storage


def fill(context):
    context["n"] += 1
    context["text"] = random.Random(context["n"]).randbytes(10_000).hex()
    return "FILL", context


@pytest.fixture
def database(tmp_path):
    return tmp_path / "cache.db"


@pytest.fixture
def machine(database):
    machine = AgentStateMachine(EmbeddedJournal(database, busy_seconds=0.05))
    machine.register_state("FILL", fill)
    machine.initialize_run("r", "FILL", {"n": 0, "text": ""})
    machine.run_to_end("r", max_steps=3)
    yield machine
    machine.journal.close()


def tamper(database, statement, *parameters):
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute(statement, parameters).rowcount > 0
        connection.commit()


def test_a_full_disk_stops_the_run_where_it_is_and_room_lets_it_go_on(machine):
    execute = machine.journal._connection.execute
    pages = execute("PRAGMA page_count").fetchone()[0]
    execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(StorageFull):
        machine.run_to_end("r", max_steps=50)
    reached = machine.get("r")
    assert (reached.status, reached.context["n"]) == ("running", reached.step)
    execute("PRAGMA max_page_count = 1000000")
    assert machine.run_to_end("r", max_steps=5).step == reached.step + 5


def test_a_lock_of_another_process_is_waited_for_and_then_told(machine, database):
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageLocked):
            machine.execute_step("r")
        assert machine.get("r").step == 3, "reading goes on"
        other.execute("ROLLBACK")
    assert machine.run_to_end("r", max_steps=1).step == 4


@pytest.mark.parametrize(
    "column", ["tags = 'no json'", "versions = '{'", "error = x'ff'", "tags = x'80049500'"], ids=lambda text: text[:8]
)
def test_a_tampered_row_of_a_run_is_refused(machine, database, column):
    tamper(database, f"UPDATE agentnb_runs SET {column}")
    with pytest.raises(AgentnbError):
        machine.get("r")


@pytest.mark.parametrize("column", ["run_id = x'ff'", "created = 'x'", "updated = x'00'"], ids=lambda text: text[:6])
def test_a_tampered_row_is_refused_in_the_list_of_runs_too(machine, database, column):
    tamper(database, f"UPDATE agentnb_runs SET {column}")
    with pytest.raises(StorageDamaged):
        machine.journal.runs()


@pytest.mark.parametrize(
    "frame", [b"", b"\x80\x04\x95pickle", b"K\xff\xff\xff\xff", b"D?", b"Dx", b"Z", b"Z\0\0\0\0no"]
)
def test_a_tampered_frame_is_refused(machine, database, frame):
    tamper(database, "UPDATE agentnb_history SET frame = ? WHERE step = 1", frame)
    with pytest.raises(StorageDamaged):
        machine.context_at("r", 1)
    assert machine.journal.row("r").summary.step == 3


@pytest.mark.parametrize(
    "columns",
    [
        *("data = x'8004'", "data = NULL, frame = x'5a'", "data = NULL, frame = x'5a09000000'", "at = 'x'"),
        *("step = '[]'", "kind = x'ff'", "next_state = x'00'"),
    ],
)
def test_a_tampered_event_is_refused(machine, database, columns):
    tamper(database, f"UPDATE agentnb_history SET {columns}")
    for read in (machine.history, machine.timeline):
        with pytest.raises(StorageDamaged):
            read("r")


def test_a_tampered_schema_is_told_where_sqlite_quotes_bytes_that_are_no_text(machine, database):
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA writable_schema = ON")
        changed = other.execute(
            "UPDATE sqlite_master SET sql = CAST(replace(CAST(sql AS BLOB), 'NEW.lease_until',"
            " x'4e45572ec974657020') AS TEXT)"
            " WHERE type = 'trigger'"
        )
        assert changed.rowcount
        other.execute(f"PRAGMA schema_version = {other.execute('PRAGMA schema_version').fetchone()[0] + 1}")
    with pytest.raises(AgentnbError):
        machine.execute_step("r")


@pytest.mark.parametrize("prev", ["999", "seq", "seq + 1", "-1"])
def test_a_tampered_chain_ends(machine, database, prev):
    tamper(database, f"UPDATE agentnb_history SET prev = {prev} WHERE step = 2")
    with pytest.raises(AgentnbError):
        machine.context_at("r", 1)
    machine.history("r")


@pytest.mark.slow
def test_whatever_a_row_holds_is_read_or_is_an_error_of_ours(machine, tmp_path):
    """Each column of each table with values of other kinds: bytes that are no text, numbers, nothing, foreign JSON."""
    machine.journal.close()
    original = (tmp_path / "cache.db").read_bytes()
    with closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
        found = connection.execute(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        )
        columns = [(table, column) for table, column in found if table.startswith("agentnb_")]
    for number, (table, column) in enumerate(columns):
        for value in ("x'ff'", "CAST(x'ff80' AS TEXT)", "NULL", "-1", "'[1'", "'[]'"):
            database = tmp_path / f"{number}.db"
            database.write_bytes(original)
            with closing(sqlite3.connect(database)) as connection, contextlib.suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE {table} SET {column} = {value}")
                connection.commit()
            use(database)
            for file in tmp_path.glob(f"{number}.db*"):
                file.unlink()


def use(database):
    with contextlib.suppress(AgentnbError):
        machine = AgentStateMachine(EmbeddedJournal(database, synchronous="OFF"))
        machine.register_state("FILL", fill)
        for act in (
            lambda: (machine.get("r"), machine.journal.runs(limit=5)),
            lambda: machine.history("r"),
            lambda: machine.context_at("r", 1),
            lambda: machine.run_to_end("r", max_steps=1),
            lambda: machine.fork("r", 1, "f"),
            lambda: machine.resume("r"),
        ):
            with contextlib.suppress(AgentnbError):
                act()
        machine.journal.close()


def test_diskcaches_own_housekeeping_leaves_the_runs_alone(tmp_path):
    storage = open_storage(tmp_path / "home")
    machine = AgentStateMachine(open_journal(tmp_path / "home"))
    machine.register_state("FILL", fill)
    machine.initialize_run("r", "FILL", {"n": 0, "text": ""})
    storage.set("k", b"v")
    storage._cache().clear()
    storage._cache().check(fix=True)
    assert machine.run_to_end("r", max_steps=2).step == 2
    machine.close()


def test_addresses(tmp_path, monkeypatch):
    (tmp_path / "file.db").write_bytes(b"")
    with pytest.raises(InputError, match="Name a directory"):
        open_journal(tmp_path / "file.db")
    with pytest.raises(InputError, match="mysql"):
        open_journal("mysql://x")
    monkeypatch.chdir(tmp_path)
    forms = ("host=db user=ann password=hunter2", "password='hunter2'", "postgres:ann:hunter2@db/runs")
    others = (
        "HOST=db Password=hunter2",
        "PGPASSWORD=hunter2",
        "Server=db;Pwd=hunter2",
        "sslmode=require SSLPassword=hunter2",
    )
    for settings in (*forms, *others, "postgresql//ann:hunter2@db/runs", "ann:hunter2@db/runs"):
        with pytest.raises(InputError, match="postgresql://user@host") as caught:
            open_journal(settings)
        assert "hunter2" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file.db"]
    first = open_journal(tmp_path / "runs")
    assert open_journal(str(tmp_path / "runs"), clock=SystemClock()) is first
    assert (tmp_path / "runs").stat().st_mode & 0o777 == 0o700
    assert [p.name for p in (tmp_path / "runs").glob("*.db")] == ["cache.db"]
    first.close()
    assert first.runs() == [], "whoever opened it too can still use it"
    first.close()
    second = open_journal(tmp_path / "runs")
    assert second is not first
    second.close()
    assert open_journal(":memory:") is not open_journal(":memory:")


def test_an_effect_that_may_have_happened_is_asked_about(database):
    """As after kill -9 between the effect and the commit: the second machine finds it begun."""
    sent = []

    def send(context):
        reply = machine.current.action("mail").run(lambda: sent.append("mail") or "ok")
        return "COMPLETED", {"reply": reply}

    first = AgentStateMachine(EmbeddedJournal(database))
    first.register_state("SEND", send)
    first.initialize_run("r", "SEND", {})
    first.journal.begin_action(first.journal.row("r").key, 1, "mail", 0)
    first.journal.close()

    machine = AgentStateMachine(EmbeddedJournal(database))
    machine.register_state("SEND", send)
    assert machine.get("r").unsure == ("mail",)
    with pytest.raises(ActionUnsure, match="mail may have happened already"):
        machine.run_to_end("r")
    assert (machine.get("r").status, sent) == ("paused", [])
    assert machine.resume("r").unsure == ("mail",)
    with pytest.raises(ActionUnsure):
        machine.run_to_end("r")
    machine.fork("r", 0, "again")
    assert machine.run_to_end("again").context == {"reply": "ok"}
    assert machine.resume("r", unsure={"mail": "it was there"}).unsure == ()
    assert machine.run_to_end("r").context == {"reply": "it was there"}
    assert sent == ["mail"]


@pytest.mark.parametrize(("answer", "times", "reply"), [("repeat", 1, "ok"), ("skip", 0, None)])
def test_the_answer_is_kept(database, answer, times, reply):
    sent = []
    machine = AgentStateMachine(EmbeddedJournal(database))

    @machine.state("SEND")
    def send(context):
        return "COMPLETED", {"reply": machine.current.action("mail").run(lambda: sent.append(1) or "ok")}

    machine.initialize_run("r", "SEND", {})
    machine.journal.begin_action(machine.journal.row("r").key, 1, "mail", 0)
    machine.resume("r", unsure=answer)
    assert machine.run_to_end("r").context == {"reply": reply}
    assert len(sent) == times


def test_an_effect_that_is_done_is_not_repeated_when_its_step_is(database):
    sent, broken = [], [True]
    machine = AgentStateMachine(EmbeddedJournal(database))

    @machine.state("SEND")
    def send(context):
        action = machine.current.action("mail")
        assert action.key == "r/1/mail"
        reply = action.run(lambda: sent.append(1) or "ok")
        assert (action.status, action.result) == ("done", "ok")
        if broken:
            raise ValueError(broken.pop())
        return "COMPLETED", {"reply": reply}

    machine.initialize_run("r", "SEND", {})
    assert machine.execute_step("r") == "FAILED"
    machine.resume("r")
    assert machine.run_to_end("r").context == {"reply": "ok"}
    assert sent == [1]


@pytest.mark.parametrize("place", ["", "  "])
def test_no_journal_is_made_where_no_place_is_named(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="none is named"):
        open_journal(place)
    assert not list(tmp_path.iterdir())
