"""Describers on the real libraries: what they say, that the bytes hold, and that nothing lazy is set off."""

from __future__ import annotations

import datetime
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agentnb.context.values.description import LIMIT, describe

pytestmark = pytest.mark.slow  # importing the libraries takes seconds


def polars_frame() -> Any:
    polars = pytest.importorskip("polars")
    return polars.DataFrame({"a": [1, 2, None], "b": ["x", "y", "z"], "c": [[1, 2], [3], []]})


def polars_lazy() -> Any:
    return polars_frame().lazy()


def polars_series() -> Any:
    return polars_frame()["a"]


def pandas_index() -> Any:
    return pytest.importorskip("pandas").RangeIndex(20)


def pandas_groups() -> Any:
    return pytest.importorskip("pandas").DataFrame({"k": [1, 1], "v": [2, 3]}).groupby("k")


def sparse_matrix() -> Any:
    return pytest.importorskip("scipy.sparse").csr_matrix([[0, 1], [0, 0]])


def sparse_array() -> Any:
    return pytest.importorskip("scipy.sparse").coo_array([[0, 1.5], [0, 0]])


def fitted_scaler() -> Any:
    return pytest.importorskip("sklearn.preprocessing").StandardScaler().fit([[1.0], [2.0]])


def graph() -> Any:
    return pytest.importorskip("networkx").path_graph(3)


def arrow_table() -> Any:
    return pytest.importorskip("pyarrow").table({"a": [1, 2]})


def dask_array() -> Any:
    return pytest.importorskip("dask.array").ones((1000, 300), chunks=(100, 70))


def polars_times() -> Any:
    polars = pytest.importorskip("polars")
    return polars.DataFrame(
        {"t": [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)], "d": [datetime.date(2026, 1, 1)]}
    )


def duckdb_relation() -> Any:
    duckdb = pytest.importorskip("duckdb")
    return duckdb.connect().sql("SELECT 1 AS a, 'x' AS b")


def orm() -> Any:
    return pytest.importorskip("sqlalchemy.orm").declarative_base()


def orm_table() -> Any:
    import sqlalchemy

    base = orm()
    return type(
        "User",
        (base,),
        {
            "__tablename__": "u",
            "id": sqlalchemy.Column(sqlalchemy.Integer, primary_key=True),
            "n": sqlalchemy.Column(sqlalchemy.String),
        },
    )


def mapped_object() -> Any:
    return orm_table()(id=1, n="ann")


def labelled() -> Any:
    xarray = pytest.importorskip("xarray")
    return xarray.Dataset({"t": (("x", "y"), [[1.0, 2.0]])}, coords={"x": [7]})


def pil_image() -> Any:
    return pytest.importorskip("PIL.Image").new("L", (4, 3))


def tensor() -> Any:
    return pytest.importorskip("torch").zeros(2, 3, requires_grad=True)


def network() -> Any:
    torch = pytest.importorskip("torch")
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())


SAID: list[tuple[Callable[[], Any], str]] = [
    (
        polars_frame,
        "polars DataFrame, 3 rows x 3 columns, 76 bytes\ncolumns: 'a' Int64, 'b' String, 'c' List(Int64)\n"
        "missing: 'a' 1\n1 | x | [1, 2]\n2 | y | [3]\nNone | z | []",
    ),
    (polars_lazy, "polars LazyFrame, not collected"),
    (polars_series, "polars Series 'a', 3 x Int64: [1, 2, None]"),
    (pandas_index, "RangeIndex, 20 x int64: [0, 1, 2, 3, 4, 5, 6, 7, … 12 more]"),
    (pandas_groups, "DataFrameGroupBy by 'k' of DataFrame 2 x 2"),
    (
        sparse_matrix,
        "<Compressed Sparse Row sparse matrix of dtype 'int64'\n\twith 1 stored elements and shape (2, 2)>",
    ),
    (sparse_array, "<COOrdinate sparse array of dtype 'float64'\n\twith 1 stored elements and shape (2, 2)>"),
    (
        fitted_scaler,
        "sklearn.preprocessing._data.StandardScaler(n_features_in_=1, n_samples_seen_=2, "
        "mean_=ndarray 1 float64: 1.5, var_=ndarray 1 float64: 0.25, scale_=ndarray 1 float64: 0.5)",
    ),
    (
        dask_array,
        "dask.array<ones_like, shape=(1000, 300), dtype=float64, chunksize=(100, 70), chunktype=numpy.ndarray>",
    ),
    (
        polars_times,
        "polars DataFrame, 1 rows x 2 columns, 12 bytes\ncolumns: 't' Datetime(time_unit='us', time_zone='UTC'), "
        "'d' Date\n2026-01-01T00:00:00+00:00 | 2026-01-01",
    ),
    (duckdb_relation, "duckdb._relation.DuckDBPyRelation"),
    (graph, "Graph with 3 nodes and 2 edges"),
    (arrow_table, "pyarrow.Table\na: int64\n----\na: [[1,2]]"),
    (
        labelled,
        "<xarray.Dataset> Size: 24B\nDimensions:  (x: 1, y: 2)\nCoordinates:\n  * x        (x) int64 8B 7\n"
        "Dimensions without coordinates: y\nData variables:\n    t        (x, y) float64 16B 1.0 2.0",
    ),
    (pil_image, "PIL image, 4 x 3 pixels, L"),
    (tensor, "tensor, shape (2, 3), torch.float32, on cpu, with gradient"),
    (
        network,
        "torch.nn.modules.container.Sequential, a torch module in training: 9 parameters; layers 0 Linear, 1 ReLU",
    ),
]


