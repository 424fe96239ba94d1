"""Group commit: one transaction for many threads, and no thread pays for another's mistake or interrupt."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest
from patience import PATIENCE

from agentnb.durable.journal.sqlite.groupcommit import GroupCommit
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.errors import StepConflict


class Counting(sqlite3.Connection):
    commits = 0
    fail_commit: BaseException | None = None

    def execute(self, statement, *parameters):
        if statement == "COMMIT":
            if self.fail_commit is not None:
                error, self.fail_commit = self.fail_commit, None
                raise error
            self.commits += 1
        return super().execute(statement, *parameters)


@pytest.fixture
def connection():
    with closing(
        sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=Counting)
    ) as opened:
        opened.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
        yield opened


def together(connection, works):
    """Outcomes of the works, which come while the first of them cannot begin to write."""
    group, outcomes = GroupCommit(connection, dict.fromkeys(works)), {}
    ready = threading.Barrier(len(works) + 1, timeout=PATIENCE)

    def call(name):
        ready.wait()
        try:
            outcomes[name] = group.run(works[name])
        except BaseException as error:  # noqa: BLE001 - carried to the test
            outcomes[name] = error

    threads = [threading.Thread(target=call, args=(name,)) for name in works]
    for thread in threads:
        thread.start()
    with group.turn:
        ready.wait()
        threading.Event().wait(0.02)  # they queue up; one that comes later still must not change the outcome
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert group._queue == []
    assert group.leader is None
    return outcomes


def insert(connection, number):
    def work():
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        return number

    return work


def rows(connection):
    return sorted(row[0] for row in connection.execute("SELECT n FROM t"))


def test_many_writes_share_transactions(connection):
    outcomes = together(connection, {n: insert(connection, n) for n in range(16)})
    assert outcomes == {n: n for n in range(16)}
    assert rows(connection) == list(range(16))
    assert connection.commits < 16


def test_a_refused_write_does_not_hinder_the_others(connection):
    def refused():
        raise StepConflict("no")

    outcomes = together(connection, {n: insert(connection, n) for n in range(5)} | {"bad": refused})
    assert isinstance(outcomes.pop("bad"), StepConflict)
    assert outcomes == {n: n for n in range(5)}
    assert rows(connection) == list(range(5))


def test_a_failing_statement_does_not_take_the_others_with_it(connection):
    outcomes = together(connection, {n: insert(connection, n) for n in range(5)} | {"double": insert(connection, 3)})
    failed = [name for name, outcome in outcomes.items() if isinstance(outcome, sqlite3.IntegrityError)]
    assert len(failed) == 1
    assert failed[0] in ("double", 3)
    assert rows(connection) == list(range(5))


def test_an_interrupt_of_the_leader_leaves_nobody_waiting(connection):
    connection.fail_commit = KeyboardInterrupt()
    outcomes = together(connection, {n: insert(connection, n) for n in range(6)})
    interrupted = [name for name, outcome in outcomes.items() if isinstance(outcome, KeyboardInterrupt)]
    assert len(interrupted) == 1
    assert rows(connection) == sorted(set(range(6)) - set(interrupted))


def test_a_failing_commit_is_rolled_back(connection):
    group = GroupCommit(connection, {})
    connection.fail_commit = sqlite3.OperationalError("disk I/O error")
    with pytest.raises(sqlite3.OperationalError):
        group.run(insert(connection, 1))
    assert rows(connection) == []
    assert group.run(insert(connection, 1)) == 1


def test_reads_and_writes_of_many_threads_do_not_mix(tmp_path):
    from agentnb.durable.machine import AgentStateMachine

    machine = AgentStateMachine(EmbeddedJournal(tmp_path / "cache.db"))
    machine.register_state("S", lambda context: ("S", {"n": context["n"] + 1}))
    wrong = []

    def drive(name):
        machine.initialize_run(name, "S", {"n": 0})
        for step in range(1, 30):
            machine.execute_step(name)
            run = machine.get(name)
            if (run.step, run.context) != (step, {"n": step}):
                wrong.append((name, run))

    threads = [threading.Thread(target=drive, args=(f"r{n}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong
    assert len(machine.journal.follow(limit=10_000)) == 12 * 30
    machine.journal.close()
