"""Speak with the notebook's page where it has our extension. Else say that no page is there. [home of comm]

Every method that sends returns whether a page is there. Without one the caller falls back to what every front end can.
Messages arrive between cells: an answer to a request never comes while the cell that made it runs.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.notebook.lab.protocol import (
    TARGET,
    AgainPress,
    Cells,
    CodePress,
    Done,
    Hello,
    PageText,
    StepsPress,
    hello_from,
    message_from,
)

MOST_PAGES = 4
"""Pages that are remembered: one that was loaded anew leaves its former self behind."""


class Channel(Protocol):
    """Holds a comm, as far as it is used here."""

    comm_id: str

    def send(self, data: JsonObject) -> None: ...

    def close(self) -> None: ...

    def on_msg(self, callback: Callable[[JsonObject], None]) -> None: ...

    def on_close(self, callback: Callable[[JsonObject], None]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMark:
    """Says who wrote a cell; kept in its metadata."""

    run: str
    model: str


@dataclass(slots=True)
class _Page:
    channel: Channel
    session: str
    notebook: PageText
    texts: dict[str, str] = field(default_factory=dict)
    has_texts: bool = False
    asked: set[str] = field(default_factory=set)
    """Cells that asked, by their ids: a copy of the notebook on the same kernel has the same ids."""


@dataclass(frozen=True, slots=True)
class _PageRequest:
    message: JsonObject
    session: str
    cell: str
    on_done: Callable[[Done], None]


def _nothing(_: object) -> None:
    """Take what nobody asked for."""


class FrontEnd:
    """Holds the pages of one kernel. What is for a cell goes to the page of it, the rest to the one that spoke last.

    `on_page` is called when a page has come, `on_code` when a person presses a button of an answer's code.
    `on_steps` is called when a person asks for more steps of a run. `on_again` is called when a cell is to ask again.
    """

    def __init__(self, shell: object) -> None:
        self._manager = getattr(getattr(shell, "kernel", None), "comm_manager", None)
        self._beacon: Channel | None = None
        self._lock = threading.Lock()
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._requests: dict[str, _PageRequest] = {}
        self.on_page: Callable[[Hello], None] = _nothing
        self.on_code: Callable[[CodePress], None] = _nothing
        self.on_steps: Callable[[StepsPress], None] = _nothing
        self.on_again: Callable[[AgainPress], None] = _nothing

    def start(self) -> None:
        """Register the target, and list one comm of it by which pages know that it is there. Sends nothing."""
        if self._manager is None:
            return
        from comm import create_comm

        self._manager.register_target(TARGET, self._opened)
        self._beacon = create_comm(target_name=TARGET, primary=False)
        self._manager.register_comm(self._beacon)

    def stop(self) -> None:
        """Take the target back and close what is open."""
        if self._manager is None or self._beacon is None:
            return
        self._manager.unregister_target(TARGET, self._opened)
        with self._lock:
            pages, self._pages = list(self._pages.values()), OrderedDict()
            self._requests.clear()
        for channel in (self._beacon, *(page.channel for page in pages)):
            channel.close()
        self._beacon = None

    @property
    def is_there(self) -> bool:
        """Return whether a page has opened a comm and has not closed it."""
        return bool(self._pages)

    def notebook(self, of: str | None = None) -> PageText | None:
        """Return the notebook where that cell asked, as its page told it; None before it told any text."""
        with self._lock:
            page = self._page(of)
            if page is None or not page.has_texts:
                return None
            cells = (replace(cell, source=page.texts.get(cell.digest)) for cell in page.notebook.cells)
            return replace(page.notebook, cells=tuple(cells))

    def read(self) -> bool:
        """Ask the page for the notebook as it is now; it comes between cells."""
        return self._send({"type": "read"})

    def insert_cell(
        self,
        source: str,
        *,
        below: str,
        mark: CellMark,
        kind: str = "code",
        here: bool = False,
        on_done: Callable[[Done], None] = _nothing,
    ) -> bool:
        """Put a cell below another, for a person who asked for it: `here`, in the notebook that spoke last. It does not
        run."""
        wanted = {"type": "insert", "below": below, "kind": kind, "source": source, "mark": _plain(mark)}
        return self._request(wanted, below, on_done, of=None if here else below)

    def propose_cell(
        self, source: str, *, below: str, why: str, mark: CellMark, on_done: Callable[[Done], None] = _nothing
    ) -> bool:
        """Show a new cell's text below another, for a person to insert or reject."""
        where: JsonObject = {"type": "propose", "cell": below, "digest": None, "asking": None}
        wanted = where | {"source": source, "why": why, "mark": _plain(mark)}
        return self._request(wanted, below, on_done, of=below)

    def propose_replacement(
        self,
        source: str,
        *,
        cell: str,
        digest: str,
        why: str,
        mark: CellMark,
        asking: str | None = None,
        on_done: Callable[[Done], None] = _nothing,
    ) -> bool:
        """Show the difference to a cell's text, for a person to accept or reject.

        It is shown in the notebook of the cell `asking`, else in the one that spoke last. That cell points at it.

        `digest` names the text that the replacement was written for. When the cell has another, it is not replaced.
        """
        where: JsonObject = {"type": "propose", "cell": cell, "digest": digest, "asking": asking}
        wanted = where | {"source": source, "why": why, "mark": _plain(mark)}
        return self._request(wanted, cell, on_done, of=asking)

    def repaint(self, run: str, data: JsonMapping | None, *, cell: str | None = None) -> bool:
        """Show the run so in the outputs that show it; in none, below `cell`. None: no widget of it is alive."""
        message = {"type": "repaint", "run": run, "cell": cell, "data": None if data is None else dict(data)}
        return self._send(message, of=cell)

    def tell_code(self, pressed: CodePress, text: str, *, cell: str | None = None) -> bool:
        """Say that a press is dealt with, where to look, and why nothing came of it, if so."""
        return self._send({"type": "said", "run": pressed.run, "block": pressed.block, "text": text, "cell": cell})

    def tell_steps(self, run: str, html: str, first: int, text: str = "") -> bool:
        """Give the page steps of a run, from the place `first` on, or say why there are none."""
        return self._send({"type": "steps", "run": run, "first": first, "html": html, "text": text})

    def offer_run(self, cells: list[str], *, below: str) -> bool:
        """Show a button below a cell, by which a person runs these cells."""
        return self._send({"type": "offer", "cell": below, "run": cells})

    def _request(self, message: JsonObject, cell: str, on_done: Callable[[Done], None], of: str | None) -> bool:
        name = secrets.token_hex(8)
        message = message | {"id": name}
        with self._lock:
            page = self._page(of)
            if page is None:
                return False
            self._requests[name] = _PageRequest(message, page.session, cell, on_done)
        page.channel.send(message)
        return True

    def _send(self, message: JsonObject, *, of: str | None = None) -> bool:
        with self._lock:
            page = self._page(of)
        if page is not None:
            page.channel.send(message)
        return page is not None

    def _page(self, cell: str | None) -> _Page | None:
        """Return the page where the cell asked; else one that has it; else any. Of several the one that spoke last."""
        pages = list(reversed(self._pages.values()))
        having = [page for page in pages if page.notebook.index(cell) is not None]
        return next(iter([page for page in having if cell in page.asked] or having or pages), None)

    def _opened(self, channel: Channel, message: JsonObject) -> None:
        """Note that a page has opened a comm. What it did not answer as its former self is asked again."""
        hello = hello_from(message["content"]["data"])
        if hello is None:
            channel.close()
            return
        channel.on_msg(lambda message: self._heard(channel, message))
        channel.on_close(lambda _: self._closed(channel))
        with self._lock:
            # It may be a page that was loaded anew: what its former self asked is its own.
            former = [page.asked for page in self._pages.values() if page.session == hello.session]
            asked = {cell.id for cell in hello.notebook.cells} & set().union(*former)
            self._pages[channel.comm_id] = _Page(channel, hello.session, hello.notebook, asked=asked)
            own = [each for each in self._requests.values() if each.session == hello.session]
            again = [each.message for each in own if hello.notebook.index(each.cell) is not None]
            left = [self._pages.popitem(last=False)[1] for _ in range(len(self._pages) - MOST_PAGES)]
        for page in left:
            page.channel.close()
        for request in again:
            channel.send(request)
        self.on_page(hello)

    def _heard(self, channel: Channel, message: JsonObject) -> None:
        with self._lock:
            if channel.comm_id in self._pages:
                self._pages.move_to_end(channel.comm_id)
        told = message_from(message["content"]["data"])
        if isinstance(told, Cells):
            self._told(channel, told)
        elif isinstance(told, Done):
            with self._lock:
                request = self._requests.pop(told.id, None)
            if request is not None:
                request.on_done(told)
        elif isinstance(told, CodePress):
            self.on_code(told)
        elif isinstance(told, StepsPress):
            self.on_steps(told)
        elif isinstance(told, AgainPress):
            self.on_again(told)

    def _told(self, channel: Channel, told: Cells) -> None:
        with self._lock:
            page = self._pages.get(channel.comm_id)
            if page is None:
                return
            known = page.texts | dict(told.texts)
            page.texts = {cell.digest: known[cell.digest] for cell in told.notebook.cells if cell.digest in known}
            page.notebook, page.has_texts = told.notebook, True
            if told.notebook.asking is not None:
                page.asked.add(told.notebook.asking)

    def _closed(self, channel: Channel) -> None:
        with self._lock:
            self._pages.pop(channel.comm_id, None)


def _plain(mark: CellMark) -> dict[str, str]:
    return {"run": mark.run, "model": mark.model}
