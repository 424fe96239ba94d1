"""Shut a forked process in: no network, no file that it could change, no other process, and so much memory.

Linux sees to it where it lets us (a network namespace, Landlock). Python's audit hook says what was tried, and stops
that too. Open stays what C code does: on Linux over a Unix socket alone, elsewhere all of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import stat
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES, _DIE_WITH_PARENT = 38, 1
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_READING = (1 << 2) | (1 << 3)  # LANDLOCK_ACCESS_FS_READ_FILE and READ_DIR
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""Rights on files that Landlock knows from a version on. Source: linux/landlock.h."""
_MAY_WRITE_NULL = (1 << 1) | (1 << 14)
_NULL = "/dev/null"
_CPU_SECONDS = 60
"""Seconds of computing after which the system ends a copy that nobody has ended."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REACHES_OUT = frozenset((
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"),
    *("socket.getaddrinfo", "socket.gethostbyname", "sqlite3.connect"),
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"),
    *("os.kill", "os.killpg", "signal.pthread_kill"),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr", "os.mkfifo", "os.mknod"),
    *("shutil.rmtree", "shutil.move"),
))  # fmt: skip
_MOST = 5
"""Attempts that are told."""


class ReachesOut(PermissionError):
    """Code that is only tried would have done something outside of its process."""


@dataclass(slots=True)
class Enclosure:
    """Holds what was tried, and which of the three the system itself keeps: `memory`, `network`, `files`."""

    system: tuple[str, ...] = ()
    attempts: list[str] = field(default_factory=list)

    def refuse(self, event: str, arguments: tuple[object, ...]) -> None:
        """Stop, as Python's audit hook, what reaches out, and remember it."""
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES and arguments[0] != _NULL:
            self._stop(f"write {arguments[0]!r}")
        if event in _REACHES_OUT and not (event == "sqlite3.connect" and arguments[0] == ":memory:"):
            told = ", ".join(repr(each) for each in arguments if isinstance(each, str | bytes | tuple | list))
            self._stop(f"call {event}({told[:100]})")

    def _stop(self, what: str) -> None:
        if what not in self.attempts and len(self.attempts) < _MOST:
            self.attempts.append(what[:200])
        raise ReachesOut(f"it would {what}")


def shut_in(keep: int, memory: int) -> Enclosure:
    """Shut this process in for good; `keep` is the one descriptor that stays. It must have a single thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    guarded = _has_guards(libc)
    if guarded:
        libc.prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
        _seal_shared_memory(libc)
    _detach_all(keep, anew=guarded)
    limits = {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0, resource.RLIMIT_CPU: _CPU_SECONDS}
    if guarded:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * os.sysconf("SC_PAGE_SIZE") + memory
    for which, most in limits.items():
        with contextlib.suppress(OSError, ValueError):  # a lower limit was set already
            resource.setrlimit(which, (most, most))
    alone = guarded and (libc.unshare(_NEW_NET) == 0 or libc.unshare(_NEW_USER | _NEW_NET) == 0)
    read_only = guarded and _landlock(libc)
    kept = {"memory": guarded, "network": alone, "files": read_only}
    made = Enclosure(system=tuple(name for name, is_kept in kept.items() if is_kept))
    sys.dont_write_bytecode = True
    sys.addaudithook(made.refuse)
    return made


def _has_guards(libc: ctypes.CDLL) -> bool:
    """Tell whether the system is one whose guards we know: their numbers, and what it tells of a process."""
    return hasattr(libc, "prctl") and Path("/proc/self/maps").exists()


def _seal_shared_memory(libc: ctypes.CDLL) -> None:
    """Make memory that is shared with files or other processes read-only: a write there ends this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, *_ = line.split()
        if rights[1] == "w" and rights[3] == "s":
            begin, end = (int(part, 16) for part in where.split("-"))
            libc.mprotect(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), 1)


def _detach_all(keep: int, *, anew: bool) -> None:
    """Put other things behind the descriptors that came along: connections lead nowhere, files are open to read."""
    nothing = os.open(_NULL, os.O_RDWR)
    listed = Path("/proc/self/fd" if anew else "/dev/fd")
    for number in [int(entry.name) for entry in listed.iterdir()]:
        if number not in (keep, nothing):
            with contextlib.suppress(OSError):
                _detach(number, nothing, anew=anew)


def _detach(number: int, nothing: int, *, anew: bool) -> None:
    """Open a file `anew`, for its position is shared with whoever else has it open. Else it leads nowhere."""
    kind = os.fstat(number).st_mode
    if stat.S_ISDIR(kind):
        return
    own = nothing
    if anew and number > 2 and stat.S_ISREG(kind) and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY:
        own = os.open(f"/proc/self/fd/{number}", os.O_RDONLY)
        os.lseek(own, os.lseek(number, 0, os.SEEK_CUR), os.SEEK_SET)
    os.dup2(own, number)


def _landlock(libc: ctypes.CDLL) -> bool:
    """Let the system refuse every change to a file, every program, every TCP connection; whether it does."""
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    known = max(count for since, count in _FILE_RIGHTS.items() if since <= version)
    handled = ((1 << known) - 1) & ~_READING
    network, signals = 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0
    attributes = struct.pack("QQQ", handled, network, signals)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    null = os.open(_NULL, os.O_PATH)
    libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", _MAY_WRITE_NULL & handled, null), 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
