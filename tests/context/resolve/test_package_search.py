"""Searching packages for a name that nothing in the notebook leads to: what it finds, and that it never waits."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import networkx
import pytest

from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve import package_search
from agentnb.context.resolve.package_search import PackageSearch, packages_in_use
from agentnb.context.resolve.resolution import Resolver, Unresolved
from agentnb.context.resolve.text import Texts
from agentnb.context.selection import select

SOURCES = {
    "tides/__init__.py": "from .model import Model\n",
    "tides/model.py": """
        RATE = 2
        class Model:
            size = 1
            def fit(self): return RATE
            def __repr__(self): return "m"
        def harmonic_mean(x): return x
        def _hidden_helper(): pass
        def both_of_them(): pass
    """,
    "tides/deep/waves.py": "async def crest_height(x): return x\ndef both_of_them(): pass\n",
    "tides/tests/test_model.py": "def harmonic_mean(): pass\ndef test_only_here(): pass\n",
}


@pytest.fixture
def package(write: Callable[[str, str], Path], project: Path) -> Path:
    for path, text in SOURCES.items():
        write(path, text)
    write("tides/deep/__init__.py", "")
    return project / "tides"


@pytest.fixture
def resolve(package: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """The source of what a name means to a notebook that has only imported `tides`, or why it means nothing."""
    monkeypatch.syspath_prepend(str(package.parent))
    cells = CellIndex(str)
    cells.record("import tides", cell_id="a", number=1)

    def source_of(name: str) -> object:
        found = Resolver(cells=cells, namespace={"fit": 3}, patience=0).resolve(name)
        return found.reason if isinstance(found, Unresolved) else found.source

    return source_of


def names(name: str, package: Path) -> list[str]:
    return PackageSearch(Texts(), {"tides": package}).candidates(name)


def test_names_lead_to_the_place_that_most_likely_is_meant(package: Path) -> None:
    assert names("harmonic_mean", package) == ["tides.model.harmonic_mean"]
    assert names("test_only_here", package) == ["tides.tests.test_model.test_only_here"]
    assert names("fit", package) == names("Model.fit", package) == ["tides.model.Model.fit"]
    assert names("RATE", package) == ["tides.model.RATE"]
    assert names("_hidden_helper", package) == ["tides.model._hidden_helper"]
    assert names("both_of_them", package) == ["tides.deep.waves.both_of_them", "tides.model.both_of_them"]
    assert names("Other.fit", package) == names("fi", package) == names("size", package) == []


def test_the_packages_in_use_are_those_of_cells_and_of_the_namespace_s_modules(package: Path) -> None:
    cells = CellIndex(str)
    cells.record(
        "import networkx.algorithms as a\nfrom tides.deep import *\nimport math, no_such_thing", cell_id="a", number=1
    )
    found = packages_in_use(cells.imported(), {"js": sys.modules["textwrap"], "_os": os, "x": 3}, [package.parent])
    home = Path(networkx.__file__).parent
    assert found == {"networkx": home, "textwrap": Path(textwrap.__file__), "tides": package}


def test_what_is_found_is_the_file_s_present_text(resolve: Callable[..., object], package: Path) -> None:
    assert resolve("crest_height") == "async def crest_height(x): return x"
    waves = package / "deep" / "waves.py"
    waves.write_text("# moved down\n\ndef crest_height(x): return 2 * x\n")
    assert resolve("crest_height") == "def crest_height(x): return 2 * x"
    for change in (lambda: waves.write_text("def renamed(): pass\n"), waves.unlink, waves.mkdir):
        change()
        assert resolve("crest_height") == "there is no definition called crest_height here"


def test_several_that_are_as_likely_are_told_by_name(resolve: Callable[..., object]) -> None:
    assert (
        resolve("both_of_them") == "both_of_them is ambiguous: tides.deep.waves.both_of_them, tides.model.both_of_them"
    )
    assert resolve("fit") == "fit is a variable: it has a value, not a definition"


def test_only_a_name_that_is_asked_for_is_searched_for(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package.parent))
    cells = CellIndex(str)
    cells.record("import tides", cell_id="a", number=1)
    resolver = Resolver(cells=cells, namespace={}, patience=0)

    def chosen(task: str) -> list[str]:
        return [item.definition.name for item in select(task, resolver, count=len).chosen]

    assert chosen("What does `crest_height` do?") == ["tides.deep.waves.crest_height"]
    assert chosen("Use harmonic_mean, and both_of_them and crest_height.") == []


def test_a_page_of_names_is_searched_for_only_in_part(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(package_search, "_listed", lambda root, tests: asked.append(str(root)) or {})
    search = PackageSearch(Texts(), {"tides": package})
    for number in range(100):
        assert search.likeliest(f"name_{number}") is None
    assert len(asked) == package_search.SEARCHES


def test_nothing_on_a_disk_stops_the_search(package: Path) -> None:
    (package / "loop").symlink_to(package)
    (package / "gone.py").symlink_to(package / "nowhere.py")
    (package / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\ndef crest_height_2(): return '\xe9'\n")
    (package / "broken.py").write_text("def crest_height_3(:\n    pass\n\ndef other_3(): pass\n")
    (package / "nul.py").write_bytes(b"def crest_height_4(): pass\n\0")
    if hasattr(os, "mkfifo"):
        os.mkfifo(package / "pipe.py")
    assert names("crest_height_2", package) == ["tides.latin.crest_height_2"]
    assert names("crest_height_3", package) == ["tides.broken.crest_height_3"]
    assert names("crest_height_4", package) == ["tides.nul.crest_height_4"]
    assert names("crest_height", package) == ["tides.deep.waves.crest_height"]


def test_a_file_without_end_and_what_lies_beyond_the_limit_are_left_out(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_search, "FILE_BYTES", 1000)
    (package / "data.py").write_text("TABLE = [\n" + "    0,\n" * 1000 + "]\ndef behind_the_data(): pass\n")
    assert names("behind_the_data", package) == []
    monkeypatch.setattr(package_search, "TOTAL_BYTES", 10)
    assert names("crest_height", package) == []


def test_a_search_ends_when_its_time_is_over(package: Path) -> None:
    ticks = iter([0.0, 0.001, 0.001, *(package_search.SECONDS + 1 for _ in range(1000))])
    search = PackageSearch(Texts(), {"tides": package}, clock=lambda: next(ticks))
    assert search.likeliest("crest_height") is None  # it stands in the third file
    assert search.likeliest("harmonic_mean") is None  # there is no time left for another name


def test_half_a_million_lines_are_searched_in_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a third of a second where nothing else runs; a busy machine takes several times as much."""
    monkeypatch.setattr(package_search, "SECONDS", 60.0)
    package = tmp_path / "vast"
    package.mkdir()
    text = "".join(f"def f{i}(x):\n    return [x + {i} for _ in range(3)]\n" for i in range(250))
    for number in range(1000):
        (package / f"m{number}.py").write_text(text)
    (package / "last.py").write_text("def a_needle(): pass\n")
    search = PackageSearch(Texts(), {"vast": package}, clock=time.thread_time)  # the machine may be busy
    before = time.process_time()
    assert search.candidates("a_needle") == ["vast.last.a_needle"]
    assert time.process_time() - before < 3
