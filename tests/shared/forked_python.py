"""Kernels and other processes that begin with everything imported: importing costs each of them a second or two.

`forked_python.py serve SOCKET` imports what our processes import and forks for each that asks. `forked_python.py SOCKET
ARGUMENTS` takes the arguments of a Python: it asks for a process and stands for it, so that signals reach it and
neither outlives the other. Each process is one of its own that has run nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
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
    "mcp.server.mcpserver",
    "mcp.client.stdio",
    "opentelemetry.trace.propagation.tracecontext",
    "pygments.lexers.python",
    "truststore",
)


@contextlib.contextmanager
def serving(place: Path, environment: dict[str, str]) -> Iterator[list[str]]:
    """Yield what stands for a Python in commands, while the server of processes runs."""
    if not hasattr(os, "pidfd_open"):  # then nobody could wait for a process of another's
        yield [sys.executable]
        return
    with subprocess.Popen([sys.executable, __file__, "serve", place], env=environment, stdin=subprocess.PIPE) as server:
        while not place.exists():  # who asks before all is imported waits until it is
            assert server.poll() is None, "the server of processes ended"
            time.sleep(0.02)
        yield [sys.executable, "-ISE", __file__, str(place)]


def write_kernel_spec(jupyter_path: Path, python: list[str]) -> None:
    """Have whoever starts a kernel of Python start it by this command."""
    command = [*python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = jupyter_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": command, "display_name": "Python 3 (ipykernel)", "language": "python"}))


def ask(place: str, arguments: list[str]) -> int:
    """Have a process made, hand on signals, and end as it ends."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(place)
        words = json.dumps([arguments, dict(os.environ)]).encode()
        socket.send_fds(asked, [len(words).to_bytes(4, "big")], [0, 1, 2, os.open(".", os.O_RDONLY)])
        asked.sendall(words)
        process = int.from_bytes(asked.recv(4), "big")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.killpg(process, number))
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
    os._exit(0)  # to take each module apart takes a second


def watch(asked: socket.socket) -> None:
    """Make the process; once it or whoever asked for it has ended, the other ends too."""
    size, (*streams, directory), _, _ = socket.recv_fds(asked, 4, 4)
    words = b""
    while len(words) < int.from_bytes(size, "big"):
        words += asked.recv(1 << 16)
    process = os.fork()
    if not process:
        os.setsid()
        asked.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.fchdir(directory)
        run(*json.loads(words))
    with contextlib.suppress(OSError):  # nobody may be there any more
        asked.sendall(process.to_bytes(4, "big"))
        ended = os.pidfd_open(process)
        if ended not in select.select([ended, asked], [], [])[0]:
            os.killpg(process, signal.SIGKILL)
        asked.send(bytes([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) & 255]))
    os._exit(0)


def run(arguments: list[str], environment: dict[str, str]) -> None:
    """Do what a Python with these arguments does, to its end."""
    os.environ.clear()
    os.environ.update(environment)
    code = 0
    try:
        execute(*arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 (as an interpreter does with whatever comes)
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)  # all that an end does, but for taking each module apart


def execute(first: str, *others: str) -> None:
    if [first, *others[:1]] == ["-m", "ipykernel_launcher"]:
        from ipykernel.kernelapp import IPKernelApp

        sys.argv = [*others]
        IPKernelApp.launch_instance(parent_handle=1)  # as if its parent were the first process, which it does not watch
    elif first == "-m":
        sys.argv, sys.path[0] = [*others], ""
        sys.modules.pop(f"{others[0]}.__main__", None)
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv, sys.path[0] = ["-c", *others[1:]], ""
        exec(others[0], {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = [first, *others], str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


def import_all() -> None:
    """Import what a kernel has imported once it has asked, and what the others want.

    The collector passes over all of it from then on: else each process would copy the pages that it marks.
    """
    import importlib
    import pkgutil

    import agentnb

    gc.disable()
    ours = [module.name for module in pkgutil.walk_packages(agentnb.__path__, "agentnb.")]
    for name in (*THEIRS, *ours):
        with contextlib.suppress(ImportError):  # it may want what is not installed here
            importlib.import_module(name)
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
