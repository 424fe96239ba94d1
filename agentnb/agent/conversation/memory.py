"""Decide what of a conversation leaves the request, when that pays, and what stands for it. Pure.

What is old goes when reading it again has cost PATIENCE times what taking it out costs. It also goes when the prompt
would pass the ceiling. First the results of old steps become stubs, all at once. Then old steps become a summary. The
newest steps, the task, and what it touches stay word for word. The journal keeps the rest as it was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agentnb.agent.conversation.drift import REMINDER
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Opaque, Text, ToolResult

KEPT = 5
"""The newest steps, which stay word for word; fewer where they fill more than KEPT_SHARE of the ceiling."""
KEPT_SHARE = 0.25
ENOUGH = 0.6
"""Part of the ceiling below which stubs must bring the prompt, or else a summary comes at once."""
PATIENCE = 3.0
"""At this the cost is within a few percent of the least, with a third of the interruptions."""
STUB, SUMMARY = 40, 1_000
"""Tokens that stand for a result, and for a stretch of steps, as they are expected."""
OUTPUT = 5.0
"""Price of a token of output beside one of plain input, where the prices are unknown."""
LEAST = 2_000
"""Tokens that a summary must save: less is not worth the words that go."""


@dataclass(frozen=True, kw_only=True)
class TokenRates:
    """Holds what a token costs, in multiples of plain input: read from the prompt cache, written to it, as output."""

    read: float
    write: float
    output: float


@dataclass(frozen=True, kw_only=True)
class Sized:
    """Holds a conversation behind its frame, with each block's tokens; the frame's are `frame`.

    `opening` is where the present turn's own blocks begin that came before its first reply, and where they end.
    `replies` counts all replies so far. `ceiling` is the most that the whole prompt may have.
    """

    blocks: Sequence[Block]
    tokens: Sequence[int]
    frame: int
    opening: tuple[int, int]
    replies: int
    ceiling: int
    touched: frozenset[str] = frozenset()

    @property
    def total(self) -> int:
        return self.frame + sum(self.tokens)

    @property
    def newest(self) -> int:
        """Return where the newest steps begin, which stay word for word."""
        room, begin = self.ceiling * KEPT_SHARE, len(self.blocks)
        seen: set[int] = set()
        for index in range(len(self.blocks) - 1, -1, -1):
            step = self.blocks[index].step
            room -= self.tokens[index]
            if step and step not in seen:
                if len(seen) == KEPT or (seen and room < 0):
                    break
                seen.add(step)
            begin = index if step else begin
        return begin

    def rent(self, index: int) -> int:
        """Return tokens that this block has cost so far to read again, by the number of calls since it came."""
        step = self.blocks[index].step
        return self.tokens[index] * (self.replies - step) if step else 0


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """Names the blocks that go, by their index: results that become stubs, or what a summary takes the place of."""

    gone: tuple[int, ...]
    summary: bool


def due(sized: Sized, rates: TokenRates) -> Leaving | None:
    """Return which blocks are to go before the next call; None where everything may stay."""
    over = sized.total > sized.ceiling
    old, stretch = _results(sized, sized.newest), _stretch(sized)
    enough = sized.total - _saved(sized, old) <= ENOUGH * sized.ceiling
    if old and (_stubs_pay(sized, old, rates) or (over and enough)):
        return Leaving(gone=old, summary=False)
    if _saves(sized, stretch) and (over or _summary_pays(sized, stretch, rates)):
        return Leaving(gone=stretch, summary=True)
    return _newest_results(sized) if over else None


def _results(sized: Sized, end: int) -> tuple[int, ...]:
    """Return the results before `end` that are longer than what would stand for them."""
    return tuple(
        index
        for index in range(end)
        if isinstance(sized.blocks[index].content, ToolResult) and sized.tokens[index] > 2 * STUB
    )


def _saved(sized: Sized, old: Sequence[int]) -> int:
    return sum(sized.tokens[index] - STUB for index in old)


def _stubs_pay(sized: Sized, old: Sequence[int], rates: TokenRates) -> bool:
    rewritten = sum(sized.tokens[old[0] :]) - _saved(sized, old)
    cost = (rates.write - rates.read) * rewritten
    return rates.read * sum(map(sized.rent, old)) >= PATIENCE * cost


def _stretch(sized: Sized) -> tuple[int, ...]:
    """Return the blocks that a summary replaces: all before the newest steps, but for what stays word for word."""
    plans = [index for index, block in enumerate(sized.blocks) if block.label in STAYS]
    return tuple(
        index
        for index in range(sized.newest)
        if not sized.opening[0] <= index < sized.opening[1]
        and index not in plans[-1:]
        and not _touched(sized.blocks[index], sized.touched)
    )


STAYS = (REMINDER,)
"""Labels of blocks that tell the task and the plan again: the newest stays word for word."""


def _touched(block: Block, names: frozenset[str]) -> bool:
    """Tell whether it is the notebook's and holds something that the present task touches."""
    of_notebook = block.layer is Layer.HYDRATION and isinstance(block.content, Text)
    return of_notebook and any(str(item["name"]) in names for item in block.holds)


