"""Fuzzers: damaged streams, cassettes, lines, documents, addresses and journals end in a value or in an error of ours.

`python tests/soak/fuzz.py --seconds 60 [--seed N] [TARGET …]`. What ends in any other error is printed with its input.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import itertools
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentnb.durable.bus_redis import RedisBus
from agentnb.durable.journal.open import is_begun
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import AgentnbError
from agentnb.models.catalog import lookup
from agentnb.models.messages import Reply, StopReason, Text, ToolCall, Usage
from agentnb.notebook import flags
from agentnb.providers import anthropic, google, openai_chat, openai_responses
from agentnb.providers.cassettes import Cassette, reply_to_json
from agentnb.providers.reading import read
from agentnb.view.render import bundle, whole

TESTS = Path(__file__).resolve().parents[1]
ODD: list[Any] = [
    None,
    [],
    {},
    5,
    -1,
    1.5,
    10**400,
    float("nan"),
    True,
    "",
    "x",
    "\ud800",
    "\x1b[2J",
    [None],
    {"a": 1},
    "9" * 5000,
]
Target = Callable[[random.Random, Path], Iterator[tuple[object, Callable[[], object]]]]
"""Yields inputs, each with what is to be tried with it."""


def damaged(value: Any, dice: random.Random) -> Any:
    """JSON with one to three things in it gone, doubled or of another type."""
    value = copy.deepcopy(value)
    for _ in range(dice.randint(1, 3)):
        way = _way(value, dice)
        if way:
            inner, last = way
            fate = dice.random()
            if fate < 0.2:
                del inner[last]
            elif fate < 0.3 and isinstance(inner, list):
                inner.insert(last, inner[last])
            else:
                inner[last] = copy.deepcopy(dice.choice(ODD))
    return value


def _way(value: Any, dice: random.Random) -> tuple[Any, Any] | None:
    """A container inside the value, and a place in it."""
    way = None
    while isinstance(value, dict | list) and value and (way is None or dice.random() < 0.8):
        place = dice.choice(list(value)) if isinstance(value, dict) else dice.randrange(len(value))
        way, value = (value, place), value[place]
    return way


def flipped(data: bytes, dice: random.Random) -> bytes:
    """Bytes with some of them changed, cut off, or put in."""
    out = bytearray(data)
    for _ in range(dice.choice([1, 2, 8, 64])):
        at = dice.randrange(len(out))
        out[at] = dice.randrange(256)
    return bytes(out[: dice.randrange(len(out))] if dice.random() < 0.1 else out)


def streams(dice: random.Random, place: Path) -> Iterator[tuple[object, Callable[[], object]]]:
    replies = [*_recorded()]
    decoders = {
        "anthropic": anthropic.AnthropicDecoder,
        "google": google.GoogleDecoder,
        "responses": openai_responses.ResponsesDecoder,
        "chat": openai_chat.ChatDecoder,
    }
    while True:
        wire, events = dice.choice(replies)
        events = damaged(events, dice)
        yield (wire, events), lambda: _decode(decoders[wire](), events)  # noqa: B023 - tried at once


def _decode(decoder: Any, events: list[Any]) -> object:
    for event in events:
        read(decoder.feed, event)
    reply = read(decoder.reply)
    return reply_to_json(reply), decoder.spent()


def _recorded() -> Iterator[tuple[str, list[Any]]]:
    for file in sorted((TESTS / "providers" / "data").rglob("*.json")):
        exchange = json.loads(file.read_text())
        for request, response in zip(exchange["requests"], exchange["responses"], strict=True):
            if response["status"] == 200 and "sse" in response:
                wire = exchange["provider"]
                wire = wire if wire != "openai" else "chat" if "chat" in request["path"] else "responses"
                lines = response["sse"].replace("\r\n", "\n").split("\n")
                yield wire, [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def cassettes(dice: random.Random, place: Path) -> Iterator[tuple[object, Callable[[], object]]]:
    reply = Reply(
        content=(Text("High water."), ToolCall("a", "f", {"x": [1]})),
        stop=StopReason.TOOLS,
        usage=Usage(input=9),
        model="m",
    )
    entry = {"model": "m", "recorded": "2026-11-30", "task": "t", "layers": {"static": "0"}, "parts": {"static": "a 1"}}
    whole_file = {"format": 1, "entries": [entry | {"pace": "0.1 text 5", "reply": reply_to_json(reply)}]}
    file = place / "cassette.json"
    while True:
        text = json.dumps(damaged(whole_file, dice)).encode()
        file.write_bytes(flipped(text, dice) if dice.random() < 0.3 else text)
        yield file.read_bytes(), lambda: Cassette(file).find("m", {"static": "0"})


def lines(dice: random.Random, place: Path) -> Iterator[tuple[object, Callable[[], object]]]:
    pieces = [
        "--",
        "-",
        "-m",
        "--budget",
        "--max-steps=",
        "--allow",
        "=",
        "nan",
        "1e999",
        '"',
        "'",
        "\\",
        " ",
        "\t",
        "é",
        "\x00",
    ]
    while True:
        line = "".join(dice.choices([*pieces, *map(str, ODD)], k=dice.randint(0, 8)))
        yield line, lambda: flags.options_given(flags.split_line(line, flags.RESUME_FLAGS)[0])  # noqa: B023


def documents(dice: random.Random, place: Path) -> Iterator[tuple[object, Callable[[], object]]]:
    base = json.loads((TESTS / "soak" / "document.json").read_text())
    while True:
        document = damaged(base, dice)
        yield document, lambda: (bundle(document), whole(document))  # noqa: B023


def addresses(dice: random.Random, place: Path) -> Iterator[tuple[object, Callable[[], object]]]:
    pieces = [
        "postgresql",
        "redis",
        "sim",
        "anthropic",
        "google",
        "://",
        ":",
        "/",
        "@",
        "host",
        "[::1",
        "]",
        "?x=1",
        "#",
        "%zz",
    ]
    tries: list[Callable[[str], object]] = [is_begun, RedisBus, lookup]
    while True:
        text = "".join(
            dice.choices([*pieces, "\x00", "\ud800", " ", "é", "9" * 300, "claude-sonnet-4-6"], k=dice.randint(0, 7))
        )
        act = dice.choice(tries)
        yield (act, text), lambda: act(text)  # noqa: B023


def journals(dice: random.Random, place: Path) -> Iterator[tuple[object, Callable[[], object]]]:
    _drive(place / "good.db")
    good = (place / "good.db").read_bytes()
    for number in itertools.count():
        file = place / "bad.db"
        for old in place.glob("bad.db*"):
            old.unlink()
        file.write_bytes(flipped(good, dice) if number % 2 else good)
        if not number % 2:
            _write_odd(file, dice)
        yield number, lambda: _drive(file)  # noqa: B023


def _write_odd(file: Path, dice: random.Random) -> None:
    """Write a value of any type into a column of a row, or of all."""
    with contextlib.closing(sqlite3.connect(file)) as database, contextlib.suppress(sqlite3.Error):
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = dice.choice(tables)
        column = dice.choice([row[1] for row in database.execute(f"PRAGMA table_info({table})")])
        value = dice.choice([None, -1, 0, 2**62, 1.5, "x", "[]", "{", b"", b"\xff\x00", b"Z\0\0\0\x7f", "COMPLETED"])
        some = dice.choice(["", f" WHERE rowid = (SELECT max(rowid) FROM {table})"])
        database.execute(f"UPDATE {table} SET {column} = ?{some}", (value,))
        database.commit()


def _drive(file: Path) -> None:
    machine = AgentStateMachine(EmbeddedJournal(file, synchronous="OFF"))
    try:
        machine.register_state("GO", lambda context: ("GO", {"n": context["n"] + 1, "text": "x" * 300}))
        with contextlib.suppress(AgentnbError):
            machine.initialize_run("r", "GO", {"n": 0})
        acts: list[Callable[[str], object]] = [machine.get, machine.history, machine.timeline]
        acts += [lambda run: machine.replay(run, 1), lambda run: machine.fork(run, 1, "f")]
        for act in (*acts, lambda run: machine.run_to_end(run, max_steps=3)):
            with contextlib.suppress(AgentnbError):
                act("r")
    finally:
        machine.journal.close()


TARGETS: dict[str, Target] = {
    "streams": streams, "cassettes": cassettes, "lines": lines,
    "documents": documents, "addresses": addresses, "journals": journals,
}  # fmt: skip


def fuzz(target: str, *, seconds: float, seed: int, least: int = 0) -> tuple[int, list[str]]:
    """How many inputs were tried, `least` however slow, and each other error than ours with its input: a place once."""
    found: dict[str, str] = {}
    tried, until = 0, time.monotonic() + seconds
    place = Path(tempfile.mkdtemp(prefix="agentnb-fuzz-"))
    try:
        for given, act in TARGETS[target](random.Random(seed), place):
            tried += 1
            try:
                with contextlib.suppress(AgentnbError):
                    act()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                where = traceback.extract_tb(error.__traceback__)[-1]
                found.setdefault(f"{where.filename}:{where.lineno}", f"{error!r} of {ascii(given)[:2000]}")
            if tried >= least and time.monotonic() > until:
                break
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return tried, [f"{where}: {what}" for where, what in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    chosen = parser.parse_args()
    bad = False
    for target in chosen.targets or TARGETS:
        tried, found = fuzz(target, seconds=chosen.seconds, seed=chosen.seed)
        print(f"{target}: {tried:,} tried, {len(found)} other errors (seed {chosen.seed})", *found, sep="\n  ")
        bad |= bool(found)
    sys.exit(bad)


if __name__ == "__main__":
    main()
