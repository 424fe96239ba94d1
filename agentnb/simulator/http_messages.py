"""Hold what passes between the HTTP edge and the wires: one request as it came, one outcome to send."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agentnb.simulator.judging import Judged

WireObject: TypeAlias = dict[str, Any]
"""A JSON object on the wire. What its values are is not known before they are read."""
WireMapping: TypeAlias = Mapping[str, Any]
"""The same, only to be read."""


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """Holds one HTTP request. Header names are lower case; `body` is its JSON, or None where it has none or is broken.

    By a fault's word, `declined` makes the model decline it; `paused` makes it pause in mid-reply, where its wire can.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    body: Any
    request_id: str
    declined: bool = False
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Modelled seconds: waiting in the queue, from there to the first token, and per output token."""

    queue: float
    ttft: float
    tpot: float
    tokens: int

    @property
    def total(self) -> float:
        return self.queue + self.ttft + self.tokens * self.tpot

    def header(self) -> str:
        return f"queue={self.queue:.3f};ttft={self.ttft:.3f};tpot={self.tpot:.4f};total={self.total:.3f}"


@dataclass(frozen=True, kw_only=True)
class StreamEvent:
    """Holds one piece of a stream, and how many output tokens have to be made before it goes out."""

    data: bytes
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """Hold what to answer. With `events` it is a stream, else `body` is sent as JSON.

    `server_time` is the header (name, format with milliseconds) in which this provider reports its own time.
    `on_first_token` runs when the reply begins: then what was written to a prompt cache can be read.
    `error_event` is what an error in mid-stream looks like on this wire. `judged` is what decided on the prompt cache.
    """

    status: int = 200
    body: Any = None
    events: tuple[StreamEvent, ...] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timing: Timing | None = None
    usage: WireMapping | None = None
    error_event: bytes = b""
    server_time: tuple[str, str] = ("server-timing", "x-originResponse;dur={:.0f}")
    on_first_token: Callable[[], None] | None = None
    judged: Judged | None = None


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Holds one request as the simulator received it, and what it answered. `usage` is the reply's, None on an
    error."""

    method: str
    path: str
    body: Any
    raw: bytes
    status: int
    usage: WireMapping | None
    headers: Mapping[str, str]
    judged: Judged | None = None


def small_groups(tokens: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield one token, then two, three, one, two, … : pieces of uneven size, as a real stream has."""
    at, size = 0, 1
    while at < len(tokens):
        yield tokens[at : at + size]
        at, size = at + size, size % 3 + 1
