"""How long finding the context of a question takes: CPU milliseconds in a notebook of 100 cells and ten packages.

Each turn runs a cell, then asks: a real shell, the real agent, the simulator. What counts is the thread's own CPU time
from the question to the blocks that are sent: where the turn hangs, what changed, which cells and definitions go along.
A machine at work is up to twice as slow. So the same fixed work is timed before each turn, and both are told.
"""

from __future__ import annotations

import contextlib
import cProfile
import importlib.util
import io
import os
import pstats
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_questions import shell_of

from agentnb.agent.states.hydrating import Hydrating

GOAL = 30.0
"""Milliseconds of CPU at the 95th percentile."""
PACKAGES = {
    "pandas": "pd",
    "numpy": "np",
    "networkx": "nx",
    "matplotlib.pyplot": "plt",
    "scipy.stats": "stats",
    "sklearn.linear_model": "linear",
    "polars": "pl",
    "sqlalchemy": "sa",
    "jinja2": "jinja2",
    "json": "json",
}
CALLS = (
    "pd.read_csv(x)",
    "np.mean(x)",
    "nx.pagerank(x)",
    "plt.plot(x)",
    "stats.linregress(x, x)",
    "linear.Ridge(alpha=x)",
)
MODULE = (
    "class Base:\n    def fit(self, x):\n        self.check(x)\n        return x\n    def check(self, x): pass\n"
    + "".join(f"def tool_{i}(x):\n    '''Tool {i}.'''\n    return tool_{i + 1}(x) if x else x\n" for i in range(40))
)
QUESTIONS = (
    "Explain `step_{i}`, please.",
    "Why is the result of step_{i} so large?",
    "What does `tools.tool_{j}` do with `table`?",
    "Is `table.isna().sum()` right here?",
    "Fix the model `thick.fit` so that it takes step_{i}.",
    "Summarise what this notebook does.",
    "How does `pd.DataFrame.groupby` differ from `nx.pagerank`?",
    "Plot step_{i} over step_{j}.",
)
NOWHERE = "What is `no_such_name_{i}`?"
"""All packages in use are searched for such a name."""


OBJECTS = (
    ("numpy", "array = np.arange(12.0).reshape(3, 4)"),
    ("networkx", "graph = nx.path_graph(5)"),
    ("matplotlib.pyplot", "figure, axes = plt.subplots(); plt.close(figure)"),
    ("sklearn.linear_model", "ridge = linear.Ridge(alpha=0.5)"),
    ("polars", "frame = pl.DataFrame({'a': [1, 2]})"),
    ("sqlalchemy", "engine = sa.create_engine('sqlite://')"),
    ("jinja2", "template = jinja2.Template('{{ a }}')"),
)
"""A variable of each package: the notebook's own values say what `x.fit` may mean."""


def cells_of(folder: Path) -> list[str]:
    """A hundred cells: imports, variables of the packages, a class and its instance, functions that use each other."""
    (folder / "tools.py").write_text(MODULE)
    known = {name: short for name, short in PACKAGES.items() if importlib.util.find_spec(name.partition(".")[0])}
    cells = ["\n".join(f"import {name} as {short}" for name, short in known.items()) + "\nimport tools"]
    cells += ["table = pd.DataFrame({'a': [1, 2, 3], 'b': [1.5, None, 2.5]})" if "pandas" in known else "table = {}"]
    cells += [code for name, code in OBJECTS if name in known]
    cells += [
        "class Thick(tools.Base):\n    def check(self, x):\n        if x < 0: raise ValueError(x)\nthick = Thick()"
    ]
    calls = [call for call in CALLS if call.partition(".")[0] in known.values()]
    for i in range(100 - len(cells)):
        before = f"step_{i - 1}(x)" if i else "x"
        uses = (
            f"    y = {before}\n    z = tools.tool_{i % 40}(y)\n    return {calls[i % len(calls)]} if z is None else z"
        )
        cells.append(f"def step_{i}(x):\n{uses}")
    return cells


