"""Read the notebook as it is written: Markdown, cells that have not run, the order of cells. From the front end, else
the saved file. Reading the file is the only thing here that is not pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agentnb.canonical import JsonMapping, digest
from agentnb.context.notebook.cell_runs import CellRun, is_ours, stem, words_of
from agentnb.context.notebook.outputs import cut
from agentnb.context.static.english_words import is_english
from agentnb.models.framing import framed

LARGEST = 30_000_000
"""Bytes of a file that is still read."""
MARKDOWN = (40, 2_000)
"""Lines and characters of a Markdown cell that are told."""
HEADINGS_FROM = 8_000
"""Characters of all Markdown from which on headings are told, and whole the cells that a task speaks of."""
SPOKEN = 6
"""Of these, at most so many: those with the most of its words that few cells have."""
NOT_RUN = 20
"""Cells that have not run which are told: those nearest above the asking cell."""


@dataclass(frozen=True, slots=True)
class TextCell:
    """Holds one cell as it is written. `cell` is its id as runs have it; `kind` is code, markdown or raw.

    `ran`: it has a number or outputs, from this kernel or an earlier one.
    """

    cell: str
    kind: str
    source: str
    ran: bool = False

    @property
    def code(self) -> str:
        """Return the source as a run of it has it."""
        return self.source.strip("\n").rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookText:
    """Holds all cells from top to bottom. `live` says that the front end told them, so that edits and deletions are
    known.

    A saved file may be older than what ran. `saved` is the time of its last change, in seconds since the epoch.
    """

    cells: tuple[TextCell, ...]
    live: bool = False
    saved: float = 0.0

    def above(self, asking: str) -> tuple[TextCell, ...]:
        """Return the cells above the asking one; all of them where its place is not known."""
        places = [place for place, cell in enumerate(self.cells) if cell.cell == asking]
        return self.cells[: places[0]] if places else self.cells

    def without(self, hidden: Callable[[str, str], bool], *, asking: str) -> NotebookText:
        """Return the text but for the cells that are hidden, by id and source; the asking cell stays."""
        kept = (cell for cell in self.cells if cell.cell == asking or not hidden(cell.cell, cell.source))
        return replace(self, cells=tuple(kept))

    def called_as(self, ran: Iterable[tuple[str, str]]) -> NotebookText:
        """Return the text with the front end's ids of its cells, where the file has others.

        VS Code gives such ids. `ran` holds sources with them, the newest last. Edits and deletions are not known then.
        """
        ids: dict[str, list[str]] = {}
        for source, cell in ran:
            ids[source] = [*(known for known in ids.get(source, ()) if known != cell), cell]
        if any(self.knows(cell) for cells in ids.values() for cell in cells):
            return self
        cells = (replace(cell, cell=(ids.get(cell.code) or [cell.cell]).pop(0)) for cell in self.cells)
        return NotebookText(cells=tuple(cells))

    def places(self, asking: str, runs: Iterable[CellRun]) -> bool:
        """Tell whether the asking cell's place is sure. A file that lacks a cell which ran later is too old to tell."""
        seen = (run for run in runs if not run.cell.startswith("In[") and run.ended >= self.saved)
        return self.knows(asking) and (self.live or all(self.knows(run.cell) for run in seen))

    def knows(self, cell: str) -> bool:
        return any(known.cell == cell for known in self.cells)


CHANGES = ("gone:", "edit:")
"""Prefixes of such parts' names that tell what became of a cell which ran."""
HEADING, TEXT = "head:", "text:"
KEYS = (TEXT, HEADING, *CHANGES)
"""Prefixes of such parts' names in the list of what a thread holds."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """Holds one thing to tell of the notebook's text: `key` is the name under which a thread holds it."""

    key: str
    text: str
    place: str = ""
    """The id of the cell that it stands above: that cell's number changes with each run."""

    @property
    def digest(self) -> str:
        return digest(_ABOVE.sub(f'<markdown above="{self.place}">', self.text, count=1))


_ABOVE = re.compile(r'\A<markdown above="[^"]*">')


def text_of(notebook: JsonMapping, short: Callable[[str], str], *, saved: float = 0.0) -> NotebookText | None:
    """Return a notebook's JSON (nbformat 4) as text; None where it has no cells."""
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        return None
    made = (_cell(item, number, short) for number, item in enumerate(cells) if isinstance(item, dict))
    return NotebookText(cells=tuple(cell for cell in made if cell is not None), saved=saved)


def _cell(item: JsonMapping, number: int, short: Callable[[str], str]) -> TextCell | None:
    source, kind = item.get("source", ""), item.get("cell_type")
    source = "".join(map(str, source)) if isinstance(source, list) else str(source)
    if kind not in ("code", "markdown", "raw"):
        return None
    name = item.get("id")
    cell = short(name) if isinstance(name, str) else f"place {number + 1}"
    return TextCell(cell, kind, source, ran=bool(item.get("outputs") or item.get("execution_count")))


