"""The same project gives the same bytes on any machine: other paths, hash seeds, process ids, line ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.cells import CellIndex
from agentnb.context.resolution import Resolver
from agentnb.context.selection import render, select

SCRIPT = """
import sys
from pathlib import Path
from agentnb.context.cells import CellIndex
from agentnb.context.resolution import Resolver
from agentnb.context.selection import render, select
from agentnb.context.values import describe
project = Path(sys.argv[1])
sys.path.insert(0, str(project))
cells = CellIndex(lambda text: text)
cell = "import shop\\nfrom shop.stock import Item\\ndef total(items):\\n    return shop.add(items)\\n"
cell += "basket = {'b', 'a', 'c'}\\n"
cells.record(cell, cell_id=None, number=1)
namespace = {"__name__": "__main__"}
exec(compile(cell, f"/tmp/ipykernel_{sys.argv[2]}/1.py", "exec"), namespace)
resolver = Resolver(cells=cells, namespace=namespace, project=project)
selection = select("`total` and shop.stock.Item, Item.price and basket", resolver, count=len, budget=9000)
out = "\\n".join(render(item) + item.reason for item in selection.chosen)
out += repr((selection.left_out, selection.notes)) + describe("basket", namespace["basket"])
sys.stdout.buffer.write(out.encode())
"""
STOCK = """import math
RATE = 2


class Item:
    '''One.'''

    def price(self):
        return math.floor(RATE)


def add(items):
    return sum(item.price() for item in items)
"""
FILES = {"shop/__init__.py": "from .stock import *\n", "shop/stock.py": STOCK}


def output(root: Path, *, seed: str, newline: str, locale: str) -> bytes:
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.replace("\n", newline).encode())
    environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": "Asia/Tokyo" if seed == "1" else "UTC"}
    command = [sys.executable, "-c", SCRIPT, str(root), seed]
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    first = output(tmp_path / "one", seed="1", newline="\n", locale="C")
    assert b"shop/stock.py" in first
    assert str(tmp_path).encode() not in first
    for i, newline in enumerate(["\n", "\r\n", "\r"], 2):
        root = tmp_path / ("deeper/" * i) / f"päth {i}"
        assert output(root, seed=str(i), newline=newline, locale="C.UTF-8") == first


CELLS = {
    "a": "import math",
    "b": "import json",
    "c": "from os import sep, path",
    "d": "RATE = 2",
    "e": "def helper(x):\n    return math.floor(x) * RATE",
    "f": "class Model:\n    def fit(self, x):\n        return helper(json.dumps(path.join(x, sep)))",
}


@given(order=st.permutations(list(CELLS)), again=st.lists(st.sampled_from(list(CELLS)), max_size=4), ends=st.booleans())
def test_the_order_in_which_cells_ran_changes_nothing(order: list[str], again: list[str], ends: bool) -> None:
    def rendered(names: list[str], newline: str) -> list[str]:
        cells = CellIndex(str)
        for number, name in enumerate(names):
            cells.record(CELLS[name].replace("\n", newline), cell_id=name, number=number)
        resolver = Resolver(cells=cells, namespace={})
        return [render(item) for item in select("`Model`", resolver, count=len, budget=9000).chosen]

    expected = rendered(sorted(CELLS), "\n")
    assert len(expected) == 3
    assert rendered([*order, *again], "\r\n" if ends else "\n") == expected
