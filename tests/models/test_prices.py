"""Dollars to the cent, worked by hand from the published price lists, for every row of the catalogue.

Lists: Anthropic's, Google's and OpenAI's pricing pages as read on 2026-11-22 and 2026-11-30. $ per million tokens stand
beside each model: input / 5m write / 1h write / read / output. The products are written out in the order of
the usage's parts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

import agentnb
from agentnb.models import catalog
from agentnb.models.messages import Usage
from agentnb.models.prices import cost_of, storage_cost, storage_price

CHECKED = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
WRITTEN = Usage(input=10_000, cache_write_5m=30_000, cache_write_1h=4_000, cache_read=20_000, output=5_000)
PLAIN = Usage(input=10_000, cache_read=20_000, output=5_000, reasoning=3_000)
MARKED = Usage(input=10_000, cache_write_5m=30_000, cache_read=20_000, output=5_000)
HALF_A_DAY = Usage(input=10_000, cache_write_5m=30_000, cache_write_12h=4_000, cache_read=20_000, output=5_000)

WORKED: dict[str, tuple[Usage, float]] = {
    # Anthropic: in + 5m + 1h + read + out
    "claude-sonnet-4-6": (WRITTEN, 0.0300 + 0.1125 + 0.0240 + 0.0060 + 0.0750),  # 3 / 3.75 / 6 / 0.30 / 15
    "claude-sonnet-4-5": (WRITTEN, 0.0300 + 0.1125 + 0.0240 + 0.0060 + 0.0750),
    "claude-sonnet-5-5": (WRITTEN, 0.0200 + 0.0750 + 0.0160 + 0.0020 + 0.0500),  # 2 / 2.5 / 4 / 0.10 / 10
    "claude-sonnet-5": (WRITTEN, 0.0200 + 0.0750 + 0.0160 + 0.0040 + 0.0500),  # 2 / 2.5 / 4 / 0.20 / 10
    "claude-fable-5-2": (WRITTEN, 0.0800 + 0.3000 + 0.0640 + 0.0040 + 0.2000),  # 8 / 10 / 16 / 0.20 / 40
    "claude-opus-5-5": (WRITTEN, 0.0400 + 0.1500 + 0.0320 + 0.0040 + 0.1000),  # 4 / 5 / 8 / 0.20 / 20
    "claude-opus-5": (WRITTEN, 0.0500 + 0.1875 + 0.0400 + 0.0100 + 0.1250),  # 5 / 6.25 / 10 / 0.50 / 25
    "claude-opus-4-8": (WRITTEN, 0.0500 + 0.1875 + 0.0400 + 0.0100 + 0.1250),
    "claude-opus-4-7": (WRITTEN, 0.0500 + 0.1875 + 0.0400 + 0.0100 + 0.1250),
    "claude-opus-4-6": (WRITTEN, 0.0500 + 0.1875 + 0.0400 + 0.0100 + 0.1250),
    "claude-opus-4-5": (WRITTEN, 0.0500 + 0.1875 + 0.0400 + 0.0100 + 0.1250),
    "claude-haiku-5-5": (WRITTEN, 0.0010 + 0.00375 + 0.0008 + 0.0002 + 0.0025),  # 0.10 / 0.125 / 0.20 / 0.01 / 0.50
    "claude-haiku-4-5": (WRITTEN, 0.0100 + 0.0375 + 0.0080 + 0.0020 + 0.0250),  # 1 / 1.25 / 2 / 0.10 / 5
    # Google: in + read + out, thoughts are output; storage is below
    "gemini-3.1-pro-preview": (PLAIN, 0.0200 + 0.0040 + 0.0600),  # 2 / 0.20 / 12
    "gemini-4-argon": (PLAIN, 0.0200 + 0.0020 + 0.0500),  # 2 / 0.10 / 10
    "gemini-3.8-flash": (PLAIN, 0.0075 + 0.0015 + 0.01875),  # 0.75 / 0.075 / 3.75
    "gemini-2.5-pro": (PLAIN, 0.0125 + 0.0025 + 0.0500),  # 1.25 / 0.125 / 10
    "gemini-2.5-flash": (PLAIN, 0.0030 + 0.0006 + 0.0125),  # 0.30 / 0.03 / 2.50
    # OpenAI: in + write + read + out
    "gpt-4.1": (PLAIN, 0.0200 + 0.0100 + 0.0400),  # 2 / - / 0.50 / 8
    "gpt-6.1-sol": (MARKED, 0.0200 + 0.0750 + 0.0020 + 0.0500),  # 2 / 2.5 / 0.10 / 10
    "gpt-6.2-sol": (HALF_A_DAY, 0.0200 + 0.0750 + 0.0200 + 0.0020 + 0.0500),  # 2 / 2.5, 12 h 5 / 0.10 / 10
    # on one's own machine
    "qwen2.5-coder-1.5b": (PLAIN, 0.0),
    "qwen2.5-coder-0.5b": (PLAIN, 0.0),
    "smollm2": (PLAIN, 0.0),
}

LONG: list[tuple[str, Usage, float]] = [
    # above 200,000 tokens of input, everything at the higher rate
    ("gemini-3.1-pro-preview", Usage(input=100_000, cache_read=150_000, output=5_000), 0.400 + 0.060 + 0.090),
    ("gemini-2.5-pro", Usage(input=100_000, cache_read=150_000, output=5_000), 0.250 + 0.0375 + 0.075),
    ("claude-sonnet-4-5", Usage(input=100_000, cache_write_1h=150_000, output=1_000), 0.600 + 1.800 + 0.0225),
    # Sonnet 4.6 has one rate for its whole window since 2026-03-13
    ("claude-sonnet-4-6", Usage(input=100_000, cache_read=150_000, output=1_000), 0.300 + 0.045 + 0.015),
    # above 272,000
    (
        "gpt-6.1-sol",
        Usage(input=100_000, cache_write_5m=20_000, cache_read=200_000, output=5_000),
        0.4 + 0.1 + 0.04 + 0.075,
    ),
    ("gpt-6.2-sol", Usage(cache_write_12h=100_000, cache_read=200_000, output=5_000), 1.0 + 0.04 + 0.075),
    ("gpt-6.2-sol", Usage(cache_write_12h=72_000, cache_read=200_000, output=5_000), 0.36 + 0.02 + 0.05),
    # above 100,000
    ("claude-haiku-5-5", Usage(input=150_000, output=1_000), 0.075 + 0.0025),
]


def dollars(name: str, usage: Usage, at: float = CHECKED) -> float:
    row = catalog.find(name)
    assert row is not None
    total = cost_of(row, usage, at=at).total
    assert total is not None
    return total


def test_every_row_has_a_worked_example() -> None:
    assert set(WORKED) == {row.name for row in catalog.rows()}


def test_every_row_says_from_where_and_when() -> None:
    for row in catalog.rows():
        said = [(row.cache.source, row.cache.checked), (row.latency.source, row.latency.checked)]
        said += [(row.images.source, row.images.checked)] if row.images else []
        said += [(row.price_source, row.price_checked)] if row.price or row.price_until else []
        said += [(row.limits_source, row.limits_checked)] if row.limits_source else []
        for source, checked in said:
            assert source
            assert datetime.fromisoformat(checked)


@pytest.mark.parametrize("name", list(WORKED))
def test_a_call_costs_what_the_list_says(name: str) -> None:
    usage, by_hand = WORKED[name]
    assert dollars(name, usage) == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize(("name", "usage", "by_hand"), LONG, ids=[name for name, _, _ in LONG])
def test_long_calls_cost_what_their_tier_says(name: str, usage: Usage, by_hand: float) -> None:
    assert dollars(name, usage) == pytest.approx(by_hand, abs=1e-9)


def test_the_tier_begins_above_its_bound() -> None:
    at, above = Usage(input=200_000), Usage(input=200_001)
    assert dollars("gemini-3.1-pro-preview", at) == pytest.approx(0.40)
    assert dollars("gemini-3.1-pro-preview", above) == pytest.approx(0.800004)
    read = Usage(input=1, cache_read=200_000)
    assert dollars("gemini-3.1-pro-preview", read) == pytest.approx(0.080004), "what was read counts for the tier too"


def test_storage_is_by_token_and_hour() -> None:
    """$4.50 (3.1 Pro, 2.5 Pro) and $1.00 (Flash) per million tokens and hour."""
    for name, by_hand in (
        ("gemini-3.1-pro-preview", 0.675),
        ("gemini-2.5-pro", 0.675),
        ("gemini-3.8-flash", 0.15),
        ("gemini-2.5-flash", 0.15),
        ("claude-sonnet-4-6", 0.0),
        ("gpt-6.1-sol", 0.0),
        ("gemini-4-argon", 0.0),
    ):
        row = catalog.find(name)
        assert row is not None
        assert storage_cost(row, tokens=100_000, seconds=90 * 60) == pytest.approx(by_hand)
        assert bool(storage_price(row)) == (row.cache.kind is catalog.CacheKind.EXPLICIT_OBJECT)


def test_a_price_is_that_of_its_day() -> None:
    """Gemini 3.8 Flash doubles on 2027-01-01, Gemini 4 Argon on 2026-12-01; a read on Sonnet 5.5 cost double before
    2026-10-07; Sonnet 4.6 had a long-context tier until 2026-03-13."""
    old, new = datetime(2026, 12, 31, tzinfo=UTC).timestamp(), datetime(2027, 1, 2, tzinfo=UTC).timestamp()
    assert dollars("gemini-3.8-flash", PLAIN, new) == pytest.approx(2 * dollars("gemini-3.8-flash", PLAIN, old))
    at_first, from_december = (datetime(2026, month, day, tzinfo=UTC).timestamp() for month, day in ((11, 30), (12, 1)))
    assert dollars("gemini-4-argon", PLAIN, from_december) == pytest.approx(
        2 * dollars("gemini-4-argon", PLAIN, at_first)
    )
    reads = Usage(cache_read=1_000_000)
    for month, day, read in ((10, 6, 0.20), (10, 7, 0.10)):
        assert dollars("claude-sonnet-5-5", reads, datetime(2026, month, day, tzinfo=UTC).timestamp()) == pytest.approx(
            read
        )
    long = Usage(input=300_000)
    assert dollars("claude-sonnet-4-6", long, datetime(2026, 3, 1, tzinfo=UTC).timestamp()) == pytest.approx(1.80)
    assert dollars("claude-sonnet-4-6", long) == pytest.approx(0.90)


@pytest.mark.parametrize("name", list(WORKED))
def test_what_the_prompt_cache_saved_is_the_rest_to_plain_input(name: str) -> None:
    usage, by_hand = WORKED[name]
    row = catalog.find(name)
    assert row is not None
    plain = dollars(name, replace(Usage(output=usage.output), input=usage.input_total))
    assert cost_of(row, usage, at=CHECKED).uncached == pytest.approx(plain)
    assert cost_of(row, usage, at=CHECKED).saved == pytest.approx(plain - by_hand)


def test_an_unknown_model_has_no_price() -> None:
    cost = cost_of(catalog.lookup("anthropic:smollm2"), WRITTEN)
    assert not cost.known
    assert cost.total is None
    assert cost.uncached is None


def test_an_unknown_model_counts_like_its_house_or_like_an_open_one() -> None:
    assert catalog.lookup("anthropic:claude-opus-9").tokenizer == "claude-5"
    assert catalog.lookup("anthropic:smollm2").tokenizer == "o200k"
    assert catalog.lookup("google:gemini-9-pro").tokenizer == "gemini"


def test_what_the_price_data_lacks_is_taken_from_the_row() -> None:
    row = replace(catalog.lookup("anthropic:house-model"), price={"input": 2.0, "cache_read": 0.5, "output": 8.0})
    usage = Usage(input=10_000, cache_read=20_000, cache_write_5m=5_000, output=5_000)
    assert cost_of(row, usage).total == pytest.approx(0.02 + 0.01 + 0.01 + 0.04), "a write without a price is input"


@pytest.mark.parametrize(
    ("address", "kind", "breakpoints"),
    [
        ("google:gemini-4-neon", catalog.CacheKind.IMPLICIT, 0),
        ("google:gemini-4-flash", catalog.CacheKind.IMPLICIT, 0),
        ("google:gemini-5-pro", catalog.CacheKind.IMPLICIT, 0),
        ("google:gemini-3.5-flash", catalog.CacheKind.EXPLICIT_OBJECT, 0),
        ("openai:gpt-6.3-terra", catalog.CacheKind.AUTOMATIC, 4),
        ("openai:gpt-4o", catalog.CacheKind.AUTOMATIC, 0),
        ("anthropic:claude-opus-6", catalog.CacheKind.BREAKPOINTS, 4),
    ],
)
def test_a_model_without_a_row_caches_like_the_newest_one_that_is_no_newer(
    address: str, kind: catalog.CacheKind, breakpoints: int
) -> None:
    stranger = catalog.lookup(address)
    assert not stranger.known
    assert (stranger.cache.kind, stranger.cache.breakpoints) == (kind, breakpoints)


def test_windows_and_replies_are_as_published() -> None:
    """Anthropic's models overview and OpenAI's model pages, 2026-11-30."""
    for name in ("claude-fable-5-2", "claude-opus-5-5", "claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5"):
        row = catalog.lookup(f"anthropic:{name}")
        assert (row.window, row.max_output) == (1_000_000, 128_000)
    sol = catalog.default_for("openai")
    assert (sol.name, sol.window - sol.max_output) == ("gpt-6.2-sol", 922_000)


def test_a_retirement_is_told_of_two_months_ahead_and_ever_after() -> None:
    row = catalog.lookup("openai:gpt-4.1")
    days = {"2026-11-01": False, "2026-11-30": True, "2027-01-14": True, "2027-06-01": True}
    for day, told in days.items():
        said = catalog.retirement(row, datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp())
        assert bool(said) is told
        assert not told or "-m openai:gpt-6.2-sol" in said
    assert "was retired" in said
    assert catalog.retirement(catalog.default_for("anthropic"), CHECKED) == ""


def test_anybody_can_ask_what_tokens_cost() -> None:
    paid = {kind: agentnb.price("sim:claude-sonnet-4-6", **{kind: 1_000_000}) for kind in ("input", "cache_read")}
    assert paid == {"input": 3.0, "cache_read": 0.3}
    assert agentnb.price("anthropic:some-model-of-tomorrow", input=1) is None
