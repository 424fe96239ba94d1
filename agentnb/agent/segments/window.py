"""Say how much of a model's window a request may fill, and how much of that a turn's context. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agentnb.agent.conversation.turn_blocks import prompt_tokens
from agentnb.models.catalog import Model
from agentnb.models.layers import Block
from agentnb.models.tokens import TokenCounter
from agentnb.settings import RunOptions

CERTAIN = 0.95
"""Part of the window that is used: tokens are estimates."""
REFUSED = 0.7
"""Part of a prompt refused as too long that the next one may have: its estimate was wrong."""
CONTEXT_PART = 5
"""A turn's context takes at most this part of a model's window, whatever the setting says."""


def ceiling(model: Model, options: RunOptions, *, refused: int = 0) -> int:
    """Return the tokens that a request may have: what is set, or what the window leaves beside the reply."""
    fits = int(model.window * CERTAIN) - min(options.max_tokens, model.max_output)
    return min(options.compact_at, fits, *([int(refused * REFUSED)] if refused else []))


def context_room(model: Model, options: RunOptions) -> int:
    """Return tokens that a turn may add of the notebook and of definitions."""
    return min(options.context_tokens, model.window // CONTEXT_PART)


def tokens_of(blocks: Sequence[Block], model: Model, counter: TokenCounter) -> int:
    """Return the estimated tokens of blocks with which a prompt begins."""
    return sum(prompt_tokens(blocks, counter, model.images))
