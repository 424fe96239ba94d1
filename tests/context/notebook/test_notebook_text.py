"""The notebook's own text: Markdown in its place, cells that have not run, edits and deletions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentnb.context.notebook.cell_runs import CellLog
from agentnb.context.notebook.notebook_text import NotebookText, parts_of, saved_path, saved_text, text_of


def notebook(*cells: tuple[str, str, str]) -> dict[str, Any]:
    made = [{"id": name, "cell_type": kind, "source": text, "outputs": []} for name, kind, text in cells]
    return {"nbformat": 4, "cells": made}


CELLS = (
    ("m1", "markdown", "# Sales\nof half a year"),
    ("c1", "code", "a = 1"),
    ("m2", "markdown", "## Growth"),
    ("c2", "code", "b = a"),
    ("ask", "code", "%%agent\nExplain."),
    ("c3", "code", "later = 1"),
)


def texts(text: NotebookText, log: CellLog, asking: str = "ask") -> list[str]:
    return [part.text for part in parts_of(text, log.runs, asking=asking)]


def test_markdown_stands_above_its_cell_and_what_has_not_run_is_told_so() -> None:
    text = text_of(notebook(*CELLS), str, live=True)
    assert text is not None
    log = CellLog()
    log.record("a = 1", cell="c1", number=4)
    assert texts(text, log) == [
        '<markdown above="cell 4">\n# Sales\nof half a year\n</markdown>',
        "<markdown>\n## Growth\n</markdown>",
        '<cell state="not run">\nb = a\n</cell>',
    ]
    assert [cell.cell for cell in text.above("ask")] == ["m1", "c1", "m2", "c2"]


def test_only_the_front_end_knows_of_edits_and_deletions() -> None:
    log = CellLog()
    log.record("a = 7", cell="c1", number=4)
    log.record("gone = 1", cell="c9", number=5)
    for live in (True, False):
        text = text_of(notebook(*CELLS), str, live=live)
        assert text is not None
        told = "\n".join(texts(text, log))
        assert ('number="4" state="edited since it ran; not run as it is now"' in told) is live
        assert ('<cell number="5" state="deleted from the notebook"/>' in told) is live


def test_a_saved_notebook_is_found_and_read(tmp_path: Path) -> None:
    path = tmp_path / "book.ipynb"
    assert saved_text(path, str) is None
    path.write_text("{")
    assert saved_text(path, str) is None
    path.write_text(json.dumps(notebook(*CELLS)))
    found = saved_text(path, str)
    assert found is not None
    assert not found.live
    assert saved_path({"JPY_SESSION_NAME": str(path)}, {}) == path
    assert saved_path({}, {"__vsc_ipynb_file__": str(path)}) == path
    assert saved_path({"JPY_SESSION_NAME": "console-1"}, {"__vsc_ipynb_file__": 3}) is None


def test_of_very_much_text_the_headings_are_told() -> None:
    long = notebook(("m", "markdown", "# One\n" + "words\n" * 3000 + "## Two"))
    text = text_of(long, str, live=False)
    assert text is not None
    assert texts(text, CellLog()) == ["<markdown>\n# One\n## Two\n</markdown>"]
