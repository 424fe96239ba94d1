"""How long finding the context of a question takes: CPU milliseconds in a notebook of 100 cells and ten packages."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from agentnb.agent.kernel_context import Hydrator
from agentnb.agent.scrubber import Scrubber
from agentnb.context.notebook.cells import CellIndex
from agentnb.prompt.blocks import receipt_entry

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


def count(text: str) -> int:
    return len(text) // 4 + 1


def notebook(folder: Path) -> tuple[CellIndex, dict[str, Any]]:
    """A hundred cells that ran: imports, functions that use each other and the packages, a class and its instance."""
    (folder / "tools.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    known = {name: short for name, short in PACKAGES.items() if importlib.util.find_spec(name.partition(".")[0])}
    cells = ["\n".join(f"import {name} as {short}" for name, short in known.items()) + "\nimport tools"]
    cells += [
        "table = {'a': [1, 2], 'b': [3, None]}" if "pd" not in known.values() else "table = pd.DataFrame({'a': [1]})"
    ]
    cells += [
        "class Thick(tools.Base):\n    def check(self, x):\n        if x < 0: raise ValueError(x)\nthick = Thick()"
    ]
    calls = [call for call in CALLS if call.partition(".")[0] in known.values()]
    for i in range(97):
        before = f"step_{i - 1}(x)" if i else "x"
        uses = f"    y = {before}\n    z = tools.tool_{i % 40}(y)\n    return z or {calls[i % len(calls)]}"
        cells.append(f"def step_{i}(x):\n{uses}")
    index, namespace = CellIndex(str), {"__name__": "__main__"}
    for number, source in enumerate(cells, 1):
        index.record(source, cell_id=f"cell-{number}", number=number)
        file = f"/tmp/ipykernel_7/{number}.py"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        exec(compile(source, file, "exec"), namespace)
    return index, namespace


def main(turns: int = 80, *, show: bool = True) -> tuple[float, float, float]:
    """Return (median, 95th percentile) of a turn's milliseconds, and those of a name that is nowhere.

    One cell runs again before each turn; what the thread holds is compared twice, as a turn does.
    """
    folder = Path(tempfile.mkdtemp())
    cells, namespace = notebook(folder)
    hydrator = Hydrator(cells=cells, namespace=namespace, scrub=Scrubber(), project=folder)
    held: dict[str, dict[str, Any]] = {}

    def took(task: str, turn: int) -> float:
        cells.record(f"result = step_{turn}(1)", cell_id=f"new-{turn}", number=101 + turn)
        started = time.process_time()
        hydrator.refresh(held, count)
        found = hydrator.select(task, mode="auto", count=count, budget=4000)
        hydrator.describe_values(task, mode="auto")
        hydrator.refresh(held, count)
        held.update((chosen.definition.name, receipt_entry(chosen)) for chosen in found.chosen)
        return 1000 * (time.process_time() - started)

    taken = [took(QUESTIONS[i % len(QUESTIONS)].format(i=7 * i % 97, j=5 * i % 40), i) for i in range(turns)]
    nowhere = took(NOWHERE.format(i=turns), turns)
    middle, high = statistics.median(taken), statistics.quantiles(taken, n=20)[18]
    if show:
        print(f"{turns} turns, {len(held)} definitions held at the end; the first took {taken[0]:.0f} ms")
        print(f"median {middle:.1f} ms, 95th percentile {high:.1f} ms (goal {GOAL:g} ms), worst {max(taken):.1f} ms")
        print(f"a name that is nowhere: {nowhere:.0f} ms")
    return middle, high, nowhere


if __name__ == "__main__":
    main()
