"""Bring proposed cells to the person: on the page where it has our extension, else as the next cell. None is run.

The page shows each proposal under the cell, for the person to take or to reject. Other front ends can only put one cell
below the one that runs. So all go there as one; the view above tells which cell's place a part is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentnb.agent.run_document import WAITING, AgentRun
from agentnb.agent.tools.proposals import Proposal, text_digest
from agentnb.notebook.kernel import Notebook
from agentnb.notebook.lab.comm import CellMark
from agentnb.notebook.lab.protocol import CellText


def with_texts(document: Mapping[str, Any], cell_text: Callable[[int], str | None]) -> dict[str, Any]:
    """Return the document with the text of each cell that a proposal would replace, as it ran, for the difference."""
    found = [dict(item) | _before(item, cell_text) for item in document.get("proposals") or ()]
    return dict(document) | ({"proposals": found} if found else {})


def _before(item: Mapping[str, Any], cell_text: Callable[[int], str | None]) -> dict[str, str]:
    text = cell_text(item["replaces"]) if item["replaces"] else None
    return {"before": text} if text is not None and text_digest(text) == item["digest"] else {}


def offer(notebook: Notebook, run: AgentRun, *, cell: str | None, running: bool) -> None:
    """Offer what the run proposes, each cell once. `cell` is the one that asked; `running` says that it still runs."""
    before = notebook.offered.get(run.run_id, 0)
    proposals = [Proposal.from_json(item) for item in run.receipt["proposals"][before:]]
    if not proposals or run.state == WAITING:
        return
    notebook.offered[run.run_id] = before + len(proposals)
    if cell is not None and notebook.front_end.is_there:
        for proposal in proposals:
            _show_on_page(notebook, proposal, cell, CellMark(run=run.run_id, model=run.model))
    elif running and getattr(notebook.shell, "kernel", None) is not None:
        notebook.shell.set_next_input(as_one_cell(proposals), replace=False)


def offer_again(notebook: Notebook, run: AgentRun, *, cell: str | None) -> None:
    """Offer what a kept answer proposes, as far as the notebook does not have it. Only a page can tell."""
    told = notebook.front_end.notebook(of=cell) if cell is not None and notebook.front_end.is_there else None
    if cell is None or told is None:
        return
    here = {each.source.rstrip("\n") for each in told.cells if each.source is not None}
    for proposal in map(Proposal.from_json, run.receipt["proposals"]):
        if proposal.source.rstrip("\n") not in here:
            _show_on_page(notebook, proposal, cell, CellMark(run=run.run_id, model=run.model))


def _show_on_page(notebook: Notebook, proposal: Proposal, asking: str, mark: CellMark) -> None:
    """Show it as a change to the cell that still has the text which ran; else as a new cell."""
    told = notebook.front_end.notebook(of=asking)
    target = _target(told.cells, proposal) if told is not None and proposal.replaces else None
    if target is not None:
        notebook.front_end.propose_replacement(
            proposal.source, cell=target.id, digest=target.digest, why=proposal.why, mark=mark, asking=asking
        )
        return
    is_here = told is not None and any(cell.execution_count == proposal.replaces for cell in told.cells)
    where = "has changed since it ran" if is_here else "is not in this notebook as it ran"
    moved = f" (Cell {proposal.replaces} {where}.)" if proposal.replaces else ""
    notebook.front_end.propose_cell(proposal.source, below=asking, why=f"{proposal.why}{moved}", mark=mark)


def _target(cells: Sequence[CellText], proposal: Proposal) -> CellText | None:
    """Return the cell that has the text: the one with that number, else the only one."""
    same = [cell for cell in cells if cell.source is not None and _is_text(cell.source, proposal.digest)]
    numbered = [cell for cell in same if cell.execution_count == proposal.replaces]
    return numbered[0] if numbered else same[0] if len(same) == 1 else None


def _is_text(source: str, digest: str) -> bool:
    """Compare texts. IPython's history keeps a cell without the line ends after it."""
    return digest in (text_digest(source), text_digest(source.rstrip("\n")))


def as_one_cell(proposals: Sequence[Proposal]) -> str:
    """Return them as one text, each under a line that says why. The first alone where one begins with a cell magic."""
    if len(proposals) == 1 or any(item.source.lstrip().startswith("%%") for item in proposals):
        return proposals[0].source
    return "\n\n".join(f"# {_head(item)}\n{item.source}" for item in proposals)


def _head(item: Proposal) -> str:
    place = f"In the place of cell {item.replaces}: " if item.replaces else ""
    return f"{place}{' '.join(item.why.split())}"
