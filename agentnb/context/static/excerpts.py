"""Cut the part of a long function or cell around one of its lines, in whole statements. Pure, on text alone."""

from __future__ import annotations

import ast
import inspect
import textwrap
import tokenize
from collections.abc import Iterator, Sequence

from agentnb.context.static.syntax import PARSE_ERRORS, parse

LINES = 40
Spans = tuple[tuple[int, int], ...]
"""(first line, last line) of each part, in order. Lines are counted from 1, as tracebacks do."""


def excerpt(lines: Sequence[str], start: int, line: int, *, most: int = LINES) -> Spans:
    """Return the statements around `line` in the function that starts at line `start` of a file.

    At most `most` lines, in one body: that of the innermost block that does not fit as a whole. Of a single statement
    that is longer, its first line, the lines around, and its last. Empty where the text is not what ran.
    """
    try:
        block = "".join(inspect.getblock(list(lines[start - 1 :])))
        top = parse(textwrap.dedent(block)).body[0]
    except (*PARSE_ERRORS, tokenize.TokenError, IndexError):
        return ()
    before = start - 1
    return tuple((first + before, last + before) for first, last in _around(lines[before:], top, line - before, most))


def excerpt_of_cell(lines: Sequence[str], line: int, *, most: int) -> Spans:
    """Return the same for the code of a whole cell."""
    try:
        top = parse("".join(lines))
    except PARSE_ERRORS:
        return ()
    return _around(lines, top, line, most)


def _around(lines: Sequence[str], top: ast.AST, line: int, most: int) -> Spans:
    found: Spans = ()
    way = _way_to(top, line)
    for body, place in reversed(way):
        first, last = _grown(body, place, most)
        if _span(body, first, last) > most:
            break
        begin = _begin(body[first])
        if not lines[begin - 1].lstrip().startswith("elif"):  # it reads as a statement only with what stands before it
            found = ((begin, _end(body[last])),)
        if (first, last) != (0, len(body) - 1):
            break
    too_long = (body[place] for body, place in reversed(way) if _span(body, place, place) > most)
    return found or next((_cut(_begin(one), _end(one), line, most) for one in too_long), ())


def _cut(first: int, last: int, line: int, most: int) -> Spans:
    """Keep of a statement on these lines its first, those around `line`, and its last."""
    room = most - 2
    begin = min(max(first + 1, line - room // 2), last - room)
    spans = [(first, first), (begin, begin + room - 1), (last, last)]
    merged = [spans[0]]
    for one in spans[1:]:
        if one[0] == merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], one[1])
        else:
            merged.append(one)
    return tuple(merged)


def _way_to(top: ast.AST, line: int) -> list[tuple[list[ast.stmt], int]]:
    """Return the bodies around a line from the outermost in, each with the place of the statement that holds it."""
    way: list[tuple[list[ast.stmt], int]] = []
    node: ast.AST = top
    while True:
        inner = ((body, i) for body in _bodies(node) for i, one in enumerate(body) if _begin(one) <= line <= _end(one))
        step = next(inner, None)
        if step is None:
            return way
        way.append(step)
        node = step[0][step[1]]


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for value in (value for _, value in ast.iter_fields(node) if isinstance(value, list)):
        if value and isinstance(value[0], ast.stmt):
            yield value
        for part in value:
            if isinstance(part, ast.ExceptHandler | ast.match_case):
                yield part.body


def _grown(body: Sequence[ast.stmt], place: int, most: int) -> tuple[int, int]:
    """Return the places of the statements around one that fit: by turns one before it and one after."""
    first = last = place
    grows = True
    while grows:
        grows = False
        if first > 0 and _span(body, first - 1, last) <= most:
            first, grows = first - 1, True
        if last < len(body) - 1 and _span(body, first, last + 1) <= most:
            last, grows = last + 1, True
    return first, last


def _span(body: Sequence[ast.stmt], first: int, last: int) -> int:
    return _end(body[last]) - _begin(body[first]) + 1


def _begin(one: ast.stmt) -> int:
    decorators: Sequence[ast.expr] = getattr(one, "decorator_list", ())
    return min([one.lineno, *(item.lineno for item in decorators)])


def _end(one: ast.stmt) -> int:
    return one.end_lineno or one.lineno