@pytest.mark.parametrize(("make", "said"), SAID)
def test_what_is_said_and_that_the_bytes_hold(make: Callable[[], Any], said: str) -> None:
    value = make()
    assert describe("v", value) == f"v: {said}"
    assert describe("v", value) == f"v: {said}", "looking changed nothing"
    assert describe("v", make()) == f"v: {said}"
    inside = describe("v", [value, {"k": value}])
    assert len(inside) <= LIMIT
    assert "0x" not in inside


def test_no_query_runs_and_no_method_of_the_user_s_subclass() -> None:
    networkx = pytest.importorskip("networkx")
    duckdb = pytest.importorskip("duckdb")

    class Mine(networkx.Graph):  # type: ignore[misc]
        def __str__(self) -> str:
            raise AssertionError("user code ran")

    assert describe("g", Mine()).endswith("Mine(graph={})")
    connection = duckdb.connect()
    asked: list[int] = []
    connection.create_function("seen", lambda x: asked.append(x) or x, ["INTEGER"], "INTEGER")
    describe("q", connection.sql("SELECT seen(1)"))
    assert asked == []


def test_a_repr_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentnb.context.values import description

    hold = threading.Event()
    matrix = sparse_matrix()
    monkeypatch.setattr(description, "OWN_WORDS_SECONDS", 0.05)
    monkeypatch.setattr(type(matrix).__mro__[1], "__repr__", lambda self: hold.wait(5) and "late")
    monkeypatch.setattr(type(matrix), "__repr__", lambda self: hold.wait(5) and "late", raising=False)
    assert describe("m", matrix).startswith("m: scipy.sparse")
    hold.set()


def test_an_expired_object_is_not_loaded() -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from sqlalchemy.orm import Session

    user = orm_table()
    engine = sqlalchemy.create_engine("sqlite://")
    user.metadata.create_all(engine)
    with Session(engine) as session:
        ann = user(id=1, n="ann")
        session.add(ann)
        session.commit()
        asked: list[str] = []
        sqlalchemy.event.listens_for(engine, "before_cursor_execute")(lambda *args: asked.append(args[2]))
        assert describe("ann", ann).endswith("User")
        assert asked == []


def test_iterators_are_not_consumed_and_cached_properties_not_computed() -> None:
    class Report:
        @functools.cached_property
        def total(self) -> int:
            return 1

        def __init__(self) -> None:
            self.name, self._seen = "q3", 0

    report = Report()
    before = describe("r", report)
    assert before.endswith("Report(name='q3')")
    assert report.total == 1
    report._seen = 5
    assert describe("r", report) == before, "what was looked at does not show"
    numbers = iter([1, 2])
    squares = (n * n for n in [1, 2])
    for value in (numbers, squares, map(int, ["1"]), zip([1], strict=True)):
        describe("v", value)
    assert (list(numbers), list(squares)) == ([1, 2], [1, 4])


def test_own_words_are_honoured_bounded_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentnb.context.values import description

    class Says:
        def __init__(self, what: Any) -> None:
            self.what = what

        def _repr_llm_(self) -> Any:
            return self.what()

    hold = threading.Event()
    assert describe("v", Says(lambda: "a tide table at 0x7f00")) == "v: a tide table"
    assert len(describe("v", Says(lambda: "x" * 10_000))) == LIMIT
    monkeypatch.setattr(description, "OWN_WORDS_SECONDS", 0.05)
    for wrong in (lambda: 3, lambda: 1 / 0, lambda: hold.wait(5), lambda: exec("raise SystemExit")):
        assert describe("v", Says(wrong)).endswith("Says(what=function " + wrong.__qualname__ + ")")
    hold.set()


def test_a_styled_table_is_told_by_its_shape() -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("jinja2")
    table = pandas.DataFrame({"c": ["x", "y"]})
    assert describe("s", table.style) == "s: Styler of DataFrame 2 x 1", "its id is random"


def test_of_a_wide_table_the_first_and_the_last_columns_are_told() -> None:
    for name in ("pandas", "polars"):
        library = pytest.importorskip(name)
        said = describe("t", library.DataFrame({f"x{i}": [i] for i in range(400)} | {"target": [7]}))
        assert "1 rows x 401 columns" in said.replace("(1, 401)", "1 rows x 401 columns")
        assert "'x8' int64, … 389 more, 'x398' int64, 'x399' int64, 'target' int64\n" in said.lower()
        assert "6 | 7 | 8 | … | 398 | 399 | 7" in said


def test_what_the_rows_and_columns_of_a_table_are_called_by() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"x": range(10), "c": pandas.Categorical(["lo", "hi"] * 5, ["lo", "hi"], ordered=True)})
    assert describe("t", table).startswith("t: DataFrame, 10 rows x 2 columns, 346 bytes\n")
    assert "'c' ordered category of 2 (lo, hi)" in describe("t", table)
    assert "index RangeIndex from 4 to 9\n" in describe("t", table[4:])
    assert "index Index first 4, last 2\n" in describe("t", table.loc[[4, 9, 2]]), "it says nothing of those between"
    assert describe("t", pandas.DataFrame()).endswith("\ncolumns: none")
    cut = describe("t", pandas.DataFrame({"x": ["word " * 20, "word"]}))
    assert cut.endswith("\nword word word word word word word word …\nword"), "what is cut says so"
    columns = pandas.MultiIndex.from_product([["p"], ["lo", "hi"]], names=["kind", "edge"])
    assert "columns by 'kind', 'edge': ('p', 'lo') int64" in describe("t", pandas.DataFrame([[1, 2]], columns=columns))
