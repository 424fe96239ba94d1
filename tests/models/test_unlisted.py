"""A model without a row works by its family's; a reply that contradicts a row is told with what to report."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.models import prices
from agentnb.models.catalog import find, lookup, rows
from agentnb.models.contradictions import contradiction
from agentnb.models.messages import Usage

NEWEST = {
    "anthropic:claude-opus-9": "claude-opus-5-5",
    "anthropic:claude-sonnet-9-1": "claude-sonnet-5-5",
    "anthropic:claude-haiku-9": "claude-haiku-5-5",
    "google:gemini-9-pro": "gemini-3.1-pro-preview",
    "google:gemini-9-flash": "gemini-3.8-flash",
    "openai:gpt-9-sol": "gpt-6.2-sol",
}


@pytest.mark.parametrize("address", NEWEST)
def test_an_unlisted_model_has_the_limits_and_prices_of_its_familys_newest_row(address: str) -> None:
    model, kin = lookup(address), lookup(NEWEST[address])
    assert (model.known, model.like) == (False, kin.name)
    assert (model.window, model.max_output, model.effort) == (kin.window, kin.max_output, kin.effort)
    of_its_time = lookup("google:gemini-4-argon") if model.provider == "google" else kin  # no objects from there on
    assert model.cache == of_its_time.cache
    usage = Usage(input=1_000, cache_read=5_000, output=100)
    assert prices.cost_of(model, usage) == prices.cost_of(kin, usage)
    assert prices.unchecked(model) == (
        f"{model.name} is not in the catalogue: prices and limits as of {kin.label}, not checked."
    )


@pytest.mark.parametrize("address", ["openai:gpt-oss-20b", "openai:qwen3-coder", "openai:gpt-9"])
def test_a_model_of_no_known_family_has_no_price_of_another(address: str) -> None:
    model = lookup(address)
    assert model.like == ""
    assert prices.unchecked(model) == ""


def test_no_listed_model_is_called_unchecked() -> None:
    assert not any(prices.unchecked(row) for row in rows())


ROW = replace(lookup("claude-haiku-4-5"), limits_checked="2026-11-30")


def test_a_hit_below_the_minimum_is_told_with_the_figures() -> None:
    said = contradiction(ROW, Usage(input=40, cache_read=512, output=9))
    assert said == (
        "The reply contradicts the catalogue: 512 tokens were read from the prompt cache, below the minimum of 4,096 "
        f"(checked {ROW.cache.checked}). To report: anthropic:claude-haiku-4-5, input 40, cache_read 512, output 9."
    )


@pytest.mark.parametrize(
    ("usage", "what"),
    [(Usage(input=ROW.window + 1), "more than the window"), (Usage(input=1, output=ROW.max_output + 1), "came out")],
)
def test_what_goes_beyond_a_limit_is_told(usage: Usage, what: str) -> None:
    assert what in contradiction(ROW, usage)
    assert contradiction(replace(ROW, known=False), usage) == ""


@given(
    read=st.one_of(st.just(0), st.integers(ROW.cache.minimum, ROW.window // 2)),
    new=st.integers(0, ROW.window // 2),
    output=st.integers(0, ROW.max_output),
)
def test_usage_within_the_row_is_never_a_contradiction(read: int, new: int, output: int) -> None:
    assert contradiction(ROW, Usage(input=new, cache_read=read, output=output)) == ""


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("gpt-6.2-sol-2026-11-17", "gpt-6.2-sol"),
        ("gemini-2.5-flash-001", "gemini-2.5-flash"),
        ("claude-opus-5-7", None),
        ("claude-sonnet-5-9", None),
        ("claude-opus-4-8-fast", None),
    ],
)
def test_a_day_behind_a_name_is_the_same_model_and_a_number_is_another(name: str, row: str | None) -> None:
    found = find(name)
    assert (found.name if found else None) == row
