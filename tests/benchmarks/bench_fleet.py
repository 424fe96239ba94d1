"""Ten thousand runs at once, and what that makes of larger numbers: `python tests/benchmarks/bench_fleet.py`.

For the embedded journal and for PostgreSQL (a server of its own that flushes each commit): the time to make the runs,
to count them, and to draw the view; the part of a core that waiting takes; the steps a second of one and of two
processes, and their bytes a step. The table at the end multiplies: 20 steps a run, so many runs a day.
"""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentnb.durable.journal.open import open_journal
from agentnb.durable.machine import AgentStateMachine
from agentnb.fleet.fleet import Fleet

sys.path.insert(0, str(Path(__file__).parents[1]))
from postgres_server import PostgresServer, is_available

STEPS = 20  # of a run
DAY = 86_400
WAITED = 5.0  # seconds
WORKER = """
import sys, time
from agentnb.durable.machine import AgentStateMachine
machine = AgentStateMachine(sys.argv[1])
machine.register_state("WORK", lambda context: ("WORK" if context["n"] < 19 else "COMPLETED", {"n": context["n"] + 1}))
made, until = 0, time.monotonic() + float(sys.argv[2])
while time.monotonic() < until and (run_id := machine.next_free(fleet="f")):
    made += machine.run_to_end(run_id).step
print(made)
"""


def main() -> None:
    """Print each figure, for both journals."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as place:
        measure("embedded", place, runs, lambda: size_of_file(Path(place)))
    if is_available():
        server = PostgresServer(flush=True)
        try:
            address = server.empty()
            journal = open_journal(address)
            measure("PostgreSQL", address, runs, lambda: size_of(journal))
        finally:
            server.stop()


def size_of_file(home: Path) -> int:
    (path,) = home.rglob("cache.db")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def size_of(journal: Any) -> int:
    return int(journal._server.read("SELECT pg_database_size(current_database())")[0][0])


def measure(name: str, place: str, runs: int, size: Callable[[], int]) -> None:
    machine = AgentStateMachine(place)
    machine.register_state("WORK", lambda context: ("COMPLETED", context))
    news = [(f"f/{number:05d}", {"n": 0}, {"fleet": "f"}) for number in range(runs)]
    wall, cpu = timed(lambda: machine.initialize_runs("WORK", news))
    print(f"{name}: {runs:,} runs made in {wall:.2f} s, {cpu:.2f} s CPU here (goal 1 s)")
    fleet = Fleet(machine.journal, "f")
    print(f"{name}: counted in {timed(lambda: fleet.counts)[1] * 1000:.0f} ms CPU")
    views = [timed(fleet._repr_mimebundle_)[1] for _ in range(2)]
    print(f"{name}: view in {views[0]:.2f} s CPU, again {views[1]:.2f} (goal 0.3 s)")
    wall, cpu = timed(lambda: fleet.wait(WAITED))
    print(f"{name}: waiting takes {100 * cpu / wall:.1f} % of a core (goal 2 %)")
    before = size()
    speeds = {workers: steps_a_second(place, workers) for workers in (1, 2)}
    said = ", ".join(f"{speed:.0f} by {workers}" for workers, speed in speeds.items())
    done = sum(each.steps for each in machine.journal.tally(fleet="f"))
    each = (size() - before) / max(done, 1)
    print(f"{name}: steps/s: {said} processes; {each:.0f} bytes a step")
    print("  runs a day   steps/s   of two processes' speed   history a day")
    for exponent in (4, 6, 8):
        steps = 10**exponent * STEPS
        share = 100 * steps / DAY / speeds[2]
        print(f"  10^{exponent}       {steps / DAY:>8,.1f}   {share:>20,.1f} %   {steps * each / 1e9:>10,.2f} GB")
    machine.close()


def steps_a_second(place: str, workers: int, seconds: float = 5.0) -> float:
    command = [sys.executable, "-c", WORKER, place, str(seconds)]
    working = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    return sum(int(each.communicate()[0]) for each in working) / seconds


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that it took, by the clock and of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
