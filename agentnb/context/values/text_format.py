"""Write text and numbers as a reader writes them, short. Pure; nothing here looks at an object."""

from __future__ import annotations

from collections.abc import Iterable

from agentnb.context.redaction.redactor import cut_point

ITEMS = 8
"""Items of a container that are shown; of the rest only the number is told."""
TEXT = 160
"""Characters of a text inside something else."""
ENOUGH = 600
"""Characters after which no more items are looked at: a description is not longer."""
CELL = 40
"""Characters of a text in a table."""


def beginning(text: str, limit: int) -> str:
    """Return the text's first characters, `limit` at most; a secret that would be cut in two is left out."""
    return text if len(text) <= limit else text[: cut_point(text, limit)[0]]


def quoted(text: str, limit: int = TEXT) -> str:
    """Return the text as a literal; of a longer one the beginning and the size."""
    return repr(text) if len(text) <= limit else f"{beginning(text, limit)!r}… ({len(text)} characters)"


def number(value: float) -> str:
    """Return a float in six digits."""
    return f"{value:.6g}"


def cell(value: object) -> str:
    """Return a cell of a table, without quotes and on one line. Of anything but text and floats its own literal."""
    if type(value) is float:
        return number(value)
    if type(value) is not str:
        return repr(value)
    return beginning(value, CELL).replace("\n", "\\n").replace("\r", "\\r") + ("…" if len(value) > CELL else "")


def items(shown: Iterable[str], total: int) -> str:
    """Return `a, b, … 3 more`. What would go beyond ENOUGH is not asked for."""
    listed: list[str] = []
    size = 0
    for text in shown:
        listed.append(text)
        size += len(text)
        if size > ENOUGH:
            break
    more = [f"… {total - len(listed)} more"] if total > len(listed) else []
    return ", ".join([*listed, *more])
