"""Secrets out of text, before anything leaves the kernel: a stable mark stands for each.

A mark is made from the secret's digest: the same key gives the same mark, so prefixes hold. What was found to hold no
secret is remembered by its digest: what goes with every turn, a file or a definition, is looked through once.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass, field
from functools import partial

from agentnb.context.secret_shapes import SHAPES, Shape

MARK_HEX = 4
REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Redacted:
    """`found` lists (kind, mark) in order of appearance, each mark once."""

    text: str
    found: tuple[tuple[str, str], ...]


def redact(text: str, *, allow: frozenset[str] = frozenset()) -> Redacted:
    """`text` with secrets replaced by marks such as `[redacted:anthropic-key:3f2a]`.

    `allow` holds what must stay: a mark, a kind, or the secret's own text. Redacting twice changes nothing more.
    """
    key = _key(text)
    if key in _CLEAN:
        return Redacted(text, ())
    result = _redacted(text, allow)
    if result.text == text and not allow:
        _remember(key)
    return result


_CLEAN: dict[bytes, None] = {}
"""Digests of texts that hold no secret even where nothing is allowed. Oldest first."""


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _remember(key: bytes) -> None:
    _CLEAN[key] = None
    if len(_CLEAN) > REMEMBERED:
        with contextlib.suppress(StopIteration, KeyError, RuntimeError):  # another thread may drop the same one
            del _CLEAN[next(iter(_CLEAN))]


def _redacted(text: str, allow: frozenset[str]) -> Redacted:
    taken = _Taken(allow=allow)
    lowered = text.lower()
    for shape in SHAPES:
        if any(hint in lowered for hint in shape.hints):
            text = shape.pattern.sub(partial(_replaced, shape=shape, taken=taken), text)
    order = sorted(taken.found.items(), key=lambda item: text.find(item[0]))
    return Redacted(text, tuple((kind, mark) for mark, kind in order))


@dataclass(slots=True)
class _Taken:
    allow: frozenset[str]
    found: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # what one shape was told to leave, a later one leaves too


def _replaced(match: re.Match[str], *, shape: Shape, taken: _Taken) -> str:
    secret = match.group("secret")
    mark = mark_of(shape.kind, secret)
    if not taken.allow.isdisjoint({secret, mark, shape.kind}):
        taken.kept.add(secret)
    if "[redacted:" in secret or any(kept in secret for kept in taken.kept) or not shape.judge(secret):
        return match.group()
    taken.found[mark] = shape.kind
    start, end = match.span("secret")
    return match.group()[: start - match.start()] + mark + match.group()[end - match.start() :]


def mark_of(kind: str, secret: str) -> str:
    """The mark that stands for a secret."""
    return f"[redacted:{kind}:{hashlib.sha256(secret.encode('utf-8', 'replace')).hexdigest()[:MARK_HEX]}]"
