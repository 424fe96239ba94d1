"""The process that infers: the caller never waits longer than it said, and what comes late is used the next time."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from patience import PATIENCE

from agentnb.context.resolve.inference import Worker

CODE = "class Car:\n    def go(self): pass\n\ndef build(): return Car()\n"


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def make(program: str = "", **options: float) -> Worker:
        command = (sys.executable, "-c", textwrap.dedent(program)) if program else ()
        made.append(Worker(command=command, **({"limit": PATIENCE} | options)))
        return made[-1]

    yield make
    for worker in made:
        worker.end()


def slow(gate: Path, log: Path) -> str:
    """A worker that answers once `gate` exists, and writes down what it was asked."""
    return f"""
        import os, sys, time
        for line in sys.stdin:
            with open({str(log)!r}, "a") as file: file.write(line)
            while not os.path.exists({str(gate)!r}): time.sleep(0.01)
            print('[null, 2, "Car.go"]', flush=True)
    """


@pytest.mark.slow
def test_the_real_worker_answers_and_starts_again_after_its_end(start: Callable[..., Worker]) -> None:
    worker = start()
    assert worker.infer(CODE, "build().go", PATIENCE) == (None, 2, "Car.go")
    worker.end()
    assert worker.infer(CODE, "build().nothing", PATIENCE) is None
    assert worker.infer(CODE, "build().go", PATIENCE) == (None, 2, "Car.go")


def test_an_answer_that_comes_late_is_used_the_next_time(start: Callable[..., Worker], tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    worker = start(slow(gate, log))
    assert worker.infer(CODE, "a.b", 0.01) is None
    assert worker.infer(CODE, "c.d", 0.01) is None, "nobody waits twice for the same slow question"
    gate.touch()
    assert worker.infer(CODE, "a.b", PATIENCE) == (None, 2, "Car.go")
    assert len(log.read_text().splitlines()) == 1, "asked once, though two came for the answer"
    assert worker.infer(CODE, "a.b", PATIENCE) == (None, 2, "Car.go")
    assert len(log.read_text().splitlines()) == 2, "but an answer is given once: files change"


def test_a_question_waits_for_the_one_before_it(start: Callable[..., Worker], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    worker = start(slow(gate, tmp_path / "log"))
    assert worker.infer(CODE, "a.b", 0.01) is None
    threading.Timer(0.05, gate.touch).start()
    assert worker.infer(CODE, "c.d", PATIENCE) == (None, 2, "Car.go")


def test_what_takes_too_long_is_ended_and_not_asked_again(start: Callable[..., Worker], tmp_path: Path) -> None:
    log = tmp_path / "log"
    worker = start(slow(tmp_path / "never", log), limit=0.5)
    assert worker.infer(CODE, "a.b", PATIENCE) is None
    assert worker.infer(CODE, "a.b", PATIENCE) is None
    assert not log.exists() or len(log.read_text().splitlines()) == 1
    (tmp_path / "never").touch()
    worker._limit = PATIENCE  # a busy machine may need more than half a second to start it
    assert worker.infer(CODE, "c.d", PATIENCE) == (None, 2, "Car.go"), "another question gets a new process"


@pytest.mark.parametrize("program", ["", "print('no JSON', flush=True); input()", "raise SystemExit(1)"])
def test_a_worker_that_fails_is_no_answer(start: Callable[..., Worker], program: str) -> None:
    worker = start(program or "import os; os._exit(3)")
    assert worker.infer(CODE, "a.b", PATIENCE) is None
    assert worker.infer(CODE, "a.b", PATIENCE) is None


def test_an_import_path_with_what_is_no_text_is_no_trouble(start: Callable[..., Worker], monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])  # as `sys.path.insert(0, Path("src"))` makes it
    assert start().infer("import json", "json.dumps", PATIENCE) is not None


def test_a_long_notebook_does_not_block_on_a_full_pipe(start: Callable[..., Worker], tmp_path: Path) -> None:
    worker = start("import time, sys\nwhile True: time.sleep(0.05)", limit=30)
    assert worker.infer("x = 1\n" * 200_000, "a.b", 0.01) is None


@pytest.mark.slow
def test_a_forked_child_gets_a_worker_of_its_own(start: Callable[..., Worker]) -> None:
    worker = start()
    assert worker.infer(CODE, "build().go", PATIENCE) is not None
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        found = worker.infer(CODE, "build().go", PATIENCE)
        worker.end()
        os._exit(0 if found == (None, 2, "Car.go") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert worker.infer(CODE, "build().go", PATIENCE) == (None, 2, "Car.go")


def test_modules_of_the_users_are_read_and_never_run(start: Callable[..., Worker], tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit\n")  # called like a part of the worker's own
    (tmp_path / "loud.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nclass A:\n    def f(self): pass\ndef make(): return A()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert start().infer("import loud\na = loud.make()", "a.f", PATIENCE) == (tmp_path / "loud.py", 3, "f")
    assert not (tmp_path / "ran").exists()
