"""What pays: the formulas against calls that are paid one by one, over all gaps and rates."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb.models.catalog import lookup
from agentnb.providers.promptcache.policy import (
    LAYERS,
    SLACK,
    TTL_SECONDS,
    CachingOption,
    Rates,
    break_even,
    cost,
    pings_needed,
    plan_for,
    plan_layers,
    rates_of,
    seen,
)

RATES = st.builds(
    Rates,
    write=st.floats(min_value=1.0, max_value=3.0),
    read=st.floats(min_value=0.02, max_value=0.9),
    storage=st.floats(min_value=0.0, max_value=5.0),
)
GAPS = st.lists(st.floats(min_value=1.0, max_value=20_000.0), max_size=30)


def paid_call_by_call(option: CachingOption, gaps: list[float]) -> float:
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
    option = CachingOption(ttl=ttl, rates=rates)
    assert cost(option, gaps) == pytest.approx(paid_call_by_call(option, gaps))


@given(rates=RATES, ttl=st.sampled_from(["5m", "1h"]), gap=st.floats(min_value=1.0, max_value=50_000.0))
def test_pings_are_worth_it_up_to_the_break_even(rates: Rates, ttl: str, gap: float) -> None:
    """The most pings that are worth it: brute force over every number of them."""
    seconds = TTL_SECONDS[ttl]
    worth = [k for k in range(300) if k * rates.read + rates.read <= rates.write + 1e-9]
    found = break_even(rates, ttl=seconds)
    assert found.pings == (max(worth) if worth else 0)
    assert found.idle == pytest.approx(found.pings * (seconds - SLACK) + seconds)
    kept = cost(CachingOption(ttl=ttl, rates=rates, pings=found.pings), [gap])
    if pings_needed(seconds, gap) <= found.pings:
        assert kept <= cost(CachingOption(ttl=ttl, rates=rates), [gap]) + 1e-9


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
    ways = [CachingOption(ttl="", rates=Rates(write=1, read=1))]
    ways += [CachingOption(ttl=ttl, rates=rates_of(model, ttl)) for ttl in ("5m", "1h")]
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


# --- by layer -----------------------------------------------------------------------------------------------------

WAYS = [CachingOption(ttl="", rates=Rates(write=1, read=1))]
WAYS += [CachingOption(ttl=ttl, rates=rates_of(SONNET, ttl)) for ttl in ("5m", "1h")]

CALLS = st.lists(
    st.tuples(st.integers(min_value=1, max_value=6000).map(float), st.sampled_from([1, 1, 2, 3])),
    min_size=1,
    max_size=40,
)
"""(seconds after the call before, how many layers of ours the call begins with): all of a user's calls, in order.

Whole seconds, so that a pause of just a TTL is one by both sums: rounding would make one of them a little longer."""
TOKENS = st.tuples(*[st.integers(min_value=1, max_value=50_000)] * 3)


def gaps_of(calls: list[tuple[float, int]], layer: int) -> list[float]:
    """The pauses between the calls that begin with this layer."""
    at, times = 0.0, []
    for gap, reach in calls:
        at += gap
        times += [at] if reach > layer else []
    return [after - before for before, after in itertools.pairwise(times)]


def paid_on_a_clock(ways: tuple[CachingOption, ...], calls: list[tuple[float, int]], tokens: tuple[int, ...]) -> float:
    """Every call in order against entries that expire: a mark is read while it lives, else its layer is written."""
    until, now, total = [-1.0] * 3, 0.0, 0.0
    for gap, reach in calls:
        now += gap
        for layer in range(reach):
            rates = ways[layer].rates
            alive = bool(ways[layer].ttl) and until[layer] >= now
            total += tokens[layer] * (rates.read if alive else rates.write)
            until[layer] = now + ways[layer].seconds
    return total


@settings(max_examples=max(1, settings.default.max_examples * 2 // 5))  # each tries every plan
@given(calls=CALLS, tokens=TOKENS)
def test_a_plan_by_layer_is_never_dearer_than_one_for_all_layers(
    calls: list[tuple[float, int]], tokens: tuple[int, int, int]
) -> None:
    reached = max(reach for _, reach in calls)
    layers = [seen(LAYERS[i], tokens[i], gaps_of(calls, i)) for i in range(3)]
    layers = [replace(layer, gaps=tuple(gaps_of(calls, i))) for i, layer in enumerate(layers)]
    plan = plan_layers(SONNET, layers)
    chosen = tuple(next(way for way in WAYS if way.ttl == choice.ttl) for choice in plan.choices)
    allowed = [
        ways
        for ways in itertools.product(WAYS, repeat=3)
        if all(a.seconds >= b.seconds for a, b in itertools.pairwise(ways))
    ]
    assert chosen in allowed, "Anthropic refuses a longer TTL behind a shorter one"
    if reached < 3:
        return  # what was never sent costs nothing on the clock
    best = min(paid_on_a_clock(ways, calls, tokens) for ways in allowed)
    assert paid_on_a_clock(chosen, calls, tokens) == pytest.approx(best)
    assert all(best <= paid_on_a_clock((way,) * 3, calls, tokens) + 1e-6 for way in WAYS)


def test_layers_with_other_rhythms_get_other_answers() -> None:
    """A user with many quick threads, one of which he comes back to each two hours."""
    layers = [
        seen("STATIC", 2000, [40.0] * 60),
        seen("SEMI_STATIC", 4000, [1500.0] * 20),
        seen("THREAD", 9000, [7200.0] * 5),
    ]
    plan = plan_layers(SONNET, layers)
    assert (plan.static, plan.semi_static, plan.tail) == ("1h", "1h", "")
    assert "20 pauses" in plan.choices[1].why
    alone = plan_layers(SONNET, [*layers[:1], seen("SEMI_STATIC", 1, [60.0] * 9), seen("THREAD", 1, [60.0] * 9)])
    assert (alone.static, alone.semi_static, alone.tail) == ("5m", "5m", "5m")


def test_pings_of_the_thread_are_paid_for_the_frame_too() -> None:
    """A large frame that an hour's TTL keeps anyway makes pinging a small conversation too dear."""
    pauses = [10.0, 10.0, 600.0] * 4
    small = [seen("STATIC", 100, pauses), seen("SEMI_STATIC", 100, pauses), seen("THREAD", 90_000, pauses)]
    large = [seen("STATIC", 90_000, [600.0] * 40), seen("SEMI_STATIC", 100, [600.0] * 40), seen("THREAD", 100, pauses)]
    kept = plan_layers(SONNET, small, pings=True)
    assert kept.pings == break_even(rates_of(SONNET, "5m"), ttl=300).pings or kept.tail == "1h"
    assert plan_layers(SONNET, large, pings=True).static == "1h"


def test_a_choice_says_how_long_a_pause_it_bridges() -> None:
    short, long = plan_for(SONNET, [5.0] * 40).choices[2], plan_for(SONNET, [1200.0] * 5).choices[2]
    assert (short.kept_warm, long.kept_warm) == (300.0, 3600.0)
