"""The bar of the live view: it only grows, and its middle is where the first token is expected."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.view.progress import Progress

SECONDS = st.floats(min_value=0.05, max_value=30)


def feed(run: Progress, now: float, kind: str, **data: Any) -> None:
    run.feed(SimpleNamespace(kind=kind, data=data, state="THINKING", next_state="THINKING", step=1), now)  # type: ignore[arg-type]


def begin(run: Progress, now: float, *, expected: float) -> None:
    feed(run, now, "view", context={"last": {"latency": {"expected": {"middle": expected}}}})


def filled(run: Progress, now: float) -> float:
    """How much of the bar is filled, in percent."""
    return sum(float(width) for width in re.findall(r'style="width:([\d.]+)%', run.clock_html(now)))


def at(run: Progress, since: float, seconds: float) -> list[float]:
    return [filled(run, since + seconds * part / 20) for part in range(21)]


@given(loading=SECONDS, reading=SECONDS, writing=SECONDS, expected=st.floats(min_value=0.2, max_value=10))
def test_it_only_grows(loading: float, reading: float, writing: float, expected: float) -> None:
    run = Progress(began=0.0)
    begin(run, 0.0, expected=expected)
    feed(run, 0.0, "phase", text="loading the provider's SDK (first call only)")
    seen = at(run, 0.0, loading)
    feed(run, loading, "phase", text="waiting for the first token")
    seen += at(run, loading, reading)
    feed(run, loading + reading, "delta", channel="text", text="Because")
    seen += at(run, loading + reading, writing)
    assert all(after >= before - 0.3 for before, after in itertools.pairwise(seen)), "widths have one decimal"


@pytest.mark.parametrize("call", [1, 2])
def test_the_mark_is_where_the_first_token_is_expected(call: int) -> None:
    """In the first call after loading, in the second without: loading was paid for once."""
    run = Progress(began=0.0)
    begin(run, 0.0, expected=1.5)
    feed(run, 0.0, "phase", text="loading the provider's SDK (first call only)")
    feed(run, 7.0, "phase", text="waiting for the first token")
    due = 7.0 + 1.5
    if call == 2:
        feed(run, 9.0, "step", what="said something")
        begin(run, 10.0, expected=2.0)
        due = 10.0 + 2.0
    assert filled(run, due) == pytest.approx(50, abs=0.2)
    assert "<b></b>" in run.clock_html(due)
