"""Which of the user's own modules a notebook uses, and what of their outlines fits."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve.outlines import Outline, fitted, modules_in_use, text_of
from agentnb.context.static.definitions import Line
from agentnb.context.static.scanner import parse_definitions

FILES = {
    "outlined/__init__.py": "from outlined.models import Order\nfrom outlined import rates as r\nimport json\n",
    "outlined/models.py": "from outlined import unused\nclass Order: ...\n",
    "outlined/rates.py": "def rate(): ...\n",
    "outlined/unused.py": "x = 1\n",
    "outlined/deep/__init__.py": "",
    "outlined/deep/er.py": "from outlined.models import Order\ndef made(): return Order()\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("outlined.deep.er")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "outlined"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["import outlined"], ["outlined"]),
        (["import outlined.rates"], ["outlined", "outlined.rates"]),
        (
            ["import outlined.rates", "import outlined.deep.er"],
            ["outlined", "outlined.deep", "outlined.deep.er", "outlined.rates"],
        ),
        (["from outlined import rates as q"], ["outlined", "outlined.rates"]),
        (["from outlined import Order"], ["outlined", "outlined.models"]),
        (["from outlined.rates import rate"], ["outlined", "outlined.rates"]),
        (["import outlined as o", "o.rates.rate()"], ["outlined", "outlined.rates"]),
        (["import outlined as o", "o.r.rate()"], ["outlined", "outlined.rates"]),
        (["import outlined as o", "x = 'no.outlined'\ny.o.rates"], ["outlined"]),
        (
            ["from outlined.deep.er import *", "order = made()"],
            ["outlined", "outlined.deep", "outlined.deep.er", "outlined.models"],
        ),
        (["import json"], []),
    ],
)
def test_the_modules_in_use_are_those_that_cells_lead_to(package: Path, cells: list[str], found: list[str]) -> None:
    index = CellIndex(lambda text: text)
    namespace: dict[str, Any] = {}
    for number, source in enumerate(cells):
        index.record(source, cell_id=str(number), number=number)
        if "y.o" not in source:
            exec(source, namespace)
    used = modules_in_use(index, namespace, _is_own)
    assert list(used) == found, "a module that only another one uses is not among them"


def _is_own(module: ModuleType) -> bool:
    return module.__name__.partition(".")[0] == "outlined"


def test_an_outline_has_the_public_signatures_and_what_a_package_passes_on() -> None:
    source = '''"""About it."""
from pkg.inner import Helper, _private
from json import dumps
LIMIT = 3
_HIDDEN = 4
class Model(Helper):
    """A model.

    More.
    """
    def fit(self, data,
            rate=1): return data
    def _step(self): ...
    @property
    def size(self): return 1
async def load(path: str) -> Model:
    """Loads."""
class Plain:
    x = 1
'''
    found = parse_definitions(source, module="pkg", file="pkg/__init__.py")
    text = text_of(found.outline)
    assert (
        text
        == '''"""About it."""
LIMIT = 3
class Model(Helper):
    """A model."""
    def fit(self, data, rate=1): ...
    @property def size(self): ...
async def load(path: str) -> Model: ...  """Loads."""
class Plain:
    x = 1
from pkg.inner import Helper'''
    )
    names = [line.name for line in found.outline]
    assert names == ["__doc__", "LIMIT", "Model", "Model.fit", "Model.size", "load", "Plain", "Plain.x", "Helper"]


names = st.sampled_from([f"{kind}{i}" for kind in ("f", "A.m", "C") for i in range(6)])
lines = st.builds(Line, name=names, text=st.sampled_from(["def f(x): ...", "X = 1", "def long(" + "x" * 60]))
outlines = st.lists(
    st.builds(
        Outline,
        module=st.sampled_from(["a", "b", "c", "d"]),
        file=st.just("f.py"),
        lines=st.lists(lines, unique_by=lambda line: line.name, max_size=12).map(tuple),
    ),
    unique_by=lambda outline: outline.module,
)


@given(
    outlines=outlines, room=st.integers(0, 500), wanted=st.frozensets(names), order=st.randoms(use_true_random=False)
)
def test_what_fits_is_bounded_in_the_files_order_and_independent_of_the_order_of_modules(
    outlines: list[Outline], room: int, wanted: frozenset[str], order: Any
) -> None:
    kept = fitted(outlines, room=room, wanted=wanted, held={})
    assert sum(outline.size for outline in kept) <= room
    for outline in kept:
        whole = next(other for other in outlines if other.module == outline.module)
        assert list(outline.lines) == [line for line in whole.lines if line in outline.lines]
        assert outline.partial == (outline.lines != whole.lines)
    if sum(outline.size for outline in outlines) <= room:
        assert not any(outline.partial for outline in kept)
    order.shuffle(outlines)
    assert fitted(outlines, room=room, wanted=wanted, held={}) == kept


@given(outlines=outlines, room=st.integers(0, 500), held=st.frozensets(names))
def test_a_line_that_was_sent_stays_whatever_the_room(outlines: list[Outline], room: int, held: frozenset[str]) -> None:
    kept = fitted(outlines, room=room, wanted=frozenset(), held={outline.module: held for outline in outlines})
    for before, after in zip(sorted(outlines, key=lambda outline: outline.module), kept, strict=True):
        assert {line.name for line in after.lines} >= held & {line.name for line in before.lines}


def test_members_without_their_class_are_told_below_its_name() -> None:
    given = [Line(name="A.f", text="def f(self): ..."), Line(name="g", text="def g(): ...")]
    text = text_of(given)
    assert text == "class A:  # …\n    def f(self): ...\ndef g(): ..."
    ast.parse(text)
