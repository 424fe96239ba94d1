"""Token counts without a network: estimates per tokenizer family, calibrated by the usage that replies report.

A count here is always an estimate (`≈`). Counts of one family say nothing of another: the same text is 1108 tokens
to one Claude family and 1507 to another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from agentnb.providers.catalog import ImageRule, ImageRules

# Characters per token of Python and English mixed. Starting values, corrected after the first reply.
_CHARACTERS_PER_TOKEN = {"claude-4": 3.9, "claude-5": 2.9, "gemini": 4.1, "o200k": 4.3}
_DEFAULT_CHARACTERS = 3.9
BLOCK_OVERHEAD = 4
_SPACES = re.compile(r"[ \t]{2,}|\n{2,}")
_PIECE = re.compile(r"[^\W\d_]{1,10}|\d{1,3}|[^\w\s]|_|\n\s*")


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Estimates for one tokenizer family; `factor` is the calibration from reported usage."""

    family: str
    factor: float = 1.0

    def count(self, text: str) -> int:
        """Estimated tokens of `text`; 0 for the empty text."""
        if not text:
            return 0
        # A run of spaces or blank lines is about one token, however long: indentation must not count in full.
        squeezed = len(text) - sum(len(run.group()) - 2 for run in _SPACES.finditer(text))
        per_token = _CHARACTERS_PER_TOKEN.get(self.family, _DEFAULT_CHARACTERS)
        return max(1, round(squeezed / per_token * self.factor))

    def block(self, text: str) -> int:
        """Estimated tokens of a block: its text and the few tokens that frame it."""
        return self.count(text) + BLOCK_OVERHEAD

    def calibrated(self, *, estimated: int, reported: int) -> TokenCounter:
        """A counter corrected by one reply, half of the way: one odd reply must not swing the next estimate."""
        if estimated <= 0 or reported <= 0:
            return self
        step = (reported / estimated) ** 0.5 if self.factor != 1.0 else reported / estimated
        return TokenCounter(self.family, min(4.0, max(0.25, self.factor * step)))


def image_tokens(rules: ImageRules, width: int, height: int) -> int:
    """Estimated tokens of a picture of `width` x `height` pixels, by the rule that the catalogue's row names.

    Sources: Claude's vision page (width * height / 750, long edge at most 1568); OpenAI's page on images and vision
    (85 + 170 for each tile of 512 px after scaling, or patches of 32 px); Gemini's pages on tokens (258 for each crop)
    and media resolution (a fixed number on Gemini 3).
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


@lru_cache(maxsize=8192)
def pieces(text: str) -> int:
    """Words, numbers, signs and line breaks in `text`: what tokenizers cut at, for the share of one text in another.

    Not a count of tokens. But where prose and dense code stand side by side, their shares of these come closer to
    their shares of the tokens than shares of characters do, which are off by up to a half.
    """
    return len(_PIECE.findall(text))


def scale_to_total(estimates: Sequence[int], total: int) -> list[int]:
    """Whole numbers in the estimates' proportions that add up to `total` exactly (largest remainders first)."""
    weight = sum(estimates)
    if weight <= 0 or total <= 0:
        return _all_to_last(len(estimates), max(total, 0))
    exact = [estimate * total / weight for estimate in estimates]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: total - sum(whole)]:
        whole[i] += 1
    return whole


def _all_to_last(length: int, total: int) -> list[int]:
    out = [0] * length
    if length:
        out[-1] = total
    return out


def cached_share(tokens: Sequence[int], read: int) -> list[int]:
    """How many of each block's tokens were read from the prompt cache: a prefix of `read` tokens, in render order."""
    out = []
    left = read
    for count in tokens:
        take = min(count, left)
        out.append(take)
        left -= take
    return out
