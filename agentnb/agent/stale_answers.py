"""Find answers whose cells, definitions or values have changed since they were given: which, and what it is that
changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from agentnb.agent.kernel_context import Hydrator
from agentnb.agent.state import EARLIER, AgentState
from agentnb.context.notebook.basis import content_of, older_cells, older_values


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleAnswer:
    """Holds one run whose answer rests on something older; `cost` is what it cost, in US dollars."""

    run_id: str
    task: str
    older: tuple[str, ...]
    cost: float | None

    @property
    def note(self) -> str:
        return note_on(self.older)


def note_on(older: Iterable[str]) -> str:
    """Return `Based on an older `clean` and cell [3], which ran again as [7].`"""
    *first, last = older
    return f"Based on an older {', '.join(first)}{' and ' if first else ''}{last}."


def older_parts(hydrator: Hydrator, state: AgentState, *, among: Collection[str] | None = None) -> tuple[str, ...]:
    """Return what the answer rests on that is another now, in words. Of values, those of the names `among` are looked
    at."""
    notebook = hydrator.notebook
    cells = older_cells(state.cells, notebook.log.of_cell, notebook.log.session)
    touched = {str(item["name"]): item for item in state.definitions if not str(item["reason"]).endswith(EARLIER)}
    definitions = [f"`{name}`" for name in hydrator.older_definitions(touched)]
    values = older_values(state.values, hydrator.described_now, among)
    return tuple(dict.fromkeys([*definitions, *cells, *values]))


def still_holds(hydrator: Hydrator, state: AgentState) -> bool:
    """Tell whether all that the answer rests on is here as it was, in whichever kernel it was given."""
    log = hydrator.notebook.log
    cells = [item for item in state.cells if item.get("involved") and item.get("content")]
    here = [log.of_cell(str(item["cell"])) for item in cells]
    same = all(run is not None and content_of(run) == item["content"] for run, item in zip(here, cells, strict=True))
    return same and not older_parts(hydrator, state)


def stale_among(hydrator: Hydrator, states: Iterable[tuple[str, AgentState]]) -> Iterator[StaleAnswer]:
    """Yield the stale ones of these runs."""
    for run_id, state in states:
        older = older_parts(hydrator, state) if state.text else ()
        if older:
            cost = state.spending.cost.total if state.spending.cost is not None else None
            yield StaleAnswer(run_id=run_id, task=state.task, older=older, cost=cost)
