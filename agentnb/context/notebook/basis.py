"""Tell what an answer rests on, and what of it has changed since: cells, definitions, values. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from agentnb.canonical import JsonMapping, digest, digest_of
from agentnb.context.notebook.cell_runs import CellRun
from agentnb.context.notebook.cells import ASSIGNED_MAGIC, LINE_MAGIC, python_part
from agentnb.context.notebook.outputs import steady
from agentnb.context.static.syntax import PARSE_ERRORS, parse

_TIMED = re.compile(r"^\s*%%?time(?:it)?\b", re.MULTILINE)
_NAMED = re.compile(r"([^\W\d][\w.]*): ")
_VALUES = re.compile(r"<values>\n(.*?)\n</values>", re.DOTALL)


def content_of(run: CellRun) -> str:
    """Return a digest of what a cell says and has shown, without comments, blank lines, times and places of errors."""
    shown = [] if _TIMED.search(run.source) else [(each.kind, steady(each.text)) for each in run.outputs]
    return digest_of([_meaning(run.source), shown])


@lru_cache(256)
def _meaning(source: str) -> str:
    code = python_part(source)
    has_magic = LINE_MAGIC.search(code or "") or ASSIGNED_MAGIC.search(code or "")
    try:
        tree = parse(ASSIGNED_MAGIC.sub(r"\1...", LINE_MAGIC.sub(r"\1pass", code))) if code else None
        return ast.dump(tree) if tree is not None and not has_magic else source.strip()
    except PARSE_ERRORS:
        return source.strip()


def older_cells(cells: Iterable[JsonMapping], now: Callable[[str], CellRun | None], session: str) -> list[str]:
    """Return the cells of an answer's receipt that have another content now, in words; another kernel's are not
    known."""
    found = []
    for item in cells:
        run = now(str(item["cell"]))
        if not item.get("involved") or not item.get("content") or item.get("session") != session or run is None:
            continue
        if run.number != item["execution_count"] and content_of(run) != item["content"]:
            found.append(f"cell [{item['execution_count']}], which ran again as [{run.number}]")
    return found


def values_told(described: Iterable[str]) -> tuple[JsonMapping, ...]:
    """Return the names whose descriptions an answer has before it, each with a digest of what it read."""
    named = ((match.group(1), text) for text in described if (match := _NAMED.match(text)))
    return tuple({"name": name, "digest": digest(text)} for name, text in named)


def lacking_values(described: Iterable[str], told: Iterable[str]) -> tuple[str, ...]:
    """Return the descriptions that a thread lacks, and a line on those that stand in it unchanged.

    `told` are the texts with values that it has, the newest first.
    """
    told, new, same = [f"\n{text}\n" for text in told], list[str](), list[str]()
    for text in described:
        name = match.group(1) if (match := _NAMED.match(text)) else ""
        newest = next((one for one in told if name and f"\n{name}: " in one), "")
        (same if f"\n{text}\n" in newest else new).append(text)
    names = ", ".join(text.partition(":")[0] for text in same)
    return (*new, f"(unchanged since told above: {names})") if names else tuple(new)


def values_in(text: str) -> str:
    """Return the values that stand beside a task."""
    found = _VALUES.search(text)
    return found.group(1) if found else ""


def older_values(
    told: Iterable[JsonMapping], describe: Callable[[str], str | None], among: Iterable[str] | None = None
) -> list[str]:
    """Return the values that read otherwise now, in words; `among` bounds the names that are looked at."""
    names = {str(item["name"]): item["digest"] for item in told if among is None or item["name"] in set(among)}
    now = ((name, was, describe(name)) for name, was in names.items())
    return [f"`{name}`" for name, was, text in now if text is not None and digest(text) != was]
