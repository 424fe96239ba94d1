"""What pays: the formulas against calls that are paid one by one, over all gaps and rates."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.providers.catalog import lookup
from agentnb.providers.promptcache.policy import (
    SLACK,
    TTL_SECONDS,
    Option,
    Rates,
    break_even,
    cost,
    pings_needed,
    plan_for,
    rates_of,
)

RATES = st.builds(
    Rates,
    write=st.floats(min_value=1.0, max_value=3.0),
    read=st.floats(min_value=0.02, max_value=0.9),
    storage=st.floats(min_value=0.0, max_value=5.0),
)
GAPS = st.lists(st.floats(min_value=1.0, max_value=20_000.0), max_size=30)


def paid_call_by_call(option: Option, gaps: list[float]) -> float:
    """The same calls on a clock: each one finds the prefix warm or does not; pings go out when the TTL runs low."""
    if not option.ttl:
        return 1.0 + len(gaps)
    now, total = 0.0, option.rates.write
    until = now + option.seconds
    for gap in gaps:
        arrival = now + gap
        left = option.pings
        wanted = pings_needed(option.seconds, gap)
        if wanted > left and left:  # nobody knows beforehand that the pause is too long: all pings are spent
            total += left * option.rates.read
            until = now + left * (option.seconds - SLACK) + option.seconds
        else:
            while wanted and left:
                total += option.rates.read
                until = max(until, arrival)
                wanted, left = wanted - 1, left - 1
        total += option.rates.read if arrival <= until else option.rates.write
        now, until = arrival, arrival + option.seconds
    return total


@given(rates=RATES, gaps=GAPS, ttl=st.sampled_from(["", "5m", "30m", "1h"]))
def test_the_formula_is_what_the_calls_cost(rates: Rates, gaps: list[float], ttl: str) -> None:
    option = Option(ttl=ttl, rates=rates)
    assert cost(option, gaps) == pytest.approx(paid_call_by_call(option, gaps))


@given(rates=RATES, ttl=st.sampled_from(["5m", "1h"]), gap=st.floats(min_value=1.0, max_value=50_000.0))
def test_pings_are_worth_it_up_to_the_break_even(rates: Rates, ttl: str, gap: float) -> None:
    """The most pings that are worth it: brute force over every number of them."""
    seconds = TTL_SECONDS[ttl]
    worth = [k for k in range(300) if k * rates.read + rates.read <= rates.write + 1e-9]
    found = break_even(rates, ttl=seconds)
    assert found.pings == (max(worth) if worth else 0)
    assert found.idle == pytest.approx(found.pings * (seconds - SLACK) + seconds)
    kept = cost(Option(ttl=ttl, rates=rates, pings=found.pings), [gap])
    if pings_needed(seconds, gap) <= found.pings:
        assert kept <= cost(Option(ttl=ttl, rates=rates), [gap]) + 1e-9


@given(rates=RATES)
def test_a_write_pays_from_the_stated_number_of_reads(rates: Rates) -> None:
    found = break_even(rates, ttl=300.0)
    cheaper = [k for k in range(2000) if rates.write + k * rates.read < 1.0 + k]
    if cheaper:
        assert cheaper[0] == math.floor(found.reuses + 1e-9) + 1 or cheaper[0] == pytest.approx(found.reuses)


@given(rates=RATES, calls=st.integers(min_value=1, max_value=400))
def test_storage_pays_from_the_stated_number_of_reads_an_hour(rates: Rates, calls: int) -> None:
    """Each of `calls` in an hour reads from the object, or is paid in full."""
    found = break_even(rates, ttl=3600.0)
    stored = rates.storage + calls * rates.read
    assert (stored <= calls) == (calls >= found.calls_per_hour - 1e-9)


@given(gaps=GAPS)
def test_the_plan_is_the_cheapest_of_all(gaps: list[float]) -> None:
    model = lookup("anthropic:claude-sonnet-4-6")
    plan = plan_for(model, gaps)
    ways = [Option(ttl="", rates=Rates(write=1, read=1))]
    ways += [Option(ttl=ttl, rates=rates_of(model, ttl)) for ttl in ("5m", "1h")]
    seen = gaps or [10.0]
    best = min(paid_call_by_call(way, seen) for way in ways)
    chosen = next(way for way in ways if way.ttl == plan.tail)
    assert paid_call_by_call(chosen, seen) == pytest.approx(best)


SONNET = lookup("anthropic:claude-sonnet-4-6")


@pytest.mark.parametrize(
    ("pauses", "ttl"),
    [
        ([], "5m"),
        ([5.0, 8.0, 40.0], "5m"),
        ([5.0, 5.0, 1200.0, 5.0, 5.0], "1h"),
        ([1200.0] * 5, "1h"),
        ([7200.0] * 5, ""),
    ],
)
def test_a_slow_user_gets_another_answer_than_a_fast_loop(pauses: list[float], ttl: str) -> None:
    plan = plan_for(SONNET, pauses)
    assert plan.tail == ttl
    assert "min" in plan.why


def test_published_rates_come_out_of_the_prices() -> None:
    assert rates_of(SONNET, "5m") == Rates(write=pytest.approx(1.25), read=pytest.approx(0.1))
    assert rates_of(SONNET, "1h").write == pytest.approx(2.0)
    assert rates_of(lookup("openai:gpt-4.1"), "5m") == Rates(write=1.0, read=pytest.approx(0.25))
    assert rates_of(lookup("google:gemini-3.1-pro-preview"), "1h").storage == pytest.approx(2.25)
    assert break_even(rates_of(SONNET, "5m"), ttl=300).pings == 11
