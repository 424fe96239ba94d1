"""The runs engine beside its baselines, in one run: `python tests/benchmarks/bench_runs.py [--quick]`.

Baselines: a raw sqlite3 INSERT of the whole context (WAL, FULL), as a heap and with a primary key (run, step); a step's
rows as the journal writes them, by hand and without a state machine, which is the floor; the blueprint (one row,
default journal, stdlib json) and the blueprint with a history row; and, where `make bench-peers` has installed them,
LangGraph's SqliteSaver, Burr and DBOS. Rounds of all are interleaved, so that a slow moment of the machine hits all
alike; figures are medians of rounds. Flushes are counted in SQLite's own file layer (sqlite_trace.py).
Times are from tmpfs where there is one: there the engine is measured, not the disk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import sqlite_trace

from agentnb.durable.journal import deltas
from agentnb.durable.journal.sqlite import statements
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.journal.sqlite.schema import migrate
from agentnb.durable.machine import AgentStateMachine
from agentnb.storage import connect

Drive = Callable[[int], None]
"""Makes so many steps."""


# --- the workloads ---


def small() -> dict[str, Any]:
    notes = ["x" * 40 for _ in range(40)]
    return {"task": "Summarise", "n": 0, "notes": notes, "plan": [{"id": i, "done": False} for i in range(8)]}


def large() -> dict[str, Any]:
    text = "lorem ipsum dolor " * 20
    messages = [
        {"role": "user" if i % 2 else "assistant", "content": text[: 300 + i % 60], "tokens": i * 7, "ok": True}
        for i in range(260)
    ]
    return {"task": "Summarise", "n": 0, "messages": messages, "files": {f"f{i}": "z" * 100 for i in range(20)}}


def change(context: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A small change, in place."""
    context["n"] += 1
    return "WORK", context


