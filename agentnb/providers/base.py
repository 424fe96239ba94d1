"""The seam between us and a provider: encode (pure) -> send (I/O) -> decode (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from agentnb.prompt.layers import Prompt
from agentnb.providers.catalog import Model
from agentnb.providers.messages import Reply
from agentnb.providers.transport import CallTrace


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A cache breakpoint: it stands on the block with this index in render order. `ttl` is "5m" or "1h"."""

    index: int
    ttl: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One request as its provider wants it. `body` is plain JSON; `marks` are the breakpoints inside it."""

    body: Mapping[str, Any]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A reply and the timeline of the call that brought it."""

    reply: Reply
    trace: CallTrace


OnText = Callable[[str, str], None]
"""Called with ("text" | "thinking" | "tool", delta) while a reply streams."""


class Decoder(Protocol):
    """Folds a provider's raw events into one Reply. Pure: it sees JSON only."""

    def feed(self, event: Mapping[str, Any]) -> tuple[str, str] | None: ...

    def reply(self) -> Reply: ...


class Provider(Protocol):
    """One model behind one connection.

    `scope` names whose prompt cache it is: the endpoint, or the simulator's instance.
    """

    model: Model
    scope: str

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire: ...

    def send(self, wire: Wire) -> Iterator[Mapping[str, Any]]: ...

    def decoder(self) -> Decoder: ...

    def ask(self, wire: Wire, on_text: OnText) -> Answer: ...

    def cancel(self) -> None: ...

    def close(self) -> None: ...
