"""Interrupts at any moment, in the handler and in our own code: the next call works, and nothing is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from patience import PATIENCE

from agentnb.durable.journal.open import open_journal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import LeaseHeld, RunPaused

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="interrupts itself the POSIX way"),
]


@pytest.fixture
def interrupts():
    """`interrupts(seconds)`: KeyboardInterrupt in this thread, that much later."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def machine(home):
    machine = AgentStateMachine(open_journal(home))

    @machine.state("WORK")
    def work(context):
        context["n"] += 1
        return "WORK", context

    machine.initialize_run("r", "WORK", {"n": 0})
    machine.initialize_run("other", "WORK", {"n": 0})
    yield machine
    machine.journal.close()


def interrupted(machine, interrupts, seconds):
    try:
        interrupts(seconds)
        machine.run_to_end("r", max_steps=500)
        interrupts(0)
    except KeyboardInterrupt:
        return True
    return False


def go_on(machine):
    try:
        machine.execute_step("r")
    except RunPaused:
        machine.resume("r")
        machine.execute_step("r")


# One that hits a callback of the garbage collector, which Dask has set, is told of as a warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("company", [0, 3])
def test_an_interrupt_at_any_moment_leaves_a_run_that_goes_on(machine, interrupts, company, home):
    """Alone, and while other threads write (so that this one leads and follows)."""
    rounds, longest = (300, 0.003) if isinstance(home, Path) else (80, 0.02)
    stop = threading.Event()

    def accompany(name):
        machine.initialize_run(name, "WORK", {"n": 0})
        while not stop.is_set():
            machine.run_to_end(name, max_steps=20)

    threads = [threading.Thread(target=accompany, args=(f"c{n}",)) for n in range(company)]
    for thread in threads:
        thread.start()
    chance, hits = random.Random(3), 0
    try:
        for _ in range(rounds):
            before = machine.get("r").step
            hits += interrupted(machine, interrupts, chance.uniform(0.0001, longest))
            go_on(machine)
            run = machine.get("r")
            assert run.step > before
            assert run.context == {"n": run.step}
    except LeaseHeld as error:
        pytest.fail(f"the interrupt left the run locked: {error}")
    finally:
        interrupts(0)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "the interrupt left another thread waiting"
    assert hits > rounds / 3


CUT_SHORT = """
import asyncio, contextlib, sys
from agentnb.durable.bus_redis import RedisBus, _translated
from agentnb.durable.journal.open import open_journal
from agentnb.errors import AgentnbError

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == CUT_AT:
            sys.meta_path.remove(self)
            raise KeyboardInterrupt

def use():
    if CUT_AT.startswith("psycopg"):
        open_journal("postgresql://u:p@127.0.0.1:9/none")
    with _translated("there"):
        import redis
        redis.Redis.from_url("redis://127.0.0.1:9/0").ping()

sys.meta_path.insert(0, Interrupt())
with contextlib.suppress(KeyboardInterrupt):
    use()
    print("was not interrupted")
try:
    use()
except AgentnbError as error:
    print(error.code)
"""


@pytest.mark.parametrize("cut_at", ["psycopg.transaction", "redis.retry"])
def test_a_package_whose_import_was_interrupted_is_of_use_at_the_next_try(cut_at: str) -> None:
    """Python forgets the package then, but keeps those of its modules that were whole: nothing names them any more."""
    pytest.importorskip(cut_at.partition(".")[0])
    code = f"CUT_AT = {cut_at!r}\n{CUT_SHORT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout in ("journal.unreachable\n", "bus.unreachable\n"), done.stdout + done.stderr