def grow(context: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """200 bytes more each step."""
    context["n"] += 1
    context["log"].append(f"{context['n']:06d} " + "line " * 38)
    return "WORK", context


# --- ours and the baselines: each gives a function that makes steps ---


def agentnb(home: Path, context: dict[str, Any], work: Any = change) -> Drive:
    machine = _machine(home / "agentnb.db", context, work)

    def drive(steps: int) -> None:
        for _ in range(steps):
            machine.execute_step("r")

    return drive


def held(home: Path, context: dict[str, Any], work: Any = change) -> Drive:
    """The same by `run_to_end`, which holds the run once for all of its steps."""
    machine = _machine(home / "held.db", context, work)
    return lambda steps: bool(machine.run_to_end("r", max_steps=steps))


def _machine(database: Path, context: dict[str, Any], work: Any) -> AgentStateMachine:
    machine = AgentStateMachine(EmbeddedJournal(database))
    machine.register_state("WORK", work)
    machine.initialize_run("r", "WORK", context)
    return machine


def raw(columns: str) -> Callable[..., Drive]:
    def make(home: Path, context: dict[str, Any], work: Any = change) -> Drive:
        connection = sqlite3.connect(home / f"raw{len(columns)}.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"CREATE TABLE steps ({columns})")
        made = [0]

        def drive(steps: int) -> None:
            for _ in range(steps):
                _, new = work(context)
                made[0] += 1
                connection.execute("INSERT INTO steps VALUES (?, ?, ?)", ("r", made[0], orjson.dumps(new)))

        return drive

    return make


def by_hand(delta: bool) -> Callable[..., Drive]:
    """A step's rows as the journal writes them, compare-and-swap included: the floor below any state machine.

    With `delta` the context is dumped by key and compared with the one before; without it, 40 bytes are written.
    """

    def make(home: Path, context: dict[str, Any], work: Any = change) -> Drive:
        connection = connect(home / f"by_hand{delta}.db")
        migrate(connection)
        connection.execute(statements.ADD_RUN, ("r", "WORK", "running", 0, 0, "{}", None, None, "{}", None))
        encoded, at, execute = deltas.encode(context), 0, connection.cursor().execute

        def drive(steps: int) -> None:
            nonlocal encoded, at
            for _ in range(steps):
                state, new = work(context)
                before, frame = encoded, b"x" * 40
                if delta:
                    encoded = deltas.encode(new, before, set())
                    frame = deltas.difference(before, encoded)
                else:
                    orjson.dumps(new)
                at, now, tick = at + 1, time.time(), time.perf_counter()
                execute(statements.STEP, (1, at, 0, "WORK", state, now, now + 60, tick + 60, bytearray(frame)))

        return drive

    return make


def blueprint(history: bool) -> Callable[..., Drive]:
    """The document's state machine: load, call, write back; with a history row in the same transaction, or without."""

    def make(home: Path, context: dict[str, Any], work: Any = change) -> Drive:
        connection = sqlite3.connect(home / f"blueprint{history}.db")
        connection.execute("CREATE TABLE runs (run_id TEXT PRIMARY KEY, state TEXT, context TEXT, step INTEGER)")
        connection.execute("CREATE TABLE history (run_id TEXT, step INTEGER, state TEXT, context TEXT)")
        connection.execute("INSERT INTO runs VALUES ('r', 'WORK', ?, 0)", (json.dumps(context),))
        connection.commit()

        def drive(steps: int) -> None:
            for _ in range(steps):
                row = connection.execute("SELECT state, context, step FROM runs WHERE run_id = 'r'").fetchone()
                state, new = work(json.loads(row[1]))
                text = json.dumps(new)
                connection.execute(
                    "UPDATE runs SET state = ?, context = ?, step = step + 1 WHERE run_id = 'r'", (state, text)
                )
                if history:
                    connection.execute("INSERT INTO history VALUES ('r', ?, ?, ?)", (row[2] + 1, state, text))
                connection.commit()

        return drive

    return make


ENGINES: dict[str, Callable[..., Drive]] = {
    "agentnb": agentnb,
    "agentnb, run_to_end": held,
    "raw INSERT": raw("run TEXT, step INTEGER, context BLOB"),
    "raw INSERT, primary key (run, step)": raw("run TEXT, step INTEGER, context BLOB, PRIMARY KEY (run, step)"),
    "a step's rows, by hand": by_hand(delta=False),
    "a step's rows and delta, by hand": by_hand(delta=True),
    "blueprint": blueprint(False),
    "blueprint + history row": blueprint(True),
}


# --- measuring ---


@contextmanager
def scratch(on_disk: bool = False) -> Iterator[Path]:
    memory = Path("/dev/shm")
    parent = None if on_disk or not memory.is_dir() else memory
    home = Path(tempfile.mkdtemp(prefix="agentnb-bench-", dir=parent))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def timed(drives: dict[str, Drive], rounds: int, steps: int) -> dict[str, tuple[float, float]]:
    """Median microseconds per step (elapsed, CPU) of each, from interleaved rounds."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in drives}
    for drive in drives.values():
        drive(20)
    for _ in range(rounds):
        for name, drive in drives.items():
            began, cpu = time.perf_counter(), time.process_time()
            drive(steps)
            figures[name].append(
                ((time.perf_counter() - began) / steps * 1e6, (time.process_time() - cpu) / steps * 1e6)
            )
    return {name: tuple(map(statistics.median, zip(*found, strict=True))) for name, found in figures.items()}  # type: ignore[misc]


def show_times(quick: bool) -> None:
    for label, make, steps, goal in (("2 KB", small, 300, 1.3), ("100 KB", large, 100, 0.8)):
        with scratch() as home:
            drives = {name: engine(home, make()) for name, engine in ENGINES.items()}
            found = timed(drives, 7 if quick else 25, steps)
        ours, base = found["agentnb"], found["raw INSERT"]
        print(f"\nTime per step, context of {label} ({len(orjson.dumps(make()))} bytes)")
        print(f"  {'':37} {'us':>8} {'CPU us':>8} {'x raw':>7} {'x agentnb':>10}   (the ratios are of CPU)")
        for name, (elapsed, cpu) in found.items():
            print(f"  {name:37} {elapsed:8.1f} {cpu:8.1f} {cpu / base[1]:7.2f} {cpu / ours[1]:10.2f}")
        ratio = found["agentnb, run_to_end"][1] / base[1]
        print(f"  goal: {goal} times a raw INSERT; {ratio:.2f} by run_to_end: {'met' if ratio <= goal else 'MISSED'}")


def show_growth_of_cost(quick: bool) -> None:
    steps = 3_000 if quick else 20_000
    with scratch() as home:
        drive = agentnb(home, small())
        found = []
        for _ in range(5):
            began = time.process_time()
            drive(steps // 5)
            found.append((time.process_time() - began) / (steps // 5) * 1e6)
    print(f"\nCPU per step as a run grows to {steps} steps, us by fifths: " + " ".join(f"{f:.1f}" for f in found))


def show_flushes(quick: bool) -> None:
    steps = 200 if quick else 1000
    print(
        f"\nFlushes of files per step, counted over {steps} steps, FULL"
        " (the blueprint's rollback journal flushes the directory, too, which is not counted here)"
    )
    for name, engine in ENGINES.items():
        with scratch() as home, sqlite_trace.tracing() as trace:
            drive = engine(home, small())
            drive(1)
            before = sum(trace.flushes.values())
            drive(steps)
            print(f"  {name:37} {(sum(trace.flushes.values()) - before) / steps:8.3f}")
    counted = flushes_by_strace(steps)
    print(f"  {'agentnb, by strace':37} {counted:8.3f}" if counted else "  (strace is not installed: no second count)")


STRACED = """
import sys
sys.path.insert(0, {here!r})
import bench_runs, pathlib, os
drive = bench_runs.agentnb(pathlib.Path({home!r}), bench_runs.small())
drive(1)
os.getsid(0)
drive({steps})
"""


def flushes_by_strace(steps: int) -> float | None:
    """The same count by another means; the calls after `getsid`, which marks the beginning."""
    if not shutil.which("strace"):
        return None
    with scratch() as home:
        program = STRACED.format(here=str(Path(__file__).parent), home=str(home), steps=steps)
        out = home / "calls"
        command = ["strace", "-f", "-e", "trace=fsync,fdatasync,getsid", "-o", str(out), sys.executable, "-c", program]
        subprocess.run(command, check=True, capture_output=True)
        lines = out.read_text().partition("getsid(0)")[2].splitlines()
    return sum("sync(" in line for line in lines) / steps


def show_bytes(quick: bool) -> None:
    print("\nBytes on disk per step (growth of the database file), and the whole context at the end")
    cases = [
        ("small changes", small, change, 2000),
        ("grows by 200", log, grow, 100),
        ("grows by 200", log, grow, 1000),
    ]
    cases.append(("small changes", large, change, 500))
    for label, make, work, steps in cases:
        context = make()
        sizes = {name: file_growth(ENGINES[name], json.loads(json.dumps(context)), work, steps) for name in (
            "agentnb", "raw INSERT", "blueprint + history row")}  # fmt: skip
        figures = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
        print(f"  {len(orjson.dumps(context)):7d} bytes, {label:13} {steps:5d} steps: {figures}")


def log() -> dict[str, Any]:
    return {"task": "Summarise", "n": 0, "log": []}


def file_growth(engine: Callable[..., Drive], context: dict[str, Any], work: Any, steps: int) -> float:
    with scratch() as home:
        drive = engine(home, context, work)
        before = database_bytes(home)
        drive(steps)
        return (database_bytes(home) - before) / steps


def database_bytes(home: Path) -> int:
    """Bytes of the pages in use: what the file has after a checkpoint."""
    (path,) = home.glob("*.db")
    connection = sqlite3.connect(path)
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    connection.close()
    return int((pages - free) * size)


def show_restore() -> None:
    with scratch() as home:
        machine = AgentStateMachine(EmbeddedJournal(home / "agentnb.db"))
        machine.register_state("WORK", change)
        machine.initialize_run("r", "WORK", large())
        for _ in range(1000):
            machine.execute_step("r")
        found = []
        for step in range(0, 1001, 7):
            began = time.process_time()
            context = machine.context_at("r", step)
            found.append((time.process_time() - began) * 1e3)
            assert context["n"] == step
        began = time.perf_counter()
        for _ in range(50):
            orjson.loads(orjson.dumps(context))
        base = (time.perf_counter() - began) / 50 * 1e3
    print(
        f"\nRestore any of 1000 steps at 100 KB, CPU: median {statistics.median(found):.2f} ms,"
        f" slowest {max(found):.2f} ms"
        f" ({statistics.median(found) / base:.1f} x one orjson round trip of {base:.2f} ms);"
        f" at most {deltas.LONGEST_CHAIN} deltas from a keyframe"
    )


def show_group_commit(quick: bool) -> None:
    print("\nGroup commit: 64 runs in 64 threads against one run alone, FULL")
    for label, on_disk, delay in (
        ("this disk", True, 0.0),
        ("a flush of 1 ms", False, 0.001),
        ("a flush of 4 ms", False, 0.004),
    ):
        alone = parallel_speed(1, 200, on_disk, delay)
        many = parallel_speed(64, 20 if quick else 60, on_disk, delay)
        print(
            f"  {label:16} alone {alone[0]:7.0f} steps/s ({alone[1]:.2f} flushes/step), together {many[0]:7.0f}"
            f" ({many[1]:.3f}): {many[0] / alone[0]:.1f} x"
        )


def parallel_speed(runs: int, steps: int, on_disk: bool, delay: float) -> tuple[float, float]:
    """Steps per second of all runs together, and flushes per step."""
    with scratch(on_disk) as home, sqlite_trace.tracing(delay=delay) as trace:
        machine = AgentStateMachine(EmbeddedJournal(home / "agentnb.db"))
        machine.register_state("WORK", change)
        for index in range(runs):
            machine.initialize_run(f"r{index}", "WORK", small())
        threads = [
            threading.Thread(target=machine.run_to_end, args=(f"r{i}",), kwargs={"max_steps": steps})
            for i in range(runs)
        ]
        before, began = sum(trace.flushes.values()), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
        flushes = sum(trace.flushes.values()) - before
    return runs * steps / elapsed, flushes / (runs * steps)


def show_peers() -> None:
    peers = sorted(path for path in Path(".bench-peers").glob("*/bin/python"))
    if not peers:
        print("\nPeers: not installed (`make bench-peers` installs LangGraph, Burr and DBOS in .bench-peers/)")
        return
    print("\nPeers, us per step, each in an environment of its own, on the same tmpfs")
    program = Path(__file__).with_name("bench_peers.py")
    for python in peers:
        name = python.parent.parent.name
        with scratch() as home:
            ran = subprocess.run([python, program, name, home], capture_output=True, text=True, check=False)
        print(f"  {name:12} {ran.stdout.strip() or 'failed: ' + ran.stderr.strip()[-300:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: for a look, not for the record")
    quick = parser.parse_args().quick
    show_times(quick)
    show_growth_of_cost(quick)
    if sqlite_trace.available():
        show_flushes(quick)
        show_group_commit(quick)
    else:
        print("\nFlushes: this Python's SQLite cannot be traced")
    show_bytes(quick)
    show_restore()
    show_peers()


if __name__ == "__main__":
    main()
