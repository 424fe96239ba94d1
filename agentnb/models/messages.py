"""Define our words for what passes between the kernel and a model. No vendor's shape stands here."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import assert_never

from agentnb import canonical
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.errors import JournalError


class Role(StrEnum):
    FORMAT = "format"
    TOOLS = "tools"
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class StopReason(StrEnum):
    END = "end"
    TOOLS = "tools"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    REFUSAL = "refusal"
    PAUSED = "paused"
    CONTEXT_FULL = "context_full"


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """Holds a tool as the model is told of it; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: JsonMapping


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Holds a call. `call_id` is the provider's own, or ours where that is blank or taken; `arguments` is the decoded
    JSON object."""

    call_id: str
    name: str
    arguments: JsonMapping


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    name: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Opaque:
    """Holds a block that only its provider understands (thinking, signatures): sent back exactly as it came."""

    provider: str
    wire: JsonMapping

    @property
    def is_for_people(self) -> bool:
        """Tell whether it is thinking in words without a signature, as Gemini's summaries are: it is not sent back."""
        return bool(self.wire.get("thought")) and not self.wire.get("thoughtSignature")


@dataclass(frozen=True, slots=True)
class Image:
    """Holds a picture: `data` is base64, `media_type` image/png or image/jpeg, `width` and `height` pixels.

    `text` describes it, for models that take no images and for people.
    """

    media_type: str
    data: str
    text: str
    width: int
    height: int


Content = Text | ToolSpec | ToolCall | ToolResult | Opaque | Image


def content_to_json(content: Content) -> JsonObject:
    """Return the content as a JSON object with a `type`; `content_from_json` reads it back."""
    match content:
        case Text(text):
            return {"type": "text", "text": text}
        case ToolSpec(name, description, parameters):
            return {"type": "tool", "name": name, "description": description, "parameters": dict(parameters)}
        case ToolCall(call_id, name, arguments):
            return {"type": "call", "id": call_id, "name": name, "arguments": dict(arguments)}
        case ToolResult(call_id, name, text, is_error):
            return {"type": "result", "id": call_id, "name": name, "text": text, "is_error": is_error}
        case Opaque(provider, wire):
            return {"type": "opaque", "provider": provider, "wire": dict(wire)}
        case Image(media_type, data, text, width, height):
            size = {"width": width, "height": height}
            return {"type": "image", "media_type": media_type, "data": data, "text": text, **size}
        case _:
            assert_never(content)


def content_from_json(value: JsonMapping) -> Content:
    """Return the content that `content_to_json` wrote. Raises JournalError on a type this version does not know."""
    kind = value.get("type")
    if kind == "text":
        return Text(value["text"])
    if kind == "tool":
        return ToolSpec(value["name"], value["description"], value["parameters"])
    if kind == "call":
        return ToolCall(value["id"], value["name"], value["arguments"])
    if kind == "result":
        return ToolResult(value["id"], value["name"], value["text"], value["is_error"])
    if kind == "opaque":
        return Opaque(value["provider"], value["wire"])
    if kind == "image":
        return Image(value["media_type"], value["data"], value["text"], value["width"], value["height"])
    raise JournalError(
        f"a stored block has the unknown type {kind!r}",
        todo="It was written by a newer agentnb; upgrade to read it.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Holds tokens of one call, or of several added up. The parts do not overlap: `input_total` is their sum.

    `input` is input that was neither read from nor written to a prompt cache. `reasoning` is the part of `output` spent
    on thinking. `cache_write_5m` are writes at the usual price, which OpenAI keeps for 30 minutes.
    """

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_write_12h: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def cache_write(self) -> int:
        return self.cache_write_5m + self.cache_write_1h + self.cache_write_12h

    @property
    def input_total(self) -> int:
        return self.input + self.cache_read + self.cache_write

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write_5m=self.cache_write_5m + other.cache_write_5m,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            cache_write_12h=self.cache_write_12h + other.cache_write_12h,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )

    def to_json(self) -> dict[str, int]:
        """Return the parts by name; 12-hour writes, which few models have, only where there are some."""
        longest = {"cache_write_12h": self.cache_write_12h} if self.cache_write_12h else {}
        return {
            "input": self.input,
            "cache_read": self.cache_read,
            "cache_write_5m": self.cache_write_5m,
            "cache_write_1h": self.cache_write_1h,
            **longest,
            "output": self.output,
            "reasoning": self.reasoning,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> Usage:
        return cls(**value)


def tokens_of(wire: JsonMapping, name: str) -> int:
    """Return a count of tokens as a provider's JSON has it; 0 where it is missing or no count. The reply is worth
    more."""
    value = wire.get(name)
    return int(value) if isinstance(value, int | float) and 0 <= value < MOST_TOKENS else 0


def inside(wire: JsonMapping, name: str) -> JsonMapping:
    """Return an object inside a provider's JSON; empty where it is missing or no object."""
    value = wire.get(name)
    return value if isinstance(value, Mapping) else {}


MOST_TOKENS = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Holds what a model answered to one request. `model` is the name that the provider gave back."""

    content: tuple[Content, ...]
    stop: StopReason
    usage: Usage
    model: str
    message_id: str = ""
    request_id: str | None = None
    diagnosis: str | None = None
    stop_detail: str = field(default="")

    def __post_init__(self) -> None:
        """Give each call an id of its own. Raises TypeError on a part of the wrong type, which would else be found out
        only when it is used."""
        for part in self.content:
            _check_types(part)
        object.__setattr__(self, "content", _told_apart(self.content, self.message_id))

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.content if isinstance(part, ToolCall))


def _told_apart(content: Sequence[Content], message_id: str) -> tuple[Content, ...]:
    """Return the content with one id a call. A blank or repeated id gives way to ours, the same each time."""
    given = [part.call_id for part in content if isinstance(part, ToolCall)]
    if all(map(str.strip, given)) and len(set(given)) == len(given):
        return tuple(content)
    name = canonical.digest(repr((message_id, content)))
    ours = (made for n in itertools.count(1) if (made := f"call_{name}_{n}") not in given)
    parts: list[Content] = []
    taken: set[str] = set()
    for part in content:
        if isinstance(part, ToolCall):
            free = part.call_id.strip() and part.call_id not in taken
            part = part if free else replace(part, call_id=next(ours))  # noqa: PLW2901
            taken.add(part.call_id)
        parts.append(part)
    return tuple(parts)


def _check_types(part: Content) -> None:
    expected: tuple[tuple[object, type], ...] = ()
    if isinstance(part, Text):
        expected = ((part.text, str),)
    elif isinstance(part, ToolCall):
        expected = ((part.call_id, str), (part.name, str), (part.arguments, Mapping))
    if not all(isinstance(value, kind) for value, kind in expected):
        raise TypeError(f"a reply holds {part!r}"[:200])
