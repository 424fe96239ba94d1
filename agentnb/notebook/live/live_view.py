"""The live view of one run: widgets before a person, a progress line in a terminal, and the outcome alone elsewhere.

`%config AgentNB.live = False` shows the outcome alone everywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from IPython.display import display

from agentnb.agent.run_document import LiveDocument
from agentnb.canonical import Clock
from agentnb.notebook.live.dashboard import Dashboard
from agentnb.view.render import bundle
from agentnb.view.view_text import with_cell_numbers


class View:
    """Fed from the agent's thread, painted from the main thread. `beside` says what else goes on meanwhile, `numbers`
    which number a cell has."""

    def __init__(
        self,
        live: LiveDocument,
        *,
        clock: Clock,
        widgets: bool,
        beside: Callable[[], str] = str,
        numbers: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._live = live
        self._clock = clock
        self._beside = beside
        self._numbers = numbers
        self._lock = threading.Lock()
        self._dashboard = Dashboard(display, clock=clock, run_id=live.run_id) if widgets else None

    @property
    def has_widgets(self) -> bool:
        """Whether widgets are shown here: then buttons can be, too."""
        return self._dashboard is not None and self._dashboard.has_widgets

    def reopen(self, live: LiveDocument) -> None:
        """A run that waited goes on: its live view stands again where the static one is."""
        with self._lock:
            self._live = live
        if self._dashboard is not None:
            self._dashboard.reopen()

    def replace(self, document: Mapping[str, Any]) -> None:
        """Show another document in the output that shows one already."""
        if self._dashboard is not None:
            self._dashboard.reopen()
            self._dashboard.finish(document)

    def feed(self, event: Any) -> None:
        with self._lock:
            self._live.feed(event)

    def paint(self) -> None:
        if self._dashboard is None:
            return
        with self._lock:
            document = self._live.document(self._clock.monotonic())
        document["live"] |= {"beside": self._beside()}
        self._dashboard.update(with_cell_numbers(document, self._numbers))

    def finish(self, document: Mapping[str, Any], *, error_follows: bool = False) -> None:
        """Replace the live view by the static one; `error_follows`: the run's error is about to be raised."""
        document = with_cell_numbers(document, self._numbers)
        if self._dashboard is None:
            display(bundle(document, error_follows=error_follows), raw=True)
        else:
            self._dashboard.finish(document, error_follows=error_follows)
