"""The index of packages as a session uses it: from the first task on, in the background, for what cells refer to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def tides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that can be imported, with a function that no import leads to."""
    package = tmp_path / "lib" / "tidal_things"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("def top(): pass\n")
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "waves.py").write_text("def crest_height(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "tidal_things", raising=False)
    return package


def test_a_name_deep_in_a_package_that_a_cell_imports_reaches_the_model(book: Any, tides: Path) -> None:
    book.cell("import tidal_things")
    indexer = book.session.indexer
    assert not indexer.busy, "nothing begins before a task asks"
    assert not indexer.index.database.exists()
    assert book.ask("What does `crest_height` do?").state == "COMPLETED"  # it did not wait
    assert indexer.wait(30)
    assert [str(item) for item in indexer.progress()] == ["index: tidal_things, 3 files"]
    assert book.session.indexing() == ""
    run = book.ask("What does `crest_height` do?")
    assert [item["name"] for item in run.receipt["definitions"]] == ["tidal_things.deep.waves.crest_height"]
    assert "return 2 * x" in str(book.bodies[-1]["messages"])


def test_the_index_can_be_turned_off(book: Any, tides: Path) -> None:
    book.session.settings = book.session.settings.with_changes(index=False)
    book.cell("import tidal_things")
    book.ask("Hello")
    assert not book.session.indexer.busy
    assert not book.session.indexer.index.database.exists()


def test_what_changes_in_the_project_is_known_at_the_next_task(book: Any, tides: Path) -> None:
    book.session.project = tides.parent
    book.cell("import tidal_things")
    book.ask("Hello")
    assert book.session.indexer.wait(30)
    (tides / "more.py").write_text("def ebb_depth(x): return x\n")
    book.ask("Hello again")
    assert book.session.indexer.wait(30)
    assert [place.qualified for place in book.session.indexer.named("ebb_depth")] == ["ebb_depth"]


def test_closing_the_session_ends_the_pass(book: Any, tides: Path) -> None:
    book.cell("import networkx, tidal_things")
    book.ask("Hello")
    indexer = book.session.indexer
    book.session.close()
    assert not indexer.busy
