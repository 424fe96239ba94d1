"""Say who works on a run, and for how long. Pure, but for looking at a process of this machine.

A lease says until when its owner may go on without asking. It has two deadlines. One is on the wall clock, one on the
machine's monotonic clock, which its processes share and which never jumps. On one machine the second counts, and a dead
owner is seen to be dead at once. Across machines the first counts. The fencing token, which grows with each claim,
stands behind both: whoever was overtaken cannot commit.

A lease alone would not do. A worker can sleep past its deadline: a closed laptop, a stopped container. It wakes up in
the belief that the run is its own, and no clock corrects it in time. The token does. It is compared in the commit's own
transaction, so the late step is refused and nothing of it stays. The lease only spares work: without it two workers
would do the same step, one of them in vain.

An owner's name tells more than who it is: `host.pid.birth.number`. The system gives a process number away again soon
after its process ended. So the birth, in the kernel's ticks, is compared too. The host is a digest of the boot and of
the processes' name space. Two containers may both have a process 1, and neither can see the other's. Where that cannot
be told, nobody is called dead, and the deadline decides.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import platform
from pathlib import Path

_COUNT = itertools.count(1)


def new_owner() -> str:
    """Return a name for one journal object of this process: `host.pid.birth.number`."""
    return owner_of(os.getpid(), next(_COUNT))


def owner_of(pid: int, number: int = 0) -> str:
    """Return a name for a process of this machine, as `is_dead` reads it."""
    return f"{this_host()}.{pid}.{birth_of(pid) or 0}.{number}"


@functools.cache
def this_host() -> str:
    """Return a digest of this machine's boot and of its process numbers' name space; containers share only the boot."""
    parts = (platform.node(), _boot_id(), _pid_namespace())
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def birth_of(pid: int) -> int | None:
    """Return when the process began, in the kernel's ticks; None where it is dead or where that cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_dead(owner: str) -> bool:
    """True only where the owner is a process of this machine that is certainly gone."""
    host, pid, birth = (*owner.split("."), "", "")[:3]
    if host != this_host() or not (pid.isdecimal() and birth.isdecimal()):  # another machine's, or damaged
        return False
    if platform.system() == "Linux":
        return birth_of(int(pid)) != int(birth)
    return platform.system() != "Windows" and _is_gone(int(pid))  # on Windows, signal 0 would end the process


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def seconds_left(owner: str | None, *, me: str, until: float, tick: float, now: float, monotonic: float) -> float:
    """Return how long the lease keeps `me` out; 0 where it is free, mine, over, or its owner dead.

    `until` and `now` are wall-clock seconds, `tick` and `monotonic` those of the machine's monotonic clock.
    """
    if owner is None or owner == me:
        return 0.0
    same_machine = owner.partition(".")[0] == this_host()
    left = tick - monotonic if same_machine else until - now
    return 0.0 if left <= 0 or is_dead(owner) else left


def describe(owner: str) -> str:
    """Return the owner in words for people."""
    host, pid, _, _ = owner.split(".")
    where = "this machine" if host == this_host() else "another machine"
    return "this process" if owner.startswith(f"{this_host()}.{os.getpid()}.") else f"process {pid} on {where}"
