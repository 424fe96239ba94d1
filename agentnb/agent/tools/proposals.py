"""Hold proposals: cells that a model wrote for a person to take, one by one. Nothing proposed ever runs unasked.
Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Holds a cell that the model would put below the asking cell, or in the place of another.

    `replaces` is the number of the run of that cell, 0 for a new cell. `digest` is the SHA-256 of the text that it ran
    with. Where the cell has another text by now, the proposal does not fit any more.
    """

    source: str
    why: str
    replaces: int = 0
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Proposal:
        return cls(**{name: value[name] for name in ("source", "why", "replaces", "digest")})


def text_digest(text: str) -> str:
    """Return the digest by which a proposal names the text that it replaces."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
