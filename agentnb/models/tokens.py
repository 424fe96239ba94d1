"""Estimate token counts without a network: estimates per tokenizer family, calibrated by the usage that replies report.

A count here is always an estimate (`≈`). Counts of one family say nothing of another. The same text is 1108 tokens to
one Claude family and 1507 to another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from operator import mul

from agentnb.models.catalog import ImageRule, ImageRules

# Each piece of text costs so many tokens, in the order of `_features`. First words: all, of 8 letters or more, of 11 or
# more, with a capital, not after a space. Then words in capitals and their letters; digits by threes; line breaks, runs
# of spaces, underscores. Last runs of signs, their signs, and characters of other scripts. They are fitted by least
# relative error on 575 texts (functions, docstrings, Markdown, JSON schemas, tables). Claude's are fitted against the
# package ctok 1.3, o200k's against bpe-openai 0.1.4. On texts held out the median error is 3 %, and 19 of 20 are within
# 12 %; the rest is calibration. Neither package is needed to run: ctok asks for Python 3.12, bpe-openai for 75 MB.
# Neither knows what a provider adds for tools. Gemini's are those of o200k.
_WEIGHTS: dict[str, tuple[float, ...]] = {
    "claude-4": (0.98, 0.38, 0.45, 0.23, 0.25, 1.45, 0.0, 1.22, 1.08, 0.90, 0.53, 0.98, 0.06, 0.87),
    "claude-5": (1.22, 1.47, 0.86, 0.84, 0.38, 1.24, 0.54, 1.19, 1.53, 0.76, 0.52, 0.89, 0.21, 0.85),
    "o200k": (0.99, 0.33, 0.48, 0.04, 0.0, 0.83, 0.03, 1.40, 0.49, 0.71, 0.21, 0.74, 0.10, 0.68),
}
_WEIGHTS["gemini"] = _WEIGHTS["o200k"]
# OpenAI and Google show a tool to the model in a form shorter than its JSON schema. It takes half to two thirds of the
# tokens. Anthropic shows the schema, and adds instructions of its own before the first tool. They take 346 tokens by
# its page on tools, 265 to 374 in recorded traffic.
_TOOL_SHARE = {"o200k": 0.65, "gemini": 0.65}
_TOOLS_PREAMBLE = {"claude-4": 330, "claude-5": 330}
BLOCK_OVERHEAD = 4
"""Tokens that frame a message, a call, a result, a tool or a picture."""
LEAST_STEP = 0.1
_WORD = re.compile(r"[A-Z]?[a-z]+")
_GLUED = re.compile(r"(?<=[^\sA-Za-z])[A-Z]?[a-z]+|(?<=[a-z])[A-Z][a-z]+")
_CAPITALS = re.compile(r"[A-Z]+(?![a-z])")
_DIGITS = re.compile(r"[0-9]{1,3}")
_LINE = re.compile(r"\n\s*")
_SPACES = re.compile(r"[ \t]{2,}")
_SIGNS = re.compile(r"[!-/:-@\[-^`{-~]+")
_OTHER = re.compile(r"[^\x00-\x7f]")
_PIECE = re.compile(r"[^\W\d_]{1,10}|\d{1,3}|[^\w\s]|_|\n\s*")


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Estimates for one tokenizer family; `factor` is the calibration from the usage that `replies` reported."""

    family: str
    factor: float = 1.0
    replies: int = 0

    def count(self, text: str) -> int:
        """Return the estimated tokens of `text`; 0 for the empty text."""
        if not text:
            return 0
        weights = _WEIGHTS.get(self.family, _WEIGHTS["claude-4"])
        tokens: float = sum(map(mul, weights, _features(text)))
        return max(1, round(tokens * self.factor))

    def tool(self, text: str) -> int:
        """Return the estimated tokens of a tool's description, given as its name, its text and its JSON schema."""
        return round(self.count(text) * _TOOL_SHARE.get(self.family, 1.0))

    def result(self, name: str, text: str) -> int:
        """Return the estimated tokens of a tool's result. Google's wire wraps it in JSON under the function's name
        (recorded: a result of one word is 18 tokens). On the others it is its text."""
        wrapped = self.count(f'{name} {{"result":""}}') if self.family == "gemini" else 0
        return wrapped + self.count(text)

    @property
    def tools_preamble(self) -> int:
        """Return the tokens that the provider adds before the first tool."""
        return _TOOLS_PREAMBLE.get(self.family, 0)

    def calibrated(self, *, estimated: int, reported: int) -> TokenCounter:
        """Return a counter corrected by one reply. The first counts in full, the n-th 1/n of the way, none below a
        tenth.

        So the factor is the mean of what was seen. One odd reply weighs little in it, and it still follows a change.
        """
        if estimated <= 0 or reported <= 0:
            return self
        step = (reported / estimated) ** max(1 / (self.replies + 1), LEAST_STEP)
        return TokenCounter(self.family, min(4.0, max(0.25, self.factor * step)), self.replies + 1)


