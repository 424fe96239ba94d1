"""Define the messages between a notebook's page and the kernel, and refuse what is none of them. Pure.

Who opens. Loading the extension registers the comm target `agentnb` and lists one comm of that target. A page asks the
kernel for its comms of that target when it connects, and after a loading cell. Where there is one, the page opens a
comm of its own. It also opens one right before it sends the first cell that asks. All of its messages go to the
kernel's main shell, so that they arrive before the cell that follows them.

From the page. `comm_open` brings `{order, runs, since, session}`. These are the cells without texts, the runs whose
views the page shows, its age in seconds, and its session. The session's id stays when the page is loaded anew. Another
notebook on the kernel has another. Then come messages with a `type`:

- `cells {asking, order, texts}`: right before a cell that asks, and on `read`. `order` lists each cell's
  `{id, kind, count, digest}` in the notebook's order. `texts` maps digests to texts that this comm has not brought yet.
  At most 1 MB of text is told; a cell beyond that has no text. Both sides forget the texts that `order` no longer
  names.
- `done {id, outcome, cell}`: what became of a request. `inserted`, `accepted` (with the cell's id), `rejected`,
  `changed` (the text to replace is gone), or `gone` (the cell is).
- `code {run, block, use, cell}`: a person pressed a button on a block of code of an answer. `insert` puts it below
  `cell`, `replace` proposes it for the cell that defines the same names. `block` counts as `markup.code_blocks` does.
- `steps {run, before}`: a person asked for steps of a run that its output does not keep. They end before the place
  `before`; where that is null, they are the last ones.
- `again {cell}`: a person pressed "Ask again" below a cell. It runs next, and asks although it keeps an answer.

To the page. Requests have an `id`. One that is not `done` is sent again to the next page of its notebook.

- `read {}`: asks for `cells`.
- `insert {id, below, kind, source, mark}`: puts a cell below another, at once: a person asked for it.
- `propose {id, cell, digest, asking, source, why, mark}`: shows the difference under the cell and waits for a person.
  `digest` is that of the text that is replaced; null proposes a new cell below. Below the cell `asking`, if named, a
  button leads there.
- `repaint {run, cell, data}`: what the outputs that show the run show now. Without such an output it goes below `cell`.
  Null for `data` says that no widget of it is alive.
- `said {run, block, text, cell}`: the press on that block is dealt with; `text` says why not, if so. `cell` is where to
  look.
- `steps {run, first, html, text}`: such steps, from the place `first` on; `text` says why there are none, if so. The
  page shows them and saves none of them.
- `offer {cell, run}`: shows a button below `cell` that runs the cells `run`, when a person presses it. Where that is
  the cell itself, the button asks again.

`mark` is `{run, model}`; the page adds `accepted` and keeps it in the cell's metadata under `agentnb`. Digests are
SHA-256 of UTF-8, in hex. No message of the kernel runs a cell, and the page acts on none but these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

TARGET = "agentnb"
MOST_TEXT = 1_000_000
"""Bytes of text (UTF-8) that a page tells at most."""
MOST_CELLS = 10_000
MOST_NAME = 1_000
"""Characters of an id: VS Code's hold a path."""

