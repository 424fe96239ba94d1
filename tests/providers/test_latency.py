"""What a call's timeline says, and what may be expected of the next one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.models.catalog import lookup
from agentnb.providers.latency import expect_first_token, fit_prefill, from_trace, plot_data, queue_estimate
from agentnb.providers.transport import CallTrace
from agentnb.view import timeline
from agentnb.view.plots.latency_plot import latency_svg
from agentnb.view.timeline import rows

SONNET = lookup("anthropic:claude-sonnet-4-6")


def calls(count: int, seed: int = 3) -> list[tuple[int, float]]:
    rng = random.Random(seed)
    sizes = [rng.randrange(500, 40_000) for _ in range(count)]
    return [(n, 0.4 + n * 0.00008 + rng.lognormvariate(-2.5, 0.6)) for n in sizes]


def test_the_interval_holds_eight_of_ten_of_the_calls_to_come() -> None:
    inside = total = 0
    for seed in range(10):
        seen, later = calls(60, seed), calls(200, seed + 100)
        for uncached, seconds in later:
            expected = expect_first_token(SONNET.latency, seen, tokens=50_000, uncached=uncached)
            inside += expected.low <= seconds <= expected.high
        total += len(later)
        assert expected.samples == 60
    assert 0.74 <= inside / total <= 0.88


def few(rng: random.Random, count: int, least: int, most: int) -> list[tuple[int, float]]:
    return [(n, 0.4 + n * 0.00008 + rng.lognormvariate(-2.5, 0.6)) for n in (rng.randrange(least, most),) * count]


def test_far_from_the_calls_that_were_seen_the_interval_is_as_wide_as_it_has_to_be() -> None:
    """Twenty short calls say little of a long one: a width that forgets it would hold one call in four here."""
    inside = total = 0
    for seed in range(60):
        rng = random.Random(seed)
        seen = [call for _ in range(20) for call in few(rng, 1, 100, 4_000)]
        for uncached, seconds in [call for _ in range(10) for call in few(rng, 1, 40_000, 60_000)]:
            expected = expect_first_token(SONNET.latency, seen, tokens=60_000, uncached=uncached)
            inside += expected.low <= seconds <= expected.high
            total += 1
    assert 0.7 <= inside / total <= 0.92
    near = expect_first_token(SONNET.latency, calls(20), tokens=20_000, uncached=20_000)
    far = expect_first_token(SONNET.latency, calls(20), tokens=200_000, uncached=200_000)
    assert far.high - far.low > 2 * (near.high - near.low)


def test_without_calls_the_catalogue_speaks_and_says_so() -> None:
    cold = expect_first_token(SONNET.latency, [], tokens=20_000, uncached=20_000)
    warm = expect_first_token(SONNET.latency, [], tokens=20_000, uncached=500)
    assert cold.samples == 0
    assert "catalogue" in str(cold)
    assert warm.high < cold.low
    assert cold.low < cold.middle < cold.high


SAMPLES = st.lists(st.tuples(st.integers(0, 200_000), st.floats(0.01, 60.0)), max_size=40)


@given(samples=SAMPLES, uncached=st.integers(0, 200_000))
def test_an_interval_is_never_negative_nor_turned_around(samples: list[tuple[int, float]], uncached: int) -> None:
    expected = expect_first_token(SONNET.latency, samples, tokens=200_000, uncached=uncached)
    assert 0.0 <= expected.low <= expected.high


def test_another_models_curve_is_no_expectation() -> None:
    """A model without a row, on the user's own machine, say: only its own calls can tell."""
    unknown = expect_first_token(SONNET.latency, calls(4), tokens=1000, uncached=1000, known=False)
    assert not unknown.known
    assert str(unknown) == "unknown time (the model has no row in the catalogue; 5 calls will tell)"
    assert expect_first_token(SONNET.latency, calls(5), tokens=1000, uncached=1000, known=False).known


def test_a_queue_is_estimated_only_from_enough_calls() -> None:
    trace = CallTrace(started=0.0, connect_seconds=0.1, headers=2.0, first_token=3.1, last_token=4.1, finished=4.2)
    measured = from_trace(trace, output_tokens=11)
    assert measured.ttft == 3.1
    assert measured.tpot == pytest.approx(0.1)
    assert queue_estimate(measured, 1000, calls(4)) == (None, 4)
    queue, count = queue_estimate(measured, 1000, calls(40))
    assert count == 40
    assert queue is not None
    assert 2.0 < queue < 3.0
    fit = fit_prefill(calls(40))
    assert fit is not None
    assert 0.00006 < fit[1] < 0.0001