def image_tokens(rules: ImageRules, width: int, height: int) -> int:
    """Return the estimated tokens of a picture of `width` x `height` pixels, by the rule that the catalogue's row
    names.

    Claude's vision page says width * height / 750, with a long edge of 1568 px at most. OpenAI's page on images says 85
    + 170 for each tile of 512 px after scaling, or patches of 32 px. Gemini's pages say 258 for each crop, and on
    Gemini 3 a fixed number by media resolution.
    """
    if rules.rule is ImageRule.AREA:
        scale = min(1.0, rules.edge / max(width, height))
        return max(1, ceil(width * scale * height * scale / rules.per))
    if rules.rule is ImageRule.TILES:
        return rules.base + rules.per * _tiles(width, height)
    if rules.rule is ImageRule.PATCHES:
        return rules.per * ceil(width / 32) * ceil(height / 32)
    if rules.rule is ImageRule.CROPS and max(width, height) > 384:
        unit = min(768, max(256, int(min(width, height) / 1.5)))
        return rules.per * ceil(width / unit) * ceil(height / unit)
    return rules.per


def _tiles(width: int, height: int) -> int:
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    return ceil(width * scale / 512) * ceil(height * scale / 512)


@lru_cache(maxsize=2048)
def _features(text: str) -> tuple[int, ...]:
    """Return how many there are of each piece that `_WEIGHTS` gives a cost to."""
    words = _WORD.findall(text)
    capitals, signs = _CAPITALS.findall(text), _SIGNS.findall(text)
    return (
        len(words),
        sum(len(word) >= 8 for word in words),
        sum(len(word) >= 11 for word in words),
        sum(word[0] < "a" for word in words),
        len(_GLUED.findall(text)),
        len(capitals),
        sum(map(len, capitals)),
        len(_DIGITS.findall(text)),
        len(_LINE.findall(text)),
        len(_SPACES.findall(text)),
        text.count("_"),
        len(signs),
        sum(map(len, signs)),
        0 if text.isascii() else len(_OTHER.findall(text)),
    )


@lru_cache(maxsize=8192)
def pieces(text: str) -> int:
    """Count words, numbers, signs and line breaks in `text`, which tokenizers cut at: for shares of a text.

    Not a count of tokens. But where prose and dense code stand side by side, shares of characters are off by up to a
    half. Shares of these pieces come closer to the shares of tokens.
    """
    return len(_PIECE.findall(text))


def scale_to_total(estimates: Sequence[int], total: int) -> list[int]:
    """Whole numbers in the estimates' proportions that add up to `total` exactly (largest remainders first)."""
    weight = sum(estimates)
    if weight <= 0 or total <= 0:
        return [0] * (len(estimates) - 1) + [max(total, 0)] if estimates else []
    exact = [estimate * total / weight for estimate in estimates]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: total - sum(whole)]:
        whole[i] += 1
    return whole


def cached_share(tokens: Sequence[int], read: int) -> list[int]:
    """Return how many tokens of each block were read: a prefix of `read` tokens, in render order."""
    out = []
    left = read
    for count in tokens:
        take = min(count, left)
        out.append(take)
        left -= take
    return out
