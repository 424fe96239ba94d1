"""A process that asks the agent, over and over, while the ground gives way: `python soak_worker.py PLACE SEED`.

Every other run is asked for as a cell does it, with a live view of widgets and buttons where it was stopped.

PLACE/setup.json says where everything is. What is begun and how it ended goes to PLACE/log, a line each, flushed. What
an acting tool does goes to PLACE/effects. It ends when PLACE/stop exists.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import json
import os
import random
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets.widgets import widget
from tornado.ioloop import IOLoop
from traitlets.config import Config

from agentnb.agent.built_in import BuiltInAgent
from agentnb.agent.request import Limits
from agentnb.agent.run_document import AgentRun
from agentnb.agent.tools.tool import Tool, tool
from agentnb.durable import ownership
from agentnb.durable.step_context import CURRENT
from agentnb.errors import AgentnbError
from agentnb.notebook import kernel, run_task
from agentnb.notebook.live import dashboard, live_view
from agentnb.session import Session
from agentnb.settings import Settings

LOOP = IOLoop(make_current=False)
LINGERS = 40.0
"""Seconds in which the thread that renews leases sees that no journal is open any more."""
TASKS = (
    "Say hello.",
    "Explain how tides work, please.",
    "Use note on `a` and use note on `b` please.",
    "Use look on `c` please.",
    "Inspect `tax` and explain it.",
)
TOOLS = ("inspect", "read_cell", "note", "look")


class JumpingClock:
    """The machine's clock, moved by as many seconds as stand in a file: as when a machine is set right, or sleeps."""

    monotonic = staticmethod(time.perf_counter)

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> float:
        with contextlib.suppress(OSError, ValueError):
            return time.time() + float(self._file.read_text())
        return time.time()


def open_session(place: Path) -> Session:
    """The session that a worker has, with an acting tool that leaves a line for each time it ran."""
    ownership._keeper._shortest = 3.0  # the thread that renews leases looks each second, and so ends in one
    setup = json.loads((place / "setup.json").read_text())
    settings = Settings(model="anthropic:claude-sonnet-4-6", home=place / "home", retry_wait=1.0, **setup["settings"])
    environment = {"ANTHROPIC_BASE_URL": setup["url"], "ANTHROPIC_API_KEY": "any"}
    os.environ |= environment
    session = Session(settings=settings, environment=environment, clock=JumpingClock(place / "offset"), project=place)
    session.cells.record("def tax(x):\n    return x * 0.2", cell_id="tax", number=1)
    exec("def tax(x):\n    return x * 0.2", session.namespace)
    session.extra_tools |= {made.name: made for made in tools(place)}
    return session


def tools(place: Path) -> list[Tool]:
    @tool
    def note(thing: str) -> str:
        """Write a thing down."""
        current = CURRENT.get()
        assert current is not None
        add(place / "effects", f"{current.run_id} {current.step} {thing}")
        return f"noted {thing}"

    @tool(safe=True)
    def look(thing: str) -> str:
        """Look at a thing."""
        return f"{thing} is green"

    return [note, look]


def add(file: Path, line: str) -> None:
    """Append a line with one write: a killed process leaves it whole or not at all."""
    out = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(out, f"{line}\n".encode())
    finally:
        os.close(out)


