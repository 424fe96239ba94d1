"""Record what the running cell prints and shows, in its order. The user's output goes out whatever we make of it."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentnb.context.notebook.outputs import KEPT, WIDGET, WIDGET_WORDS, Output, bounded, first_line, output_of, settle

_STREAMS: dict[str, Any] = {"stdout": "printed", "stderr": "warnings"}


class CellOutputs:
    """Collects, from `begin` to `end`, the outputs of one cell. The streams' `write` is wrapped meanwhile, as IPython
    does."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._events: list[Output] = []
        self._pieces: list[str] = []
        self._kind = ""
        self._size = 0
        self._wrapped: list[tuple[Any, Any, Any]] = []
        self._clear_next = False
        self._elsewhere: set[str] = set()
        """Displays of earlier cells that this cell shows anew."""

    @property
    def running(self) -> bool:
        return bool(self._wrapped)

    def begin(self) -> None:
        """Begin a cell. One that runs within another is part of it."""
        if self.running:
            return
        self._events, self._pieces, self._kind, self._size, self._clear_next = [], [], "", 0, False
        self._elsewhere.clear()
        for name, kind in _STREAMS.items():
            self._wrap(getattr(sys, name), kind)

    def end(self) -> tuple[Output, ...]:
        """End the cell, and return what it printed and showed, in order."""
        for stream, before, ours in self._wrapped:
            if getattr(stream, "write", None) is ours:
                stream.write = before
        self._wrapped = []
        self._flush()
        events, self._events = self._events, []
        return tuple(_as_it_is(event) if event.kind == "widget" else event for event in events)

    def shown(self, kind: str, content: Mapping[str, Any], *, figure: str | None) -> None:
        """Take a message of the display: data, an update of what was shown, or that all is cleared."""
        if not self.running:
            return
        if kind == "clear_output":
            self._clear_next = bool(content.get("wait"))
            if not self._clear_next:
                self._clear()
            return
        self._flush()
        widget = (content["data"].get(WIDGET) or {}).get("model_id")
        name = str((content.get("transient") or {}).get("display_id") or widget or "")
        output = output_of(content["data"], result=kind == "execute_result", figure=figure, name=name)
        if output is None:
            return
        places = [place for place, event in enumerate(self._events) if name and event.name == name]
        updates = kind == "update_display_data"
        if updates and not places:
            self._elsewhere.add(name)
        if updates and name in self._elsewhere:
            output = replace(output, text=f"(in the place of what an earlier cell showed)\n{output.text}")
        if updates and places:
            for place in places:
                self._events[place] = output
            return
        self._make_room()
        self._events.append(output)

    def _wrap(self, stream: Any, kind: str) -> None:
        before = stream.write

        def write(text: Any, *args: Any, **kwargs: Any) -> Any:
            written = before(text, *args, **kwargs)
            with contextlib.suppress(Exception):
                self._printed(kind, text)
            return written

        with contextlib.suppress(AttributeError):  # a stream of C's own takes no attributes
            stream.write = write
            self._wrapped.append((stream, before, write))

    def _printed(self, kind: str, text: Any) -> None:
        if type(text) is not str or not text or self._is_display():
            return
        self._make_room()
        if kind != self._kind:
            self._flush()
            self._kind = kind
        self._pieces.append(text)
        self._size += len(text)
        if self._size > 4 * KEPT:  # a progress bar writes over itself: settled, it is one line
            self._pieces = [bounded(settle("".join(self._pieces)))]
            self._size = len(self._pieces[0])

    def _is_display(self) -> bool:
        """Tell whether IPython writes, a result or a traceback. Those are recorded as what they are."""
        shell = self._shell
        return bool(
            getattr(shell.display_pub, "is_publishing", False)
            or getattr(shell.displayhook, "is_active", False)
            or getattr(shell, "showing_traceback", False)
        )

    def _flush(self) -> None:
        if self._pieces:
            kind = self._kind
            self._events.append(Output(kind=kind, text=bounded("".join(self._pieces))))  # type: ignore[arg-type]
        self._pieces, self._size = [], 0

    def _make_room(self) -> None:
        """Clear what `clear_output(wait=True)` announced, now that the next output is here."""
        if self._clear_next:
            self._clear()

    def _clear(self) -> None:
        self._events, self._pieces, self._size, self._clear_next = [], [], 0, False


def _as_it_is(output: Output) -> Output:
    """Return a widget's words as it stands when its cell has ended: a progress bar began at nothing."""
    known = getattr(sys.modules.get("ipywidgets.widgets.widget"), "_instances", {})
    with contextlib.suppress(Exception):  # a widget's repr is anybody's code
        return replace(output, text=first_line(repr(known[output.name]), WIDGET_WORDS))
    return output


def outputs_before(history: Any, number: int) -> tuple[Output, ...]:
    """Return the outputs of a cell that ran before the extension was loaded, as far as IPython keeps them."""
    found: list[Output] = []
    for item in (getattr(history, "outputs", None) or {}).get(number, ()):
        with contextlib.suppress(Exception):
            found += _kept(item.output_type, item.bundle)
    if not found:
        text = (getattr(history, "output_hist_reprs", None) or {}).get(number)
        found += [Output(kind="result", text=bounded(text))] if isinstance(text, str) else []
    with contextlib.suppress(Exception):
        failed = (getattr(history, "exceptions", None) or {}).get(number)
        found += [Output(kind="error", text=_failure(failed))] if failed else []
    return tuple(found)


def _kept(kind: str, bundle: Mapping[str, Any]) -> list[Output]:
    if kind in ("out_stream", "err_stream"):
        text = "".join(bundle.get("stream", ()))
        return [Output(kind="printed" if kind == "out_stream" else "warnings", text=bounded(text))]
    from agentnb.context.notebook.displays import figure_of

    figure = figure_of(bundle, cell="")
    made = output_of(bundle, result=kind == "execute_result", figure=figure.text if figure else None)
    return [made] if made else []


def _failure(kept: Mapping[str, Any]) -> str:
    """Return `KeyError: 'x'` and the lines of the traceback that IPython points at."""
    trace = settle("\n".join(kept.get("traceback", ())))
    pointed: list[str] = []
    in_cell = False
    for line in trace.split("\n"):
        if line.startswith(("Cell In", "File ", "Input In")):
            in_cell = "In[" in line or "In [" in line
        elif in_cell and line.startswith("-") and ">" in line[:8]:
            pointed.append(f"    {line.partition('>')[2].strip().partition(' ')[2]}")
    return "\n".join([f"{kept.get('ename')}: {kept.get('evalue')}", *pointed[-6:]])


def with_failure(outputs: tuple[Output, ...], error: BaseException | None) -> tuple[Output, ...]:
    """Return the outputs, and the error that ended the cell."""
    if error is None:
        return outputs
    from agentnb.context.notebook.tracebacks import told_briefly

    printed = (replace(each, text=_GROUP.sub("", each.text)) if each.kind == "warnings" else each for each in outputs)
    return (*printed, Output(kind="error", text=told_briefly(error)))


_GROUP = re.compile(r"^  \+ Exception Group Traceback \(most recent call last\):\n.*", re.MULTILINE | re.DOTALL)
"""IPython prints the traceback of a group, with its own frames and paths."""
