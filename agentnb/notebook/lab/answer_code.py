"""Put an answer's code into the notebook when a person presses a button: as a new or changed cell.

The page names the run and the block. The code itself comes from the journal's run, never from the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agentnb.context.notebook.dataflow import dataflow
from agentnb.errors import AgentnbError
from agentnb.notebook.lab.comm import CellMark, FrontEnd
from agentnb.notebook.lab.protocol import CellText, CodePress

if TYPE_CHECKING:
    from agentnb.agent.run_document import AgentRun
    from agentnb.session import Session

COPY = "Copy the code instead."


def take(front_end: FrontEnd, pressed: CodePress, session: Session) -> None:
    """Do what the button says, and tell the page that it is done, or why it is not."""
    try:
        run = session.find_run(pressed.run)
    except AgentnbError:
        front_end.tell_code(pressed, f"This kernel does not know the answer's run. {COPY}")
        return
    source = block_of(run, pressed.block)
    if not source:
        front_end.tell_code(pressed, f"The answer's run has no such block. {COPY}")
    elif pressed.use == "insert":
        front_end.insert_cell(source, below=pressed.cell, mark=CellMark(run=run.run_id, model=run.model), here=True)
        front_end.tell_code(pressed, "")
    else:
        _propose(front_end, pressed, run, source)


def block_of(run: AgentRun, number: int) -> str:
    """Return a Python block of the answer, or of the part that came. Empty where it has none of that number."""
    from agentnb.view.answer.markup import code_blocks

    text = run.text or str((run.receipt.get("stopped") or {}).get("text") or "")
    found = (block.source for block in code_blocks(text) if block.number == number > 0)
    return next(found, "").rstrip("\n")


def _propose(front_end: FrontEnd, pressed: CodePress, run: AgentRun, source: str) -> None:
    told = front_end.notebook()
    cell = replaced(told.cells if told is not None else (), source)
    if cell is None:
        front_end.tell_code(pressed, "No cell defines what this code defines. Insert it below instead.")
    elif cell.source == source:
        front_end.tell_code(pressed, "The cell has this text already.", cell=cell.id)
    else:
        mark = CellMark(run=run.run_id, model=run.model)
        why = "from an answer, by your click"
        front_end.propose_replacement(source, cell=cell.id, digest=cell.digest, why=why, mark=mark)
        front_end.tell_code(pressed, "", cell=cell.id)


def replaced(cells: Iterable[CellText], source: str) -> CellText | None:
    """Return the cell that defines most of the names that the code defines, the last of several, or None."""
    flow = dataflow(source)
    wanted = flow.binds - flow.imports
    best, most = None, 1
    for cell in cells:
        shared = len(wanted & dataflow(cell.source).binds) if cell.kind == "code" and cell.source else 0
        if shared >= most:
            best, most = cell, shared
    return best
