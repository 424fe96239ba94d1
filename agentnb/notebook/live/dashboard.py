"""Show the live view of a run: widgets while it goes on, replaced by the static view when it ends. [ipywidgets]

What a repaint costs does not grow with the run. The clock is a widget of its own, and a tick repaints it alone. Saved
widgets do not reopen ("model not found"). So at the end the same output becomes html, Markdown, plain text and JSON,
and the widgets are closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from agentnb.canonical import Clock, JsonObject
from agentnb.notebook.interrupts import Held
from agentnb.notebook.live.growing_answer import STYLE_SHEET, GrowingAnswer
from agentnb.view.progress import BAR_STYLES, Progress
from agentnb.view.style import SMALL, esc, wrap

INTERVAL = 0.25
"""Seconds between two repaints."""
TICK = 0.5
"""Seconds between two repaints of the clock while nothing else happens."""
VIEW_MIME = "application/vnd.jupyter.widget-view+json"
SETTLING = 0.3
"""Seconds after a cell's end in which the front end tells which fold was open: no message arrives before."""
Bundle = JsonObject


class Painter(Protocol):
    """Holds one way to show a run that is going on."""

    def open(self, run: Progress, now: float, beside: str) -> None: ...

    def paint(self, run: Progress, now: float, beside: str) -> None: ...

    def tick(self, run: Progress, now: float) -> None: ...

    def close(self, final: Bundle, opened: Callable[[], Bundle]) -> None: ...


class Dashboard:
    """Shows one run. `update` may be called as often as one likes, on the main thread; `finish` once, in any case.

    `changed` says whether anything but the time has changed since the last call.
    """

    def __init__(self, painter: Painter, *, clock: Clock) -> None:
        self.painter = painter
        self._clock = clock
        self._due = self._tick = float("-inf")
        self._opened = self._finished = False
        self._stale = False

    def update(
        self, run: Progress, *, changed: bool = True, at_once: bool = False, beside: Callable[[], str] = str
    ) -> None:
        """Show the run as it stands; unless `at_once`, not where the last time was a moment ago."""
        now = self._clock.monotonic()
        self._stale |= changed
        if self._finished:
            return
        if not self._opened:
            with Held() as held:  # an interrupt must not leave widgets that no box has
                self.painter.open(run, now, beside())
                self._opened, self._stale = True, False
                self._due, self._tick = now + INTERVAL, now + TICK
            if held.interrupted:
                raise KeyboardInterrupt
        elif self._stale and (at_once or now >= self._due):
            self.painter.paint(run, now, beside())
            self._stale = False
            self._due = now + INTERVAL
        elif now >= self._tick:
            self.painter.tick(run, now)
            self._tick = now + TICK

    def reopen(self) -> None:
        """Reopen, since the run goes on after all: the next update opens the live view again, in the same output."""
        self._opened = self._finished = False

    def finish(self, final: Bundle, opened: Callable[[], Bundle]) -> None:
        """Replace the live view by the static one; `opened` makes the same with its fold open. Once only."""
        if not self._finished:
            self._finished = True
            self.painter.close(final, opened)