def test_earlier_attempts_stand_apart_in_the_timeline() -> None:
    trace = CallTrace(
        started=10.0, attempt_started=12.5, attempts=3, connect_seconds=0.1, headers=13.3, first_event=13.4,
        first_token=13.5, last_token=14.5, finished=14.6,
    )  # fmt: skip
    measured = from_trace(trace, output_tokens=11)
    assert (measured.retry_wait, measured.attempts) == (2.5, 3)
    seen = (measured.connect, measured.headers, measured.first_event, measured.ttft)
    assert seen == pytest.approx((0.1, 0.8, 0.9, 1.0))
    assert measured.total == pytest.approx(4.6), "what the person waited"
    trace.response_headers = {"agentnb-sim-timing": "queue=0.1;ttft=0.9;tpot=0.02;total=1.2"}
    assert from_trace(trace, output_tokens=11).total == pytest.approx(2.5 + 0.1 + 1.2), "modelled, after a real wait"


def test_thinking_that_is_not_shown_is_neither_queue_nor_a_slow_pace() -> None:
    """0.3 s of queue, 0.7 s of prefill, 200 hidden tokens and 51 that came, 20 ms each."""
    trace = CallTrace(started=0.0, headers=0.9, first_event=0.9, first_token=5.0, last_token=6.0, finished=6.0)
    measured = from_trace(trace, output_tokens=251, reasoning=200)
    assert measured.tpot == pytest.approx(0.02)
    assert measured.thinking == pytest.approx(4.0)
    assert measured.reading == pytest.approx(1.0)
    trace.thought = True  # the thinking came as tokens of its own: nothing is hidden
    assert from_trace(trace, output_tokens=251, reasoning=200).thinking == 0
    found = {row.name: row.length for row in rows({"latency": measured.to_json(), "state": "COMPLETED"})}
    assert found["until headers"] == pytest.approx(0.9)
    assert found["thinking (not shown)"] == pytest.approx(4.0)
    assert found["wait and read the prompt"] == pytest.approx(1.0)
    assert found["write the answer"] == pytest.approx(1.0)


@pytest.mark.parametrize("measured", [True, False])
def test_the_rows_add_up_to_the_total_with_retries_or_without(measured: bool) -> None:
    latency = {"connect": 0.1, "ttft": 1.0, "total": 4.6, "retry_wait": 2.5, "attempts": 3, "modelled": not measured}
    latency |= {"queue_estimate": {"seconds": None if measured else 0.2, "samples": 2}}
    for before in (2.5, 0.0):
        rows = timeline.rows({"latency": latency | {"retry_wait": before}})
        assert rows[0].name == ("2 retries" if before else "connect")
        loaded = {"latency": latency | {"retry_wait": before}, "clock": {"loading": 5.5}}
        assert sum(row.length or 0.0 for row in timeline.rows(loaded)) == pytest.approx(timeline.total(loaded))
        assert sum(row.length or 0.0 for row in rows) == pytest.approx(4.6)
        ends = [(row.start or 0.0) + (row.length or 0.0) for row in rows]
        assert [row.start for row in rows[1:]] == pytest.approx(ends[:-1]), "each begins where the last one ended"


def test_the_plot_shows_the_fit_and_its_interval_once_there_are_calls_enough() -> None:
    many = [(n + 500, n, seconds) for n, seconds in calls(12)]
    data = plot_data(SONNET.latency, many)
    assert all(low <= high for (_, low), (_, high) in zip(data["low"], data["high"], strict=True))
    svg = latency_svg("Claude", data)
    assert "<polygon" in svg
    assert "stroke-dasharray" in svg
    assert not {"fit", "low", "high"} & set(plot_data(SONNET.latency, many[:4]))
    assert max(n for n, _ in data["cold"]) < 1.2 * max(n for n, _, _ in many), "the calls fill the plot"


def test_the_plot_shows_both_curves_and_every_call() -> None:
    data = plot_data(SONNET.latency, [(10_000, 9_000, 1.2), (12_000, 300, 0.6), (60_000, 2_000, 0.9)])
    assert all(cached < cold for (_, cold), (_, cached) in zip(data["cold"][1:], data["cached"][1:], strict=True))
    assert (len(data["measured_cold"]), len(data["measured_cached"])) == (1, 2)
    svg = latency_svg("Claude <Sonnet>", data)
    assert svg.count("<circle") == 3 + 2, "three calls and two in the legend"
    assert "<Sonnet>" not in svg
    assert "prompt tokens" in svg


def test_what_a_server_measured_is_told_as_queue_reading_and_writing() -> None:
    trace = CallTrace(
        started=10.0, attempt_started=10.0, connect_seconds=0.01, headers=10.02, first_event=12.5, first_token=12.5,
        last_token=14.0, finished=14.0, attempts=1, on_server=(2.0, 1.5),
    )  # fmt: skip
    told = from_trace(trace, output_tokens=16).to_json()
    assert told["on_server"] == {"queue": 0.49, "prefill": 2.0, "decode": 1.5}
    doc = {"latency": told}
    assert [(row.name, round(row.length or 0, 6)) for row in rows(doc)] == [
        ("connect", 0.01),
        ("queue", 0.49),
        ("read the prompt", 2.0),
        ("write the answer", 1.5),
    ]
    assert not any(row.estimated for row in rows(doc))
    assert timeline.notes(doc)[-1].startswith("The server on this machine measured")
