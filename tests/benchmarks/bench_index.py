"""How fast definitions are found: the pass over packages, the next kernel, a changed file, a look-up, a changed cell.

    python tests/benchmarks/bench_index.py [PACKAGE …]

Each figure stands beside a baseline of the same run: `ast.parse` of the same files, `compile` of the same cell. CPU
milliseconds, medians of several runs but for the passes; "kernel" is the time that the user's own process loses.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve.files import FileIndex
from agentnb.context.resolve.indexer import Indexer, packages_in_use
from agentnb.context.resolve.indexing import listed
from agentnb.context.resolve.packages import PackageIndex

CELL = "import math, json\n" + "".join(
    f"def f{{n}}_{i}(x, y={i}):\n    '''doc'''\n    z = math.sin(x)\n    return json.dumps([z, y])\n" for i in range(5)
)
BODY = "".join(f"    y{i} = math.sin(x + {i}) if x else [y for y in range({i})]\n" for i in range(17))
NAMES = ("pagerank", "add_edge", "read_csv", "FileSystemLoader", "no_such_name")


def cpu(work: Callable[[], object], times: int = 1) -> float:
    """Milliseconds of this process, the median of `times` runs."""
    gc.collect()  # once: a collection goes through all there is, and leaves the processor's caches cold
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(1000 * (time.process_time() - start))
    return statistics.median(taken)


def children() -> float:
    """Milliseconds that the processes which have ended have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (used.ru_utime + used.ru_stime)


def row(what: str, figure: str, beside: str = "") -> None:
    print(f"  {what:<34}{figure:>22}   {beside}")


# packages -----------------------------------------------------------------------------------------------------------


def packages_table(packages: Sequence[str]) -> None:
    found = packages_in_use([name for name in packages if importlib.util.find_spec(name)], {})
    texts = [Path(path).read_bytes() for package in found.values() for path in listed(package)]
    lines = sum(text.count(b"\n") for text in texts)
    print(f"{', '.join(found)}: {len(texts):,} files, {lines:,} lines")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        before, began = children(), time.perf_counter()
        kernel = cpu(lambda: bring_up_to_date(home, found))
        wall, taken = time.perf_counter() - began, children() - before
        parsed = cpu(lambda: all(parse(text) for text in texts))
        row("cold pass, its own process", f"{taken:,.0f} ms", f"ast.parse of the same {parsed:,.0f} ms")
        row("", f"{len(texts) / wall:,.0f} files/s", f"{lines / wall / 1000:,.0f}k lines/s")
        row("the kernel meanwhile", f"{kernel:.1f} ms")
        warm = cpu(lambda: bring_up_to_date(home, found), 7)
        row("warm: a stat each and one query", f"{warm:.1f} ms", f"{warm / lines * 500_000:.1f} ms per 500k lines")
        alone, beside = meanwhile(Path(folder), found)
        row("a cell's work during a cold pass", f"{beside:.0f} ms", f"alone {alone:.0f} ms, {beside / alone:.2f}x")
        look_ups(home, found)


def bring_up_to_date(home: Path, found: dict[str, Path]) -> None:
    indexer = Indexer(PackageIndex(home))
    indexer.want(found)
    assert indexer.wait(600)
    indexer.stop()


def look_ups(home: Path, found: dict[str, Path]) -> None:
    index, roots = PackageIndex(home), list(found.values())
    index.named("warm up", roots)
    for name in NAMES:
        taken = cpu(lambda name=name: [index.named(name, roots) for _ in range(100)], 3) / 100  # type: ignore[misc]
        row(f"look-up of {name}", f"{taken:.3f} ms", f"{len(index.named(name, roots))} places")
    index.close()


def parse(text: bytes) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return True
    return True


def meanwhile(folder: Path, found: dict[str, Path]) -> tuple[float, float]:
    """Milliseconds on the clock that a cell of plain work takes: alone, and while a cold pass goes on."""
    alone = statistics.median(work() for _ in range(5))
    indexer = Indexer(PackageIndex(folder / "meanwhile"))
    indexer.want(found)
    work()  # until it is under way
    beside = []
    while indexer.busy and len(beside) < 5:
        beside.append(work())
    indexer.stop()
    return alone, statistics.median(beside)


