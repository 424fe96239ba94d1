"""A task that points at what is not there is told so before anything is paid."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from agentnb.context.notebook.cell_runs import CellLog
from agentnb.context.notebook.missing import cells_to_run, what_is_missing, what_to_run
from agentnb.context.notebook.notebook_text import NotebookText, TextCell

BOOK = NotebookText(
    cells=(
        TextCell("a", "code", "x = 1"),
        TextCell("b", "code", "x + 1"),
        TextCell("ask", "code", "%%agent"),
    ),
    live=True,
)


def log_of(*cells: str) -> CellLog:
    log = CellLog()
    for number, cell in enumerate(cells, 1):
        log.record(f"{cell} = 1", cell=cell, number=number)
    return log


def said(task: str, log: CellLog, text: NotebookText | None = None, names: Collection[str] = ()) -> str:
    return what_is_missing(task, log.runs, by_number=log.by_number, text=text, asking="ask", names=names)


@pytest.mark.parametrize("task", ["Explain the cell above.", "Explain In[3].", "Explain cell 3."])
def test_an_empty_kernel_has_nothing_that_could_be_meant(task: str) -> None:
    assert "no cell has run in this kernel yet" in said(task, CellLog())
    assert "the notebook has 2 cells of code" in said(task, CellLog(), BOOK)


@pytest.mark.parametrize("task", ["What is a decorator?", "Write a function that plots a table.", "Hello", "x[3] = 1?"])
def test_a_task_that_points_at_nothing_is_asked(task: str) -> None:
    assert said(task, CellLog()) == ""
    assert said(task, CellLog(), BOOK) == ""


def test_a_number_that_no_cell_has() -> None:
    assert "[9]" in said("Explain In[9].", log_of("a", "b"))
    assert said("Explain In[2].", log_of("a", "b")) == ""


def test_the_cell_above_that_did_not_run() -> None:
    assert "the cell above has not run" in said("Explain the cell above.", log_of("a"), BOOK)
    assert said("Explain the cell above.", log_of("a", "b"), BOOK) == ""
    assert said("Summarise this notebook.", CellLog(), BOOK) == "", "what is written can be told"
    assert said("Summarise this notebook.", CellLog()) != ""


RESTARTED = NotebookText(
    cells=(
        TextCell("a", "code", "import pandas as pd\ndf = pd.read_csv('x.csv')\nresult = df.sum()", ran=True),
        TextCell("b", "code", "df.plot()", ran=True),
        TextCell("c", "code", "draft = 1"),
        TextCell("ask", "code", "%%agent"),
    )
)


@pytest.mark.parametrize(
    ("task", "lost"),
    [
        ("Why is df empty?", "`df` is not there"),
        ("What is `result`?", "`result` is not there"),
        ("Why is the result so large?", ""),
        ("What is draft?", ""),
        ("Summarise this notebook.", "no cell has run since the kernel started, though the notebook has 3 cells"),
        ("What is a decorator?", ""),
    ],
)
def test_a_kernel_that_began_anew_under_a_notebook_full_of_outputs(task: str, lost: str) -> None:
    found = said(task, CellLog(), RESTARTED)
    assert lost in found
    assert bool(lost) == bool(found)
    assert said(task, CellLog(), RESTARTED, names={"df", "result"}) == (found if "notebook" in task else "")


def test_after_a_restart_most_of_the_notebook_is_said_to_be_missing_and_the_cell_above() -> None:
    assert said("Explain the cell above.", log_of("a"), RESTARTED) == (
        "the cell above has not run since the kernel started"
    )
    assert said("Explain the cell above.", log_of("elsewhere"), RESTARTED) == "", "the file is older than what ran"
    four = tuple(TextCell(str(place), "code", f"v{place} = {place}", ran=True) for place in range(4))
    book = NotebookText(cells=(*four, TextCell("ask", "code", "%%agent")))
    log = CellLog()
    log.record("v0 = 0", cell="0", number=1)
    assert said("Summarise this notebook.", log, book) == (
        "3 cells that ran before have not run since the kernel started"
    )
    log.record("v1 = 1", cell="1", number=2)
    assert said("Summarise this notebook.", log, book) == ""


def test_the_cells_to_run_first_are_named() -> None:
    assert what_to_run(cells_to_run(BOOK, log_of("a").runs, asking="ask")).endswith(
        "not run (Run > Run All Above): `x + 1`."
    )
    assert "the 2 cells above that have not run (Run > Run All Above): `x = 1`, `x + 1`." in what_to_run(
        cells_to_run(BOOK, ())
    )
    many = NotebookText(cells=tuple(TextCell(str(i), "code", f"x{i} = {i}") for i in range(9)))
    assert what_to_run(cells_to_run(many, ())).endswith("`x0 = 0`, `x1 = 1`, `x2 = 2` and 6 more.")
    assert what_to_run(cells_to_run(None, ())) == "Run the cells above it (Run > Run All Above)."
