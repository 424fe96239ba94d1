"""Record replies as readable JSON beside the notebook, and play them again without key, network or cost.

A reply is found by the digests of its request's four layers. Of the request only those, its parts' names and digests
and the task's beginning are recorded. Keys and headers never are.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentnb import canonical
from agentnb.canonical import Clock, JsonMapping, JsonObject
from agentnb.context.notebook.outputs import steady
from agentnb.errors import InputError, JournalError, KeyMissing, NotRecorded, RunInterrupted
from agentnb.models.layers import Block, Layer, Prompt, layer_word
from agentnb.models.messages import Reply, StopReason, Usage, content_from_json, content_to_json
from agentnb.providers.base import CallAnswer, Mark, OnText, Provider, Wire
from agentnb.providers.transport import CallTrace

FILE = "agentnb-cassette.json"
FORMAT = 1
EFFORT = "EFFORT"
"""Stands beside the layers where an effort was asked for: a reply of another one is another reply."""
PART_DIGEST = 8  # hex digits: enough to tell two versions of one definition apart
LONGEST_REPLY = 86_400  # seconds
PACE_STEP = 0.1  # seconds: what comes in shorter time is recorded as one piece


def layer_digests(prompt: Prompt) -> dict[str, str]:
    """Return the digest of each layer's blocks, in the order of the layers: what a recorded reply is found by.

    Timings and the like in what cells have shown do not count: they differ whenever the same notebook runs.
    """
    return {
        layer.value: canonical.digest(b"".join(_steady(block) for block in prompt.blocks if block.layer is layer))
        for layer in Layer
    }


def _steady(block: Block) -> bytes:
    text = block.canonical.decode().replace("\\n", "\n")  # lines again, as they stand in the text
    return block.canonical if (told := steady(text)) == text else told.encode()


def layer_parts(prompt: Prompt) -> dict[str, tuple[str, ...]]:
    """Return what stands in each layer, as "name digest": the definitions that its blocks hold, or the blocks
    themselves."""
    parts: dict[str, tuple[str, ...]] = {}
    for layer in Layer:
        names = (name for block in prompt.blocks if block.layer is layer for name in _named(block))
        parts[layer.value] = tuple(f"{name} {digest[:PART_DIGEST]}" for name, digest in names)
    return parts


def _named(block: Block) -> Iterator[tuple[str, str]]:
    if not block.holds:
        yield block.label or block.role.value, block.digest
    for item in block.holds:
        yield str(item.get("name")), str(item.get("digest"))


class Cassette:
    """Holds one file of recorded replies. It is read when it has changed, and written whole after each recording."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._entries: list[JsonObject] = []
        self._seen: tuple[int, int] | None = None

    @property
    def entries(self) -> list[JsonObject]:
        """Return what is recorded, oldest first, by whichever kernel. Raises InputError where the file is none of
        ours."""
        now = self._state()
        if now != self._seen:
            self._entries, self._seen = self._read(), now
        return self._entries

    def check_writable(self) -> None:
        """Check, before a reply is paid for, that it can be kept. Raises InputError."""
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".agentnb-")
            os.close(handle)
            Path(name).unlink()
        except OSError as error:
            raise InputError(
                "replies cannot be recorded here",
                about=f"{self.path}: {error.strerror}",
                todo="Ask with --replay live, or work in a directory that can be written.",
            ) from error

    def find(self, model: str, layers: Mapping[str, str]) -> JsonObject | None:
        """Return the newest recording of exactly this request."""
        found = (e for e in reversed(self.entries) if e["model"] == model and e["layers"] == dict(layers))
        return next(found, None)

    def put(self, entry: JsonObject) -> None:
        """Add a recording; an older one of the same request goes."""
        with self._lock:
            kept = [e for e in self.entries if (e["model"], e["layers"]) != (entry["model"], entry["layers"])]
            self._entries = [*kept, entry]
            self._write()
            self._seen = self._state()

    def missing(self, model: str, wire: Wire, *, task: str = "") -> NotRecorded:
        """Return the error for a request that is not recorded: which layers differ from the nearest recording, and in
        what."""
        layers = wire.layers
        same = [entry for entry in self.entries if entry["model"] == model]
        if not same:
            known = ", ".join(sorted({entry["model"] for entry in self.entries})) or "nothing"
            return NotRecorded(f"no reply of {model} is recorded", about=f"{self.path.name} holds {known}", todo=_TODO)
        nearest = max(same, key=lambda entry: sum(entry["layers"].get(name) == d for name, d in layers.items()))
        changed = [name for name, digest in layers.items() if nearest["layers"].get(name) != digest]
        which = " and ".join(map(layer_word, changed))
        what = [
            *(_difference(name, nearest.get("parts", {}).get(name, ""), wire.parts.get(name, ())) for name in changed),
            f"recorded for {nearest['task']!r}" + (f", asked {task!r}" if task != nearest["task"] else ""),
        ]
        return NotRecorded(
            f"this request is not recorded: {which} changed since {nearest['recorded']}",
            about="; ".join(part for part in what if part),
            todo=_TODO,
        )

    def _state(self) -> tuple[int, int] | None:
        """Return what tells one content of the file from another; None where there is no file."""
        try:
            state = self.path.stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size

    def _read(self) -> list[JsonObject]:
        if not self.path.exists():
            return []
        try:
            value = canonical.load(self.path.read_bytes())
            if value.get("format", FORMAT) > FORMAT:
                raise ValueError("it was written by a newer agentnb")
            return [_sound(entry) for entry in value["entries"]]
        except (ValueError, KeyError, TypeError, AttributeError, OSError, JournalError) as error:
            raise InputError(
                "the recorded replies cannot be read",
                about=f"{self.path}: {type(error).__name__}: {error}",
                todo="Move the file away.",
            ) from error

    def _write(self) -> None:
        data = json.dumps({"format": FORMAT, "entries": self._entries}, indent=1, ensure_ascii=False).encode()
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".agentnb-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data + b"\n")
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _sound(entry: JsonMapping) -> JsonObject:
    """Return the entry, if it has what a recording has. Raises what reading it ends with: a person may have edited
    it."""
    for text in (entry["model"], entry["recorded"], entry["task"], entry.get("pace", "")):
        str.strip(text)
    dict(entry["layers"])
    reply_from_json(entry["reply"])
    return dict(entry)