def work() -> float:
    start = time.perf_counter()
    sum(i * i for i in range(2_000_000))
    return 1000 * (time.perf_counter() - start)


# one file -----------------------------------------------------------------------------------------------------------


def module_of(lines: int) -> str:
    functions = (f"def f{i}(x, y=1):\n    '''What {i} does.'''\n{BODY}    return y0\n\n\n" for i in range(lines // 22))
    return "import math\n\n\n" + "".join(functions)


def file_table(name: str, text: str) -> None:
    changed = text.replace("    return", "    changed = 1\n    return", 1) if name != "one long class" else text
    if changed == text:
        place = text.index(" = ", len(text) // 2)
        changed = f"{text[:place]} = changed{text[place:]}"
    with tempfile.TemporaryDirectory() as folder:
        path, home = Path(folder) / "module.py", Path(folder) / "home"
        path.write_text(text)
        index = FileIndex(PackageIndex(home))
        first = cpu(lambda: index.definitions(path, module="module"))
        alone = FileIndex()
        alone.definitions(path, module="module")
        gc.disable()
        baseline = cpu(lambda: ast.parse(text), 3)
        gc.enable()
        again = cpu(lambda: FileIndex(PackageIndex(home)).definitions(path, module="module"), 5)
        path.write_text(changed)
        fresh = PackageIndex(home)
        row_before = fresh.row(path)
        assert row_before is not None

        def in_the_next_kernel() -> None:
            FileIndex(PackageIndex(home)).definitions(path, module="module")

        one = []
        for _ in range(5):
            fresh.keep(row_before)  # what the last kernel knew
            one.append(cpu(in_the_next_kernel))
        here = cpu(lambda: alone.definitions(path, module="module"))
    print(f"{name}: {text.count(chr(10)):,} lines; ast.parse takes {baseline:.1f} ms")
    row("read for the first time", f"{first:.1f} ms")
    row("in the next kernel, unchanged", f"{again:.1f} ms")
    row(
        "in the next kernel, one change",
        f"{statistics.median(one):.1f} ms",
        f"{statistics.median(one) / baseline:.2f}x",
    )
    row("in the same kernel, one change", f"{here:.1f} ms", f"{here / baseline:.2f}x")


# cells --------------------------------------------------------------------------------------------------------------


def cells_table(count: int) -> None:
    cells = CellIndex(TransformerManager().transform_cell)
    number = iter(range(10**9))

    def changed(before: str = "") -> str:
        return f"{before}{CELL.replace('{n}', '7')}y = {next(number)}"

    def record_all() -> None:
        for n in range(count):
            cells.record(CELL.replace("{n}", str(n)), cell_id=str(n), number=n)

    def look(before: str = "") -> None:
        cells.record(changed(before), cell_id="7", number=count)
        assert cells.definitions()["f7_1"]
        assert cells.imports()["math"]

    compiled = cpu(lambda: compile(changed(), "cell", "exec"), 51)
    every = cpu(record_all) / count
    print(f"{count:,} cells of {CELL.count(chr(10))} lines; compile takes {compiled:.2f} ms a cell")
    row("each cell", f"{every:.2f} ms", f"{every / compiled:.1f}x")
    for what, before in (("one changed, and looked at", ""), ("with a magic line", "%matplotlib inline\n")):
        taken = cpu(lambda before=before: look(before), 51)  # type: ignore[misc]
        row(what, f"{taken:.2f} ms", f"{taken / compiled:.1f}x")


if __name__ == "__main__":
    packages_table(sys.argv[1:] or ["networkx", "jinja2", "IPython", "pandas"])
    import IPython.core.interactiveshell as shell

    file_table("one long class", Path(str(shell.__file__)).read_text())
    file_table("a module", module_of(4_000))
    file_table("a long module", module_of(20_000))
    for count in (100, 1_000, 5_000):
        cells_table(count)
