"""Tell whether a task points at something that is not there: a cell that did not run, an empty kernel. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agentnb.context.notebook.cell_runs import CellRun, is_ours
from agentnb.context.notebook.notebook_text import NotebookText, TextCell
from agentnb.context.notebook.outputs import first_line
from agentnb.context.notebook.pointing import pointed


def what_is_missing(
    task: str,
    runs: Sequence[CellRun],
    *,
    by_number: Mapping[int, CellRun],
    text: NotebookText | None = None,
    asking: str = "",
) -> str:
    """Return in a sentence what the task points at and the kernel does not have. Empty where it has it all."""
    means = pointed(task, runs, by_number=by_number)
    waiting = len(_not_run(text.cells, runs)) if text is not None else 0
    if not runs and (means.above or means.missing or (means.entire and not waiting)):
        if waiting:
            cells = "1 cell" if waiting == 1 else f"{waiting} cells"
            return f"no cell has run since the kernel started, though the notebook has {cells} of code"
        return "no cell has run in this kernel yet"
    if means.missing:
        named = ", ".join(f"[{number}]" for number in means.missing)
        known = ", ".join(f"[{run.number}]" for run in runs[-12:])
        return f"no cell of this kernel has the number {named}; those that ran last are {known}"
    if means.above and text is not None and text.live and text.knows(asking):
        above = [cell for cell in text.above(asking) if cell.kind == "code" and not is_ours(cell.source)]
        above = [cell for cell in above if cell.source.strip()]
        if above and all(run.cell != above[-1].cell for run in runs):
            return "the cell above has not run since the kernel started"
    return ""


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
    code = (cell for cell in cells if cell.kind == "code" and cell.source.strip() and not is_ours(cell.source))
    return [cell for cell in code if cell.cell not in known and cell.source.strip("\n").rstrip() not in ran]
