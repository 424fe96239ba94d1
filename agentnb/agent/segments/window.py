"""Decide whether a conversation still fits its model's window, and which turns are left out where it does not. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agentnb.agent.conversation.turn_blocks import prompt_tokens
from agentnb.agent.request import Request
from agentnb.models.catalog import Model
from agentnb.models.layers import Block
from agentnb.models.tokens import TokenCounter

CERTAIN = 0.95
"""Part of the window that is used: tokens are estimates."""
KEPT = 0.5
"""Part of the room that the kept turns fill. A new segment is dear, and the next must be far off."""


def room_for(model: Model, request: Request, counter: TokenCounter) -> int:
    """Return the tokens that a conversation may have so that one more turn and its reply fit. Below zero not even those
    fit."""
    turn = counter.count(request.task) + context_room(model, request) + min(request.max_tokens, model.max_output)
    return int(model.window * CERTAIN) - turn


CONTEXT_PART = 5
"""A turn's context takes at most this part of a model's window, whatever the setting says."""


def context_room(model: Model, request: Request) -> int:
    """Return the tokens that a turn may add of the notebook and of definitions."""
    return min(request.context_tokens, model.window // CONTEXT_PART)


def tokens_of(blocks: Sequence[Block], model: Model, counter: TokenCounter) -> int:
    """Return the estimated tokens of blocks with which a prompt begins."""
    return sum(prompt_tokens(blocks, counter, model.images))


def turns_to_leave_out(turns: Sequence[int], room: int) -> int:
    """Return how many of the oldest turns go, so that the others fill about half of the room. The newest goes only
    where it does not fit alone. `turns` are in tokens, as `room` is."""
    left = sum(turns)
    for number, tokens in enumerate(turns):
        last = number == len(turns) - 1
        if left <= room * KEPT or (last and left <= room):
            return number
        left -= tokens
    return len(turns)