class Stopwatch:
    """CPU milliseconds of the thread that opens and fills turns."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.profile: cProfile.Profile | None = None

    def timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            begun = time.thread_time()
            try:
                return self.profile.runcall(work, *given) if self.profile else work(*given)
            finally:
                self.spent += 1000 * (time.thread_time() - begun)

        return run


def fixed_work() -> float:
    """Return the CPU milliseconds of work that never changes: words counted in a text, as plain Python does it."""
    begun, counts = time.thread_time(), dict[str, int]()
    for i in range(FIXED):
        word = f"word{i * 7919 % 9973}"
        counts[word] = counts.get(word, 0) + len(word)
    sorted(counts, key=counts.__getitem__)
    return 1000 * (time.thread_time() - begun)


FIXED = 30_000


@contextmanager
def watched() -> Iterator[Stopwatch]:
    watch, opening, fill = Stopwatch(), Hydrating.opening, Hydrating.fill
    Hydrating.opening, Hydrating.fill = watch.timed(opening), watch.timed(fill)  # type: ignore[method-assign]
    try:
        yield watch
    finally:
        Hydrating.opening, Hydrating.fill = opening, fill  # type: ignore[method-assign]


def main(turns: int = 80, *, show: bool = True, profile: bool = False) -> tuple[float, float, float]:
    """Return (median, 95th percentile) of a turn's milliseconds, and those of a name that is nowhere."""
    warnings.simplefilter("ignore")
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as home, watched() as watch:
        os.environ |= {"AGENTNB_HOME": f"{home}/data", "AGENTNB_MODEL": "sim:claude-sonnet-4-6"}
        os.environ |= {"AGENTNB_SIM_SPEED": "0"}
        sys.path.insert(0, home)
        shell, notebook = shell_of(Path(home))
        for source in cells_of(Path(home)):
            run_cell(shell, source)
        if profile:
            watch.profile = cProfile.Profile()
        taken, fixed = [], []
        for i in range(turns):
            run_cell(shell, f"result_{i % 7} = step_{i % 80}(0)")
            fixed.append(fixed_work())
            taken.append(turn(notebook, watch, QUESTIONS[i % len(QUESTIONS)].format(i=7 * i % 80, j=5 * i % 40), i))
        nowhere = turn(notebook, watch, NOWHERE.format(i=turns), turns)
        notebook.close()
        sys.path.remove(home)
        os.chdir(here)
    middle, high = statistics.median(taken), statistics.quantiles(taken, n=20)[18]
    if watch.profile:
        pstats.Stats(watch.profile).sort_stats("cumtime").print_stats(70)
    if show:
        print(f"{turns} turns; the first took {taken[0]:.0f} ms")
        print(f"median {middle:.1f} ms, 95th percentile {high:.1f} ms (goal {GOAL:g} ms), worst {max(taken):.1f} ms")
        print(f"a name that is nowhere: {nowhere:.0f} ms")
        shares = sorted(one / work for one, work in zip(taken, fixed, strict=True))
        by_work = f"median {statistics.median(shares):.2f}, 95th percentile {shares[int(0.95 * turns)]:.2f}"
        print(f"of fixed work, which took {statistics.median(fixed):.1f} ms: {by_work}")
    return middle, high, nowhere


def run_cell(shell: Any, source: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        shell.run_cell(source, store_history=True).raise_error()


def turn(notebook: Any, watch: Stopwatch, task: str, number: int) -> float:
    """One question asked and answered; the milliseconds until its blocks stood."""
    notebook.observe()
    session = notebook.session
    agent, run_id, watch.spent = session.agent(), session.new_run_id(), 0.0
    agent.begin(session.request(task, cell=f"ask-{number}", execution=str(number), tools=()), run_id)
    agent.drive(run_id)
    if agent.raised is not None:
        raise agent.raised
    return watch.spent


if __name__ == "__main__":
    main(profile="--profile" in sys.argv)
