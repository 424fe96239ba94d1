"""Hold a conversation as the simulated model reads it, whichever wire it came by."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentnb.models.catalog import Model
from agentnb.simulator.http_messages import WireMapping


@dataclass(frozen=True, kw_only=True)
class Said:
    """Holds one thing in the conversation. `kind` is text, call, result or other; `role` is system, user or
    assistant."""

    kind: str
    role: str
    text: str = ""
    name: str = ""
    call_id: str = ""
    arguments: WireMapping = field(default_factory=dict)
    is_error: bool = False


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Holds a tool the model may call; `schema` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    schema: WireMapping = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Holds one request to the model. `choice` is auto, any, none, or the name of the tool that has to be called."""

    model: Model
    said: tuple[Said, ...]
    offers: tuple[Offer, ...] = ()
    choice: str = "auto"
    parallel: bool = True
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    thinks: bool = False
    schema: WireMapping | None = None
    """Of the answer, where the request asks for a structured one."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Holds a tool call that the model makes."""

    name: str
    arguments: WireMapping


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Hold what is said. `stop` is end, tools, max_tokens, refusal, pause, or stop_sequence (`sequence` is which).

    `thinking` and `pieces` are the thought and the text cut into tokens. `call_pieces[i]` are the arguments of call i
    as JSON, cut likewise. A call costs `CALL_OVERHEAD` tokens more, for its name and frame.
    """

    thinking: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    calls: tuple[Wanted, ...] = ()
    call_pieces: tuple[tuple[str, ...], ...] = ()
    stop: str = "end"
    sequence: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """Output tokens, thinking included."""
        return len(self.thinking) + len(self.pieces) + sum(len(part) + CALL_OVERHEAD for part in self.call_pieces)


CALL_OVERHEAD = 12
