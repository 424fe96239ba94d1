"""Find or start the one server of a model that a user's kernels share, and hold it.

A record in the data directory tells address and key to the user alone. Who uses the server has a file locked for
reading. The lock goes with the process, however that ends. The server ends when it can have the file for itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

from agentnb import canonical
from agentnb.durable.journal import leases
from agentnb.errors import LocalModelFailed, PackageMissing
from agentnb.providers.local import server
from agentnb.providers.local.kept import Fits
from agentnb.providers.local.weights import digest_of, directory
from agentnb.storage import make_private

BESIDE_WEIGHTS = 700_000_000
"""Bytes of memory that a server needs beside its weights: what it has read, its buffers, Python."""
ROOM = (server.CACHE_MIB, 4096)
"""MiB for earlier prompts: a quarter of what is free then, at least and at most. Llama.cpp's own default is 8,192."""
SMALLER = "Close other kernels, or take a smaller model: python -m agentnb local list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Holds a server that answers. `owner` names its process, `instance` the prompt cache that lives and ends with
    it."""

    address: str
    key: str = field(repr=False)
    instance: str
    owner: str
    pid: int


class LocalServer:
    """Holds the server of one GGUF file, as one connection uses it. Safe from several threads."""

    def __init__(self, weights: Path, home: Path, *, window: int) -> None:
        self.weights, self._home, self._window = weights, home, window
        status = weights.stat()
        facts = [str(weights), status.st_size, status.st_mtime_ns, window]
        self._name = canonical.digest(canonical.dump(facts))
        self._place = directory(home) / "servers"
        self._users: IO[bytes] | None = None
        self._next = secrets.token_hex(4)
        self._lock = threading.Lock()

    @cached_property
    def fits(self) -> Fits:
        """Return what a file that this server reads must have been written with."""
        return Fits(
            weights=digest_of(self.weights, self._home),
            kv_type=server.KV_TYPE,
            window=self._window,
            version=server.version(),
        )

    @property
    def slots(self) -> Path:
        """Return the directory in which this model's server saves what it has read."""
        return self._place / f"{self._name}.slots"

    @property
    def instance(self) -> str:
        """Return the name of the prompt cache that a call made now meets: the running server's, or the next one's."""
        found = self.running()
        return found.instance if found else self._next

    def running(self) -> Running | None:
        """Return the server that answers now; None where there is none. Starts nothing."""
        try:
            found = Running(**json.loads(self._file("json").read_text()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        whole = all(isinstance(each, str) for each in (found.address, found.key, found.instance, found.owner))
        return None if not whole or leases.is_dead(found.owner) else found

    def ensure(self) -> Running:
        """Return the server, started where none runs, and hold it until `release`. Raises LocalModelFailed and
        PackageMissing."""
        with self._lock:
            if self._users is not None and (found := self.running()) is not None:
                return found
            make_private(self._home)
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone_starting():
                self._hold()
                return self.running() or self._start()

    def release(self) -> None:
        """Use the server no more: it ends where nobody else does."""
        with self._lock:
            if self._users is not None:
                self._users.close()
                self._users = None

    def _file(self, kind: str) -> Path:
        return self._place / f"{self._name}.{kind}"

    @contextlib.contextmanager
    def _alone_starting(self) -> Iterator[None]:
        import fcntl  # not everywhere: asked for only where a server is started

        with self._private("lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _private(self, kind: str) -> IO[bytes]:
        return os.fdopen(os.open(self._file(kind), os.O_RDWR | os.O_CREAT, 0o600), "rb+")

    def _hold(self) -> None:
        """Lock the file of users for reading. A server that is ending has it for itself: that is waited for."""
        import fcntl

        if self._users is None:
            self._users = self._private("users")
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def _start(self) -> Running:
        _check_memory(self.weights)
        instance, key = self._next, secrets.token_urlsafe(24)
        self._next = secrets.token_hex(4)
        job = {
            "weights": str(self.weights),
            "window": self._window,
            "room": room_for_prompts(self.weights),
            "key": key,
            "slots": str(self.slots),
            "users": str(self._file("users")),
            "record": str(self._file("json")),
        }
        process = self._spawn(job)
        assert process.stdout is not None
        with process.stdout as said:
            first = said.readline()
        if not first:
            raise _ended(process.wait(), self._file("log"), self.weights)
        found = Running(
            address=json.loads(first)["address"],
            key=key,
            instance=instance,
            owner=leases.owner_of(process.pid),
            pid=process.pid,
        )
        fresh = self._file("new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(found), file)
        fresh.replace(self._file("json"))
        return found

    def _spawn(self, job: dict[str, object]) -> subprocess.Popen[str]:
        """Start the process apart from this one's terminal and interrupts. What it logs goes to a file."""
        with os.fdopen(os.open(self._file("log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", server.__name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        _reap_at_end(process)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as told:
            told.write(json.dumps(job) + "\n")
        return process


def _reap_at_end(process: subprocess.Popen[str]) -> None:
    """Wait for the process in a thread, so that one that has ended is no zombie which looks alive."""
    threading.Thread(target=process.wait, name="agentnb local server", daemon=True).start()


def room_for_prompts(weights: Path) -> int:
    """Return the MiB in which the server may keep what it has read. A prompt that found no room is read again."""
    free = (available_memory() or 0) - _needed(weights)
    least, most = ROOM
    return min(max(free // 4 // 2**20, least), most)


def _needed(weights: Path) -> int:
    return weights.stat().st_size + BESIDE_WEIGHTS


def _check_memory(weights: Path) -> None:
    """Raise LocalModelFailed where the machine surely has too little memory (Linux tells)."""
    needed, free = _needed(weights), available_memory()
    if free is not None and free < needed:
        raise LocalModelFailed(
            "there is too little memory for this model",
            about=f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free",
            todo=SMALLER,
        )


def available_memory() -> int | None:
    """Return the bytes that programs can still have, in a container too; None where the system does not tell."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # "max" where the container has no limit
        limit, used = (int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        found.append(max(limit - used, 0))
    return min(found, default=None)


CONTAINER = Path("/sys/fs/cgroup")
"""The folder in which Linux tells the limits of this process's container."""


def _ended(status: int, log: Path, weights: Path) -> LocalModelFailed | PackageMissing:
    """Return the error of a server that ended before it answered, by its exit status and its last words."""
    said = log.read_text(errors="replace") if log.exists() else ""
    if "PackageMissing" in said:
        return PackageMissing("llama.cpp's server is not installed", todo=server.MISSING)
    if status == -signal.SIGILL:
        return LocalModelFailed(
            "this processor cannot run it: llama.cpp's server needs AVX2",
            todo="Ask another model, e.g. the simulator: %%agent -m sim:claude-sonnet-4-6",
        )
    if status == -signal.SIGKILL:
        return LocalModelFailed(
            "the system ended the model's server, most likely for want of memory",
            about=weights.name,
            todo=SMALLER,
        )
    if "insufficient memory" in said or "failed to allocate" in said:
        return LocalModelFailed("there is too little memory for this model", about=weights.name, todo=SMALLER)
    words = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    return LocalModelFailed(
        "the model's server could not be started", about=words[:200], todo=f"Is {weights} a GGUF file? See {log}"
    )
