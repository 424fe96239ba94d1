"""The data directory: private, raw bytes only whatever a file says, and a clear error for whatever goes wrong."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest
from patience import PATIENCE

from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import (
    StorageDamaged,
    StorageError,
    StorageFull,
    StorageLocked,
    StorageReadOnly,
    StorageUnsafe,
)
from agentnb.storage import connect, open_storage, translate


@pytest.fixture
def home(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def storage(home):
    storage = open_storage(home)
    yield storage
    storage.close()


class Bomb:
    """Goes off when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, (os.environ["BOMB"],))


@pytest.fixture
def bomb(tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    data = pickle.dumps(Bomb())
    yield data
    assert not (tmp_path / "exploded").exists(), "a pickle was read"


def tamper(storage, statement, parameters=()):
    with closing(sqlite3.connect(storage.database)) as connection:
        assert connection.execute(statement, parameters).rowcount != 0
        connection.commit()


def pages_of(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA page_size").fetchone()[0]


def test_a_small_step_of_a_new_file_writes_two_pages_of_a_kilobyte(storage):
    machine = AgentStateMachine(EmbeddedJournal(storage.database))
    machine.register_state("COUNT", lambda context: ("COUNT", {**context, "n": context["n"] + 1}))
    machine.initialize_run("r", "COUNT", {"n": 0, "notes": ["x" * 40] * 40})
    machine.execute_step("r")
    written = storage.database.with_name("cache.db-wal")
    before = written.stat().st_size
    machine.run_to_end("r", max_steps=100)
    assert (written.stat().st_size - before) / 100 < 2.3 * 1024, "of each changed page the log gets a copy"
    machine.journal.close()


def test_a_file_that_is_there_keeps_its_pages(home, tmp_path):
    home.mkdir(mode=0o700)
    with closing(sqlite3.connect(home / "cache.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE there (is_already)")
        connection.commit()
    with closing(open_storage(home)) as storage:
        storage.set("key", b"value")
        assert storage.get("key") == b"value"
        EmbeddedJournal(storage.database).close()
    assert pages_of(home / "cache.db") == 4096
    EmbeddedJournal(tmp_path / "new.db").close()
    assert pages_of(tmp_path / "new.db") == 1024


def test_values_come_back_and_large_ones_stay_in_the_database(storage, home):
    storage.set("index/a", b"x" * 200_000)
    storage.set("index/b", b"")
    storage.set("other", b"z")
    assert storage.get("index/a") == b"x" * 200_000
    assert storage.get("index/b") == b""
    assert storage.get("missing") is None
    assert storage.keys("index/") == ["index/a", "index/b"]
    storage.delete("index/a")
    storage.delete("index/a")
    assert storage.keys() == ["index/b", "other"]
    assert {path.name.partition("-")[0] for path in home.iterdir()} == {"cache.db"}


def test_what_is_over_is_gone(storage):
    storage.set("short", b"1", ttl=-1)
    storage.set("long", b"2", ttl=3600)
    assert storage.get("short") is None
    assert storage.keys() == ["long"]
    assert storage.prune() == 1


def test_nothing_is_evicted(storage):
    assert storage._cache().eviction_policy == "none"
    assert storage._cache().cull_limit == 0


def test_only_bytes_under_text_keys(storage):
    with pytest.raises(StorageUnsafe, match="bytes"):
        storage.set("a", {"not": "bytes"})
    with pytest.raises(StorageUnsafe, match="text"):
        storage.set(b"a", b"1")


def test_the_directory_is_made_private(home):
    open_storage(home / "below").close()
    assert (home / "below").stat().st_mode & 0o777 == 0o700


def test_an_empty_open_directory_is_tightened_and_a_used_one_refused(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    empty.chmod(0o755)
    open_storage(empty).close()
    assert empty.stat().st_mode & 0o777 == 0o700
    project = tmp_path / "project"
    project.mkdir()
    project.chmod(0o755)
    (project / "notes.txt").write_text("mine")
    with pytest.raises(StorageUnsafe, match="0755"):
        open_storage(project)
    assert project.stat().st_mode & 0o777 == 0o755
    empty.chmod(0o777)
    with pytest.raises(StorageUnsafe, match="0777"):
        open_storage(empty)


def test_a_file_in_place_of_the_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file"):
        open_storage(tmp_path / "file")


@pytest.mark.parametrize("mode", [2, 3, 4, 99])
def test_a_row_of_another_mode_is_refused(storage, bomb, mode):
    storage.set("k", b"v")
    tamper(storage, "UPDATE Cache SET mode = ?, value = ? WHERE key = 'k'", (mode, bomb))
    with pytest.raises(StorageUnsafe, match="tampered"):
        storage.get("k")


def test_a_row_that_points_to_a_file_is_neither_read_nor_does_it_delete_it(storage, bomb, home, tmp_path):
    storage.set("k", b"v")
    (tmp_path / "victim").write_bytes(bomb)
    for mode in (1, 2, 3, 4):
        tamper(storage, "UPDATE Cache SET mode = ?, filename = '../victim', value = NULL WHERE key = 'k'", (mode,))
        with pytest.raises(StorageUnsafe):
            storage.get("k")
    with pytest.raises(StorageUnsafe):
        storage.delete("k")
    storage.set("k", b"new")
    assert storage.get("k") == b"new"
    assert (tmp_path / "victim").exists()


def test_a_pickled_key_is_never_read(storage, bomb):
    storage.set("k", b"v")
    tamper(storage, "UPDATE Cache SET key = ?, raw = 0 WHERE key = 'k'", (bomb,))
    assert storage.get("k") is None
    assert storage.keys() == []
    with pytest.raises(StorageUnsafe):
        list(storage._cache().iterkeys())


def test_a_value_that_became_text_is_refused(storage):
    storage.set("k", b"v")
    tamper(storage, "UPDATE Cache SET value = 'text' WHERE key = 'k'")
    with pytest.raises(StorageUnsafe):
        storage.get("k")


def test_settings_that_agentnb_never_writes_are_refused(home):
    storage = open_storage(home)
    storage.close()
    tamper(storage, "INSERT INTO Settings VALUES ('sqlite_writable_schema', 1)")
    with pytest.raises(StorageUnsafe, match="sqlite_writable_schema"):
        open_storage(home).get("k")


def test_settings_that_were_changed_do_not_count(home, bomb):
    storage = open_storage(home)
    storage.close()
    tamper(storage, "UPDATE Settings SET value = 'least-recently-used' WHERE key = 'eviction_policy'")
    tamper(storage, "UPDATE Settings SET value = 10 WHERE key = 'disk_min_file_size'")
    again = open_storage(home)
    again.set("k", b"x" * 1000)
    assert again._cache().eviction_policy == "none"
    assert {path.name.partition("-")[0] for path in home.iterdir()} == {"cache.db"}


def test_no_module_of_ours_reads_pickles():
    shown = "print('pickle' in sys.modules, 'diskcache' in sys.modules)"
    program = f"import sys, agentnb.storage, agentnb.durable.machine; {shown}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ran.stdout.split()[1] == "False"


@pytest.mark.parametrize("at", [0, 100])
def test_a_damaged_file_is_a_clear_error_and_stays_as_it_is(home, at):
    storage = open_storage(home)
    storage.set("k", b"v" * 5000)
    storage.close()
    data = bytearray(storage.database.read_bytes())
    data[at : at + 2000] = b"\xff" * 2000
    storage.database.write_bytes(data)
    with pytest.raises(StorageDamaged, match="Nothing was changed"):
        open_storage(home).get("k")
    assert storage.database.read_bytes() == bytes(data)


def test_a_full_disk_is_a_clear_error_and_nothing_is_lost(storage):
    storage.set("k", b"v")
    with closing(connect(storage.database)) as connection:
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("CREATE TABLE t AS SELECT randomblob(100000)")
    assert isinstance(translate(caught.value, storage.database), StorageFull)
    assert storage.get("k") == b"v"


def test_a_database_that_another_process_keeps_locked(storage):
    with closing(sqlite3.connect(storage.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        connection = connect(storage.database, busy_seconds=0.05)
        with closing(connection), pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("BEGIN IMMEDIATE")
    error = translate(caught.value, storage.database)
    assert isinstance(error, StorageLocked)
    assert str(storage.database) in str(error)


@pytest.mark.skipif(sys.platform != "linux", reason="gives up root's rights the Linux way")
def test_a_directory_that_cannot_be_written(tmp_path):
    """Also under root, whom permissions do not stop: the child becomes somebody else first."""
    home = tmp_path / "data"
    open_storage(home).close()
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_uid == os.getuid() and path.name.startswith("pytest"):
            path.chmod(0o755)
    home.chmod(0o555)
    program = """
        import os, sys
        from agentnb.errors import StorageReadOnly, StorageUnsafe
        from agentnb.storage import connect
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            connect(sys.argv[1]).execute("CREATE TABLE t (a)")
        except StorageReadOnly as error:
            print("refused", error.code)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(home / "cache.db")],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    home.chmod(0o700)
    assert "refused storage.read-only" in ran.stdout, ran.stderr
    assert issubclass(StorageReadOnly, StorageError)