class Widgets:
    """Holds a box of widgets: the answer in pieces, the stage, the clock, and a fold with the newest steps.

    `later(seconds, work)` does something between cells; without it the widgets close at once.
    """

    def __init__(
        self,
        display: Callable[..., Any],
        later: Callable[[float, Callable[[], None]], None] | None,
        run_id: str = "",
    ) -> None:
        self._display = display
        self._run_id = run_id
        self._later = later
        self._handle: Any = None
        self._box: Any = None
        self._stage: Any = None
        self._clock: Any = None
        self._steps: Any = None
        self._fold: Any = None
        self._answer: GrowingAnswer | None = None

    def open(self, run: Progress, now: float, beside: str) -> None:
        library = widget_library()
        self._close_widgets()
        self._answer = GrowingAnswer(library)
        self._stage, self._clock = (
            html_widget(library, run.stage_html(beside)),
            html_widget(library, run.clock_html(now)),
        )
        self._steps = html_widget(library, run.steps_html())
        self._fold = library.Accordion([self._steps], titles=("steps so far",), selected_index=None)
        styles = html_widget(library, BAR_STYLES + STYLE_SHEET)
        self._box = library.VBox(
            [styles, self._answer.box, self._stage, self._clock, self._fold],
            layout={"width": "100%", "overflow": "visible"},
        )
        for name in ("jp-RenderedHTMLCommon", "agentnb-run", "agentnb-live"):
            self._box.add_class(name)
        self._answer.show(run.answer, now)
        view = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
        self._show({VIEW_MIME: view, **unwatched(self._run_id, run.line(now, beside))})

    def paint(self, run: Progress, now: float, beside: str) -> None:
        assert self._answer is not None
        self._answer.show(run.answer, now)
        _set(self._stage, run.stage_html(beside))
        _set(self._steps, run.steps_html())

    def tick(self, run: Progress, now: float) -> None:
        assert self._answer is not None
        _set(self._clock, run.clock_html(now))
        self._answer.show(run.answer, now)

    def close(self, final: Bundle, opened: Callable[[], Bundle]) -> None:
        # Before the widgets close: a front end must never look for a model that is gone.
        told = self._is_open
        self._show(opened() if told else final)
        if told or self._box is None or self._later is None:
            self._close_widgets()
            return
        box = self._box

        def settle() -> None:
            if self._box is box:  # else the view was opened again
                if self._is_open:
                    self._show(opened())
                self._close_widgets()

        self._later(SETTLING, settle)

    @property
    def _is_open(self) -> bool:
        return self._fold is not None and self._fold.selected_index is not None

    def _close_widgets(self) -> None:
        if self._box is None:
            return
        pieces = self._answer.widgets if self._answer is not None else []
        for widget in (*pieces, *self._box.children, self._steps, self._box):
            if hasattr(widget, "value"):
                widget.value = ""  # nbclient keeps the last state of closed widgets in the notebook's metadata
            close(widget)
        self._box = self._fold = self._answer = None

    def _show(self, data: Bundle) -> None:
        """Into the one output that this view has; its first use makes it.

        The run's id is the display's and stands in the metadata. By these a page that was loaded anew finds the output.
        """
        metadata = {"agentnb": {"run": self._run_id}} if self._run_id else None
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=self._run_id or True, metadata=metadata)
        else:
            self._handle.update(data, raw=True, metadata=metadata)


def unwatched(run_id: str, line: str = "") -> Bundle:
    """Return a view for a front end without widgets, or a notebook saved now: nothing will update it
    there."""
    said = f"● Going on when this was shown. %agent_runs show {run_id} tells how it stands." if run_id else line
    return {"text/plain": said, "text/html": wrap(f'<p style="margin:0;{SMALL}">{esc(said)}</p>')}


def _set(widget: Any, html: str) -> None:
    if widget.value != html:
        widget.value = html


def widget_library() -> Any:
    """Return ipywidgets, which takes half a second to import."""
    import ipywidgets

    return ipywidgets


def has_widgets() -> bool:
    """Tell whether a person is there, and ipywidgets can be imported: an environment may have none that works."""
    if not someone_watches():
        return False
    try:
        widget_library()
    except ImportError:
        return False
    return True


def html_widget(library: Any, inner: str) -> Any:
    # The default layout of a widget has a margin and a fixed line height; the static view has neither.
    return library.HTML(inner, layout={"width": "100%", "margin": "0", "height": "auto"})


def close(widget: Any) -> None:
    """Close a widget, and the layout and style that were made with it: they are models of their own."""
    for model in (getattr(widget, "style", None), widget.layout, widget):
        if model is not None:
            model.close()


def someone_watches() -> bool:
    """Tell whether a front end with a person before it takes part: only then are widgets opened.

    nbclient, nbconvert and nbval say `allow_stdin: false` with each cell. There widgets would help nobody, and nbclient
    keeps closed ones' state in the file (tried with nbclient 0.10, 2026-11-22). ipykernel keeps the flag in
    `Kernel._allow_stdin`; without that attribute we assume a person.
    """
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(getattr(kernel, "_allow_stdin", True))
