"""The live view of a run: widgets while it goes on, replaced by the static view when it ends.            [ipywidgets]

The parts and their order are those of `render.live_html`, so that nothing jumps at the end. Only parts that changed
are sent, at most eight times a second and less often as the answer grows. Saved widgets do not reopen ("model not
found"), so at the end the same output becomes html, Markdown, plain text and JSON, and the widgets are closed.
Where there is no front end for widgets (IPython in a terminal) a progress line stands in for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

from agentnb.canonical import Clock
from agentnb.view import view_text as say
from agentnb.view.render import bundle, live_html, run_html, run_text, wrap
from agentnb.view.style import WIDTH

INTERVAL = 0.125  # seconds between two updates
SLOWER_PER = 16_000  # characters of answer that lengthen the interval by one more INTERVAL
VIEW_MIME = "application/vnd.jupyter.widget-view+json"


class Painter(Protocol):
    """One way to show a run that is going on."""

    def open(self, doc: Mapping[str, Any]) -> None: ...

    def paint(self, doc: Mapping[str, Any]) -> None: ...

    def close(self, final: dict[str, Any]) -> None: ...


class Dashboard:
    """Shows one run. `display` is IPython's function; call from the main thread only.

    `update` may be called as often as one likes; `finish` once, and whatever happens.
    """

    def __init__(
        self,
        display: Callable[..., Any],
        *,
        clock: Clock,
        run_id: str = "",
        widgets: bool | None = None,
        stream: TextIO | None = None,
    ) -> None:
        wanted = someone_watches() if widgets is None else widgets
        self._painter: Painter = Widgets(display, run_id) if wanted else ProgressLine(display, stream or sys.stderr)
        self._clock = clock
        self._due = float("-inf")
        self._opened = False
        self._finished = False

    def update(self, doc: Mapping[str, Any]) -> None:
        """Show the document as it stands, unless the last time was a moment ago."""
        now = self._clock.monotonic()
        if self._finished or now < self._due:
            return
        self._due = now + INTERVAL * (1 + len(str(doc.get("text") or "")) / SLOWER_PER)
        if self._opened:
            self._painter.paint(doc)
        else:
            self._painter.open(doc)
            self._opened = True

    @property
    def has_widgets(self) -> bool:
        return isinstance(self._painter, Widgets)

    def reopen(self) -> None:
        """The run goes on after all: the next update opens the live view again, in the same output."""
        self._opened = self._finished = False
        self._due = float("-inf")

    def finish(self, doc: Mapping[str, Any], *, error_follows: bool = False) -> None:
        """Replace the live view by the static one; the second call does nothing."""
        if not self._finished:
            self._finished = True
            self._painter.close(bundle(doc, error_follows=error_follows))


class Widgets:
    """One HTML widget a part, in a box. Front ends without widgets show the html beside it in the bundle."""

    def __init__(self, display: Callable[..., Any], run_id: str = "") -> None:
        self._display = display
        self._run_id = run_id
        self._handle: Any = None
        self._box: Any = None
        self._parts: dict[str, Any] = {}

    def open(self, doc: Mapping[str, Any]) -> None:
        library = widget_library()
        self._parts = {name: html_widget(library, inner) for name, inner in live_html(doc).items()}
        self._box = library.VBox(list(self._parts.values()), layout={"width": "100%", "overflow": "visible"})
        view = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
        fallback = {"text/plain": run_text(doc), "text/html": run_html(doc)}
        self._show({VIEW_MIME: view, **fallback})

    def paint(self, doc: Mapping[str, Any]) -> None:
        for name, inner in live_html(doc).items():
            html = wrap(inner)
            if self._parts[name].value != html:
                self._parts[name].value = html

    def close(self, final: dict[str, Any]) -> None:
        # Before the widgets close: a front end must never look for a model that is gone.
        self._show(final)
        if self._box is None:
            return
        for widget in self._parts.values():
            widget.value = ""  # nbclient keeps the last state of closed widgets in the notebook's metadata
            close(widget)
        close(self._box)
        self._box, self._parts = None, {}

    def _show(self, data: dict[str, Any]) -> None:
        """Into the one output that this view has; its first use makes it.

        The run's id is the display's and stands in the metadata: by these a page that was loaded anew finds the output.
        """
        metadata = {"agentnb": {"run": self._run_id}} if self._run_id else None
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=self._run_id or True, metadata=metadata)
        else:
            self._handle.update(data, raw=True, metadata=metadata)


class ProgressLine:
    """`Asking the model · 1.40 s` on one line that is written over, where a person looks at it; then plain text."""

    def __init__(self, display: Callable[..., Any], stream: TextIO) -> None:
        self._display = display
        self._stream = stream
        self._width = 0

    def open(self, doc: Mapping[str, Any]) -> None:
        self.paint(doc)

    def paint(self, doc: Mapping[str, Any]) -> None:
        if self._stream.isatty():
            self._write(say.summary_line(doc)[: WIDTH - 1])

    def close(self, final: dict[str, Any]) -> None:
        if self._width:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()
        self._display(final, raw=True)

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._width))
        self._stream.flush()
        self._width = len(line)


def widget_library() -> Any:
    """ipywidgets, which takes half a second to import."""
    import ipywidgets

    return ipywidgets


def html_widget(library: Any, inner: str) -> Any:
    # The default layout of a widget has a margin and a fixed line height; the static view has neither.
    return library.HTML(wrap(inner), layout={"width": "100%", "margin": "0", "height": "auto"})


def close(widget: Any) -> None:
    """A widget, and the layout and style that were made with it: they are models of their own."""
    for model in (getattr(widget, "style", None), widget.layout, widget):
        if model is not None:
            model.close()


def someone_watches() -> bool:
    """Whether a front end with a person before it takes part: only then are widgets opened.

    nbclient, nbconvert and nbval say `allow_stdin: false` with each cell. There widgets would help nobody, and nbclient
    keeps the state of closed ones in the file (tried with nbclient 0.10, 2026-11-22; ipykernel keeps the flag in
    `Kernel._allow_stdin`, and without that attribute we assume a person).
    """
    from IPython.core.getipython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(getattr(kernel, "_allow_stdin", True))
