"""Find where a prompt begins to differ from the one before, and name the place for a person. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from agentnb import canonical
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Text, ToolResult, content_to_json
from agentnb.providers.promptcache.ledger import Sent

AROUND = 24  # letters that are shown before the first one that differs
SHOWN = 64  # letters that are shown of a line
NEAR = 100  # lines within which a line is looked for again
TOOL = "tool "  # how the labels of tools begin

Earlier = Callable[[], Sequence[Block]]
"""Gives the blocks that the earlier request sent; asked only where something differs."""


def shared(chain: Sequence[str], previous: Sent) -> int:
    """Return how many leading blocks both requests sent."""
    pairs = zip(previous.chain, chain, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def first_change(prompt: Prompt, previous: Sent | None, earlier: Earlier = tuple) -> str:
    """Return the first block in which this prompt differs from the previous request of its thread. It tells layer,
    number, what it is, old and new digest, and the changed place with some text. Empty where it only goes on."""
    if previous is None:
        return ""
    if previous.model != prompt.model:
        return f"the model changed from {previous.model}"
    i = shared(prompt.chain, previous)
    if i >= min(len(previous.chain), len(prompt.chain)):
        return ""
    block = prompt.blocks[i]
    if tools := _tools_changed(prompt, previous):
        return tools
    if previous.digests[i] == block.digest:
        return "the first picture came into the conversation: this provider then processes its messages anew"
    what = f"{_kind(block)} {i + 1} changed ({previous.labels[i] or 'block'}: {previous.digests[i]} to {block.digest})"
    sent = earlier()
    return what + (_difference(sent[i], block) if i < len(sent) else "")


def _tools_changed(prompt: Prompt, previous: Sent) -> str:
    """Tell which tools came and went; empty where they are the same by name."""
    then, now = _tools(previous.labels), _tools([block.label for block in prompt.blocks])
    came, went = [name for name in now if name not in then], [name for name in then if name not in now]
    parts = [f"{', '.join(went)} gone"] * bool(went) + [f"{', '.join(came)} new"] * bool(came)
    return f"the tools changed: {'; '.join(parts)}" if parts else ""


def _tools(labels: Sequence[str]) -> list[str]:
    return [label.removeprefix(TOOL) for label in labels if label.startswith(TOOL)]


def _kind(block: Block) -> str:
    return f"{block.layer.word} message" if block.layer is Layer.DYNAMIC else f"{block.layer.word} block"


def _difference(old: Block, new: Block) -> str:
    """Return the definitions that differ, by name, and the first line that does."""
    before = {str(item["name"]): item.get("digest") for item in old.holds}
    after = {str(item["name"]): item.get("digest") for item in new.holds}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    named = f", {_some(names)}" if names else ""
    return named + changed_line(text_of(old), text_of(new))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"definition{'s' if len(names) > 1 else ''} {', '.join(names[:3])}{more}"


def text_of(block: Block) -> str:
    """Return what a block says, as text: what stands in a message, else the content as JSON."""
    content = block.content
    if isinstance(content, Text | ToolResult):
        return content.text
    return canonical.dump(content_to_json(content)).decode()


def changed_line(old: str, new: str) -> str:
    """Return the first line that differs, blank ones aside: new, gone, or old and new, cut around the first letter."""
    if old == new:
        return ""
    before, after = _lines(old), _lines(new)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0][1] == pair[1][1], zip(before, after, strict=False)))
    left, right = _line_at(before, same), _line_at(after, same)
    if left is None and right is None:
        return "; only blank lines or line ends"
    behind = f" (after {_cut(before[same - 1][1], 0)})" if same else ""
    if left is None or (right is not None and _comes(left[1], after[same:])):
        number, text = right or (0, "")
        return f"; line {number} is new: {_cut(text, 0)}{behind}"
    if right is None or _comes(right[1], before[same:]):
        return f"; line {left[0]} is gone: {_cut(left[1], 0)}{behind}"
    at = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(left[1], right[1], strict=False)))
    return f"; line {right[0]}: {_cut(left[1], at)} became {_cut(right[1], at)}{behind}"


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _line_at(lines: Sequence[tuple[int, str]], i: int) -> tuple[int, str] | None:
    return lines[i] if i < len(lines) else None


def _comes(line: str, lines: Sequence[tuple[int, str]]) -> bool:
    """Tell whether a line comes a little later on the other side: then what stands before it there is new."""
    return any(line == other for _, other in lines[:NEAR])


def _cut(line: str, at: int) -> str:
    begin = max(0, min(at - AROUND, len(line) - SHOWN)) if len(line) > SHOWN else 0
    part = line[begin : begin + SHOWN]
    return repr(f"{'…' if begin else ''}{part.strip()}{'…' if begin + SHOWN < len(line) else ''}")
