"""What it costs to record what every cell runs: `%config AgentNB.trace = True`, Python 3.12 or later.

    python tests/benchmarks/bench_trace.py [ROUNDS]

The same work with and without recording, in turn, in one process; CPU time. The ratio is the median over the rounds of
(with / without) of neighbours, so that what else the machine does falls out. The workloads take 0.1 to 1 s each, as
cells do that make anybody ask. What it costs grows with the number of different functions, about 4 µs each, and not
with the number of calls: a cell that runs for less than a tenth of a second in many functions pays more than 3 %.
"""

from __future__ import annotations

import gc
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable

from agentnb.context.notebook.trace import Recording, Watch, is_users, unavailable


def fibonacci() -> None:
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    fib(29)


def methods() -> None:
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def step(self, by: int) -> int:
            self.n += by
            return self.n

    counter = Counter()
    for i in range(1_500_000):
        counter.step(i)


def graphs() -> None:
    import networkx as nx

    nx.betweenness_centrality(nx.gnp_random_graph(180, 0.1, seed=1))


def frames() -> None:
    import pandas as pd

    table = pd.DataFrame({"a": range(1000), "b": [i % 7 for i in range(1000)]})
    for _ in range(160):
        table.groupby("b").agg({"a": "mean"}).reset_index().merge(table, on="b").sort_values("b")


def parsing() -> None:
    import ast
    import inspect

    text = inspect.getsource(ast) * 2
    for _ in range(4):
        ast.unparse(ast.parse(text))


def nothing() -> None:
    pass


def cpu(work: Callable[[], None]) -> float:
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def recorded(work: Callable[[], None]) -> Callable[[], None]:
    def cell() -> None:
        watch = Watch(Recording(is_users))
        watch.start()
        work()
        watch.stop()

    return cell


def ratio(work: Callable[[], None], rounds: int) -> tuple[float, float]:
    """(median of with / without, seconds without). The order of the two changes from round to round."""
    work()
    ratios, plain = [], []
    for number in range(rounds):
        pair = [work, recorded(work)] if number % 2 else [recorded(work), work]
        times = [cpu(item) for item in pair]
        without, with_it = times if number % 2 else times[::-1]
        ratios.append(with_it / without)
        plain.append(without)
    return statistics.median(ratios), statistics.median(plain)


def fixed(rounds: int = 2000) -> float:
    """Microseconds that recording adds to a cell that does nothing."""
    return 1e6 * (cpu(lambda: [recorded(nothing)() for _ in range(rounds)] and None) / rounds)


def main(rounds: int) -> dict[str, float]:
    works = [fibonacci, methods, parsing]
    works += [work for work, name in ((graphs, "networkx"), (frames, "pandas")) if importlib.util.find_spec(name)]
    print(f"Python {sys.version.split()[0]}, {rounds} rounds")
    found = {}
    for work in works:
        found[work.__name__], seconds = ratio(work, rounds)
        print(f"{work.__name__:10} {seconds:6.2f} s   x{found[work.__name__]:.3f}")
    print(f"median     x{statistics.median(found.values()):.3f};   an empty cell {fixed():.0f} µs")
    return found


if __name__ == "__main__":
    why = unavailable()
    if why:
        print(f"skipped: {why}")
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
