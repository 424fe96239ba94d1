"""Write a cell as the model reads it, in four forms of growing length. Pure: the text depends on the recorded run
alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from agentnb.context.notebook.cell_runs import CellRun
from agentnb.context.notebook.outputs import LINE, UNTOLD, Output, cut, first_line
from agentnb.models.framing import element, framed, unframed


@dataclass(frozen=True, slots=True)
class Form:
    """Tells how much of a cell is told: lines and characters of its source and outputs, and of outputs together."""

    name: str
    rank: int
    source: int
    output: int
    characters: int
    outputs: int = 12


OUTLINE = Form("outline", 0, 1, 0, 0)
BRIEF = Form("brief", 1, 60, 14, 600, 4)
FULL = Form("cell", 2, 300, 30, 4_000)
WHOLE = Form("whole", 3, 2_000, 400, 30_000, 60)
FORMS = {form.name: form for form in (OUTLINE, BRIEF, FULL, WHOLE)}
SOURCE_CHARACTERS = 24_000
TABLE = 8, 800
"""Lines and characters that a table gets at least: its columns, rows of its head and tail, and its shape."""
SHOW_RUN = 2
"""Cells in a row that only look are told in one line of an outline from this number on."""


def cell_body(run: CellRun, form: Form) -> str:
    """Return the run's source and outputs as they stand inside its element."""
    source = cut(run.source, lines=form.source, characters=SOURCE_CHARACTERS)
    return "\n".join([unframed(source), *_outputs(run.outputs, form)])


def cell_element(run: CellRun, inner: str, *, state: str = "", **attributes: str) -> str:
    """Return the run as a `<cell>` element around what is told of it."""
    known = {"number": str(run.number), **attributes, "state": state or ("interrupted" if run.interrupted else "")}
    return element("cell", inner, **known)


def _outputs(outputs: Sequence[Output], form: Form) -> list[str]:
    kept, gone = _kept(outputs, form)
    texts = [
        framed("output", _cut(each, form), kind="" if each.kind in ("printed", "result") else each.kind)
        for each in kept
    ]
    return _with_note(texts, gone)


def _texts(outputs: Sequence[Output], form: Form) -> list[str]:
    """Return the outputs as an entry of the outline has them."""
    kept, gone = _kept(outputs, form)
    return _with_note([each.title if each.text.startswith(UNTOLD) else _cut(each, form) for each in kept], gone)


def _kept(outputs: Sequence[Output], form: Form) -> tuple[Sequence[Output], int]:
    """Return the first and the last outputs, and how many between them are left out."""
    gone, head = len(outputs) - form.outputs, form.outputs // 2
    return (outputs, 0) if gone <= 0 else ((*outputs[:head], *outputs[head + gone :]), gone)


def _with_note(texts: list[str], gone: int) -> list[str]:
    half = len(texts) // 2
    return [*texts[:half], f"[… {gone} outputs left out …]", *texts[half:]] if gone else texts


def _cut(output: Output, form: Form) -> str:
    least = TABLE if output.kind == "table" else (0, 0)
    return cut(output.text, lines=max(form.output, least[0]), characters=max(form.characters, least[1]))


def is_entire(run: CellRun, form: Form) -> bool:
    """Tell whether this form has all of the source."""
    enough = run.source.count("\n") < form.source and len(run.source) <= SOURCE_CHARACTERS
    return form is not OUTLINE and enough and all(len(line) <= LINE for line in run.source.split("\n"))


def is_short(run: CellRun) -> bool:
    """Tell whether its brief form is hardly longer than its line of an outline."""
    size = len(run.source) + sum(len(output.text) for output in run.outputs)
    return size <= 120


def outline(
    runs: Sequence[CellRun],
    again: Mapping[int, int] = MappingProxyType({}),
    entries: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return one line a cell, those that only look folded into one where several follow each other.

    `again` maps the number of a run to the earlier run of the same cell that the thread holds. `entries` are told in
    the place of lines, by run.
    """
    lines: list[str] = []
    looking: list[CellRun] = []
    for run in runs:
        told = entries.get(run.identity)
        if told is None and run.flow.shows_only and not run.has("error") and run.number not in again:
            looking.append(run)
            continue
        lines += _looked(looking)
        looking = []
        before = f"cell {again[run.number]} ran again: " if again.get(run.number) else ""
        lines.append(outline_line(run, before) if told is None else told)
    lines += _looked(looking)
    return element("notebook", "\n".join(lines), form="outline")


def entry(run: CellRun, form: Form) -> str:
    """Return the run's source and outputs as an entry of the outline: what follows its first line is indented."""
    source = cut(run.source, lines=form.source, characters=SOURCE_CHARACTERS)
    shown = [f"-> {unframed(text)}" for text in _texts(run.outputs, form)]
    return f"{run.number}: " + "\n".join([unframed(source), *shown]).replace("\n", "\n ")


def _looked(runs: Sequence[CellRun]) -> list[str]:
    if len(runs) < SHOW_RUN:
        return [outline_line(run) for run in runs]
    numbers = ", ".join(str(run.number) for run in runs)
    return [f"{numbers}: look at {unframed('; '.join(first_line(_code(run), 24) for run in runs[:8]))}"]


def outline_line(run: CellRun, before: str = "") -> str:
    """Return `3: growth limit -> table 5 x 2`: number, what it defines or does, what it showed.

    A short source stands there as it is.
    """
    names = sorted((run.flow.binds | run.flow.changes) - run.flow.imports)
    more = f" … {len(names) - BOUND} more" if len(names) > BOUND else ""
    does = f"{' '.join(names[:BOUND])}{more}" if names else first_line(_code(run), CODE)
    does = run.source.replace("\n", "\n ") if len(run.source) <= AS_IT_IS else does
    telling = (output for output in run.outputs if "\n" not in output.text or output.kind not in PLAIN)
    shown = ", ".join(output.title for output in islice(telling, 2))
    return unframed(f"{run.number}: {before}{does}{f' -> {shown}' if shown else ''}")


PLAIN = ("printed", "result", "shown")
"""Kinds of outputs that a line cannot tell where they are longer than one."""
CODE, BOUND, AS_IT_IS = 40, 5, 80
"""Characters of code, or names, in a line of an outline. Then those of a source that stands there as it is."""


def _code(run: CellRun) -> str:
    """Return the first line of a cell that does something: no comment, no import where more follows."""
    lines = [line for line in run.source.split("\n") if line.strip()]
    telling = [line for line in lines if not line.lstrip().startswith(("#", "import ", "from ", "%"))]
    comment = next((line for line in lines if line.lstrip().startswith("# ")), "")
    return comment if comment and len(telling) > 3 else next(iter(telling or lines), "")
