"""How long the description of a variable takes, by kind: large tables, models, figures, databases. CPU milliseconds."""

from __future__ import annotations

import sqlite3
import statistics
import time
from typing import Any

from agentnb.context.values.description import describe
from agentnb.context.values.pictures import draw

GOAL = 20.0
"""Milliseconds that the description of one value may take."""


def values() -> dict[str, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    import duckdb
    import networkx
    import numpy
    import pandas
    import polars
    import scipy.sparse
    import sqlalchemy
    from matplotlib import pyplot
    from sklearn.ensemble import RandomForestClassifier

    numbers = numpy.random.default_rng(1)
    table = pandas.DataFrame(numbers.random((1_000_000, 12)))
    figure, axes = pyplot.subplots(2, 2)
    for one in axes.flat:
        one.plot(numbers.random(10_000), label="noise")
    file = sqlite3.connect(":memory:")
    for i in range(500):
        file.execute(f"CREATE TABLE t{i} (id INTEGER PRIMARY KEY, name TEXT, value REAL)")
    duck = duckdb.connect()
    duck.execute("CREATE TABLE t AS SELECT range AS a FROM range(1000)")
    labels = numbers.integers(0, 2, 500)
    return {
        "pandas, 1M x 12": table,
        "pandas, 40k x 12 with gaps": table.head(40_000).mask(table.head(40_000) < 0.1),
        "pandas, 50 x 20,000": pandas.DataFrame(numpy.zeros((50, 20_000))),
        "pandas series of texts": pandas.Series(["text"] * 500_000),
        "polars, 1M x 12": polars.DataFrame({str(i): numbers.random(1_000_000) for i in range(12)}),
        "numpy, 700 x 700": numbers.random((700, 700)),
        "numpy, 5,000 x 5,000": numpy.zeros((5000, 5000)),
        "scipy sparse": scipy.sparse.random(10_000, 10_000, density=0.001, format="csr", random_state=1),
        "networkx, 20k nodes": networkx.path_graph(20_000),
        "random forest": RandomForestClassifier(n_estimators=20).fit(numbers.random((500, 8)), labels),
        "matplotlib figure": figure,
        "sqlite3, 500 tables": file,
        "duckdb": duck,
        "SQLAlchemy engine": sqlalchemy.create_engine("sqlite://"),
        "dict of 1M": dict.fromkeys(range(1_000_000), "value"),
        "set of 1,000": set(map(str, range(1000))),
        "nested lists": [[[i, [i]] for i in range(1000)] for _ in range(1000)],
        "text of 10 MB": "line of text\n" * 800_000,
    }


def milliseconds(value: Any, times: int = 5) -> tuple[float, float]:
    """(the first description, the median of the next ones)."""
    taken = []
    for _ in range(times + 1):
        started = time.process_time()
        describe("v", value)
        taken.append(1000 * (time.process_time() - started))
    return taken[0], statistics.median(taken[1:])


def main() -> None:
    print("| value | first, ms | again, ms |\n|---|---:|---:|")
    found = values()
    worst = 0.0
    for name, value in found.items():
        first, again = milliseconds(value)
        worst = max(worst, first)
        print(f"| {name} | {first:.1f} | {again:.1f} |")
    print(f"\nworst {worst:.1f} ms; the goal is {GOAL:g} ms each")
    drawn = draw(found["matplotlib figure"], text="")
    assert drawn is not None
    print(f"its picture, made only when a task names it: {1000 * drawn.seconds:.0f} ms")


if __name__ == "__main__":
    main()
