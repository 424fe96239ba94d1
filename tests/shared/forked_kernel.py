"""Kernels that begin with everything imported: importing costs a kernel two seconds.

`forked_kernel.py serve SOCKET` imports what a kernel of ours imports and forks for each that asks. The command of the
kernelspec is `forked_kernel.py SOCKET CONNECTION_FILE`: it asks for a kernel and stands for it, so that the server's
signals reach it and neither outlives the other. Each kernel is a process of its own that has run nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

THEIRS = (
    "ipykernel.kernelapp",
    "IPython.core.magics.extension",
    "ipywidgets",
    "anthropic",
    "diskcache",
    "genai_prices.data",
    "genai_prices.data_snapshot",
    "genai_prices.update_prices",
    "h11",
    "httpcore2",
    "markdown_it",
    "opentelemetry.trace.propagation.tracecontext",
    "pygments.lexers.python",
    "truststore",
)


def is_possible() -> bool:
    """Tell whether the system can tell that a kernel has ended."""
    return hasattr(os, "pidfd_open")


@contextlib.contextmanager
def serving(place: Path, environment: dict[str, str]) -> Iterator[list[str]]:
    """Yield the command for a kernelspec, while the server of kernels runs."""
    with subprocess.Popen([sys.executable, __file__, "serve", place], env=environment, stdin=subprocess.PIPE) as server:
        while not place.exists():  # who asks before all is imported waits until it is
            assert server.poll() is None, "the server of kernels ended"
            time.sleep(0.02)
        yield [sys.executable, "-ISE", __file__, str(place), "{connection_file}"]


def ask(place: str, connection_file: str) -> int:
    """Have a kernel made, hand on signals, and end as it ends."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(place)
        words = json.dumps([connection_file, dict(os.environ)]).encode()
        socket.send_fds(asked, [len(words).to_bytes(4, "big")], [1, 2, os.open(".", os.O_RDONLY)])
        asked.sendall(words)
        kernel = int.from_bytes(asked.recv(4), "big")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.killpg(kernel, number))
        return int.from_bytes(asked.recv(1), "big")


def serve(place: str) -> None:
    """Answer whoever asks, until the tests close our input."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}.new")
        listening.listen()
        Path(f"{place}.new").rename(place)
        import_all()
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            asked, _ = listening.accept()
            with asked:
                if not os.fork():
                    listening.close()
                    watch(asked)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def watch(asked: socket.socket) -> None:
    """Make the kernel; once it or whoever asked for it has ended, the other ends too."""
    size, (*streams, directory), _, _ = socket.recv_fds(asked, 4, 3)
    words = b""
    while len(words) < int.from_bytes(size, "big"):
        words += asked.recv(1 << 16)
    kernel = os.fork()
    if not kernel:
        os.setsid()
        asked.close()
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream, number)
        os.fchdir(directory)
        run(*json.loads(words))
    with contextlib.suppress(OSError):  # nobody may be there any more
        asked.sendall(kernel.to_bytes(4, "big"))
        ended = os.pidfd_open(kernel)
        if ended not in select.select([ended, asked], [], [])[0]:
            os.killpg(kernel, signal.SIGKILL)
        asked.send(bytes([os.waitstatus_to_exitcode(os.waitpid(kernel, 0)[1]) & 255]))
    os._exit(0)


def run(connection_file: str, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    from ipykernel.kernelapp import IPKernelApp

    sys.argv = ["ipykernel_launcher", "-f", connection_file]
    IPKernelApp.launch_instance(parent_handle=1)  # as if its parent were the first process, which it does not watch
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)  # all that an end does, but for taking each module apart


def import_all() -> None:
    """What a kernel has imported once it has asked."""
    import importlib
    import pkgutil

    import agentnb

    ours = [module.name for module in pkgutil.walk_packages(agentnb.__path__, "agentnb.")]
    for name in (*THEIRS, *ours):
        with contextlib.suppress(ImportError):  # it may want what is not installed here
            importlib.import_module(name)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2]))
