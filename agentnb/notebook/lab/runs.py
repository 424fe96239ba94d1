"""Tell a page that was loaded anew how the runs stand that it shows, or whose outputs it never got.

Bring it a run's steps from the journal, when a person asks for them.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentnb.canonical import JsonMapping
from agentnb.errors import AgentnbError
from agentnb.notebook.lab.comm import FrontEnd
from agentnb.notebook.lab.protocol import Hello, StepsPress

if TYPE_CHECKING:
    from agentnb.session import Session

MARGIN = 60.0
"""Seconds that a page may take to load. So long before it came, its former self may have been gone."""


@dataclass(slots=True)
class _RunPlace:
    cell: str
    ended: float | None = None


class RunsOnPage:
    """Holds the runs of this kernel and the cells that asked for them. Used on the main thread only."""

    def __init__(self, front_end: FrontEnd) -> None:
        self._front_end = front_end
        self._places: dict[str, _RunPlace] = {}

    def began(self, run_id: str, cell: str | None) -> None:
        """Note that the run's view stands below this cell, in the place of what stood there."""
        if cell is not None:
            self._places = {run: place for run, place in self._places.items() if place.cell != cell}
            self._places[run_id] = _RunPlace(cell)

    def ended(self, run_id: str) -> None:
        """Note that the run has stopped, and that its view is final for now."""
        if run_id in self._places:
            self._places[run_id].ended = time.monotonic()

    def tell(self, page: Hello, session: Session | None, waiting: Collection[str] = ()) -> None:
        """Repaint what the page shows of runs that have stopped, and give it what it missed.

        A run that waits for a person is given to every page: nobody can answer what is not shown.
        """
        shown = {each.run for each in page.runs}
        for run in {each.run: None for each in page.runs if not each.over}:
            is_alive, data = _as_it_stands(run, session)
            if not is_alive:
                self._front_end.repaint(run, data)
        began = time.monotonic() - page.since - MARGIN
        for run, place in self._places.items():
            missed = place.ended is None or place.ended > began or run in waiting
            if run not in shown and missed and page.notebook.index(place.cell) is not None:
                self._front_end.repaint(run, _as_it_stands(run, session)[1], cell=place.cell)


def tell_steps(front_end: FrontEnd, pressed: StepsPress, session: Session) -> None:
    """Give the page the steps of a run that a person asked for; the journal has them all."""
    from agentnb.view.folds import step_page
    from agentnb.view.style import wrap

    try:
        html, first = step_page(session.find_run(pressed.run).receipt, pressed.before)
    except AgentnbError:
        front_end.tell_steps(pressed.run, "", 0, "The journal of this kernel does not hold this run.")
    else:
        front_end.tell_steps(pressed.run, wrap(html), first)


def _as_it_stands(run_id: str, session: Session | None) -> tuple[bool, JsonMapping | None]:
    """Return whether a process works on the run, and its view. None where this kernel does not know it."""
    from agentnb.durable.journal import leases, records
    from agentnb.view.render import bundle
    from agentnb.view.words.run_words import with_cell_numbers

    if session is None:
        return False, None
    try:
        run = session.find_run(run_id)
    except AgentnbError:
        return False, None
    machine = session.machine()
    owner = machine.journal.row(run.run_id).owner
    is_alive = machine.get(run.run_id).status == records.RUNNING and owner is not None and not leases.is_dead(owner)
    return is_alive, bundle(with_cell_numbers(run.receipt, session.cells.numbers))
