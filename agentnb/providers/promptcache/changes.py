"""Where a prompt begins to differ from the one before it, said so that a person finds the place. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from agentnb import canonical
from agentnb.prompt.layers import Block, Layer, Prompt
from agentnb.providers.messages import Text, ToolResult, content_to_json
from agentnb.providers.promptcache.ledger import Sent

AROUND = 24  # letters that are shown before the first one that differs
SHOWN = 64  # letters that are shown of a line

Earlier = Callable[[], Sequence[Block]]
"""Gives the blocks that the earlier request sent; asked only where something differs."""


def shared(chain: Sequence[str], previous: Sent) -> int:
    """How many leading blocks both requests sent."""
    pairs = zip(previous.chain, chain, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def first_change(prompt: Prompt, previous: Sent | None, earlier: Earlier = tuple) -> str:
    """The first block in which this prompt differs from the previous request of its thread: layer, number, what it is,
    old and new digest, and the place of the change with some of the text. Empty where it only goes on."""
    if previous is None:
        return ""
    if previous.model != prompt.model:
        return f"the model changed from {previous.model}"
    i = shared(prompt.chain, previous)
    if i >= min(len(previous.chain), len(prompt.chain)):
        return ""
    block = prompt.blocks[i]
    if previous.digests[i] == block.digest:
        return "the first picture came into the conversation: this provider then processes its messages anew"
    what = f"{_kind(block)} {i + 1} changed ({_label(previous, i)}: {previous.digests[i]} to {block.digest})"
    sent = earlier()
    return what + (_difference(sent[i], block) if i < len(sent) else "")


def _kind(block: Block) -> str:
    return f"{block.layer} message" if block.layer is Layer.DYNAMIC else f"{block.layer} block"


def _label(previous: Sent, i: int) -> str:
    return previous.labels[i] or "block"


def _difference(old: Block, new: Block) -> str:
    """The definitions that differ, by name, and the first line that does."""
    before = {str(item["name"]): item.get("digest") for item in old.holds}
    after = {str(item["name"]): item.get("digest") for item in new.holds}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    named = f", {_some(names)}" if names else ""
    return named + _changed_line(text_of(old), text_of(new))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"definition{'s' if len(names) > 1 else ''} {', '.join(names[:3])}{more}"


def text_of(block: Block) -> str:
    """What a block says, as text: what stands in a message, else the content as JSON."""
    content = block.content
    if isinstance(content, Text | ToolResult):
        return content.text
    return canonical.dump(content_to_json(content)).decode()


def _changed_line(old: str, new: str) -> str:
    """The first line that differs, old and new, each cut around the first letter that does."""
    if old == new:
        return ""
    before, after = old.splitlines() or [""], new.splitlines() or [""]
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    left = before[same] if same < len(before) else None
    right = after[same] if same < len(after) else None
    at = _first_letter(left or "", right or "")
    behind = f" (after {_cut(before[same - 1], 0)})" if same and before[same - 1].strip() else ""
    return f"; line {same + 1}: {_said(left, at)} became {_said(right, at)}{behind}"


def _first_letter(left: str, right: str) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _said(line: str | None, at: int) -> str:
    return "nothing" if line is None else _cut(line, at)


def _cut(line: str, at: int) -> str:
    begin = max(0, min(at - AROUND, len(line) - SHOWN)) if len(line) > SHOWN else 0
    part = line[begin : begin + SHOWN]
    return repr(f"{'…' if begin else ''}{part.strip()}{'…' if begin + SHOWN < len(line) else ''}")
