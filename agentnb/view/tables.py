"""Draw small tables: for the folds of a run and for the magics that list things. Html and plain text. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from agentnb.canonical import JsonObject
from agentnb.view.number_format import count, number
from agentnb.view.style import (
    FAINT,
    FLOWS,
    FOOT,
    NO_MATH,
    ROW,
    SMALL_CODE,
    SUMMARY,
    TABLE,
    WIDTH,
    clean,
    esc,
    line_html,
    unbroken,
    words_html,
    wrap,
    wrapped,
)

MOST_ROWS = 200
ROOM = 56
"""Ems that a table has at most, since a view is no wider."""
WRAPS = 13
"""Ems that a column of sentences has at least. Beside a time of day it fits 400 px."""
LETTER, EDGE = 0.64, 1.7
"""Ems that a character takes on average, and a cell besides: rather too many than too few."""
UNWRAPPED = 32
"""Characters of a cell that stays on one line in html; of one with words in it, half of them."""
LAST = 16
"""Characters that a column of sentences keeps where room is short: it wraps."""
NARROWEST = 6
"""Characters that any other column keeps: it is cut."""


class Figure(str):
    """Holds a finished figure in a table: set to the right."""


class Code(str):
    """Holds a name or an id in a table: set in a fixed width."""


@dataclass(frozen=True)
class Stacked:
    """Sets a cell in two lines: what counts, and below it facts, which wrap where room is short.

    One such cell takes the place of several columns. So a table can be read in a narrow window and a terminal.
    """

    main: str
    facts: tuple[object, ...]

    def __str__(self) -> str:
        return self.main

    def lines(self, width: int) -> list[str]:
        facts = " · ".join(_cell_text(fact) for fact in self.facts if fact not in (None, ""))
        below = textwrap.wrap(facts, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        return [*_wrapped_cell(self.main, width), *below]


def table_html(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str] = (),
    *,
    figure: str = "",
    first: int | None = None,
) -> str:
    """Return a titled table. Numbers and `Figure`s go right, `Code` is set in fixed width; all text is escaped.

    `figure` is finished html between the title and the table. Rows after the `first` ones stand in a fold.
    """
    heading = f'<p style="margin:0 0 4px 0"><strong>{esc(title)}</strong></p>' if title else ""
    body = plain_table(columns, rows[:first]) if rows[:first] else ""
    if first is not None and (folded := rows[first:]):
        summary = f'<summary style="{SUMMARY}">{count(len(folded))} more</summary>'
        body += f"<details>{summary}{plain_table(columns, folded)}</details>"
    lines = "".join(line_html(note) for note in notes)
    return wrap(f'<div class="{NO_MATH}">{heading}{figure}{body}{lines}</div>')


def table_text(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str] = (),
    *,
    width: int = WIDTH,
) -> str:
    """Return the same for a terminal: sentences wrap, the widest other columns are cut with `…`, names last."""
    parts = [wrapped(title, width=width)] if title else []
    if rows:
        parts.append(_grid(columns, rows[:MOST_ROWS], width))
    parts += [f"and {count(len(rows) - MOST_ROWS)} more"] if len(rows) > MOST_ROWS else []
    parts += [wrapped(note, width=width) for note in notes]
    return clean("\n".join(parts))


def table_bundle(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Sequence[str] = (),
    *,
    figure: str = "",
    told: Sequence[str] = (),
    first: int | None = None,
    width: int = WIDTH,
) -> JsonObject:
    """Return html and plain text of one table. `told` says in the text what the figure and the fold show in the
    html."""
    return {
        "text/html": table_html(title, columns, rows, notes, figure=figure, first=first),
        "text/plain": table_text(title, columns, rows[:first], [*notes, *told], width=width),
    }


def filled(
    columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return the columns in which any row has something to say."""
    keep = [i for i in range(len(columns)) if any(row[i] not in (None, "") for row in rows)]
    return tuple(columns[i] for i in keep), [tuple(row[i] for i in keep) for row in rows]


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table whose rows go on below themselves where they have no room. So it never scrolls sideways."""
    shown = [row[: len(columns)] for row in rows[:MOST_ROWS]]
    styles = _column_styles(columns, shown)
    head = "".join(
        f'<th scope="col" style="{style};font-weight:normal;{FAINT}">{esc(name)}</th>'
        for name, style in zip(columns, styles, strict=True)
    )
    body = "".join(f'<tr style="{FLOWS};{FOOT}">{"".join(map(_cell, row, styles))}</tr>' for row in shown)
    more = line_html(f"and {count(len(rows) - MOST_ROWS)} more") if len(rows) > MOST_ROWS else ""
    rows_html = f'<tbody style="display:block"><tr style="{FLOWS};{ROW}">{head}</tr>{body}</tbody>'
    return f'<table style="{TABLE};display:block">{rows_html}</table>{more}'


def _column_styles(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return a style for each column: as wide as its longest cell; what wraps shares what room is left."""
    right = _right_aligned(columns, rows)
    cells = [[row[i] for row in rows if i < len(row)] for i in range(len(columns))]
    widths = [EDGE + LETTER * width for width in _natural(columns, rows)]
    wraps = [any(map(_wraps, column)) for column in cells]
    fixed = sum(width for width, wrapping in zip(widths, wraps, strict=True) if not wrapping)
    part = min(WRAPS, max(WRAPS / 2, (ROOM - fixed) / max(1, sum(wraps))))
    return [
        f"{_cell_style(figures)};"
        + (_flowing(width, part) if wrapping else f"flex:0 0 {width:.1f}em;white-space:nowrap")
        for figures, width, wrapping in zip(right, widths, wraps, strict=True)
    ]


