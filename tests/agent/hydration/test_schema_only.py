"""AgentNB.values = "schema": no value, category, repr, output, picture or result leaves the kernel, on any wire."""

from __future__ import annotations

import collections
import decimal
import enum
import functools
import io
import json
import re
import sqlite3
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.kernel_context import Observed
from agentnb.agent.tools.tool import tool
from agentnb.context.notebook.outputs import Output

numpy = pytest.importorskip("numpy")
pandas = pytest.importorskip("pandas")
CANARY = "".join(["zqx", "jvk"])
NUMBER = 7_654_000 + 321


class Odd:
    """An object whose every word is a value."""

    def __init__(self) -> None:
        self.held = f"{CANARY}attr"

    def __repr__(self) -> str:
        return f"{CANARY}repr"

    def _repr_llm_(self) -> str:
        return f"{CANARY}llm"


class Kind(enum.Enum):
    """An enumeration whose value is one."""

    ONE = f"{CANARY}enum"


def with_default(x: str = f"{CANARY}default") -> str:
    return x


def odd_kinds() -> dict[str, Any]:
    """Values that hide in a dtype, a default, a fill value, a key, a label of a label."""
    text = f"{CANARY}odd"
    sparse = pandas.arrays.SparseArray([NUMBER, NUMBER], fill_value=NUMBER)
    levels = pandas.MultiIndex.from_tuples([(text, NUMBER)], names=[text, text])
    polars = pytest.importorskip("polars")
    xarray = pytest.importorskip("xarray")
    connection = sqlite3.connect(":memory:")
    connection.execute(f"create table t (a text default '{text}')")
    return {
        "sparse": pandas.DataFrame({"fill": sparse}),
        "sparse_one": pandas.Series(sparse),
        "levels": pandas.DataFrame([[1]], columns=levels, index=pandas.Index([text], name=text)),
        "grouped": pandas.DataFrame({"a": [text]}).groupby("a"),
        "span": pandas.Series(pandas.interval_range(0, NUMBER, 1)),
        "struct": polars.DataFrame({"s": [{"a": text}]}, schema={"s": polars.Struct({"a": polars.Enum([text])})}),
        "listed": polars.DataFrame({"l": [[text]]}, schema={"l": polars.List(polars.Enum([text]))}).lazy(),
        "wanted": polars.col("a") == text,
        "cube": xarray.Dataset({"t": ("x", [NUMBER])}, coords={"x": [text]}, attrs={text: text}),
        "record": numpy.array([(NUMBER, text)], dtype=[("num", "i8"), ("txt", "U20")]),
        "masked": numpy.ma.array([NUMBER], mask=[False], fill_value=NUMBER),
        "counted": collections.Counter([text]),
        "space": types.SimpleNamespace(x=text),
        "kind": Kind.ONE,
        "with_default": with_default,
        "part": functools.partial(with_default, text),
        "found": re.match(".*", text),
        "path": Path(f"/{text}"),
        "exact": decimal.Decimal(NUMBER),
        "made": (part for part in [text]),
        "failed": ExceptionGroup(text, [ValueError(text)]),
        "connection": connection,
        "buffer": io.StringIO(text),
    }


def values() -> dict[str, Any]:
    text = f"{CANARY}text"
    found: dict[str, Any] = {
        "text": text,
        "raw": text.encode(),
        "items": [text, NUMBER],
        "table_of": {text: text},
        "pair": (text,),
        "several": {text},
        "odd": Odd(),
        "frame": pandas.DataFrame(
            {"price": [NUMBER + 0.5], "city": pandas.Categorical([text]), "when": pandas.Timestamp(f"{1987}-06-05")},
            index=[f"{CANARY}label"],
        ),
        "column": pandas.Series([text], name="city", index=[f"{CANARY}row"]),
        "wide": pandas.DataFrame([[1]], columns=[NUMBER]),
        "array": numpy.array([text]),
        "number": NUMBER,
        "scalar": numpy.float64(NUMBER),
    }
    polars = pytest.importorskip("polars")
    found["lazy"] = polars.DataFrame({"name": [text], "kind": polars.Series([text], dtype=polars.Enum([text]))})
    return found | odd_kinds()


@tool(safe=True)
def look_up() -> str:
    """Give a value."""
    return f"{CANARY}tool"


@tool(safe=True)
def fails() -> str:
    """Fail with a value."""
    raise ValueError(f"{CANARY}raised")


@pytest.mark.parametrize("model", ["sim:claude-sonnet-4-6", "sim:gpt-6.1-sol", "sim:gemini-3.1-pro-preview"])
def test_no_canary_goes_anywhere(book: Any, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = book.session
    session.settings = replace(session.settings, values="schema")
    found = values()
    session.namespace.update(found)
    names = ", ".join(found)
    session.cells.record(f"{names.replace(', ', ' = ')} = make()", cell_id="make", number=1)
    kinds = ("printed", "warnings", "result", "shown", "table", "figure", "widget")
    outputs = [Output(kind=kind, text=f"{CANARY}{kind} {NUMBER}") for kind in kinds]  # type: ignore[arg-type]
    outputs.append(Output(kind="error", text=f"KeyError: {CANARY}\n    where = {CANARY}"))
    session.log.record("show_all()", cell="shown", number=2, outputs=outputs)
    session.extra_tools |= {"look_up": look_up, "fails": fails}
    try:
        raise KeyError(f"{CANARY}message")
    except KeyError as error:
        session.observed = Observed(error=error)
    marked = " and ".join(f"`{name}`" for name in found)
    book.ask(f"Explain {marked}, the plot above and the error.", model=model, replay="record")
    for name in [*list(found)[:14], "sparse", "sparse_one", "with_default", "part"]:
        book.ask(f"Inspect `{name}`.", model=model, context="none")
    book.ask("Call `look_up` please.", model=model)
    book.ask("Call `fails` please.", model=model)
    book.ask("Use read_cell for cell 2.", model=model)
    book.ask("Run `frame.to_dict()` with run_code.", model=model, allow=("run_code",))
    sent = json.dumps(book.bodies, ensure_ascii=False)
    machine = session.machine()
    runs = [run.run_id for run in machine.journal.runs()]
    journal = json.dumps([machine.get(run).context for run in runs], ensure_ascii=False, default=str)
    events = json.dumps([event.data for run in runs for event in machine.history(run)], default=str)
    recorded = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    for place in (sent, journal, events, recorded):
        assert CANARY not in place, [place[m.start() - 120 : m.end() + 40] for m in re.finditer(CANARY, place)][:6]
        assert str(NUMBER) not in place
        assert f"{1987}-06" not in place
    assert "fill Sparse[int64]" in sent
    assert "price float64" in sent, "columns and dtypes are told"
    assert "city category" in sent
    assert "KeyError" in sent, "an error's type is told"
    assert "frame: DataFrame 1 x 3" in sent


def test_with_values_the_same_notebook_tells_them(book: Any) -> None:
    book.session.namespace["text"] = f"{CANARY}text"
    book.session.cells.record("text = make()", cell_id="make", number=1)
    book.ask("Explain `text`.")
    assert CANARY in json.dumps(book.bodies)
