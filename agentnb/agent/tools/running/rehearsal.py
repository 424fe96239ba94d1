"""Try code first in a copy of this process: what it prints, which names it changes, and its error. Nothing of it stays.

The copy is a forked child that is shut in, within a limit of time and memory. What of that the system cannot see to
is said. It is no proof: code can tell that it is only tried.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
import warnings
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass

from agentnb.agent.tools.running.names import changes, listed, names_in, snapshot
from agentnb.agent.tools.tool import Outcome, shorten

SECONDS = 10.0
MEMORY = 1 << 30
"""Bytes that the code may need beyond what the kernel has."""
SHOWN = 1500
"""Characters of what the code prints that are shown."""
_TRACEBACK = "Traceback (most recent call last)"
_MOST_READ = 1 << 20
NOT_HERE = "Not tried first: this system cannot copy a process."

RunCode = Callable[[str], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """Tries code for one namespace. `run` runs it; `apart` is called in the copy first, to part it from the page."""

    namespace: MutableMapping[str, object]
    run: RunCode
    apart: Callable[[], None] = lambda: None
    seconds: float = SECONDS
    memory: int = MEMORY

    def __call__(self, codes: Sequence[str]) -> str:
        """Tell what the last of the codes would do after the others, in a few lines. Call it where they would run."""
        if not hasattr(os, "fork"):
            return NOT_HERE
        reading, writing = os.pipe()
        try:
            with warnings.catch_warnings():
                # Forking with threads: the child runs this one alone, and ends.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            return f"Not tried first: the kernel cannot be copied ({error.strerror})."
        if child == 0:
            self._in_copy(writing, codes)
        os.close(writing)
        try:
            said = _read(reading, time.monotonic() + self.seconds)
        finally:
            os.close(reading)
            _end(child)
        if said is None:
            return f"Tried in a copy of the kernel, where it did not end within {self.seconds:g} s."
        return (
            said or "Tried in a copy of the kernel, which died before it could tell: an exit, a crash, or its memory."
        )

    def _in_copy(self, writing: int, codes: Sequence[str]) -> None:
        """Run, say, and end: never return into the kernel's code."""
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            self.apart()
            os.write(writing, json.dumps(self._told(writing, codes)).encode())
        finally:
            os._exit(0)

    def _told(self, writing: int, codes: Sequence[str]) -> str:
        from agentnb.agent.tools.running.enclosure import shut_in

        *earlier, code = codes
        enclosure = shut_in(writing, self.memory)
        for each in earlier:
            self._outcome(each)
        enclosure.attempts.clear()
        mentioned = names_in(code)
        was = snapshot(self.namespace, mentioned)
        outcome = self._outcome(code)
        did = changes(was, self.namespace, mentioned)
        text = "" if outcome.text == "(no output)" else outcome.text.rstrip()
        stopped = outcome.is_error and any(f"it would {each}" in text.splitlines()[-1] for each in enclosure.attempts)
        shown = shorten(text.partition(_TRACEBACK)[0].rstrip() if stopped else text, SHOWN)
        verb = "It fails:" if outcome.is_error and not stopped else "It prints:" if shown else "It prints nothing."
        tried = f"It was stopped where it would {', '.join(enclosure.attempts)}." if enclosure.attempts else ""
        inside = f"Changes inside {listed(did.unseen)} are not looked at." if did.unseen else ""
        spare = (
            f"The copy may take {self.memory >> 20:,} MB more than it began with; the kernel may take what there is."
        )
        room = spare if outcome.is_error and "MemoryError" in text else ""
        return "\n".join(filter(None, [verb, shown, did.sentence, inside, tried, room, _setting(enclosure.system)]))

    def _outcome(self, code: str) -> Outcome:
        try:
            return self.run(code)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: this process only tells what happens
            return Outcome(text=f"{type(error).__name__}: {error}", is_error=True)


def _setting(system: Sequence[str]) -> str:
    """Tells how the code was tried, and who kept it in."""
    weak = [each for each in ("network", "files") if each not in system]
    told = "Tried in a copy of the kernel, without network and unable to change files"
    if weak:
        told += f"; of {' and '.join(weak)} only Python's audit hook sees to that, which C code passes by"
    more = (
        "" if "memory" in system else " Its memory had no limit, and files that are mapped into memory were open to it."
    )
    return f"{told}.{more}"


def _read(reading: int, ends: float) -> str | None:
    """Return what the child says until it ends; None where its time is over."""
    parts: list[bytes] = []
    while (left := ends - time.monotonic()) > 0 and sum(map(len, parts)) < _MOST_READ:
        if not select.select([reading], [], [], left)[0]:
            return None
        part = os.read(reading, 65536)
        if not part:
            return _text(b"".join(parts))
        parts.append(part)
    return None


def _text(said: bytes) -> str:
    """Read the text that we wrote. The code may have written beside us: what is not the text that we wrote counts for
    nothing."""
    try:
        value = json.loads(said)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""


def _end(child: int) -> None:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
