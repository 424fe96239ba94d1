"""How right the prompt cache's forecasts are by a real server: what the ledger expects a call to hit, and what hits.

    python tests/benchmarks/bench_local_rules.py [--sessions 100] [--seed 1] [--model smollm2]

Random sessions of the real agent on llama.cpp's server: turns in several conversations, cells run again (a branch),
cells edited and run again, other tools (another frame), another style, kernels that end, servers that are killed. The
figure is the sum of |expected - read| over the tokens of all prompts.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from local_tasks import home_with_weights

import agentnb
from agentnb.models.catalog import lookup
from agentnb.providers.local import weights
from agentnb.providers.local.running import LocalServer

WORDS = [
    "tide",
    "harbour",
    "clerk",
    "table",
    "mean",
    "figure",
    "column",
    "north",
    "rope",
    "lamp",
    "seven",
    "cell",
    "value",
    "plot",
    "row",
    "depth",
    "light",
    "port",
]
RESTART = 0.02
"""Chance of a call before which the server is killed."""
LENGTHS = (6, 20, 60)
"""Tokens that a kernel's replies may have: the server keeps what it wrote too, and the next request begins with it."""


@dataclass(frozen=True)
class Compared:
    session: int
    action: str
    expected: int
    read: int
    total: int

    @property
    def off(self) -> int:
        return abs(self.expected - self.read)


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(8, 25))).capitalize() + "?"


def session(number: int, rng: random.Random, home: Path, model: str, server: LocalServer) -> Iterator[Compared]:
    """One kernel's calls: conversations go on from those of the kernels before it, or are its own."""
    agent: Any = None
    cells: list[tuple[str, str, str]] = []
    try:
        for count in range(rng.randint(3, 7)):
            action = rng.choices(("turn", "again", "edited", "elsewhere", "tools"), (10, 2, 2, 3, 1))[0]
            if rng.random() < RESTART:
                os.kill(server.ensure().pid, signal.SIGKILL)
                while server.running() is not None:
                    time.sleep(0.01)
                server.ensure()
                action = f"{action} after a restart"
            if agent is None or "tools" in action:
                if agent is not None:
                    agent.close()
                tools = rng.choice([[], ["inspect"]])
                length = rng.choice(LENGTHS)
                agent = agentnb.Agent(
                    model=model, tools=tools, home=home, context="none", max_tokens=length, max_steps=2
                )
            thread = f"t{rng.randrange(3)}" if "elsewhere" in action else f"s{number}"
            if action.startswith(("again", "edited")) and cells:
                thread, cell, task = rng.choice(cells)
                task = sentence(rng) if action.startswith("edited") else task
            else:
                cell, task = f"c{number}-{count}", sentence(rng)
            cells.append((thread, cell, task))
            agent._thread = thread
            run = _run(agent, task, cell, f"{cell}-{count}")
            if run is not None:
                total = run.usage["input"] + run.usage["cache_read"]
                yield Compared(number, action, run.cache.expected, run.cache.read, total)
    finally:
        if agent is not None:
            agent.close()


def _run(agent: Any, task: str, cell: str, execution: str) -> Any:
    """The run, ended or stopped at its first call of a tool; None where it made more calls than one."""
    agent._raise = False
    run = agent.run(task, cell=cell, execution=execution)
    return run if run.usage and run.usage.get("calls") == 1 else None


def compared(sessions: int, seed: int, model: str, home: Path) -> list[Compared]:
    row = lookup(f"local:{model}")
    server = LocalServer(weights.find(model, home), home, window=row.window)
    server.ensure()
    rng, found = random.Random(seed), []
    try:
        for number in range(sessions):
            found += session(number, rng, home, f"local:{model}", server)
    finally:
        server.release()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--all", action="store_true", help="print each call that was off by more than 2 %%")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = compared(chosen.sessions, chosen.seed, chosen.model, home_with_weights(Path(place) / "home"))
    for each in found if chosen.all else []:
        if each.off > 0.02 * each.total:
            print(each)
    total, off = sum(each.total for each in found), sum(each.off for each in found)
    near = sum(each.off <= 0.02 * each.total for each in found)
    print(
        f"{chosen.sessions} sessions, {len(found)} calls, {total:,} prompt tokens, {sum(e.read for e in found):,} read"
    )
    print(
        f"forecasts off by {off:,} tokens: {off / total:.2%}; {near} of {len(found)} calls within 2 % of their prompt"
    )
    for kind in sorted({each.action for each in found}):
        mine = [each for each in found if each.action == kind]
        share = sum(each.off for each in mine) / sum(each.total for each in mine)
        print(f"  {kind:<28} {len(mine):>4} calls  off by {share:.2%}")


if __name__ == "__main__":
    main()
