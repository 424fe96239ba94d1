"""Ask a process of its own what an expression means: the caller never waits longer than it said.

A thread could not be stopped and would take turns with the user's cells; a process can, and does not. What comes too
late is kept for the next time that the same is asked. What takes a minute is ended and not asked again.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Place = tuple[Path | None, int, str]
"""(file, or None for the cells; line; name)."""
SECONDS = 0.3
"""Seconds that a task waits in all; what comes later serves the next one."""
HOPELESS_SECONDS = 60.0
"""After so long a question is given up for good."""
KEPT = 64
"""Late answers that wait to be asked for."""
_PROGRAM = Path(__file__).with_name("inference_worker.py")
_Key = tuple[str, str]


class _OpenQuestion:
    """Holds a question to the worker. `place` is what was found, once `done`; `hopeless` questions are answered by None
    from then on.

    `waited` is the longest time, in seconds, that somebody was ready to wait for it.
    """

    __slots__ = ("done", "hopeless", "place", "waited")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.place: Place | None = None
        self.hopeless = False
        self.waited = 0.0


class Worker:
    """Holds one worker process, started with the first question. `command` runs it; `limit` is what one answer may
    take."""

    def __init__(
        self,
        *,
        command: Sequence[str] = (),
        limit: float = HOPELESS_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._command = tuple(command) or (sys.executable, "-I", str(_PROGRAM))
        self._limit = limit
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._answers: dict[_Key, _OpenQuestion] = {}
        self._current: tuple[_OpenQuestion, threading.Thread] | None = None

    def infer(self, code: str, expression: str, seconds: float = SECONDS) -> Place | None:
        """Return where the definition of `expression` after `code` stands. None where that is unknown, or not known
        yet.

        Wait at most `seconds`, also for an earlier question; not at all where others waited as long in vain.
        """
        key = (code, expression)
        end = self._clock() + seconds
        while True:
            with self._lock:
                answer = self._answers.get(key) or self._ask(key)
                ahead = self._current[0] if answer is None and self._current else None
            if answer is not None or ahead is None:
                break
            if not self._waits(ahead, end - self._clock(), seconds):
                return None
        if answer is None or not self._waits(answer, end - self._clock(), seconds):
            return None
        if not answer.hopeless:
            self._answers.pop(key, None)  # the next time it is asked anew: files may have changed
        return answer.place

    @staticmethod
    def _waits(answer: _OpenQuestion, seconds: float, patience: float) -> bool:
        """Wait for it, unless somebody with as much patience has already gone away without it. True when it is done."""
        if not answer.done.is_set() and patience > answer.waited:
            answer.done.wait(max(seconds, 0.0))
            answer.waited = max(answer.waited, patience)
        return answer.done.is_set()

    def end(self) -> None:
        """End the worker process, if there is one; the next question starts another."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        if self._current is not None:
            self._current[1].join(1.0)
        _close(process)

    def _ask(self, key: _Key) -> _OpenQuestion | None:
        busy = self._current is not None and not self._current[0].done.is_set()
        if self._owner != os.getpid():
            busy = False  # a forked child must not talk to its parent's worker
            self._process, self._owner = None, os.getpid()
        if busy or not self._command[0]:
            return None
        for old in list(self._answers)[: max(len(self._answers) + 1 - KEPT, 0)]:
            del self._answers[old]
        answer = self._answers[key] = _OpenQuestion()
        thread = threading.Thread(target=self._exchange, args=(key, answer), daemon=True, name="agentnb-inference")
        self._current = answer, thread
        thread.start()
        return answer

    def _exchange(self, key: _Key, answer: _OpenQuestion) -> None:
        """Runs in a thread of its own: only that waits for the process, a full pipe or a slow answer."""
        give_up = threading.Timer(self._limit, self._give_up, (answer,))
        give_up.daemon = True
        give_up.start()
        try:
            answer.place = _place(self._reply(_question(*key)))
        except (OSError, ValueError):  # it was ended, or died on what it read
            process, self._process = self._process, None
            if process is not None:
                answer.hopeless = True
                process.kill()
                _close(process)
        finally:
            give_up.cancel()
            answer.done.set()

    def _give_up(self, answer: _OpenQuestion) -> None:
        answer.hopeless = True
        process = self._process
        if process is not None:
            process.kill()

    def _reply(self, question: bytes) -> bytes:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(question)
        process.stdin.flush()
        reply = process.stdout.readline()
        if not reply:
            process.wait()
            raise OSError("the worker ended")
        return reply

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, by its path
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        return self._process


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes of a process that was killed: what it did not read may still lie in one."""
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
    process.wait()


def _question(code: str, expression: str) -> bytes:
    entries: list[object] = [*sys.path]  # what is no text, as `Path("src")`, Python passes over
    path = [item or str(Path.cwd()) for item in entries if isinstance(item, str)]
    return json.dumps({"code": code, "expression": expression, "path": path}).encode() + b"\n"


def _place(reply: bytes) -> Place | None:
    found = json.loads(reply)
    if found is None:
        return None
    file, line, name = found
    return Path(file) if file else None, int(line), str(name)


SHARED = Worker()
"""The one worker of this process."""
atexit.register(SHARED.end)
