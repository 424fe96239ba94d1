"""Whatever a conversation is like: condensed it is well formed, and the newest and the task stay as they are."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.conversation.memory import Leaving, Sized, TokenRates, due, opening_of, with_stubs
from agentnb.agent.conversation.summary import with_summary
from agentnb.agent.tools import recall
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Opaque, Role, Text, ToolCall, ToolResult

RATES = TokenRates(read=0.1, write=1.25, output=5.0)
SIZES = st.integers(1, 6_000)
STEPS = st.lists(st.tuples(st.integers(0, 3), SIZES, SIZES), max_size=40)
"""(calls, tokens of the words, tokens of each result) of each step; one without calls ends its turn."""


def conversation(steps: list[tuple[int, int, int]]) -> tuple[list[Block], list[int]]:
    """A thread whose turns end with a step without calls; the present turn is the last."""
    blocks, tokens = [task(0)], [40]
    for number, (calls, said, found) in enumerate(steps, 1):
        answered = [Text(f"words {number}"), *(ToolCall(f"{number}.{c}", "look", {}) for c in range(calls))]
        parts = [(Role.ASSISTANT, Opaque("anthropic", {"n": number}), 10)]
        parts += [(Role.ASSISTANT, part, said) for part in answered]
        parts += [(Role.USER, ToolResult(f"{number}.{c}", "look", f"found {number}.{c}"), found) for c in range(calls)]
        blocks += [Block(layer=Layer.DYNAMIC, role=role, content=part, step=number) for role, part, _ in parts]
        tokens += [count for _, _, count in parts]
        if not calls:
            blocks.append(task(number))
            tokens.append(40)
    return blocks, tokens


def task(number: int) -> Block:
    text = Text(f"<task>\nQuestion {number}\n</task>")
    return Block(layer=Layer.DYNAMIC, role=Role.USER, content=text, label="task")


def sized(steps: list[tuple[int, int, int]], ceiling: int) -> Sized:
    blocks, tokens = conversation(steps)
    return Sized(
        blocks=blocks,
        tokens=tokens,
        frame=2_500,
        opening=opening_of(blocks),
        replies=len(steps),
        ceiling=ceiling,
    )


@given(steps=STEPS, ceiling=st.integers(5_000, 80_000))
def test_what_is_sent_after_is_well_formed_and_keeps_the_newest(
    steps: list[tuple[int, int, int]], ceiling: int
) -> None:
    before = sized(steps, ceiling)
    leaving = due(before, RATES)
    if leaving is None:
        return
    after = applied(before, leaving)
    assert after[0].role is Role.USER
    assert paired(after)
    assert task_of(before) in after, "the task stays word for word"
    assert [b.step for b in after if b.step] == sorted(b.step for b in after if b.step), "in their order"
    newest = [block for block in before.blocks[before.newest :] if not isinstance(block.content, Opaque)]
    if max(leaving.gone) < before.newest:
        assert list(after[-len(newest) :]) == newest, "the newest steps stay word for word"


@given(steps=STEPS, ceiling=st.integers(5_000, 80_000))
def test_over_the_ceiling_something_goes_until_nothing_can(steps: list[tuple[int, int, int]], ceiling: int) -> None:
    now = sized(steps, ceiling)
    for _ in range(6):
        leaving = due(now, TokenRates(read=0.0, write=1.25, output=5.0))
        if leaving is None:
            break
        assert now.total > ceiling, "where reading costs nothing, only the ceiling asks for it"
        after = applied(now, leaving)
        sizes = {block.digest: count for block, count in zip(now.blocks, now.tokens, strict=True)}
        tokens = [sizes.get(block.digest, 1_000 if block.label == "summary" else 40) for block in after]
        now = Sized(
            blocks=after, tokens=tokens, frame=2_500, opening=opening_of(after), replies=len(steps), ceiling=ceiling
        )
    assert due(now, TokenRates(read=0.0, write=1.25, output=5.0)) is None, "it comes to an end"


@given(words=st.lists(st.text("aß_é1", min_size=1, max_size=3), min_size=1), text=st.text("aß_é1 .-", max_size=30))
def test_a_step_is_found_by_whole_words_alone(words: list[str], text: str) -> None:
    steps = {3: [Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(text), step=3)]}
    holds = {word.casefold() for word in words} & {word.casefold() for word in re.findall(r"\w+", text)}
    assert recall.found(" ".join(words), steps).startswith("Step 3") == bool(holds)


def applied(before: Sized, leaving: Leaving) -> tuple[Block, ...]:
    if leaving.summary:
        return with_summary(before, leaving, "What was found.")
    return with_stubs(before.blocks, leaving.gone)


def paired(blocks: tuple[Block, ...]) -> bool:
    """Whether each result's call stands before it, and each call but the last step's has its result."""
    calls = [block.content.call_id for block in blocks if isinstance(block.content, ToolCall)]
    results = [block.content.call_id for block in blocks if isinstance(block.content, ToolResult)]
    return sorted(calls) == sorted(results)


def task_of(before: Sized) -> Block:
    return next(block for block in reversed(before.blocks) if block.label == "task")
