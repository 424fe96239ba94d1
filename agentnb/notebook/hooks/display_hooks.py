"""See what cells show: hooks on the kernel's own display messages. Nothing is drawn, copied or held for it."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.utils.dir2 import get_real_method

from agentnb.context.values.static_inspect import class_name
from agentnb.notebook.hooks.cell_outputs import CellOutputs

if TYPE_CHECKING:
    from agentnb.context.notebook.displays import Displays, Shown

_FIGURE = ("matplotlib.figure", "Figure")
_DRAWN = {"matplotlib", "mpl_toolkits", "PIL"}
_KINDS = ("image/", "application/vnd.plotly", "application/vnd.vega", "application/vnd.bokehjs_exec")
"""Prefixes of the mime types of figures."""
_CHART = "vega-embed"
"""Stands in the html of one."""
_RECORDED = frozenset({"clear_output", "display_data", "execute_result", "update_display_data"})
_REQUESTS = 200
"""Requests whose cells are known: a thread or task that was begun in an older one shows under the newest."""


class _InEveryThread(threading.local):
    """Holds a thread's hooks from its first output on: ipykernel keeps a list for each, which begins empty."""

    def __init__(self, before: threading.local, hook: Callable[[Any], Any]) -> None:
        self.hooks = [*getattr(before, "hooks", ()), hook]


class _InThisThread(threading.local):
    about = ""
    """Words of the figure that this thread is about to send."""


class Showing:
    """Collects, from `start` to `stop`, the figures of the outputs, with the words that only the figure itself can
    tell.

    `cell` names the cell that runs. An output belongs to the cell whose request its message answers, where the front
    end shows it. What a thread shows goes to the newest cell. What a task of the event loop shows goes to the task's
    own. A shell without hooks (a terminal, an older kernel's results) is asked for `Out` when a cell ends.
    """

    def __init__(self, shell: Any, cell: Callable[[], str]) -> None:
        self._displays: Displays | None = None  # what looks at figures is imported with the first one
        self._shell = shell
        self._cell = cell
        self.outputs = CellOutputs(shell)
        """Output of the running cell."""
        self._here = _InThisThread()
        self._cells: OrderedDict[str, str] = OrderedDict()
        self._hooked: list[tuple[Any, Any]] = []  # with the hooks that it had
        self._before: Any = None

    def start(self) -> None:
        """Register the hooks."""
        for part in (self._shell.display_pub, self._shell.displayhook):
            if hasattr(part, "register_hook"):
                self._hooked.append((part, self._hook(part)))
        self._before = self._bundles.for_type_by_name(*_FIGURE, self._formatted)

    def _hook(self, part: Any) -> threading.local | None:
        """Hook in. ipykernel's hooks count for the thread that registers them; ours, in their place, sees all
        threads."""
        before = getattr(part, "_thread_local", None)
        if not isinstance(before, threading.local):
            part.register_hook(self._sent)
            return None
        part._thread_local = _InEveryThread(before, self._sent)
        return before

    @property
    def sees_all(self) -> bool:
        """Tell whether every display is seen as it goes out. In a terminal IPython's own history is asked
        afterwards."""
        return len(self._hooked) == 2

    def stop(self) -> None:
        """Take the hooks back, and forget."""
        for part, before in self._hooked:
            part.unregister_hook(self._sent)
            if before is not None and isinstance(part._thread_local, _InEveryThread):
                before.hooks = list(part._thread_local.hooks)  # others have registered theirs meanwhile
                part._thread_local = before
        self._bundles.pop(".".join(_FIGURE), None)
        if self._before is not None:
            self._bundles.for_type_by_name(*_FIGURE, self._before)
        self._hooked, self._displays = [], None

    @property
    def kept(self) -> tuple[Shown, ...]:
        """Return the figures that are kept, the newest last."""
        return self._displays.kept if self._displays is not None else ()

    @property
    def _bundles(self) -> Any:
        return self._shell.display_formatter.mimebundle_formatter

    def begin(self) -> None:
        """Begin a cell: what it showed before is gone."""
        self._here.about = ""
        cell, request = self._cell(), _request(getattr(self._shell.display_pub, "parent_header", None))
        self._forget(cell)
        if request:
            self._cells[request] = cell
        while len(self._cells) > _REQUESTS:
            self._cells.popitem(last=False)

    def _forget(self, cell: str) -> None:
        if self._displays is not None:
            self._displays.forget(cell)

    def end(self, result: Any) -> None:
        """End a cell. A result that was not seen as it went out, and is a figure, is found in `Out`."""
        number, value = getattr(result, "execution_count", None), getattr(result, "result", None)
        seen = any(part is self._shell.displayhook for part, _ in self._hooked)
        if seen or class_name(type(value))[0].partition(".")[0] not in _DRAWN:
            return
        if all(shown.cell != self._cell() for shown in self.kept[-1:]):
            from agentnb.context.notebook.displays import Shown

            outputs = self._shell.user_ns.get("Out", {})
            self._opened().keep(Shown(cell=self._cell(), value=lambda: outputs.get(number)))

    def _opened(self) -> Displays:
        from agentnb.context.notebook.displays import Displays

        self._displays = self._displays or Displays()
        return self._displays

    def _formatted(self, figure: Any) -> Any:
        """Stand in the place of a formatter, which has the figure in hand; then as if there were none."""
        from agentnb.context.values.description import in_words

        self._here.about = in_words(figure)
        if self._before is not None:
            return self._before(figure)
        method = get_real_method(figure, "_repr_mimebundle_")
        return None if method is None else method(include=None, exclude=None)

    def _sent(self, message: Any) -> Any:
        with contextlib.suppress(Exception):  # the user's output goes out whatever we make of it
            cell = self._cells.get(_request(message.get("parent_header"))) or self._cell()
            self._note(message["header"]["msg_type"], message["content"], cell)
        return message

    def _note(self, kind: str, content: Any, cell: str) -> None:
        figure: str | None = None
        if kind == "clear_output":
            self._forget(cell)
        elif "data" in content:
            about, self._here.about = self._here.about, ""
            name = str((content.get("transient") or {}).get("display_id") or "")
            if _may_be_figure(content["data"]) or (name and self._displays is not None):
                shown = self._opened().take(content["data"], cell=cell, about=about, name=name)
                figure = shown.text if shown is not None else None
        if cell == self._cell() and kind in _RECORDED:
            self.outputs.shown(kind, content, figure=figure)


def _request(header: Any) -> str:
    """Return the id of the request that a message answers."""
    return str(header.get("msg_id") or "") if isinstance(header, dict) else ""


def _may_be_figure(data: dict[str, Any]) -> bool:
    return any(kind.startswith(_KINDS) for kind in data) or _CHART in str(data.get("text/html", ""))[:2000]
