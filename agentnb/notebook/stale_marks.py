"""Mark an answer's output once what it rests on has changed: looked for when a cell has run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentnb.agent.run_document import AgentRun
    from agentnb.agent.state import AgentState
    from agentnb.canonical import JsonMapping
    from agentnb.session import Session

KEPT = 30
"""Answers that are watched: the newest."""


@dataclass(slots=True)
class _Watched:
    replace: Callable[[JsonMapping], None]
    receipt: dict[str, Any]
    state: AgentState | None = None
    told: tuple[str, ...] = ()


class StaleMarks:
    """Holds the answers that stand in outputs of this kernel. Used on the main thread only."""

    def __init__(self) -> None:
        self._shown: OrderedDict[str, _Watched] = OrderedDict()

    def shown(self, run: AgentRun, replace: Callable[[JsonMapping], None]) -> None:
        """Note that an answer stands in its output; `replace` shows another document there."""
        if run.state != "COMPLETED":
            return
        self._shown[run.run_id] = _Watched(replace, run.receipt)
        self._shown.move_to_end(run.run_id)
        while len(self._shown) > KEPT:
            self._shown.popitem(last=False)

    @property
    def watches(self) -> bool:
        return bool(self._shown)

    def look(self, session: Session, names: Collection[str]) -> None:
        """Mark the answers that rest on something older now, and take back marks that do not hold any more.

        `names` are those that the cell bound or changed which has just run.
        """
        from agentnb.agent.stale_answers import note_on, older_parts
        from agentnb.agent.state import AgentState

        hydrator = session.hydrator()
        for run_id, item in self._shown.items():
            if item.state is None:
                item.state = AgentState.from_json(session.machine().get(run_id).context)
            older = older_parts(hydrator, item.state, among=names)
            if older != item.told:
                item.told = older
                notes = [*item.receipt["notes"], *([note_on(older)] if older else [])]
                item.replace(item.receipt | {"notes": notes, "stale": list(older)})
