"""Old journals stay readable: a sample of each released format, numbered migrations, and files from the future."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.postgres import PostgresJournal
from agentnb.durable.journal.postgres import schema as postgres
from agentnb.durable.journal.postgres.connecting import Server
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.journal.sqlite.schema import MIGRATIONS, migrate, read_format
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import JournalError

DATA = Path(__file__).parent / "data"


def samples():
    return sorted(DATA.glob("journal-*.db.gz"))


def test_there_is_a_sample_of_each_released_format():
    assert [path.name for path in samples()] == [f"journal-{number}.db.gz" for number in range(1, len(MIGRATIONS) + 1)]


@pytest.mark.parametrize("sample", samples(), ids=lambda path: path.name)
def test_a_journal_of_each_released_format_is_read_and_goes_on(sample, tmp_path):
    """Written by data/make_sample.py: one run of each fate."""
    home = tmp_path / "runs"
    home.mkdir(mode=0o700)
    (home / "cache.db").write_bytes(gzip.decompress(sample.read_bytes()))
    check_sample(AgentStateMachine(open_journal(home)))


def check_sample(machine):
    """What data/make_sample.py wrote is there, and goes on."""
    done = machine.get("done")
    assert (done.status, done.step, dict(done.tags)) == ("completed", 150, {"thread": "t", "cell": "c1"})
    for step in range(151):
        context = machine.context_at("done", step)
        assert context["n"] == step
        assert context["log"] == [f"line {i}" for i in range(1, step + 1)]
    assert [event.step for event in machine.history("done")] == list(range(151))
    assert dict(machine.history("done")[3].data) == {"usage": {"input": 3}}
    failed = machine.get("failed")
    assert (failed.failed_in, failed.error.type, failed.context) == ("BAD", "ValueError", {"good": 1})
    assert [run.run_id for run in machine.journal.find(thread="t")] == ["done", "fork"]
    assert machine.get("fork").origin == ("done", 100)
    assert machine.get("paused").status == "paused"
    assert machine.get("waiting").status == "waiting"
    assert machine.get("unsure").unsure == ("mail",)
    for name in ("COUNT", "BAD", "AWAITING_WORD"):
        machine.register_state(name, lambda context: ("COMPLETED", context))
    machine.send("waiting", "WORD", "go")
    for run_id in ("failed", "paused", "fork", "waiting"):
        machine.resume(run_id)
        assert machine.run_to_end(run_id).status == "completed"
    machine.close()


def test_migrations_run_once_in_order_and_all_or_none(tmp_path):
    database = tmp_path / "cache.db"
    EmbeddedJournal(database).close()
    good = (*MIGRATIONS, ["CREATE TABLE agentnb_new (a)"])
    bad = (*good, ["CREATE TABLE agentnb_newer (a)", "NO SUCH STATEMENT"])
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        assert read_format(connection) == len(MIGRATIONS)
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, bad)
        assert read_format(connection) == len(MIGRATIONS)
        migrate(connection, good)
        migrate(connection, good)
        assert read_format(connection) == len(MIGRATIONS) + 1
    with pytest.raises(JournalError, match="Upgrade agentnb"):
        EmbeddedJournal(database)


def postgres_samples():
    return sorted(DATA.glob("journal-postgres-*.sql.gz"))


def test_there_is_a_sample_of_each_released_format_in_postgresql():
    known = [f"journal-postgres-{number}.sql.gz" for number in range(1, len(postgres.MIGRATIONS) + 1)]
    assert [path.name for path in postgres_samples()] == known


@pytest.mark.parametrize("sample", postgres_samples(), ids=lambda path: path.name)
@pytest.mark.server
def test_a_journal_in_postgresql_of_each_released_format_is_read_and_goes_on(sample, postgres_server):
    """Also after a dump and a restore: nothing in it depends on the server that it was written on."""
    address = postgres_server.empty()
    with psycopg.connect(address) as connection:
        connection.execute(gzip.decompress(sample.read_bytes()).decode())
    with closing(PostgresJournal(address)) as journal:
        seen = journal.follow()
        assert len(seen) > 150
        check_sample(AgentStateMachine(journal))
        assert journal.follow(seen[-1].seq), "events have gone on from there"


@pytest.mark.server
def test_migrations_in_postgresql_run_once_in_order_and_all_or_none(postgres_server):
    address = postgres_server.empty()
    good = (*postgres.MIGRATIONS, ["CREATE TABLE agentnb.new (a int)"])
    bad = (*good, ["CREATE TABLE agentnb.newer (a int)", "NO SUCH STATEMENT"])
    PostgresJournal(address).close()
    with closing(Server(address)) as server:
        with pytest.raises(JournalError):
            postgres.migrate(server, bad)
        assert postgres.read_format(server) == len(postgres.MIGRATIONS)
        postgres.migrate(server, good)
        postgres.migrate(server, good)
        assert postgres.read_format(server) == len(postgres.MIGRATIONS) + 1
    with pytest.raises(JournalError, match="Upgrade agentnb"):
        PostgresJournal(address)
