"""Small tables: for the folds of a run and for the magics that list things. Html and plain text. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentnb.notebook.figures import count, number
from agentnb.notebook.style import (
    CODE,
    FAINT,
    FOOT,
    NO_MATH,
    ROW,
    TABLE,
    WIDTH,
    clean,
    esc,
    line_html,
    unbroken,
    wrap,
    wrapped,
)

MOST_ROWS = 200
UNWRAPPED = 32
"""Characters of a cell that stays on one line in html."""
LAST = 16
"""Characters that the last column keeps where room is short: it wraps, and it carries the sentences."""


class Figure(str):
    """A finished figure in a table: set to the right."""


class Code(str):
    """A name or an id in a table: set in a fixed width."""


@dataclass(frozen=True)
class Stacked:
    """A cell of two lines in html: what counts, and below it facts that wrap between each other in a narrow window."""

    main: str
    facts: tuple[object, ...]

    def __str__(self) -> str:
        return self.main


def table_html(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str] = (),
    *,
    figure: str = "",
) -> str:
    """A titled table. Numbers and `Figure`s go right, `Code` is set in fixed width; all text is escaped.

    `figure` is finished html between the title and the table.
    """
    heading = f'<p style="margin:0 0 4px 0"><strong>{esc(title)}</strong></p>' if title else ""
    body = plain_table(columns, rows) if rows else ""
    lines = "".join(line_html(note) for note in notes)
    return wrap(f'<div class="{NO_MATH}">{heading}{figure}<div style="overflow-x:auto">{body}</div>{lines}</div>')


def table_text(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str] = ()) -> str:
    """The same for a terminal, 80 columns: the last column wraps, the widest others are cut with `…`, names last."""
    parts = [title] if title else []
    if rows:
        parts.append(_grid(columns, rows[:MOST_ROWS]))
    parts += [f"and {count(len(rows) - MOST_ROWS)} more"] if len(rows) > MOST_ROWS else []
    parts += [wrapped(note) for note in notes]
    return "\n".join(parts)


def table_bundle(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str] = (),
    *,
    figure: str = "",
) -> dict[str, Any]:
    """Html and plain text of one table."""
    return {
        "text/html": table_html(title, columns, rows, notes, figure=figure),
        "text/plain": table_text(title, columns, rows, notes),
    }


def filled(
    columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The columns in which any row has something to say."""
    keep = [i for i in range(len(columns)) if any(row[i] not in (None, "") for row in rows)]
    return tuple(columns[i] for i in keep), [tuple(row[i] for i in keep) for row in rows]


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    shown = [list(row) for row in rows[:MOST_ROWS]]
    right = _right_aligned(columns, shown)
    head = "".join(
        f'<th scope="col" style="{_cell_style(r)};font-weight:normal;white-space:nowrap;{FAINT}">{esc(c)}</th>'
        for c, r in zip(columns, right, strict=True)
    )
    last = len(columns) - 1
    body = "".join(
        f'<tr style="{FOOT}">'
        + "".join(_cell(cell, right[i], wraps=i == last or _is_long(cell)) for i, cell in enumerate(row[: last + 1]))
        + "</tr>"
        for row in shown
    )
    more = line_html(f"and {count(len(rows) - MOST_ROWS)} more") if len(rows) > MOST_ROWS else ""
    table = TABLE.replace("width:100%", "width:auto")
    return f'<table style="{table}"><tr style="{ROW}">{head}</tr>{body}</table>{more}'


def _is_long(value: object) -> bool:
    return len(_cell_text(value)) > UNWRAPPED


def _cell(value: object, right: bool, *, wraps: bool) -> str:
    """Ids, dates and states stay on one line; the last column holds the sentences and wraps."""
    text = esc(_cell_text(value))
    below = _facts_html(value.facts) if isinstance(value, Stacked) else ""
    code = CODE if wraps else CODE.replace("pre-wrap", "pre")
    inner = f'<code style="{code}">{text}</code>' if isinstance(value, Code) and text else text
    style = f"{_cell_style(right)};min-width:{LAST}em" if wraps and _is_long(value) else _cell_style(right)
    return f'<td style="{style}{"" if wraps else ";white-space:nowrap"}">{inner}{below}</td>'


def _facts_html(facts: Sequence[object]) -> str:
    parts = [
        f'<code style="{CODE}">{esc(fact)}</code>' if isinstance(fact, Code) else esc(_cell_text(fact))
        for fact in facts
    ]
    return f'<br><span style="{FAINT}">{unbroken(parts)}</span>'


def _cell_style(right: bool) -> str:
    side = "text-align:right;white-space:nowrap" if right else "text-align:left"
    return f"{side};padding:3px 14px 3px 0;border:0;vertical-align:top"


def _right_aligned(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """A column is set right when all it holds are figures."""
    out = []
    for index in range(len(columns)):
        cells = [row[index] for row in rows if index < len(row) and row[index] not in (None, "")]
        out.append(bool(cells) and all(isinstance(cell, Figure) or number(cell) is not None for cell in cells))
    return out


def _cell_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    return clean(value)


def _grid(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    right = _right_aligned(columns, rows)
    cells = [list(columns), *([" ".join(_cell_text(c).split()) for c in row] for row in rows)]
    natural = [max(len(line[i]) if i < len(line) else 0 for line in cells) for i in range(len(columns))]
    names = {i for row in rows for i, cell in enumerate(row) if isinstance(cell, Code)}
    widths = _fit(natural, names)
    head, *body = [_row_lines(line, widths, right) for line in cells]
    rule = "-" * min(WIDTH, sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([*head, rule, *(line for lines in body for line in lines)])


def _fit(widths: list[int], names: set[int]) -> list[int]:
    """The widths, the widest cut again and again until all fit in 80 columns (none below 6).

    Names and ids are cut last: what is cut cannot be typed after it.
    """
    fitted = [min(width, WIDTH) for width in widths]
    last = len(widths) - 1
    others = sum(fitted[:last]) + 2 * last
    fitted[last] = min(fitted[last], max(LAST, WIDTH - others))
    for group in (set(range(last)) - names, names - {last}):
        while sum(fitted) + 2 * (len(fitted) - 1) > WIDTH:
            widest = max(group, key=lambda i: fitted[i], default=None)
            if widest is None or fitted[widest] <= 6:
                break
            fitted[widest] -= 1
    return fitted


def _row_lines(line: list[str], widths: list[int], right: list[bool]) -> list[str]:
    """One row; its last cell goes on below itself where it is too long, the others are cut."""
    last = textwrap.wrap(line[-1], widths[len(line) - 1]) or [""]
    first = [_pad(c, w, r) for c, w, r in zip([*line[:-1], last[0]], widths, right, strict=False)]
    indent = " " * (sum(widths[: len(line) - 1]) + 2 * (len(line) - 1))
    return ["  ".join(first).rstrip(), *(indent + rest for rest in last[1:])]


def _pad(text: str, width: int, right: bool) -> str:
    cut = text if len(text) <= width else text[: max(0, width - 1)] + "…"
    return cut.rjust(width) if right else cut.ljust(width)
