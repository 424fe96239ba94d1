"""The same project gives the same bytes on any machine: other paths, hash seeds, process ids, line ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve.resolution import Resolver
from agentnb.context.selection import render, select
from agentnb.prompt.blocks import Project, semi_static_block
from agentnb.prompt.project_parts import Part

SCRIPT = """
import sys
from pathlib import Path
from agentnb.context.notebook.cells import CellIndex
from agentnb.context.notebook.tracebacks import describe_failure
from agentnb.context.resolve.resolution import Resolver
from agentnb.context.selection import render, select
from agentnb.context.values.description import describe
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
nested = [{('a', 'b'), frozenset('xyz'), None, 1.5}, {frozenset('pq'): {'m', 'n'}}, object(), len, {object(), object()}]
out += describe("nested", nested) + describe("view", {'b', 'a'}.__iter__()) + describe("now", project / "shop")
try:
    raise KeyError(frozenset('abc'), object())
except KeyError as error:
    out += describe_failure(error, project=project)
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


PROJECT = """
import sys
from pathlib import Path
from agentnb.context.notebook.cells import CellIndex
from agentnb.context.redaction.redactor import redact
from agentnb.prompt.blocks import TurnParts, semi_static_block, turn_blocks
from agentnb.prompt.thread import held_definitions
from agentnb.agent.kernel_context import Hydrator, Observed
from agentnb.agent.hydration.project_context import Pins
from agentnb.agent.scrubber import Scrubber
project = Path(sys.argv[1])
sys.path.insert(0, str(project))
cells = CellIndex(lambda text: text)
cell = "import shop.stock\\nimport shop\\nimport json\\nfrom shop.stock import add\\nkeys = {'b', 'a'}\\n"
cell += "def broken(a):\\n    return add(a)\\n"
cells.record(cell, cell_id="c1", number=int(sys.argv[2]))
space = {"__name__": "__main__"}
exec(compile(cell, f"/tmp/ipykernel_{sys.argv[2]}/{sys.argv[2]}.py", "exec"), space)
space.update(where=project / "shop", when=__import__("datetime").datetime(2026, 1, 2), one=object(), f=lambda: 0)
try:
    space["broken"](5)
except TypeError as error:
    observed = Observed(error=error)
schemas = {"z": "CREATE TABLE z", "y": "CREATE TABLE y"}
pins = Pins(files=[str(project / "b.sql"), str(project / "a.sql")], schemas=schemas)
if sys.argv[2] == "2":
    pins = Pins(files=pins.files[::-1], schemas=dict(reversed(pins.schemas.items())))
hydrator = Hydrator(cells=cells, namespace=space, scrub=Scrubber(), project=project, pins=pins, observed=observed)
block = semi_static_block(hydrator.snapshot(len, folded={}))
task = "Why does `broken` fail? See keys, where, when, one, f and cells."
selection = hydrator.select(task, mode="auto", count=len, budget=9000)
parts = TurnParts(
    task=task, selection=selection, values=hydrator.describe_values(task, mode="auto"),
    failure=hydrator.failure(mode="auto", selection=selection), parts=hydrator.parts(len),
)
out = block.canonical + b"".join(one.canonical for one in turn_blocks(parts, held_definitions([block])))
sys.stdout.buffer.write(out)
"""


@pytest.mark.slow
def test_project_section_and_turn_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    """Packages, tree, outlines, added files, schemas, values and a failure: by path, hash seed, process id, time zone,
    locale, line ends, file times, and the order in which things were pinned."""
    files = {
        **FILES,
        "a.sql": "CREATE TABLE a (\n  id INT\n);\n",
        "b.sql": "CREATE TABLE b (id INT);\n",
        "notes.md": "x\n",
    }
    seen = set()
    for i, (newline, locale) in enumerate([("\n", "C"), ("\r\n", "C.UTF-8"), ("\n", "C.UTF-8")], 1):
        root = tmp_path / ("deeper/" * i) / f"päth {i}"
        for name in sorted(files, reverse=i == 2):
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(files[name].replace("\n", newline).encode())
            os.utime(file, (i * 1e8, i * 1e8))
        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(i),
            "LC_ALL": locale,
            "TZ": "Asia/Tokyo" if i == 1 else "UTC",
        }
        command = [sys.executable, "-X", "utf8", "-c", PROJECT, str(root), str(i)]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        assert str(tmp_path).encode() not in done.stdout
        assert b"ipykernel" not in done.stdout
        seen.add(done.stdout)
    (text,) = seen
    for part in (
        b"shop/stock.py",
        b"CREATE TABLE a (",
        b"CREATE TABLE y",
        b"{'a', 'b'}",
        b"notes.md",
        b"def add(items)",
    ):
        assert part in text, part


part_texts = st.text(alphabet=st.sampled_from('ab\n <>&/"é'), max_size=20)


@given(
    packages=st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1.0", "2.1", ""]), max_size=5),
    parts=st.lists(
        st.builds(
            Part,
            kind=st.sampled_from(["file", "outline", "schema"]),
            file=st.sampled_from("xyz"),
            text=part_texts,
            tokens=st.just(1),
        ),
        unique_by=lambda part: part.name,
        max_size=6,
    ),
    order=st.randoms(use_true_random=False),
)
def test_any_order_of_the_same_parts_gives_the_same_project_section(
    packages: Any, parts: list[Part], order: Any
) -> None:
    def made(names: list[str], of: list[Part]) -> bytes:
        block = semi_static_block(Project(packages={name: packages[name] for name in names}, parts=tuple(of)))
        return block.canonical if block else b""

    names, shuffled = list(packages), list(parts)
    first = made(names, shuffled)
    order.shuffle(names)
    order.shuffle(shuffled)
    assert made(names, shuffled) == first
    for part in parts:
        rendered = part.render()
        assert rendered.count(f"</{part.kind}") == 1, "no text closes its own part"