OUTCOMES = frozenset({"inserted", "accepted", "rejected", "changed", "gone"})
KINDS = frozenset({"code", "markdown", "raw"})
USES = frozenset({"insert", "replace"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CellText:
    """Holds one cell of the page's notebook. `source` is None where the page has not told it."""

    id: str
    kind: str
    execution_count: int | None
    digest: str
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageText:
    """Holds all cells in their order, and the id of the cell that asked; None where the kernel asked."""

    cells: tuple[CellText, ...] = ()
    asking: str | None = None

    @property
    def position(self) -> int | None:
        """Return the index of the asking cell."""
        return self.index(self.asking)

    def index(self, cell_id: str | None) -> int | None:
        """Return the index of a cell by its whole id, or None."""
        return next((number for number, cell in enumerate(self.cells) if cell.id == cell_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRun:
    """Holds a run whose view is on the page, under which cell, and whether it is shown as ended."""

    run: str
    cell: str
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Holds a page has come."""

    notebook: PageText
    runs: tuple[ShownRun, ...]
    since: float
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Holds the notebook with the texts that are new to the kernel, by digest."""

    notebook: PageText
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Holds the end of a request, and the cell that holds what was accepted."""

    id: str
    outcome: str
    cell: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePress:
    """Holds a person's press on a block of code: its use, and the cell under which the answer stands."""

    run: str
    block: int
    use: str
    cell: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsPress:
    """Holds a person's press for more steps of a run: those that end before a place, or the last ones."""

    run: str
    before: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainPress:
    """Holds a person's press that a cell is to ask again."""

    cell: str


FromPage: TypeAlias = Cells | Done | CodePress | StepsPress | AgainPress


class NoMessage(ValueError):
    """A value is not of the shape that the protocol names."""


def digest_of(text: str) -> str:
    """Return the digest by which a replacement names the text that it replaces."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hello_from(data: object) -> Hello | None:
    """Return what `comm_open` brought, or None where it is not of that shape."""
    try:
        fields = _mapping(data)
        runs = tuple(_shown(item) for item in _list(fields.get("runs")))
        since = fields.get("since")
        if not isinstance(since, int | float):
            raise NoMessage
        order, session = _order(fields.get("order")), _text(fields.get("session", ""))
        return Hello(notebook=PageText(cells=order), runs=runs, since=float(since), session=session)
    except NoMessage:
        return None


def message_from(data: object) -> FromPage | None:
    """Return a message of the page, or None where it is none that the kernel acts on."""
    try:
        fields = _mapping(data)
        reader = _READERS.get(str(fields.get("type")))
        return reader(fields) if reader is not None else None
    except NoMessage:
        return None


def _cells(fields: Mapping[str, object]) -> Cells:
    texts = {_text(key): _text(text, MOST_TEXT) for key, text in _mapping(fields.get("texts")).items()}
    if sum(len(text.encode("utf-8", "surrogatepass")) for text in texts.values()) > MOST_TEXT:
        raise NoMessage
    if any(digest_of(text) != key for key, text in texts.items()):
        raise NoMessage
    asking = fields.get("asking")
    notebook = PageText(cells=_order(fields.get("order")), asking=None if asking is None else _text(asking))
    return Cells(notebook=notebook, texts=texts)


def _order(value: object) -> tuple[CellText, ...]:
    return tuple(_line(_mapping(item)) for item in _list(value))


def _line(fields: Mapping[str, object]) -> CellText:
    count = fields.get("count")
    if isinstance(count, bool) or not isinstance(count, int | None):
        raise NoMessage
    kind = _one_of(fields.get("kind"), KINDS)
    return CellText(id=_text(fields.get("id")), kind=kind, execution_count=count, digest=_text(fields.get("digest")))


def _shown(value: object) -> ShownRun:
    fields = _mapping(value)
    return ShownRun(run=_text(fields.get("run")), cell=_text(fields.get("cell")), over=fields.get("over") is True)


def _done(fields: Mapping[str, object]) -> Done:
    cell = fields.get("cell")
    outcome = _one_of(fields.get("outcome"), OUTCOMES)
    return Done(id=_text(fields.get("id")), outcome=outcome, cell=None if cell is None else _text(cell))


def _code(fields: Mapping[str, object]) -> CodePress:
    block = fields.get("block")
    if isinstance(block, bool) or not isinstance(block, int):
        raise NoMessage
    use = _one_of(fields.get("use"), USES)
    return CodePress(run=_text(fields.get("run")), block=block, use=use, cell=_text(fields.get("cell")))


def _steps(fields: Mapping[str, object]) -> StepsPress:
    before = fields.get("before")
    if isinstance(before, bool) or not isinstance(before, int | None) or (before or 0) < 0:
        raise NoMessage
    return StepsPress(run=_text(fields.get("run")), before=before)


_READERS: Mapping[str, Callable[[Mapping[str, object]], FromPage]] = {
    "cells": _cells,
    "done": _done,
    "code": _code,
    "steps": _steps,
    "again": lambda fields: AgainPress(cell=_text(fields.get("cell"))),
}


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise NoMessage
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list) or len(value) > MOST_CELLS:
        raise NoMessage
    return value


def _text(value: object, most: int = MOST_NAME) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise NoMessage
    return value


def _one_of(value: object, known: Iterable[str]) -> str:
    text = _text(value)
    if text not in known:
        raise NoMessage
    return text
