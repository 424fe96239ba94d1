"""Old journals stay readable: a sample of each released format, numbered migrations, and files from the future."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentnb.errors import JournalError
from agentnb.runs.embedded import EmbeddedJournal
from agentnb.runs.machine import AgentStateMachine
from agentnb.runs.opening import open_journal
from agentnb.runs.schema import MIGRATIONS, migrate, read_format

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
    machine = AgentStateMachine(open_journal(home))
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
