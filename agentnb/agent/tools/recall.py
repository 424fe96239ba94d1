"""Read earlier steps whole: by their number, or by words that stand in them. A tool."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agentnb import canonical
from agentnb.agent.tools.tool import Outcome, shorten
from agentnb.models.framing import unframed
from agentnb.models.layers import Block
from agentnb.models.messages import Text, ToolCall, ToolResult

MOST = 24_000
"""Characters of one step: a result has at most a quarter."""
WHOLE, AROUND = 1_500, 300
"""Characters of a found step that is told whole, and of the text around a word in a longer one."""
BEST = 6
"""Steps that are told where words find more."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Holds the tool over the present conversation: `step` gives the blocks of one step, `steps` those of each."""

    step: Callable[[int], Sequence[Block]]
    steps: Callable[[], Mapping[int, Sequence[Block]]]

    def recall(self, step: int = 0, call: int = 0, words: str = "") -> Outcome:
        """Read an earlier step of this conversation whole, by its number, or find steps by words in them."""
        if words.strip() and not step:
            return Outcome(text=unframed(found(words, self.steps())))
        blocks = self.step(step)
        if not blocks:
            return Outcome(text=f"There is no step {step}; the last is {max(self.steps())}.", is_error=True)
        told = _told(blocks, call)
        if not told:
            return Outcome(text=f"Step {step} has no call {call}.", is_error=True)
        return Outcome(text=unframed(shorten(told, MOST)))


def _told(blocks: Sequence[Block], call: int = 0) -> str:
    """Return a step in words: what was said, what was called, and what that gave."""
    results = [block.content for block in blocks if isinstance(block.content, ToolResult)]
    if call:
        return results[call - 1].text if call <= len(results) else ""
    parts = []
    for block in blocks:
        match block.content:
            case Text(text):
                parts.append(text)
            case ToolCall(_, name, arguments):
                parts.append(f"called {name} {canonical.dump(dict(arguments)).decode()}")
            case ToolResult(_, name, text, is_error):
                parts.append(f"{name} {'failed' if is_error else 'gave'}:\n{text}")
    return "\n\n".join(parts)


def found(words: str, steps: Mapping[int, Sequence[Block]]) -> str:
    """Return the steps that the words point at best, each with the text around them; a rare word counts more."""
    wanted = {word.casefold() for word in _WORD.findall(words)}
    told = {step: _told([block for block in blocks if not _is_echo(block)]) for step, blocks in steps.items()}
    having = {step: _standing_in(text.casefold(), wanted) for step, text in told.items()}
    spread = Counter(word for each in having.values() for word in each)
    weight = {step: sum(math.log(1 + len(told) / spread[word]) for word in each) for step, each in having.items()}
    best = sorted((step for step in told if weight[step]), key=lambda step: (-weight[step], -step))
    if not best:
        return "No step holds any of these words."
    parts = [f"{f'Step {step}' if step else 'Asked'}:\n{_around(told[step], having[step])}" for step in best[:BEST]]
    more = [f"{len(best) - BEST} more steps hold some of these words."] if len(best) > BEST else []
    return shorten("\n\n".join([*parts, *more]), MOST)


def _standing_in(text: str, wanted: set[str]) -> set[str]:
    """Return the words that stand in the text as whole words. A pattern that begins with the word is searched fast."""
    return {word for word in wanted if re.search(rf"{word}(?<!\w{word})(?!\w)", text)}


def _is_echo(block: Block) -> bool:
    return isinstance(block.content, ToolCall | ToolResult) and block.content.name == Recall.recall.__name__


def _around(text: str, words: set[str]) -> str:
    """Return the text, or where it is long the places where the words stand."""
    if len(text) <= WHOLE:
        return text
    spans: list[list[int]] = []
    for match in _WORD.finditer(text):
        if match[0].casefold() in words:
            begin, end = max(0, match.start() - AROUND), min(len(text), match.end() + AROUND)
            if spans and begin <= spans[-1][1]:
                spans[-1][1] = end
            else:
                spans.append([begin, end])
    return shorten(" … ".join(text[begin:end] for begin, end in spans), 2 * WHOLE)