def _saves(sized: Sized, stretch: Sequence[int]) -> bool:
    return sum(sized.tokens[index] for index in stretch) >= SUMMARY + LEAST


def _summary_pays(sized: Sized, stretch: Sequence[int], rates: TokenRates) -> bool:
    stays = sum(sized.tokens) - sum(sized.tokens[index] for index in stretch)
    cost = rates.read * sized.total + rates.output * SUMMARY + (rates.write - rates.read) * (SUMMARY + stays)
    return rates.read * sum(map(sized.rent, stretch)) >= PATIENCE * cost


def _newest_results(sized: Sized) -> Leaving | None:
    """Return, as the last resort, the oldest of the newest steps' results: the model can recall them one by one."""
    left, gone = sized.total - sized.ceiling, []
    for index in _results(sized, len(sized.blocks)):
        if left <= 0:
            break
        gone.append(index)
        left -= sized.tokens[index] - STUB
    return Leaving(gone=tuple(gone), summary=False) if gone else None


def opening_of(blocks: Sequence[Block]) -> tuple[int, int]:
    """Return where the blocks stand that the present turn began with: its task, and what it brought of the notebook."""
    end = next((n for n in range(len(blocks), 0, -1) if blocks[n - 1].label == "task"), 0)
    before = range(end - 1, 0, -1)
    begin = next((n for n in before if blocks[n - 1].step or blocks[n - 1].label in (*MADE, "task")), 0)
    return min(begin, end), end


SUMMARY_LABEL, ASKED_LABEL = MADE = ("summary", "asked before")
"""Labels of the blocks that stand for others."""


# --- what stands for it ------------------------------------------------------------------------------------------


def with_stubs(blocks: Sequence[Block], gone: Sequence[int]) -> tuple[Block, ...]:
    """Return the blocks with these results as stubs that name their step."""
    out = list(blocks)
    for index in gone:
        block = blocks[index]
        part = block.content
        assert isinstance(part, ToolResult), "only results become stubs"
        out[index] = replace(
            block, layer=Layer.DYNAMIC, content=replace(part, text=_stub(blocks, index, len(part.text))), holds=()
        )
    first = min(gone)
    return (*out[:first], *unbound(out[first:]))


def _stub(blocks: Sequence[Block], index: int, length: int) -> str:
    step = blocks[index].step
    if not step:
        return f"({length:,} characters, left out by now. recall finds them by words that stand in them.)"
    same = [at for at, one in enumerate(blocks) if one.step == step and isinstance(one.content, ToolResult)]
    which = f", call={same.index(index) + 1}" if len(same) > 1 else ""
    return f"({length:,} characters, left out by now. recall(step={step}{which}) reads them.)"


def unbound(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Return the blocks without Anthropic's thoughts, which newer models take back behind the very same prefix only."""
    return tuple(
        block for block in blocks if not (isinstance(block.content, Opaque) and block.content.provider == "anthropic")
    )


def common(before: Sequence[Block], after: Sequence[Block]) -> int:
    """Return how many leading blocks are the same."""
    pairs = zip(before, after, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a.digest != b.digest), min(len(before), len(after)))


def steps_in(blocks: Iterable[Block]) -> list[int]:
    """Return the numbers of the steps that these blocks belong to, each once."""
    return sorted({block.step for block in blocks} - {0})


def whole_steps(blocks: Sequence[Block], some: Sequence[int], of: Sequence[int]) -> Sequence[int]:
    """Return the first `some` of these indices without a step cut in two. Where that is the only one, return all of
    it."""
    split = blocks[some[-1]].step if len(some) < len(of) and blocks[of[len(some)]].step == blocks[some[-1]].step else 0
    kept = [index for index in some if not split or blocks[index].step != split]
    return kept or [index for index in of if blocks[index].step == split]
