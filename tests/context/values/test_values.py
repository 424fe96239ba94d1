from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import functools
import pathlib
import re
import sys
import threading
import time
import types
import zoneinfo
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.tools.running import names
from agentnb.context.notebook.namespace import line_of
from agentnb.context.values import description
from agentnb.context.values.description import LIMIT, describe


class Trap:
    def __init__(self) -> None:
        self.x = 1
        self.me = self

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit("user code ran")

    __repr__ = __str__ = __len__ = __eq__ = __hash__ = __bool__ = __iter__ = __getattribute__  # type: ignore[assignment]
    __class__ = property(__getattribute__)  # type: ignore[assignment]


class Silent:
    def __repr__(self) -> str:
        raise SystemExit("user code ran")


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
        (collections.Counter("aab"), "v: collections.Counter of 2: {'a': 2, 'b': 1}"),
        (pathlib.PurePosixPath("/home/ann/x.csv"), f"v: {pathlib.Path.__module__}.PurePosixPath: a path named 'x.csv'"),
        (ValueError("bad"), "v: ValueError('bad')"),
        (nx.path_graph(3), "v: Graph with 3 nodes and 2 edges"),
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


class Meta(type):
    """A metaclass whose every answer would run the user's code."""

    def __hash__(cls) -> int:
        raise SystemExit("user code ran")

    def __eq__(cls, other: object) -> bool:
        raise SystemExit("user code ran")

    def __instancecheck__(cls, other: object) -> bool:
        raise SystemExit("user code ran")


class Zone(datetime.tzinfo):
    def __repr__(self) -> str:
        raise SystemExit("user code ran")

    def utcoffset(self, moment: object) -> None:
        return None


class Mark(int):
    __repr__ = Silent.__repr__


Slotted = dataclasses.make_dataclass("Slotted", [("x", int), ("y", str), ("_z", int, 3)], slots=True)
Tide = collections.namedtuple("Tide", "high low")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Meta("Odd", (), {})(), "Odd"),
        ([Meta("Odd", (), {})()], "list of 1: [tests.context.values.test_values.Odd]"),
        (datetime.datetime(2026, 1, 1, tzinfo=Zone()), "datetime.datetime"),
        (datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), "zoneinfo.ZoneInfo(key='UTC')"),
        (slice(Silent(), 1), "slice"),
        (slice(0, 5), "slice(0, 5, None)"),
        (Mark(3), "Mark"),
        (Tide(1.5, Silent()), "Tide(high=1.5, low=tests.context.values.test_values.Silent)"),
        (Slotted(1, "a"), "Slotted(x=1, y='a')"),
        (types.SimpleNamespace(high=2), "types.SimpleNamespace(high=2)"),
        (re.compile("a+"), "re.compile('a+')"),
        (functools.partial(Silent), "partial of class Silent"),
        ({1: 2}.keys(), "dict_keys of 1"),
        (bytearray(5), "bytearray of 5"),
        (type("Sea", (dict,), {"items": Silent, "__iter__": Silent, "__len__": Silent})(a=1), "Sea of 1: {'a': 1}"),
        (type("Sea", (list,), {"__getitem__": Silent, "__len__": Silent})([1, 2]), "Sea of 2: [1, 2]"),
        (type("Sea", (str,), {"__len__": Silent, "__repr__": Silent})("salt"), "Sea of 4: 'salt'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_stored_is_told_and_nothing_is_asked(value: object, said: str) -> None:
    assert said in describe("v", value)


def test_what_would_take_long_is_not_counted() -> None:
    class Many:
        pass

    many = Many()
    vars(many).update({f"a{i}": i for i in range(200_000)})
    graph = nx.empty_graph(200_000)
    wide = {f"k{i}": {f"j{j}": ["x" * 1000] * 100 for j in range(100)} for i in range(100)}
    for value, said in (
        (many, "a0=0"),
        (wide, "xxx"),
        (graph, "Graph with 200000 nodes"),
        ("x\n" * 50_000_000, "100000000 char"),
    ):
        started = time.thread_time()
        assert said in describe("v", value)
        assert time.thread_time() - started < 1, "all of it was looked at"


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


def test_tables_tell_shape_types_missing_values_and_the_first_rows() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {"day": pandas.to_datetime(["2026-01-01", None]), "high": [1.5, float("nan")], "who": [Silent(), "b"]}
    )
    assert describe("df", table) == (
        "df: DataFrame, 2 rows x 3 columns, 180 bytes\n"
        "columns: 'day' datetime64[us], 'high' float64, 'who' object\n"
        "missing: 'day' 1, 'high' 1\n"
        f"2026-01-01T00:00:00 | 1.5 | {Silent.__module__}.Silent\n"
        "NaT | nan | b"
    )
    assert describe("s", table["high"]).startswith("s: Series 'high', 2 x float64, 1 missing: [1.5, nan]")


def test_arrays_tell_shape_type_range_and_the_first_items() -> None:
    numpy = pytest.importorskip("numpy")
    assert describe("a", numpy.arange(12.0).reshape(3, 4)) == (
        "a: ndarray, shape (3, 4), float64, from 0 to 11: 0, 1, 2, 3, 4, 5, 6, 7, …"
    )
    inside = describe("a", {"x": numpy.zeros(3), "y": numpy.float64(2)})
    assert inside == "a: dict of 2: {'x': ndarray 3 float64: 0, 0, 0, 'y': 2}"


