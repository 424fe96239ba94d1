"""Hold what the rules of prompt caching say of one request: its pieces, what they read, what they leave warm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentnb.models.catalog import Model
from agentnb.simulator.promptcache_rules import PromptPiece


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Holds one request as its wire's rules see it. `at` in seconds since the epoch.

    `settings` spoil a section and all after it without standing in it, by section and name. `scope` is whose prompt
    cache it is. `read` tokens hit; `writes` are (digest, tokens up to it, TTL) of what it leaves warm.
    """

    row: Model
    scope: tuple[str, str]
    pieces: tuple[PromptPiece, ...]
    read: int
    writes: tuple[tuple[str, int, str], ...]
    at: float
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(piece.tokens for piece in self.pieces)
