"""Keeps the index of the packages in use up to date beside the kernel: nobody waits for it, and it can be stopped.

A thread looks what has changed (a stat of each file) and leaves reading to a process of the lowest priority, which
imports nothing of the user's and ends with the kernel. Where no process can be made, the thread itself reads, a file
at a time. Nothing is started before a task first asks.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from agentnb import canonical
from agentnb.context.resolve.files import module_file
from agentnb.context.resolve.indexing import behind, index_package
from agentnb.context.resolve.packages import PackageIndex, Place, Progress
from agentnb.context.values import static_inspect
from agentnb.errors import StorageError

PAUSE = 0.005
"""Seconds between two files where the kernel's own process has to read them."""
_CHILD = "import sys; sys.path += {paths!r}; from agentnb.context.resolve.indexing import main; main()"


def packages_in_use(
    targets: Iterable[str], namespace: Mapping[str, Any], roots: Iterable[Path] = ()
) -> dict[str, Path]:
    """Name -> directory (or the one file) of the packages that cells import and that the namespace's modules are of.

    `targets` are dotted names as cells import them. Compiled and built-in modules have no files. Imports nothing.
    """
    named = static_inspect.public(namespace)
    modules = [
        static_inspect.module_text(value, "__name__") for _, value in named if static_inspect.is_a(value, ModuleType)
    ]
    roots = tuple(roots)
    found = (_package_of(target, roots) for target in dict.fromkeys([*targets, *modules]))
    return dict(sorted(item for item in found if item))


def _package_of(target: str, roots: Iterable[Path]) -> tuple[str, Path] | None:
    """The outermost package that has a file: for `google.genai.types` that is `google.genai`."""
    parts = target.split(".")
    for end in (1, 2):
        name = ".".join(parts[:end])
        path = module_file(name, roots)
        if path is not None and name != "__main__":
            return name, path.parent if path.name == "__init__.py" else path
    return None


class Indexer:
    """The index at work for one session. `command` makes the argument list of the process; None: there is none."""

    def __init__(self, index: PackageIndex, *, command: Callable[[], list[str]] | None = None) -> None:
        self.index = index
        self._command = command or child_command
        self._lock = threading.Lock()
        self._waiting: dict[str, Path] = {}
        self._in_use: dict[str, Path] = {}
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._failed = False

    def want(self, packages: Mapping[str, Path], *, again: Iterable[str] = ()) -> None:
        """Bring these up to date from now on, and those of `again` once more. Returns at once."""
        with self._lock:
            new = {name: path for name, path in packages.items() if self._in_use.get(name) != path or name in again}
            self._in_use = dict(packages)
            self._waiting |= new
            if new and not self._stopped and self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="agentnb-index")
                self._thread.start()

    @property
    def busy(self) -> bool:
        """Is a pass going on, or about to begin?"""
        return self._thread is not None

    def progress(self) -> list[Progress]:
        """How far the index has come with each package in use."""
        return self.index.progress(self._in_use.values())

    def named(self, name: str) -> list[Place]:
        """Where `name` is defined in the packages in use, likeliest first."""
        return self.index.named(name, list(self._in_use.values())) if self._in_use else []

    def beginning(self, prefix: str) -> list[str]:
        """Names of what the packages in use define at their modules' top, by how they begin."""
        return self.index.beginning(prefix, list(self._in_use.values())) if self._in_use else []

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of the packages in use."""
        return tuple(self._in_use)

    def wait(self, seconds: float) -> bool:
        """For benchmarks and tests: is the index at rest, within this time?"""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return self._thread is None

    def stop(self) -> None:
        """End the pass. What it has read stays; another goes on from there."""
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            if self._process is not None:
                self._process.kill()  # at the lowest priority it might not come round to ending by itself
        self.wait(5.0)
        self.index.close()

    # in the thread --------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting, {}
                if not batch or self._stopped:
                    self._thread = None
                    return
            with contextlib.suppress(StorageError, OSError):  # the index may be lost: then it is not there
                self._bring_up_to_date(batch)

    def _bring_up_to_date(self, packages: Mapping[str, Path]) -> None:
        late: dict[str, Path] = {}
        for name, path in packages.items():
            todo = behind(self.index, path)
            if todo.changed or todo.gone:
                self.index.announce(path, name, done=todo.files - len(todo.changed), files=todo.files)
                late[name] = path
        if late and not (self._in_process(late) or self._stopped):
            self._here(late)

    def _in_process(self, packages: Mapping[str, Path]) -> bool:
        """Whether a process has done it."""
        if self._failed:
            return False
        job = {"home": str(self.index.home), "packages": {name: str(path) for name, path in packages.items()}}
        try:
            with self._lock:
                if self._stopped:
                    return True
                process = self._process = start(self._command())
            assert process.stdin is not None
            process.stdin.write(canonical.dump(job) + b"\n")
            process.stdin.flush()
        except (OSError, ValueError):
            _end(self._process)
        code = self._process.wait() if self._process is not None else 1
        with self._lock:
            _end(self._process)
            self._process = None
        # One that was killed, for the memory it took perhaps, is not made up for in the kernel itself.
        self._failed = code == 1
        return not self._failed

    def _here(self, packages: Mapping[str, Path]) -> None:
        for name, path in packages.items():
            index_package(self.index, name, path, after_file=self._yield)

    def _yield(self) -> None:
        if self._stopped:
            raise StorageError("the index was stopped")
        time.sleep(PAUSE)


def child_command() -> list[str]:
    """A Python that knows the standard library, agentnb and what that needs, and runs nobody's start-up code."""
    if not sys.executable:
        raise OSError("this Python does not know where it is")  # as in programs that embed it
    files = (sys.modules[name].__file__ for name in (canonical.__name__, "orjson"))
    paths = dict.fromkeys(str(Path(str(file)).parent.parent) for file in files)
    return [sys.executable, "-I", "-S", "-c", _CHILD.format(paths=list(paths))]


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """The process, out of reach of the kernel's interrupts; its output goes nowhere."""
    return subprocess.Popen(  # noqa: S603 - our own Python with our own text
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """It ends with its input."""
    if process is not None and process.stdin is not None:
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()