def _flowing(width: float, part: float) -> str:
    return f"flex:1 1 {min(width, part):.1f}em;max-width:{width:.1f}em;min-width:0;overflow-wrap:anywhere"


def _wraps(value: object) -> bool:
    """Ids, dates, figures and states stay on one line; sentences wrap."""
    text = _cell_text(value)
    return isinstance(value, Stacked) or len(text) > (UNWRAPPED // 2 if " " in text else UNWRAPPED)


def _cell(value: object, style: str) -> str:
    main = value.main if isinstance(value, Stacked) else value
    text = esc(_cell_text(main)) if isinstance(main, Code) else words_html(_cell_text(main))
    below = _facts_html(value.facts) if isinstance(value, Stacked) else ""
    code = SMALL_CODE.replace("pre-wrap", "pre") if "nowrap" in style else SMALL_CODE
    inner = f'<code style="{code}">{text}</code>' if isinstance(main, Code) and text else text
    return f'<td style="{style}">{inner}{below}</td>'


def _facts_html(facts: Sequence[object]) -> str:
    parts = [
        f'<code style="{SMALL_CODE}">{esc(fact)}</code>' if isinstance(fact, Code) else words_html(_cell_text(fact))
        for fact in facts
        if fact not in (None, "")
    ]
    return f'<br><span style="{FAINT}">{unbroken(parts)}</span>' if parts else ""


def _cell_style(right: bool) -> str:
    side = "right" if right else "left"
    return f"text-align:{side};padding:3px 14px 3px 0;border:0;vertical-align:top;box-sizing:border-box"


def _right_aligned(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """Tell which columns are set right: when all it holds are figures."""
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


def _grid(columns: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> str:
    right = _right_aligned(columns, rows)
    last = len(columns) - 1
    wraps = [i == last or any(isinstance(row[i], Stacked) for row in rows if i < len(row)) for i in range(len(columns))]
    names = [any(isinstance(row[i], Code) for row in rows if i < len(row)) for i in range(len(columns))]
    natural = _natural(columns, rows)
    least = [min(wanted, LAST) if wrapping else wanted for wanted, wrapping in zip(natural, wraps, strict=True)]
    if width < WIDTH and sum(least) + 2 * last > width:
        return "\n".join(line for row in rows for line in _record(columns, row, width))
    widths = _fit(natural, wraps, names, width)
    lines = [_row_lines(row, widths, right, wraps) for row in (columns, *rows)]
    rule = "-" * min(width, sum(widths) + 2 * last)
    return "\n".join([*lines[0], rule, *(line for row in lines[1:] for line in row)])


def _record(columns: Sequence[str], row: Sequence[object], width: int) -> list[str]:
    """Return one row in lines, where the columns have no room: what counts, then the others with their names."""
    at = next((i for i, value in enumerate(row) if isinstance(value, Stacked)), 0)
    main = row[at]
    others = (
        f"{name} {_cell_text(value)}".strip()
        for i, (name, value) in enumerate(zip(columns, row, strict=False))
        if i != at and value not in (None, "")
    )
    facts = main.facts if isinstance(main, Stacked) else ()
    return Stacked(_cell_text(main), (*facts, *others)).lines(width)


def _natural(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[int]:
    """Return how wide each column would like to be."""
    return [
        max(len(line) for row in (columns, *rows) if i < len(row) for line in _text_lines(row[i], 10 * WIDTH) or [""])
        for i in range(len(columns))
    ]


def _text_lines(value: object, width: int) -> list[str]:
    return value.lines(width) if isinstance(value, Stacked) else _wrapped_cell(value, width)


def _wrapped_cell(value: object, width: int) -> list[str]:
    return textwrap.wrap(_cell_text(value), width, break_on_hyphens=False)


def _fit(widths: list[int], wraps: Sequence[bool], names: Sequence[bool], most: int) -> list[int]:
    """Return the widths, the widest made narrower again and again until all fit in `most` columns.

    First what wraps, down to 16 characters; then what is cut, names and ids last: they are typed again.
    """
    fitted = [min(width, most) for width in widths]
    kinds = [(LAST, True, None), (NARROWEST, False, False), (NARROWEST, False, True)]
    for least, wrapping, named in kinds:
        group = [i for i, w in enumerate(wraps) if w is wrapping and (named is None or names[i] is named)]
        while (over := sum(fitted) + 2 * (len(fitted) - 1) - most) > 0:
            widest = max(group, key=lambda i: fitted[i], default=None)
            if widest is None or fitted[widest] <= least:
                break
            fitted[widest] -= 1 if len(group) > 1 else min(over, fitted[widest] - least)
    return fitted


def _row_lines(row: Sequence[object], widths: Sequence[int], right: Sequence[bool], wraps: Sequence[bool]) -> list[str]:
    """Return one row: what wraps goes on below itself, the rest is cut."""
    cells = [
        _text_lines(value, width) if wrapping else [_cut(value, width)]
        for value, width, wrapping in zip(row, widths, wraps, strict=False)
    ]
    lines = zip_longest(*cells, fillvalue="")
    return ["  ".join(map(_pad, line, widths, right)).rstrip() for line in lines] or [""]


def _cut(value: object, width: int) -> str:
    text = " ".join(_cell_text(value).split())
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