def test_subclasses_of_tables_and_arrays_are_told_like_what_they_derive_from_and_run_nothing() -> None:
    pandas, numpy = pytest.importorskip("pandas"), pytest.importorskip("numpy")
    armed = False

    def trap(self: object, *given: object, **named: object) -> None:
        if armed:
            raise SystemExit("user code ran")

    class Table(pandas.DataFrame):
        shape = index = iloc = columns = dtypes = isna = _constructor = property(trap)
        __getattr__ = __len__ = __getitem__ = __repr__ = memory_usage = trap

    class Column(pandas.Series):
        iloc = dtype = index = isna = _constructor = property(trap)
        __getattr__ = __len__ = __repr__ = trap

    class Metres(numpy.ndarray):
        shape = dtype = size = flat = property(trap)
        __array_finalize__ = __array_ufunc__ = __getattr__ = __getitem__ = __repr__ = trap

    class Hidden(numpy.ma.MaskedArray):
        pass

    data = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})
    table, column = Table(data), Column([1.5, 2.5], name="c")
    metres, hidden = numpy.arange(3.0).view(Metres), numpy.ma.array([7, 8], mask=[0, 1]).view(Hidden)
    armed = True
    at = Table.__module__
    name = f"{at}.{Table.__qualname__}"
    assert describe("t", table) == f"t: {name}: {describe('', data).removeprefix(': ')}"
    assert describe("c", column).endswith("Column: Series 'c', 2 x float64: [1.5, 2.5]")
    assert describe("m", metres).endswith("Metres: ndarray, shape (3,), float64, from 0 to 2: 0, 1, 2")
    assert f"{name}: DataFrame 2 x 2" in describe("d", {"t": table, "m": metres})
    assert "8" not in describe("h", hidden)
    assert describe("e", Table.__new__(Table)) == f"e: {name}"
    assert list(data.columns) == ["a", "b"]


def test_rows_by_name_categories_and_what_is_no_number() -> None:
    pandas = pytest.importorskip("pandas")
    index = pandas.MultiIndex.from_product([["a", "b"], [1, 2]], names=["port", "n"])
    table = pandas.DataFrame({"c": pandas.Categorical(["x", "y", "x", "x"])}, index=index)
    text = describe("df", table)
    assert "index MultiIndex 'port', 'n' first ('a', 1), last ('b', 2)" in text
    assert "columns: 'c' category of 2 (x, y)" in text
    mixed = pandas.DataFrame({"a": [pandas.NA], "b": [pandas.Timedelta(1, "h")], "c": [pandas.Period("2026")]})
    assert describe("m", mixed).endswith("NA | P0DT1H0M0S | 2026")
    assert "3 x Int64: [1, 2, NA]" in describe("e", pandas.array([1, 2, None], dtype="Int64"))
    numpy = pytest.importorskip("numpy")
    assert describe("a", numpy.array([numpy.nan, 1.0, 3.0])).startswith(
        "a: ndarray, shape (3,), float64, from 1 to 3, 1 nan"
    )
    assert describe("m", numpy.ma.array([1, 2], mask=[0, 1])) == "m: MaskedArray, shape (2,), int64: 1, None"


@pytest.mark.slow
def test_models_tell_their_parameters_and_what_fitting_left() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.Ridge(alpha=2.0)
    assert "alpha=2.0" in describe("m", model)
    model.fit([[1.0], [2.0]], [1.0, 2.0])
    assert "coef_=ndarray 1 float64: " in describe("m", model)


def test_paths_tell_the_head_of_the_file_but_not_of_a_private_one(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n5,6\n")
    (tmp_path / ".env").write_text("PASSWORD=hunter2")
    assert describe("f", tmp_path / "a.csv").endswith("a path named 'a.csv', a file of 16 bytes:\nx,y\n1,2\n3,4")
    assert "hunter2" not in describe("f", tmp_path / ".env")
    assert describe("f", tmp_path).endswith("a directory: .env, a.csv")
    assert str(tmp_path) not in describe("f", tmp_path / "a.csv")


def test_what_an_object_says_for_models_is_honoured_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Speaks:
        def _repr_llm_(self) -> str:
            return "a spring of stiffness 3" + "!" * 5000

    class Fails:
        def _repr_llm_(self) -> str:
            raise KeyboardInterrupt

    class Hangs:
        def _repr_llm_(self) -> str:
            threading.Event().wait(30)
            return "late"

    assert describe("x", Speaks()).startswith("x: a spring of stiffness 3")
    assert len(describe("x", Speaks())) == LIMIT
    assert "Fails" in describe("x", Fails())
    monkeypatch.setattr(description, "OWN_WORDS_SECONDS", 0.05)
    assert "Hangs" in describe("x", Hangs())


def test_what_a_class_without_a_module_made_is_told_like_any_other() -> None:
    """Code that runs where nothing is called `__name__` makes such; its `__module__` raises."""
    made: dict[str, Any] = {}
    exec("Bare = type('Bare', (), {}); one = Bare()", {"type": type}, made)
    with pytest.raises(AttributeError):
        _ = made["Bare"].__module__
    assert "Bare" in describe("one", made["one"])
    assert "Bare" in line_of("one", made["one"])
    assert names.snapshot(made, frozenset({"one"}))["one"].is_still(made["one"])
