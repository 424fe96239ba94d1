"""Show a request as it is sent: the exact text, a fold for each layer, what was cached shaded. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from agentnb.canonical import JsonObject
from agentnb.errors import in_sight
from agentnb.view.number_format import share
from agentnb.view.style import FOLD, NO_MATH, PRE, SUMMARY, TEAL, esc, line_html, wrap


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPart:
    """Holds one block of a request. `cached` is the share of it that was read, or should be, from the prompt cache."""

    layer: str
    role: str
    label: str
    text: str
    tokens: int
    cached: float = 0.0


def cached_shares(tokens: Sequence[int], read: int) -> list[float]:
    """Return the share of each block that a read of so many tokens covers: a cache holds a prefix."""
    shares = []
    for size in tokens:
        taken = min(size, max(read, 0))
        shares.append(taken / size if size else 0.0)
        read -= taken
    return shares


def prompt_bundle(title: str, parts: Sequence[PromptPart], *, exact: bool) -> JsonObject:
    """Return html and text of a request. `exact` says that the cached part was reported, and is not only expected."""
    total = sum(part.tokens for part in parts)
    read = round(sum(part.tokens * part.cached for part in parts))
    word = "read from" if exact else "should hit"
    summary = f"{title}: ≈ {total:,} tokens in {len(parts)} blocks; ≈ {read:,} {word} the prompt cache (shaded)."
    groups = [list(group) for _, group in groupby(parts, key=lambda part: part.layer)]
    folds = "".join(_fold(group) for group in groups)
    text = "\n\n".join(f"===== {_head(group)} =====\n{_text(group)}" for group in groups)
    return {"text/html": wrap(line_html(summary) + folds), "text/plain": f"{summary}\n\n{text}"}


def _head(parts: Sequence[PromptPart]) -> str:
    tokens = sum(part.tokens for part in parts)
    cached = sum(part.tokens * part.cached for part in parts)
    state = "new" if not cached else "cached" if cached > tokens * 0.995 else f"{share(cached, tokens)} cached"
    return f"{parts[0].layer}, ≈ {tokens:,} tokens, {state}"


def _text(parts: Sequence[PromptPart]) -> str:
    return "\n\n".join(in_sight(f"--- {part.role}: {part.label} ---\n{part.text}") for part in parts)


def _fold(parts: Sequence[PromptPart]) -> str:
    inner = "".join(
        f'<div style="{FOLD}"><p style="{SUMMARY};margin:4px 0 0 0">{esc(part.role)}: {esc(part.label)}, '
        f'{_state(part)}</p><pre class="{NO_MATH}" style="{PRE}{_shade(part)}">{esc(part.text)}</pre></div>'
        for part in parts
    )
    return f'<details style="{FOLD}"><summary style="{SUMMARY}">{esc(_head(parts))}</summary>{inner}</details>'


def _state(part: PromptPart) -> str:
    return "cached" if part.cached > 0.995 else "new" if not part.cached else "cached in part"


def _shade(part: PromptPart) -> str:
    return f";border-left:4px solid {TEAL};background:{TEAL}22" if part.cached > 0 else ""
