"""The notebook's own text: Markdown in its place, cells that have not run, edits and deletions."""

from __future__ import annotations

import json
from dataclasses import replace
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
    text = text_of(notebook(*CELLS), str)
    assert text is not None
    log = CellLog()
    log.record("a = 1", cell="c1", number=4)
    assert texts(text, log) == [
        '<markdown above="cell 4">\n# Sales\nof half a year\n</markdown>',
        "<markdown>\n## Growth\n</markdown>",
        '<cell state="not run">\nb = a\n</cell>',
    ]
    assert [cell.cell for cell in text.above("ask")] == ["m1", "c1", "m2", "c2"]


def test_edits_and_deletions_are_known_of_the_page_and_of_a_file_saved_after_the_cells_ran() -> None:
    log = CellLog()
    log.record("a = 7", cell="c1", number=4, ended=100.0)
    log.record("gone = 1", cell="c9", number=5, ended=100.0)
    for saved, live, known in ((0.0, True, True), (99.0, False, False), (101.0, False, True)):
        text = text_of(notebook(*CELLS), str, saved=saved)
        assert text is not None
        told = "\n".join(texts(replace(text, live=live), log))
        assert ('number="4" state="edited since it ran; not run as it is now"' in told) is known
        assert ('<cell number="5" state="deleted from the notebook"/>' in told) is known


def test_markdown_is_told_once_though_the_cell_below_runs_again_and_anew_where_it_moved() -> None:
    text = text_of(notebook(*CELLS), str)
    assert text is not None
    log = CellLog()
    digests = []
    for number in (4, 7):
        log.record("a = 1", cell="c1", number=number)
        digests.append(parts_of(text, log.runs)[0].digest)
    assert digests[0] == digests[1]
    moved = text_of(notebook(CELLS[1], CELLS[0], *CELLS[2:]), str)
    assert moved is not None
    log.record("b = a", cell="c2", number=8)
    assert parts_of(moved, log.runs)[0].digest != digests[0]


def test_cells_of_a_file_with_other_ids_are_known_by_what_ran() -> None:
    text = text_of(notebook(*CELLS, ("twin", "code", "a = 1")), str, saved=200.0)
    assert text is not None
    ran = [("a = 0", "W0"), ("a = 1", "W0"), ("a = 1", "W9"), ("%%agent\nExplain.", "W4")]
    named = text.called_as(ran)
    assert [cell.cell for cell in named.cells] == ["m1", "W0", "m2", "c2", "W4", "c3", "W9"]
    assert not named.saved, "what was edited or deleted is not known"
    assert [cell.cell for cell in named.above("W4")] == ["m1", "W0", "m2", "c2"]
    assert text.called_as([("b = a", "c2")]) is text


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
    text = text_of(long, str)
    assert text is not None
    assert texts(text, CellLog()) == ["<markdown>\n# One\n## Two\n</markdown>"]


def test_of_very_much_text_what_the_task_speaks_of_is_told_whole_and_what_stands_over_it() -> None:
    cells = [(f"m{n}", "markdown", f"## Part {n}\nThe gauge of {n} drifts.\n" + "words\n" * 300) for n in range(9)]
    cells[4] = ("m4", "markdown", "## Part 4\nThe calibration used salt water.")
    book = text_of(notebook(*cells, ("ask", "code", "%%agent\nWhy?"), ("m9", "markdown", "## Later\nmore")), str)
    assert book is not None
    for task, whole in (("How was it calibrated?", ["m4", "m8"]), ("And the gauges?", ["m8"]), ("Why?", ["m8"])):
        parts = parts_of(book, (), asking="ask", task=task)
        assert [part.key for part in parts if part.key.startswith("text:")] == [f"text:{name}" for name in whole], task
        assert len(parts) == 10