def saved_text(path: Path, short: Callable[[str], str]) -> NotebookText | None:
    """Return the notebook as it was saved last; None where there is no such file, or it is no notebook."""
    try:
        about = path.stat()
        if about.st_size > LARGEST:
            return None
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return text_of(found, short, saved=about.st_mtime) if isinstance(found, dict) else None


def saved_path(environment: Mapping[str, str], namespace: JsonMapping) -> Path | None:
    """Return where the server (JPY_SESSION_NAME) or VS Code says that the notebook is saved."""
    named = namespace.get("__vsc_ipynb_file__")
    for name in (named if isinstance(named, str) else "", environment.get("JPY_SESSION_NAME", "")):
        if name.endswith(".ipynb"):
            return Path(name)
    return None


def parts_of(text: NotebookText, runs: Sequence[CellRun], *, asking: str = "", task: str = "") -> tuple[TextPart, ...]:
    """Return what to tell beside the cells that ran: Markdown with its place, cells not run, edits, deletions.

    Each part's text depends on the notebook alone, so that it is told once.
    """
    known = {run.cell: run for run in runs}
    above = text.above(asking)
    parts = list(_markdown(text.cells, known, spoken=_spoken_of(text, above, task)))
    ran = {run.source for run in runs}  # before the extension was loaded, cells ran without their ids
    waiting = [cell for cell in above if _is_waiting(cell, known) and cell.code not in ran]
    parts += [
        TextPart(f"{TEXT}{cell.cell}", framed("cell", _short(cell.source), state="not run"))
        for cell in waiting[-NOT_RUN:]
    ]
    return (*parts, *_changes(text, [run for run in runs if text.live or run.ended < text.saved]))


def _is_waiting(cell: TextCell, known: Mapping[str, CellRun]) -> bool:
    return cell.kind == "code" and bool(cell.source.strip()) and cell.cell not in known and not is_ours(cell.source)


def _short(source: str) -> str:
    return cut(source.strip("\n"), lines=60, characters=6_000)


def _markdown(
    cells: Sequence[TextCell], known: Mapping[str, CellRun], *, spoken: Collection[str] | None
) -> Iterator[TextPart]:
    """Yield each Markdown cell with the number of the run that it stands above: all, or headings but for `spoken`."""
    for place, cell in enumerate(cells):
        if cell.kind != "markdown" or not cell.source.strip():
            continue
        below = next((known[later.cell] for later in cells[place:] if later.cell in known), None)
        lines = [line for line in cell.source.split("\n") if line.startswith("#")]
        whole = spoken is None or cell.cell in spoken
        words = cell.source.strip() if whole else "\n".join(lines)
        if words:
            shown = cut(words, lines=MARKDOWN[0], characters=MARKDOWN[1])
            told = framed("markdown", shown, above=f"cell {below.number}" if below is not None else "")
            key = f"{TEXT if whole else HEADING}{cell.cell}"
            yield TextPart(key, told, below.cell if below is not None else "")


def _spoken_of(text: NotebookText, above: Sequence[TextCell], task: str) -> Collection[str] | None:
    """Return the Markdown cells that the task speaks of, or that stand over the asking cell; None for all."""
    cells = [cell for cell in text.cells if cell.kind == "markdown"]
    if sum(len(cell.source) for cell in cells) <= HEADINGS_FROM:
        return None
    said = {stem(word) for word in words_of(task) if not is_english(word, strict=False)}
    shared = {cell.cell: said & {stem(word) for word in words_of(cell.source)} for cell in cells}
    often = Counter(word for words in shared.values() for word in words)
    weight = {name: sum(1 / often[word] for word in words) for name, words in shared.items() if words}
    best = sorted(weight, key=lambda name: -weight[name])[:SPOKEN]
    over = [cell.cell for cell in above if cell.kind == "markdown"] if len(above) < len(text.cells) else []
    return {*(name for name in best if weight[name] >= 1 / SPOKEN), *over[-1:]}


def _changes(text: NotebookText, runs: Sequence[CellRun]) -> Iterator[TextPart]:
    """Yield cells that were edited since they ran, or deleted."""
    written = {cell.cell: cell for cell in text.cells}
    for run in runs:
        cell = written.get(run.cell)
        number = str(run.number)
        if cell is None and not run.cell.startswith("In["):
            yield TextPart(f"gone:{run.cell}", framed("cell", "", number=number, state="deleted from the notebook"))
        elif cell is not None and cell.source.strip() and cell.code != run.source:
            state = "edited since it ran; not run as it is now"
            yield TextPart(f"edit:{run.cell}", framed("cell", _short(cell.source), number=number, state=state))
