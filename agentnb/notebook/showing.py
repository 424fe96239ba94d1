"""Seeing what cells show: hooks on the kernel's own display messages. Nothing is drawn, copied or held for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.utils.dir2 import get_real_method

from agentnb.context.live import class_name

if TYPE_CHECKING:
    from agentnb.context.displays import Displays, Shown

_FIGURE = ("matplotlib.figure", "Figure")
_DRAWN = {"matplotlib", "mpl_toolkits", "PIL"}
_KINDS = ("image/", "application/vnd.plotly", "application/vnd.vega", "application/vnd.bokehjs_exec")
"""How the mime types of figures begin."""
_CHART = "vega-embed"
"""What stands in the html of one."""


class Showing:
    """From `start` to `stop`: the figures of the outputs, with the words that only the figure itself can tell.

    `cell` names the cell that runs. The hooks are of the thread that calls `start`, as ipykernel has them; a shell
    without them (a terminal, an older kernel's results) is asked for `Out` when a cell ends.
    """

    def __init__(self, shell: Any, cell: Callable[[], str]) -> None:
        self._displays: Displays | None = None  # what looks at figures is imported with the first one
        self._shell = shell
        self._cell = cell
        self._about = ""
        self._hooked: list[Any] = []
        self._before: Any = None

    def start(self) -> None:
        """Register the hooks."""
        self._hooked = [
            part for part in (self._shell.display_pub, self._shell.displayhook) if hasattr(part, "register_hook")
        ]
        for part in self._hooked:
            part.register_hook(self._sent)
        self._before = self._bundles.for_type_by_name(*_FIGURE, self._formatted)

    def stop(self) -> None:
        """Take the hooks back, and forget."""
        for part in self._hooked:
            part.unregister_hook(self._sent)
        self._bundles.pop(".".join(_FIGURE), None)
        if self._before is not None:
            self._bundles.for_type_by_name(*_FIGURE, self._before)
        self._hooked, self._displays = [], None

    def latest(self) -> tuple[Shown, ...]:
        """What the newest cell that showed any figure has shown."""
        return self._displays.latest() if self._displays is not None else ()

    @property
    def _bundles(self) -> Any:
        return self._shell.display_formatter.mimebundle_formatter

    def begin(self) -> None:
        """A cell begins: what it showed before is gone."""
        self._about = ""
        self._forget()

    def _forget(self) -> None:
        if self._displays is not None:
            self._displays.forget(self._cell())

    def end(self, result: Any) -> None:
        """A cell ends: where its result was not seen as it went out, a figure among results is found in `Out`."""
        number, value = getattr(result, "execution_count", None), getattr(result, "result", None)
        if self._shell.displayhook in self._hooked or class_name(type(value))[0].partition(".")[0] not in _DRAWN:
            return
        if all(shown.cell != self._cell() for shown in self.latest()):
            from agentnb.context.displays import Shown

            outputs = self._shell.user_ns.get("Out", {})
            self._opened().keep(Shown(cell=self._cell(), value=lambda: outputs.get(number)))

    def _opened(self) -> Displays:
        from agentnb.context.displays import Displays

        self._displays = self._displays or Displays()
        return self._displays

    def _formatted(self, figure: Any) -> Any:
        """In the place of a formatter, which has the figure in hand; then as if there were none."""
        from agentnb.context.values import in_words

        self._about = in_words(figure)
        if self._before is not None:
            return self._before(figure)
        method = get_real_method(figure, "_repr_mimebundle_")
        return None if method is None else method(include=None, exclude=None)

    def _sent(self, message: Any) -> Any:
        with contextlib.suppress(Exception):  # the user's output goes out whatever we make of it
            self._note(message["header"]["msg_type"], message["content"])
        return message

    def _note(self, kind: str, content: Any) -> None:
        if kind == "clear_output":
            self._forget()
        elif "data" in content:
            about, self._about = self._about, ""
            name = str((content.get("transient") or {}).get("display_id") or "")
            if _may_be_figure(content["data"]) or (name and self._displays is not None):
                self._opened().take(content["data"], cell=self._cell(), about=about, name=name)


def _may_be_figure(data: dict[str, Any]) -> bool:
    return any(kind.startswith(_KINDS) for kind in data) or _CHART in str(data.get("text/html", ""))[:2000]
