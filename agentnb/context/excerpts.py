"""The part of a long function around one of its lines, in whole statements. Pure, on text alone."""

from __future__ import annotations

import ast
import inspect
import textwrap
import tokenize
from collections.abc import Iterator, Sequence

from agentnb.context.syntax import PARSE_ERRORS, parse

LINES = 40


def excerpt(lines: Sequence[str], start: int, line: int, *, most: int = LINES) -> tuple[int, int] | None:
    """(first line, last line) of the statements around `line` in the function that starts at line `start` of a file.

    At most `most` lines, in one body: that of the innermost block that does not fit as a whole. None where the line
    stands in no statement of so few lines, or the text is not what ran. Lines are counted from 1, as tracebacks do.
    """
    try:
        block = "".join(inspect.getblock(list(lines[start - 1 :])))
        top = parse(textwrap.dedent(block)).body[0]
    except (*PARSE_ERRORS, tokenize.TokenError, IndexError):
        return None
    found = None
    for body, place in reversed(_way_to(top, line - start + 1)):
        first, last = _grown(body, place, most)
        if _span(body, first, last) > most:
            break
        begin = _begin(body[first]) + start - 1
        if not lines[begin - 1].lstrip().startswith("elif"):  # it reads as a statement only with what stands before it
            found = begin, _end(body[last]) + start - 1
        if (first, last) != (0, len(body) - 1):
            break
    return found


def _way_to(top: ast.stmt, line: int) -> list[tuple[list[ast.stmt], int]]:
    """The bodies around a line from the outermost in, each with the place of the statement that holds it."""
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
    """The places of the statements around one that fit: by turns one before it and one after."""
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
