"""Apply OpenAI's and Google's published rules of prompt caching, as pure functions. Anthropic's: promptcache_rules.

Automatic (OpenAI up to GPT-5.5): whole steps of 128 tokens from 1024 on, never the last token. Breakpoints (GPT-5.6 and
later): exact marked positions, and an implicit one at the end unless that is switched off. Implicit (Google): whole
parts that an earlier request began with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from agentnb.simulator.promptcache_rules import CachedPrefix, PromptPiece
from agentnb.simulator.tokenizer import pieces

STEP = 128
MATCHED = 80
"""Of the breakpoints in a conversation OpenAI considers the latest 80 when it looks for a match."""


@dataclass(frozen=True, kw_only=True)
class PrefixBlock:
    """Holds one part of a prompt: its frame (`head`, which costs `overhead` tokens) and its text.

    `ttl` is the mark's, where it has one; `ends_item` says that a message or tool list ends here.
    """

    section: str
    head: str
    text: str
    overhead: int
    tokens: int
    ttl: str | None = None
    ends_item: bool = True

    def piece(self) -> PromptPiece:
        data = f"{self.head}\0{self.text}".encode("utf-8", "surrogatepass")
        return PromptPiece(section=self.section, data=data, tokens=self.tokens, ttl=self.ttl)


@dataclass(frozen=True, kw_only=True)
class Use:
    """Hold what one request reads and writes; `written` by TTL, in tokens that are charged as writes."""

    read: int = 0
    written: Mapping[str, int] = field(default_factory=dict)
    hits: tuple[str, ...] = ()
    writes: tuple[tuple[str, int, str], ...] = ()


def step_digests(blocks: Iterable[PrefixBlock], family: str, salt: bytes = b"") -> list[str]:
    """Return the digest of the prompt's first 128, 256, … tokens; `salt` stands for settings that change all of it."""
    running = hashlib.sha256(salt)
    tokens: list[str] = []
    for block in blocks:
        tokens += [f"\0{block.head}"] * block.overhead
        tokens += pieces(block.text, family)
    out = []
    for end in range(STEP, len(tokens) + 1, STEP):
        running.update("\x1f".join(tokens[end - STEP : end]).encode("utf-8", "surrogatepass"))
        out.append(running.copy().hexdigest()[:24])
    return out


def automatic(total: int, digests: Sequence[str], live: Mapping[str, CachedPrefix], *, minimum: int, ttl: str) -> Use:
    """Automatic caching: the longest known run of whole steps. Nothing is charged for writing."""
    usable = [(digest, (i + 1) * STEP) for i, digest in enumerate(digests) if minimum <= (i + 1) * STEP < total]
    known = [(digest, end) for digest, end in usable if digest in live]
    return Use(
        read=max((end for _, end in known), default=0),
        hits=tuple(digest for digest, _ in known),
        writes=tuple((digest, end, ttl) for digest, end in usable if digest not in live),
    )


def implicit_parts(
    ends: Sequence[int], digests: Sequence[str], live: Mapping[str, CachedPrefix], *, minimum: int
) -> Use:
    """Plan Google's implicit caching: the longest run of whole parts that is known. The last part is always
    computed."""
    usable = [(digest, end) for digest, end in zip(digests, ends, strict=True) if end >= minimum]
    known = [(digest, end) for digest, end in usable if digest in live and end < ends[-1]]
    return Use(
        read=max((end for _, end in known), default=0),
        hits=tuple(digest for digest, _ in known),
        writes=tuple((digest, end, "5m") for digest, end in usable if digest not in live),
    )


def breakpoints(
    blocks: Sequence[PrefixBlock],
    digests: Sequence[str],
    live: Mapping[str, CachedPrefix],
    *,
    minimum: int,
    implicit: str | None,
) -> Use:
    """Explicit breakpoints, and with `implicit` (its TTL) one more at the end of the last item.

    The latest four are written, the implicit one among them. Matching considers the latest 80 marked positions. The
    implicit mode matches at the ends of items too: there stood the implicit breakpoints of earlier requests.
    """
    ends = list(_running(blocks))
    marked = {i: block.ttl for i, block in enumerate(blocks) if block.ttl}
    item_ends = [i for i, block in enumerate(blocks) if implicit and block.ends_item]
    candidates = sorted({*marked, *item_ends})[-MATCHED:]
    known = [i for i in candidates if ends[i] >= minimum and digests[i] in live]
    read = max((ends[i] for i in known), default=0)
    last = [(i, ttl) for i, ttl in sorted(marked.items()) if ttl][-(3 if implicit else 4) :]
    if implicit and blocks:
        last.append((len(blocks) - 1, implicit))
    to_write = [(i, ttl) for i, ttl in last if ends[i] >= minimum]
    return Use(
        read=read,
        written=_charged([(ends[i], ttl) for i, ttl in to_write], read),
        hits=tuple(digests[i] for i in known),
        writes=tuple((digests[i], ends[i], ttl) for i, ttl in to_write if digests[i] not in live),
    )


def _charged(positions: Sequence[tuple[int, str]], read: int) -> dict[str, int]:
    """Return the tokens written beyond `read`, each charged once, with the TTL of the next position after it."""
    charged: dict[str, int] = {}
    at = read
    for end, ttl in sorted(positions):
        charged[ttl] = charged.get(ttl, 0) + max(0, end - at)
        at = max(at, end)
    return charged


def _running(blocks: Iterable[PrefixBlock]) -> Iterator[int]:
    total = 0
    for block in blocks:
        total += block.tokens
        yield total
