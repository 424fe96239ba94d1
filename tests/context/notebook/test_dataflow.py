"""The names that tie cells together: bound, changed in place, used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.notebook.dataflow import dataflow


@pytest.mark.parametrize(
    ("source", "binds", "changes", "uses"),
    [
        ("growth = sales.amount.pct_change()", {"growth"}, set(), {"sales"}),
        ("df['x'] = df.a + other", set(), {"df"}, {"df", "other"}),
        ("df.loc[df.x > 1, 'y'] = 0", set(), {"df"}, {"df"}),
        ("df.drop(columns='a', inplace=True)", set(), {"df"}, {"df"}),
        ("model.fit(X, y)", set(), {"model"}, {"model", "X", "y"}),
        ("count += 1", set(), {"count"}, {"count"}),
        ("del df['a']", set(), {"df"}, {"df"}),
        ("import pandas as pd\nfrom math import pi", {"pd", "pi"}, set(), set()),
        ("items = []\nitems.append(3)", {"items"}, set(), set()),
        ("def f(a, b=limit):\n    c = a + RATE\n    return c", {"f"}, set(), {"limit", "RATE"}),
        ("for row in rows:\n    total = row", {"row", "total"}, set(), {"rows"}),
        ("[x * k for x in xs]", set(), set(), {"k", "xs"}),
        ("with open(p) as f:\n    text = f.read()", {"f", "text"}, set(), {"p"}),
        ("%timeit work(n)\nlines = !ls\nz = 1", {"lines", "z"}, set(), set()),
        ("%%time\nresult = slow(a)", {"result"}, set(), {"slow", "a"}),
        ("this is no Python", set(), set(), set()),
    ],
)
def test_names_of_a_cell(source: str, binds: set[str], changes: set[str], uses: set[str]) -> None:
    found = dataflow(source)
    assert set(found.binds) == binds
    assert set(found.changes) == changes
    assert set(found.uses) == uses


def test_a_cell_that_only_looks() -> None:
    assert dataflow("df.head()").shows_only
    assert not dataflow("x = df.head()").shows_only


@given(st.text(max_size=200))
def test_no_text_is_too_odd(text: str) -> None:
    dataflow(text)
