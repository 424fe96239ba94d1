"""Estimates, and the shares that add up."""

from __future__ import annotations

import json
import random
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.models.tokens import BLOCK_OVERHEAD, TokenCounter, cached_share, scale_to_total

COUNTS = st.lists(st.integers(min_value=0, max_value=100_000), min_size=1, max_size=40)


@given(COUNTS, st.integers(min_value=0, max_value=2_000_000))
def test_scaled_counts_add_up_exactly(estimates: list[int], total: int) -> None:
    scaled = scale_to_total(estimates, total)
    assert sum(scaled) == total
    assert all(value >= 0 for value in scaled)
    if sum(estimates):
        assert all(abs(s - e * total / sum(estimates)) < 1 for s, e in zip(scaled, estimates, strict=True))


@given(COUNTS, st.integers(min_value=0, max_value=5_000_000))
def test_the_cached_share_is_a_prefix(tokens: list[int], read: int) -> None:
    cached = cached_share(tokens, read)
    assert sum(cached) == min(read, sum(tokens))
    assert all(0 <= c <= t for c, t in zip(cached, tokens, strict=True))
    partly = [i for i, (c, t) in enumerate(zip(cached, tokens, strict=True)) if c < t]
    assert not partly or not any(cached[partly[0] + 1 :])


@given(st.text(max_size=500), st.text(max_size=500))
def test_more_text_is_never_fewer_tokens(text: str, more: str) -> None:
    counter = TokenCounter("claude-4")
    assert counter.count(text + "x" + more) >= counter.count(text) - 1
    assert counter.count("") == 0


KNOWN = json.loads((Path(__file__).with_name("data") / "token-counts.json").read_text())["texts"]


@pytest.mark.parametrize("family", ["claude-4", "claude-5", "o200k"])
def test_the_estimate_is_near_real_counts_before_any_reply(family: str) -> None:
    """On code, prose and tables of which the real count is known, and from which no weight was taken."""
    errors = sorted(abs(TokenCounter(family).count(text["text"]) / text["tokens"][family] - 1) for text in KNOWN)
    assert median(errors) <= 0.06
    assert errors[round(0.95 * len(errors)) - 1] <= 0.15


@pytest.mark.parametrize("family", ["claude-4", "claude-5", "o200k"])
def test_after_ten_replies_a_whole_prompt_is_estimated_within_5_percent(family: str) -> None:
    """Prompts of eight texts, about 2,000 tokens, each of other ones; the count of each corrects the next estimate."""
    counter, errors = TokenCounter(family), []
    rng = random.Random(family)
    for _ in range(60):
        texts = rng.sample(KNOWN, 8)
        real = sum(text["tokens"][family] for text in texts)
        guess = sum(counter.count(text["text"]) for text in texts)
        errors.append(abs(guess / real - 1))
        counter = counter.calibrated(estimated=guess, reported=real)
    later = sorted(errors[10:])
    assert later[round(0.95 * len(later)) - 1] <= 0.05, [round(error, 3) for error in errors]


def test_families_are_counted_apart_and_a_reply_corrects_the_next_estimate() -> None:
    text = "def area(width, height):\n    return width * height\n" * 30
    assert TokenCounter("claude-5").count(text) > TokenCounter("claude-4").count(text)
    counter = TokenCounter("claude-4")
    corrected = counter.calibrated(estimated=counter.count(text), reported=2 * counter.count(text))
    assert abs(corrected.count(text) - 2 * counter.count(text)) <= 2


def test_a_result_counts_as_its_wire_wraps_it() -> None:
    """Recorded (google/tools.json): the second request has 161 tokens, the first 29; the thought between them 102, the
    call 12. So a word under `return_value`, two tokens more than our `result`, is 18."""
    assert TokenCounter("gemini").result("get_user_country", "Mexico") + BLOCK_OVERHEAD == pytest.approx(16, abs=4)
    assert TokenCounter("o200k").result("get_user_country", "Mexico") == TokenCounter("o200k").count("Mexico")
