"""Replies recorded as readable JSON beside the notebook, and played again without key, network or cost.

A reply is found by the digests of its request's four layers. Keys, headers and the request's text are never recorded.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentnb import canonical
from agentnb.canonical import Clock
from agentnb.errors import InputError, NotRecorded
from agentnb.prompt.layers import Layer, Prompt
from agentnb.providers.base import Answer, Mark, OnText, Provider, Wire
from agentnb.providers.messages import Reply, StopReason, Text, Usage, content_from_json, content_to_json
from agentnb.providers.transport import CallTrace

FILE = "agentnb-cassette.json"
FORMAT = 1


def layer_digests(prompt: Prompt) -> dict[str, str]:
    """The digest of each layer's blocks, in the order of the layers: what a recorded reply is found by."""
    return {
        layer.value: canonical.digest(b"".join(block.canonical for block in prompt.blocks if block.layer is layer))
        for layer in Layer
    }


class Cassette:
    """One file of recorded replies. It is read on first use and written whole after each recording."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._entries: list[dict[str, Any]] | None = None

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What is recorded, oldest first. Raises InputError where the file is none of ours."""
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def find(self, model: str, layers: Mapping[str, str]) -> dict[str, Any] | None:
        """The newest recording of exactly this request."""
        found = (e for e in reversed(self.entries) if e["model"] == model and e["layers"] == dict(layers))
        return next(found, None)

    def put(self, entry: dict[str, Any]) -> None:
        """Add a recording; an older one of the same request goes."""
        with self._lock:
            kept = [e for e in self.entries if (e["model"], e["layers"]) != (entry["model"], entry["layers"])]
            self._entries = [*kept, entry]
            self._write()

    def missing(self, model: str, layers: Mapping[str, str]) -> NotRecorded:
        """The error for a request that is not recorded: it names the layer that differs from the nearest recording."""
        same = [entry for entry in self.entries if entry["model"] == model]
        if not same:
            known = ", ".join(sorted({entry["model"] for entry in self.entries})) or "nothing"
            return NotRecorded(f"no reply of {model} is recorded", about=f"{self.path.name} holds {known}", todo=_TODO)
        nearest = max(same, key=lambda entry: sum(entry["layers"].get(name) == d for name, d in layers.items()))
        changed = [name for name, digest in layers.items() if nearest["layers"].get(name) != digest]
        first = changed[0]
        return NotRecorded(
            f"this request is not recorded: {' and '.join(changed)} changed since {nearest['recorded']}",
            about=f"{first}: {nearest['layers'].get(first)} became {layers[first]}; recorded for {nearest['task']!r}",
            todo=_TODO,
        )

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        try:
            value = canonical.load(self.path.read_bytes())
            return [dict(entry) for entry in value["entries"]]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise InputError(
                "the recorded replies cannot be read", about=f"{self.path}: {error}", todo="Move the file away."
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


_TODO = "Record it with --replay record, or ask with --replay live."


class Replaying:
    """A provider that takes replies from a cassette, or puts them into it; `mode` is auto, record or replay."""

    def __init__(self, inner: Provider, cassette: Cassette, *, mode: str, clock: Clock, task: str = "") -> None:
        self.model = inner.model
        self.scope = inner.scope
        self._inner = inner
        self._cassette = cassette
        self._mode = mode
        self._clock = clock
        self._task = task

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire:
        wire = self._inner.encode(prompt, marks, previous_message=previous_message)
        return replace(wire, layers=layer_digests(prompt))

    def ask(self, wire: Wire, on_text: OnText) -> Answer:
        """The recorded answer, or a live one that is recorded. Raises NotRecorded where only recorded ones count."""
        entry = None if self._mode == "record" else self._cassette.find(self.model.name, wire.layers)
        if entry is not None:
            return self._play(entry, on_text)
        if self._mode == "replay":
            raise self._cassette.missing(self.model.name, wire.layers)
        answer = self._inner.ask(wire, on_text)
        self._cassette.put(self._entry(wire, answer.reply))
        return answer

    def _play(self, entry: Mapping[str, Any], on_text: OnText) -> Answer:
        trace = CallTrace(started=self._clock.monotonic())
        reply = reply_from_json(entry["reply"])
        for piece in _pieces(reply):
            trace.first_token = trace.first_token or self._clock.monotonic()
            trace.last_token = self._clock.monotonic()
            on_text("text", piece)
        trace.finished = self._clock.monotonic()
        return Answer(reply=reply, trace=trace, recorded=f"{entry['recorded']}, {entry['model']}")

    def _entry(self, wire: Wire, reply: Reply) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "recorded": time.strftime("%Y-%m-%d", time.gmtime(self._clock.now())),
            "simulated": self.scope.startswith("sim:"),
            "task": " ".join(self._task.split())[:80],
            "layers": dict(wire.layers),
            "reply": reply_to_json(reply),
        }

    # --- the rest is the inner one's ------------------------------------------------------------------------------

    def send(self, wire: Wire) -> Iterator[Mapping[str, Any]]:
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


def _pieces(reply: Reply) -> Iterator[str]:
    for part in reply.content:
        if isinstance(part, Text):
            yield part.text


def reply_to_json(reply: Reply) -> dict[str, Any]:
    """A reply as JSON, without anything of the connection that brought it."""
    return {
        "content": [content_to_json(part) for part in reply.content],
        "stop": reply.stop.value,
        "usage": reply.usage.to_json(),
        "model": reply.model,
        "message_id": reply.message_id,
        "stop_detail": reply.stop_detail,
    }


def reply_from_json(value: Mapping[str, Any]) -> Reply:
    """The reply that `reply_to_json` wrote."""
    return Reply(
        content=tuple(content_from_json(part) for part in value["content"]),
        stop=StopReason(value["stop"]),
        usage=Usage.from_json(value["usage"]),
        model=value["model"],
        message_id=value["message_id"],
        stop_detail=value.get("stop_detail", ""),
    )
