"""What an answer rests on, and what of it has changed since: cells, definitions, values. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable

from agentnb.canonical import JsonMapping, digest_of
from agentnb.context.notebook.cell_runs import CellRun
from agentnb.context.notebook.cells import ASSIGNED_MAGIC, LINE_MAGIC, python_part
from agentnb.context.static.syntax import PARSE_ERRORS, parse

_TIMED = re.compile(r"^\s*%%?time(?:it)?\b", re.MULTILINE)
_VALUE = re.compile(r"^([^\W\d]\w*): ", re.MULTILINE)
_VALUES = re.compile(r"<values>\n(.*?)\n</values>", re.DOTALL)


def content_of(run: CellRun) -> str:
    """A digest of what a cell says and has shown: comments, blank lines, times and places of errors are no part."""
    shown = [] if _TIMED.search(run.source) else [(each.kind, each.text) for each in run.outputs]
    return digest_of([_meaning(run.source), shown])


def _meaning(source: str) -> str:
    code = python_part(source)
    try:
        tree = parse(ASSIGNED_MAGIC.sub(r"\1...", LINE_MAGIC.sub(r"\1pass", code))) if code else None
        return ast.dump(tree) if tree is not None and not _has_magic(code or "") else source.strip()
    except PARSE_ERRORS:
        return source.strip()


def _has_magic(code: str) -> bool:
    return bool(LINE_MAGIC.search(code) or ASSIGNED_MAGIC.search(code))


def older_cells(cells: Iterable[JsonMapping], now: Callable[[str], CellRun | None], session: str) -> list[str]:
    """The cells of an answer's receipt that have another content now, in words; another kernel's are not known."""
    found = []
    for item in cells:
        run = now(str(item["cell"]))
        if not item.get("involved") or not item.get("content") or item.get("session") != session or run is None:
            continue
        if run.number != item["execution_count"] and content_of(run) != item["content"]:
            found.append(f"cell [{item['execution_count']}], which ran again as [{run.number}]")
    return found


def values_in(text: str) -> tuple[str, ...]:
    """The names whose values stand beside a task."""
    found = _VALUES.search(text)
    return tuple(dict.fromkeys(_VALUE.findall(found.group(1)))) if found else ()


def older_values(text: str, describe: Callable[[str], str | None], among: Iterable[str] | None = None) -> list[str]:
    """The values beside a task that read otherwise now, in words; `among` bounds the names that are looked at."""
    names = [name for name in values_in(text) if among is None or name in set(among)]
    told = ((name, describe(name)) for name in names)
    return [f"`{name}`" for name, now in told if now is not None and now not in text]
