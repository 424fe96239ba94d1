"""Define the four layers and the blocks that live in them: frozen values.

A block keeps the layer it was born in for as long as its thread lives. Render order is tools, system, messages;
the layers stand in it from most static to most dynamic, turn by turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from agentnb.canonical import JsonMapping, JsonObject, digest, dump, dump_exact
from agentnb.models.messages import Content, Role, ToolSpec, content_from_json, content_to_json


class Layer(StrEnum):
    STATIC = "STATIC"
    SEMI_STATIC = "SEMI_STATIC"
    HYDRATION = "HYDRATION"
    DYNAMIC = "DYNAMIC"

    @property
    def word(self) -> str:
        """Return the layer's name as people read it."""
        return layer_word(self.value)


def layer_word(name: str) -> str:
    """Return the name that people read in views, tables and messages: `Project` for `SEMI_STATIC`."""
    return _WORDS.get(name, name)


_WORDS = {
    "STATIC": "Instructions",
    "SEMI_STATIC": "Project",
    "HYDRATION": "Your notebook",
    "DYNAMIC": "Conversation",
    "EFFORT": "Effort",  # by which recorded replies are told apart
    "THREAD": "Conversation",  # where the prompt cache's policy takes what grows as one
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """Holds one piece of the prompt. `label` names it for people; `holds` lists the definitions inside it.

    `step` is the number in its conversation of the reply that it belongs to or answers; 0: none.
    """

    layer: Layer
    role: Role
    content: Content
    label: str = ""
    holds: tuple[JsonMapping, ...] = field(default=())
    step: int = 0

    @cached_property
    def canonical(self) -> bytes:
        """Return the bytes that the prefix is made of: role and content, no label, no marks."""
        return dump([self.role.value, content_to_json(self.content)])

    @cached_property
    def digest(self) -> str:
        return digest(self.canonical)

    def to_json(self) -> JsonObject:
        """Return the block as the journal keeps it. Only to be read: it is made once, for all steps of its turn."""
        return self._json

    @cached_property
    def _json(self) -> JsonObject:
        return {
            "layer": self.layer.value,
            "role": self.role.value,
            "content": content_to_json(self.content),
            "label": self.label,
            "holds": [dict(item) for item in self.holds],
            **({"step": self.step} if self.step else {}),
        }

    @cached_property
    def dumped(self) -> bytes:
        """Return `to_json` as bytes, for a journal."""
        return dump_exact(self._json, self.label)

    @classmethod
    def from_json(cls, value: JsonMapping) -> Block:
        return cls(
            layer=Layer(value["layer"]),
            role=Role(value["role"]),
            content=content_from_json(value["content"]),
            label=value["label"],
            holds=tuple(value["holds"]),
            step=value.get("step", 0),
        )


class Salt(NamedTuple):
    """Holds what makes a provider process the same bytes anew: all of the prompt, or its messages."""

    frame: str = ""
    messages: str = ""


_PLAIN = Salt()


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Holds everything one request sends, in render order.

    `previous_end` is the number of leading blocks that the previous request on this path sent: the third breakpoint
    stands there. `max_tokens` bounds the output, thinking included. `effort` is a level that the model takes, or
    nothing. `show_thinking` asks for the thinking of a model that leaves it out.
    """

    model: str
    blocks: tuple[Block, ...]
    max_tokens: int
    previous_end: int = 0
    salt: Salt = _PLAIN
    effort: str = ""
    show_thinking: bool = False

    def of_role(self, *roles: Role) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.role in roles)

    @property
    def answer_format(self) -> ToolSpec | None:
        """Return the schema that the answer is to have, as its block holds it; None where it is text."""
        found = (block.content for block in self.of_role(Role.FORMAT))
        return next((content for content in found if isinstance(content, ToolSpec)), None)

    @cached_property
    def chain(self) -> tuple[str, ...]:
        """Return `chain[i]` is the digest of the prefix that ends with block i: equal digests mean equal bytes so
        far."""
        return chain_digests(self.blocks, self.salt)


def chain_digests(blocks: Iterable[Block], salt: Salt = _PLAIN) -> tuple[str, ...]:
    """Return the running digest after each block. One hash pass over the canonical bytes and the salt."""
    import hashlib

    running = hashlib.sha256(salt.frame.encode())
    before_messages = salt.messages
    out = []
    for block in blocks:
        if before_messages and block.role in (Role.USER, Role.ASSISTANT):
            running.update(before_messages.encode())
            before_messages = ""
        running.update(len(block.canonical).to_bytes(8, "big"))
        running.update(block.canonical)
        out.append(running.copy().hexdigest()[:16])
    return tuple(out)
