"""How fast definitions are found: parsing, the index in the data directory, a changed file, the notebook's cells.

    python tests/benchmarks/bench_index.py [PACKAGE …]

CPU milliseconds. Only files that a name leads to are read in earnest, so nothing waits for the whole of a package;
reading all of one shows what each file costs.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from agentnb.context.cells import CellIndex
from agentnb.context.files import FileIndex
from agentnb.storage import open_storage

CELL = "import math, json\n" + "".join(
    f"def f{{n}}_{i}(x, y={i}):\n    '''doc'''\n    z = math.sin(x)\n    return json.dumps([z, y])\n" for i in range(5)
)


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def sources(package: str) -> list[tuple[Path, str]]:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    files = sorted(root.rglob("*.py"))
    return [(file, ".".join(file.relative_to(root.parent).with_suffix("").parts)) for file in files]


def read_all(index: FileIndex, files: list[tuple[Path, str]]) -> int:
    parsed = [index.definitions(path, module=module) for path, module in files]
    return sum(len(file.lines) for file in parsed if file)


def files_table(packages: list[str]) -> None:
    files = [item for package in packages for item in sources(package)]
    lines = read_all(FileIndex(), files)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        memory = cpu(lambda: read_all(FileIndex(), files))
        cold = cpu(lambda: read_all(FileIndex(open_storage(home)), files))
        warm = cpu(lambda: read_all(FileIndex(open_storage(home)), files))
        path, module = max(files, key=lambda item: item[0].stat().st_size)
        changed = Path(folder) / path.name
        changed.write_bytes(path.read_bytes() + b"\nchanged = 1\n")
        one = cpu(lambda: FileIndex(open_storage(home)).definitions(changed, module=module))
        again = cpu(lambda: FileIndex(open_storage(home)).definitions(changed, module=module))
    print(f"{len(files)} files, {lines} lines of {', '.join(packages)}")
    print(f"  parse all, memory only   {memory:8.0f} ms   {memory / lines * 1000:.1f} ms per 1,000 lines")
    print(f"  parse all and store      {cold:8.0f} ms")
    print(f"  all in the next kernel   {warm:8.0f} ms")
    print(f"  largest file, changed    {one:8.1f} ms   {path.name}, {changed_lines(path)} lines")
    print(f"  the same, next kernel    {again:8.1f} ms")


def changed_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def cells_table(count: int = 1000) -> None:
    transform = TransformerManager().transform_cell
    cells = CellIndex(transform)

    def record_all() -> None:
        for n in range(count):
            cells.record(CELL.replace("{n}", str(n)), cell_id=str(n), number=n)

    every = cpu(record_all)
    one = cpu(lambda: cells.record(CELL.replace("{n}", "7") + "y = 1", cell_id="7", number=count))
    look = cpu(lambda: (cells.definitions()["f7_1"], cells.imports()))
    print(
        f"{count} cells of {CELL.count(chr(10))} lines: {every / count:.2f} ms each; one changed {one:.2f} ms, "
        f"first look after it {look:.2f} ms"
    )


if __name__ == "__main__":
    files_table(sys.argv[1:] or ["networkx", "jinja2", "IPython"])
    cells_table()
