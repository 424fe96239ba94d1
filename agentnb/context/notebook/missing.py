"""Tell whether a task points at something that is not there: a cell that did not run, an empty kernel. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from agentnb.context.notebook.cell_runs import CellRun, is_ours
from agentnb.context.notebook.dataflow import dataflow
from agentnb.context.notebook.notebook_text import NotebookText, TextCell
from agentnb.context.notebook.outputs import first_line
from agentnb.context.notebook.pointing import pointed
from agentnb.context.static.english_words import is_english


def what_is_missing(
    task: str,
    runs: Sequence[CellRun],
    *,
    by_number: Mapping[int, CellRun],
    text: NotebookText | None = None,
    asking: str = "",
    names: Collection[str] = (),
) -> str:
    """Return in a sentence what the task points at and the kernel does not have. Empty where it has it all.

    `names` are those that mean something in the kernel.
    """
    means = pointed(task, runs, by_number=by_number)
    waiting = _not_run(text.cells, runs) if text is not None else []
    restarted = [cell for cell in waiting if cell.ran]
    if not runs and (means.above or means.missing or (means.entire and (restarted or not waiting))):
        if waiting:
            cells = "1 cell" if len(waiting) == 1 else f"{len(waiting)} cells"
            return f"no cell has run since the kernel started, though the notebook has {cells} of code"
        return "no cell has run in this kernel yet"
    if means.missing:
        named = ", ".join(f"[{number}]" for number in means.missing)
        known = ", ".join(f"[{run.number}]" for run in runs[-12:])
        return f"no cell of this kernel has the number {named}; those that ran last are {known}"
    if text is None:
        return ""
    if means.above and _is_above_waiting(text, runs, asking):
        return "the cell above has not run since the kernel started"
    if means.entire and len(restarted) > len(runs):
        return f"{len(restarted)} cells that ran before have not run since the kernel started"
    lost = _lost(task, [cell for cell in text.above(asking) if cell in restarted], names)
    return f"`{lost}` is not there: the cell that makes it has not run since the kernel started" if lost else ""


def _is_above_waiting(text: NotebookText, runs: Sequence[CellRun], asking: str) -> bool:
    """Tell whether the cell over the asking one has not run, where its place is known."""
    if not text.places(asking, runs):
        return False
    above = [cell for cell in text.above(asking) if _is_context(cell)]
    return bool(above) and bool(_not_run(above[-1:], runs))


_NAME = re.compile(r"[^\W\d]\w*")


def _lost(task: str, cells: Sequence[TextCell], names: Collection[str]) -> str:
    """Return the first name in the task that one of these cells made before the kernel began anew."""
    flows = [dataflow(cell.code) for cell in cells]
    made = {name for flow in flows for name in flow.binds - flow.imports}
    marked = set(re.findall(r"`(\w+)", task))
    said = [word for word in _NAME.findall(task) if word in made and word not in names]
    return next((word for word in said if word in marked or not is_english(word, strict=True)), "")


def cells_to_run(text: NotebookText | None, runs: Sequence[CellRun], *, asking: str = "") -> list[TextCell]:
    """Return the cells above the asking one that have not run."""
    return _not_run(text.above(asking), runs) if text is not None else []


def what_to_run(cells: Sequence[TextCell]) -> str:
    """Return these cells in a sentence: their number and their first lines."""
    if not cells:
        return "Run the cells above it (Run > Run All Above)."
    named = ", ".join(f"`{first_line(cell.source, NAMED)}`" for cell in cells[:SHOWN])
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    cells_said = "the cell above that has" if len(cells) == 1 else f"the {len(cells)} cells above that have"
    return f"Run {cells_said} not run (Run > Run All Above): {named}{more}."


NAMED, SHOWN = 40, 3
"""Characters of a cell's first line, and cells that are named."""


def _not_run(cells: Iterable[TextCell], runs: Sequence[CellRun]) -> list[TextCell]:
    known, ran = {run.cell for run in runs}, {run.source for run in runs}
    return [cell for cell in filter(_is_context, cells) if cell.cell not in known and cell.code not in ran]


def _is_context(cell: TextCell) -> bool:
    return cell.kind == "code" and bool(cell.source.strip()) and not is_ours(cell.source)