_TODO = "Record it with --replay record, or ask with --replay live."


def _difference(layer: str, recorded: str, now: Iterable[str]) -> str:
    """Return by name what of a layer is changed, new or gone. Nothing where the recording is too old to tell."""
    before, after = _by_name(recorded.split("; ")), _by_name(now)
    changed = [name for name in after if name in before and before[name] != after[name]]
    groups = (
        ("changed", changed),
        ("new", [name for name in after if name not in before]),
        ("gone", [name for name in before if name not in after]),
    )
    said = [f"{what} {', '.join(names[:4])}{' …' if names[4:] else ''}" for what, names in groups if names]
    return f"{layer_word(layer)}: {', '.join(said)}" if recorded and said else ""


def _by_name(parts: Iterable[str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for part in parts:
        name, _, digest = part.rpartition(" ")
        out.setdefault(name, []).append(digest)
    return out


class Pace:
    """Tells when the pieces of a reply came: seconds from the call's beginning, channel, characters of text."""

    def __init__(self, started: float) -> None:
        self._started = started
        self.pieces: list[tuple[float, str, int]] = []

    def note(self, now: float, channel: str, text: str) -> None:
        if channel == "restart":
            self.pieces.clear()
        elif channel != "wait":
            at = now - self._started
            length = len(text) if channel == "text" else 0
            last = self.pieces[-1] if self.pieces else None
            if last is not None and last[1] == channel and at - last[0] < PACE_STEP:
                self.pieces[-1] = (last[0], channel, last[2] + length)
            else:
                self.pieces.append((at, channel, length))

    def __str__(self) -> str:
        return "; ".join(f"{at:.2f} {channel} {length}" for at, channel, length in self.pieces)


def read_pace(text: str) -> list[tuple[float, str, int]]:
    """Return the pieces that `str(Pace)` wrote; none for what cannot be read."""
    out = []
    for piece in text.split("; ") if text else ():
        try:
            at, channel, length = piece.split(" ")
            out.append((float(at), channel, int(length)))
        except ValueError:
            return []
    return out if all(0 <= at <= LONGEST_REPLY and length >= 0 for at, _, length in out) else []


@dataclass(frozen=True, kw_only=True)
class Playing:
    """Says how recorded replies are played: `speed` 1 is as fast as they came, 2 twice that, 0 at once.

    `wait` takes seconds and says whether it was interrupted; `task` is what the run was asked.
    """

    speed: float = 0.0
    wait: Callable[[float], bool] = field(default_factory=lambda: threading.Event().wait)
    task: str = ""


class Replaying:
    """Holds a provider that takes replies from a cassette, or puts them into it; `mode` is auto, record or replay."""

    def __init__(
        self, inner: Provider, cassette: Cassette, *, mode: str, clock: Clock, playing: Playing | None = None
    ) -> None:
        self.model = inner.model
        self.scope = inner.scope
        self._inner = inner
        self._cassette = cassette
        self._mode = mode
        self._clock = clock
        self._playing = playing or Playing()
        self._task = " ".join(self._playing.task.split())[:80]

    @property
    def account(self) -> str:
        return self._inner.account

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire:
        wire = self._inner.encode(prompt, marks, previous_message=previous_message)
        layers = layer_digests(prompt) | ({EFFORT: prompt.effort} if prompt.effort else {})
        return replace(wire, layers=layers, parts=layer_parts(prompt))

    def ask(self, wire: Wire, on_text: OnText) -> CallAnswer:
        """Return the recorded answer, or a live one that is recorded. Raises NotRecorded where only recorded ones
        count."""
        entry = None if self._mode == "record" else self._cassette.find(self.model.name, wire.layers)
        if entry is not None:
            return self._play(entry, on_text)
        if self._mode == "replay":
            raise self._cassette.missing(self.model.name, wire, task=self._task)
        self._cassette.check_writable()
        pace = Pace(self._clock.monotonic())

        def hear(channel: str, text: str) -> None:
            pace.note(self._clock.monotonic(), channel, text)
            on_text(channel, text)

        try:
            answer = self._inner.ask(wire, hear)
        except KeyMissing as error:
            if self._mode != "auto":
                raise
            missing = self._cassette.missing(self.model.name, wire, task=self._task)
            missing.todo = f"To ask for it: {error.what}. {error.todo}"
            raise missing from error
        try:
            self._cassette.put(self._entry(wire, answer.reply, pace))
        except (OSError, InputError) as error:
            lost = InputError("the reply came, but could not be recorded", about=f"{self._cassette.path}: {error}")
            lost.spent = (answer.reply.usage + answer.wasted).to_json()
            raise lost from error
        return answer

    def _play(self, entry: JsonMapping, on_text: OnText) -> CallAnswer:
        trace = CallTrace(started=self._clock.monotonic())
        reply = reply_from_json(entry["reply"])
        pace = read_pace(entry.get("pace", "")) if self._playing.speed else []
        for at, channel, text in _paced(reply.text, pace):
            left = trace.started + at / (self._playing.speed or 1.0) - self._clock.monotonic()
            if left > 0 and self._playing.wait(left):
                raise RunInterrupted("the recorded reply was interrupted")
            trace.first_token = trace.first_token or self._clock.monotonic()
            trace.last_token = self._clock.monotonic()
            on_text(channel, text)
        trace.finished = self._clock.monotonic()
        return CallAnswer(reply=reply, trace=trace, recorded=f"{entry['recorded']}, {entry['model']}")

    def _entry(self, wire: Wire, reply: Reply, pace: Pace) -> JsonObject:
        return {
            "model": self.model.name,
            "recorded": time.strftime("%Y-%m-%d", time.gmtime(self._clock.now())),
            "simulated": self.scope.startswith("sim:"),
            "task": self._task,
            "layers": dict(wire.layers),
            "parts": {layer: "; ".join(parts) for layer, parts in wire.parts.items()},
            "pace": str(pace),
            "reply": reply_to_json(reply),
        }

    # --- the rest is the inner one's ------------------------------------------------------------------------------

    def send(self, wire: Wire) -> Iterator[JsonMapping]:
        return self._inner.send(wire)

    def decoder(self, wire: Wire | None = None) -> Any:
        return self._inner.decoder(wire)

    @property
    def can_prewarm(self) -> bool:
        return False

    def prewarm(self, wire: Wire) -> Usage:
        return self._inner.prewarm(wire)

    @property
    def connected(self) -> bool:
        """Recorded replies need no connection; one that is missing is connected when it is asked for."""
        return self._mode != "record" or self._inner.connected

    def connect(self) -> None:
        self._inner.connect()

    def cancel(self) -> None:
        self._inner.cancel()

    def close(self) -> None:
        self._inner.close()


def _paced(text: str, pace: list[tuple[float, str, int]]) -> Iterator[tuple[float, str, str]]:
    """Yield (seconds, channel, text) a piece; all at once without a pace, and the rest where it is too short."""
    given = 0
    for at, channel, length in pace:
        yield at, channel, text[given : given + length]
        given += length
    if text[given:]:
        yield (pace[-1][0] if pace else 0.0), "text", text[given:]


def reply_to_json(reply: Reply) -> JsonObject:
    """Return a reply as JSON, without anything of the connection that brought it."""
    return {
        "content": [content_to_json(part) for part in reply.content],
        "stop": reply.stop.value,
        "usage": reply.usage.to_json(),
        "model": reply.model,
        "message_id": reply.message_id,
        "stop_detail": reply.stop_detail,
    }


def reply_from_json(value: JsonMapping) -> Reply:
    """Return the reply that `reply_to_json` wrote."""
    return Reply(
        content=tuple(content_from_json(part) for part in value["content"]),
        stop=StopReason(value["stop"]),
        usage=Usage.from_json(value["usage"]),
        model=value["model"],
        message_id=value["message_id"],
        stop_detail=value.get("stop_detail", ""),
    )
