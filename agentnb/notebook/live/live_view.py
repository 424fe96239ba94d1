"""Show one run live: widgets before a person, a growing text in a terminal, and the outcome alone elsewhere.

`%config AgentNB.live = False` shows the outcome alone everywhere; `%config AgentNB.view = "full"` shows all of it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from IPython.display import display

from agentnb.agent.run_document import state_of
from agentnb.canonical import Clock, JsonMapping, JsonObject
from agentnb.durable.journal.records import Run
from agentnb.errors import terminal_width
from agentnb.notebook.live.dashboard import Dashboard, Widgets, has_widgets, unwatched
from agentnb.notebook.live.terminal_view import TerminalView
from agentnb.view.progress import Progress
from agentnb.view.render import bundle
from agentnb.view.style import WIDTH
from agentnb.view.words.run_words import with_cell_numbers

if TYPE_CHECKING:
    from agentnb.notebook.kernel import Notebook


class View:
    """Fed from the agent's thread, painted from the main thread.

    `since` is when the person asked, in seconds of the session's monotonic clock: one clock runs to the end.
    """

    def __init__(
        self, notebook: Notebook, run: Run, *, since: float | None = None, beside: Callable[[], str] = str
    ) -> None:
        session = notebook.session
        self._clock: Clock = session.clock
        self._numbers = session.cells.numbers
        self._full = notebook.full_view
        self._told = notebook.redactions_told.setdefault(state_of(run.context).thread, set())
        self._beside = beside
        self._lock = threading.Lock()
        self._changed, self._at_once = True, False
        self._spent = self._loading = 0.0
        self._run = _begun(run, self._clock.monotonic() if since is None else since)
        self._run_id = run.run_id
        self._painter = self._dashboard = None
        self._place: Any = None
        if notebook.settings.live:
            painter = Widgets(display, _later(notebook.shell), run.run_id) if has_widgets() else None
            self._dashboard = Dashboard(
                painter or TerminalView(self._show, sys.stdout, full=self._full), clock=self._clock
            )
            self._painter = painter

    @property
    def has_widgets(self) -> bool:
        """Tell whether widgets are shown here: then buttons can be, too."""
        return self._painter is not None

    def begin(self) -> None:
        """Say in the cell where a run in the background is. Without widgets nothing else would stand there."""
        if self._painter is None:
            self._place = display(unwatched(self._run_id), raw=True, display_id=self._run_id)

    @property
    def spent(self) -> float:
        """Return the seconds that were worked on what has ended, without a person's time to answer."""
        return self._spent

    def reopen(self, run: Run) -> None:
        """Reopen for a run that waited: its live view stands again where the static one is."""
        with self._lock:
            self._run, self._changed = _begun(run, self._clock.monotonic() - self._spent), True
        if self._dashboard is not None:
            self._dashboard.reopen()

    def replace(self, document: JsonMapping) -> None:
        """Show another document in the output that shows one already."""
        if self._dashboard is not None:
            self._dashboard.reopen()
            self._dashboard.finish(*self._forms(document))

    def feed(self, event: Any) -> None:
        """Take one event of the run."""
        with self._lock:
            self._run.feed(event, self._clock.monotonic())
            self._changed = True
            self._at_once |= event.kind == "phase"  # a tool may keep this thread until it ends

    def paint(self) -> None:
        """Show what has changed, or only the time: cheap enough to be called with each event."""
        if self._dashboard is not None:
            with self._lock:
                changed, self._changed = self._changed, False
                at_once, self._at_once = self._at_once, False
                self._dashboard.update(self._run, changed=changed, at_once=at_once, beside=self._beside)

    def finish(self, document: JsonMapping, *, error_follows: bool = False) -> None:
        """Replace the live view by the static one; `error_follows`: the run's error is about to be raised."""
        self._spent = self._clock.monotonic() - self._run.began
        self._loading += self._run.loading
        document = self._untold(document)
        clock = {"seconds": round(self._spent, 3), "loading": round(self._loading, 3)}
        forms = self._forms(dict(document) | {"clock": clock}, error_follows=error_follows)
        if self._dashboard is None:
            self._show(forms[0])
        else:
            self._dashboard.finish(*forms)

    def _show(self, data: JsonObject, *, raw: bool = True) -> None:
        """Show an outcome: in the output that has stood for the run, else in one of its own."""
        if self._place is not None:
            self._place.update(data, raw=raw)
        else:
            display(data, raw=raw)

    def _untold(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document without the redactions that this conversation has been told of already."""
        found = [item for item in document.get("redactions") or () if str(item.get("mark")) not in self._told]
        self._told |= {str(item.get("mark")) for item in found}
        return dict(document) | {"redactions": found}

    def _forms(
        self, document: JsonMapping, *, error_follows: bool = False
    ) -> tuple[JsonObject, Callable[[], JsonObject]]:
        """Return what is shown, and how to make the same with its fold open."""
        shown = with_cell_numbers(document, self._numbers)

        def made(*, full: bool) -> JsonObject:
            return bundle(shown, error_follows=error_follows, full=full, width=terminal_width(WIDTH))

        return made(full=self._full), lambda: made(full=True)


def _begun(run: Run, began: float) -> Progress:
    """Return the run as it stands when its live view opens."""
    state = state_of(run.context)
    cost = state.spending.cost
    return Progress(
        began=began,
        state=run.state,
        simulated=state.simulated,
        steps=run.step,
        cost=(cost.total or 0.0) if cost else 0.0,
    )


def _later(shell: object) -> Callable[[float, Callable[[], None]], None] | None:
    """Do something on the kernel's own loop, when no cell runs; None where there is no such loop."""
    loop = getattr(getattr(shell, "kernel", None), "io_loop", None)
    return loop.call_later if loop is not None else None
