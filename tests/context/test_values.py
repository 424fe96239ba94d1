from __future__ import annotations

import collections
import enum
import pathlib
import sys
import types
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.values import LIMIT, describe


class Trap:
    def __init__(self) -> None:
        self.x = 1
        self.me = self

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit("user code ran")

    __repr__ = __str__ = __len__ = __eq__ = __hash__ = __bool__ = __iter__ = __getattribute__  # type: ignore[assignment]
    __class__ = property(__getattribute__)  # type: ignore[assignment]


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "v: int: 3"),
        ("hi", "v: str of 2 characters: 'hi'"),
        ([1] * 100, "v: list of 100: [1, 1, 1, 1, 1, 1, 1, 1, … 92 more]"),
        ({"a": [1, {"b": (1,)}]}, "v: dict of 1: {'a': [1, {'b': tuple of 1}]}"),
        ({3, 1, 2}, "v: set of 3: {1, 2, 3}"),
        (None, "v: NoneType: None"),
        (Color.RED, f"v: {Color.__module__}.Color.RED"),
        (collections.Counter("aab"), "v: collections.Counter of 2"),
        (pathlib.PurePosixPath("/home/ann/x.csv"), "v: pathlib.PurePosixPath: a path named 'x.csv'"),
        (ValueError("bad"), "v: ValueError('bad')"),
        (nx.path_graph(3), "v: networkx.classes.graph.Graph: graph, 3 nodes, 2 edges; nodes 0, 1, 2"),
        (object(), "v: object"),
        (nx, "v: module networkx"),
    ],
)
def test_descriptions(value: object, expected: str) -> None:
    assert describe("v", value) == expected


def test_no_code_of_unknown_classes_runs() -> None:
    trap = Trap()
    assert "Trap" in describe("t", trap)
    assert "Trap" in describe("t", [trap, {"k": trap}])


def test_bounded_and_without_addresses() -> None:
    nested: list[Any] = []
    nested.append(nested)
    for value in (
        "x" * 10**6,
        ["y" * 1000] * 1000,
        nested,
        [object(), lambda: 0, print],
        10**5000,
        {i: i for i in range(10**5)},
    ):
        text = describe("v", value)
        assert len(text) <= LIMIT
        assert " at 0x" not in text


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@given(JSONISH)
def test_equal_values_have_equal_descriptions(value: object) -> None:
    import copy

    assert describe("v", value) == describe("v", copy.deepcopy(value))
    assert len(describe("v", value)) <= LIMIT


def test_a_library_that_fails_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = types.ModuleType("pandas")

    class DataFrame:
        @property
        def shape(self) -> None:
            raise LookupError("moved in a newer version")

    pandas.DataFrame = DataFrame  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert "DataFrame" in describe("df", DataFrame())