class Worker:
    """Begins runs, takes up others', is stopped, and has its disk fill up."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.dice = place, random.Random(seed)
        self.session = open_session(place)
        for name in ("home", "model", "retry_wait", "journal", "bus"):  # a notebook's settings are read there each time
            if value := getattr(self.session.settings, name):
                os.environ[f"AGENTNB_{name.upper()}"] = str(value)
        self.notebook = kernel.Notebook(shell_of_a_person())
        self.notebook._session = self.session

    def turn(self) -> None:
        """One thing of those that people and machines do."""
        chance = self.dice.random()
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # an interrupt may have come before it was set back
        disk = self.short_of_disk() if chance < 0.08 else contextlib.nullcontext()
        stop = self.stopped_soon() if chance > 0.85 else contextlib.nullcontext()
        with disk, stop:
            if 0.55 < chance <= 0.8:
                self.take_up()
            else:
                self.begin()

    def begin(self) -> None:
        run_id = self.session.new_run_id()
        task = self.dice.choice(TASKS)
        request = self.session.request(
            task, cell=f"c{self.dice.randrange(4)}", execution="2", tools=TOOLS, allow=("note",)
        )

        def begin(agent: BuiltInAgent) -> None:
            agent.begin(request, run_id)
            add(self.place / "log", f"begun {run_id}")

        self.drive(run_id, begin)

    def take_up(self) -> None:
        """Another's run that has not ended, if there is one. What may have happened outside is not repeated."""
        runs = [run for run in self.session.machine().journal.runs(limit=30) if run.status != "completed"]
        if runs:
            run_id = self.dice.choice(runs).run_id
            self.drive(run_id, lambda agent: agent.resume(run_id, Limits(), {"unsure": "skip"}))

    def drive(self, run_id: str, prepare: Callable[[BuiltInAgent], None]) -> None:
        """Carry a run on, with widgets or without."""
        ended: list[AgentRun] = []

        def keep(run: AgentRun) -> AgentRun:
            ended.append(run)
            return run

        if self.dice.random() < 0.5:
            add(self.place / "log", f"shown {run_id}")
            try:
                run_task.show_run(self.notebook, prepare=prepare, run_id=run_id, finish=keep)
            finally:
                between_cells()
        else:
            agent = self.session.agent()
            prepare(agent)
            ended.append(agent.drive(run_id))
        add(self.place / "log", f"ended {run_id} {ended[-1].state} {len(ended[-1].steps)}")

    @contextlib.contextmanager
    def stopped_soon(self) -> Any:
        timer = threading.Timer(self.dice.uniform(0, 0.3), self.session.cancel)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            self.session.cancelled.clear()

    @contextlib.contextmanager
    def short_of_disk(self) -> Any:
        """No file may grow beyond what the largest one is now, and a little: the journal's next pages find no room."""
        largest = max((file.stat().st_size for file in (self.place / "home").rglob("*") if file.is_file()), default=0)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(largest, 4096) + self.dice.randrange(20_000), before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def shell_of_a_person() -> InteractiveShell:
    """A shell whose front end has widgets and a person before it, and that shows nothing."""
    live_view.someone_watches, dashboard.SETTLING = lambda: True, 0.01
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.display_pub, shell.kernel = Nobody(parent=shell), SimpleNamespace(io_loop=LOOP)
    return shell


def between_cells() -> None:
    """Let the loop do what waits until a cell is over: views close their widgets there."""
    LOOP.asyncio_loop.run_until_complete(asyncio.sleep(2 * dashboard.SETTLING))


class Nobody(DisplayPublisher):
    """Where nothing is shown."""

    def publish(self, *_: Any, **__: Any) -> None:
        return


def widgets() -> list[str]:
    """The models that ipywidgets keeps for a front end."""
    return sorted(type(one).__name__ for one in widget._instances.values())


def open_files() -> dict[str, str]:
    """This process's descriptors, and where each leads; but not the one that looks for them."""
    found = {}
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[one.name] = str(one.readlink())
    return {number: where for number, where in found.items() if not where.endswith("/fd")}


def left_since(threads: set[threading.Thread], files: dict[str, str]) -> list[str]:
    """What there is now of threads and descriptors and was not then. Threads that end by themselves are waited for."""
    gc.collect()
    until = time.monotonic() + LINGERS
    for thread in set(threading.enumerate()) - threads:
        thread.join(max(0, until - time.monotonic()))
    lives = [f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads]
    return [*lives, *(where for number, where in open_files().items() if number not in files)]


def main(place: Path, seed: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    shell_of_a_person()
    threads, files = set(threading.enumerate()), open_files()
    worker = Worker(place, seed)
    add(place / "log", f"ready {seed}")
    while not (place / "stop").exists():
        with contextlib.suppress(KeyboardInterrupt):  # it may come at any line, between two turns too
            once(worker)
    worker.notebook.close()
    between_cells()
    del worker
    for what, count in collections.Counter(widgets()).items():
        add(place / "log", f"LEFT {count} widgets {what}")
    for what in left_since(threads, files):
        add(place / "log", f"LEFT {what}")


def once(worker: Worker) -> None:
    """One turn, and what became of it. Only our own errors and interrupts may come out of it."""
    log = worker.place / "log"
    try:
        worker.turn()
    except KeyboardInterrupt:
        add(log, "interrupted")
    except AgentnbError as error:
        add(log, f"refused {error.code}")
        time.sleep(0.05)  # a server that is away, a lease that another has
    except Exception:
        add(log, f"RAW {traceback.format_exc()!r}")
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
