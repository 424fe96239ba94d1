"""Read Python text and its syntax tree: quiet parsing, headers on one line, docstrings. Pure, on text and trees
alone."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import suppress

PARSE_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)
"""Errors of parsing, or of walking what was parsed, on bad input."""


def normalise(text: str) -> str:
    """LF line ends and no byte order mark, so that a checkout on any system gives the same bytes."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def parse(text: str) -> ast.Module:
    """Parse as `ast.parse` does, without the warnings that old escape sequences in other people's strings raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _parsed(text)


def _parsed(text: str) -> ast.Module:
    """Parse alone: Python 3.11 counts how deep a tree is for all threads together. Where two parse at once, either can
    end in a SystemError ("recursion depth mismatch"), whatever its text (3.11.7). It is tried again.
    """
    for _ in range(TRIES - 1):
        with suppress(SystemError):
            return ast.parse(text)
    return ast.parse(text)


TRIES = 50


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


_PLAIN_HEADER = re.compile(r"(?:def|class|async def) (?!.*(?:  |,[ ]?\)))[^#'\"\t\f\\]*:")
"""One line without anything to be left out or put together; tokenizing it would take twenty times as long."""


def header(text: str) -> str:
    """Return `def f(a, b=1) -> int:` or `class A(B):` on one line, without comments, from text that begins at or before
    it."""
    line = text.partition("\n")[0].strip(" ")
    if _PLAIN_HEADER.fullmatch(line) and all(line.count(a) == line.count(b) for a, b in ("()", "[]", "{}")):
        return line
    out: list[str] = []
    depth = 0
    previous: tokenize.TokenInfo | None = None
    for token in _tokens(text):
        if token.type in {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}:
            if token.type == tokenize.NEWLINE:
                out.clear()  # that was a decorator
                previous = None
            continue
        if token.string == ")" and depth == 1 and out[-1] == ",":
            out.pop()  # what a parameter list broken over lines leaves behind
        out.append(_gap(previous, token) + token.string)
        depth += (token.string in {"(", "[", "{"}) - (token.string in {")", "]", "}"})
        if token.string == ":" and depth == 0 and out[0].strip() in {"def", "class", "async"}:
            break
        previous = token
    return "".join(out)


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except (tokenize.TokenError, SyntaxError):
        return


def _gap(previous: tokenize.TokenInfo | None, token: tokenize.TokenInfo) -> str:
    if previous is None:
        return ""
    if previous.end[0] != token.start[0]:
        return "" if previous.string in {"(", "[", "{"} or token.string in {")", "]", "}"} else " "
    return " " if previous.end[1] != token.start[1] else ""


# docstrings -----------------------------------------------------------------------------------------------------------


def first_paragraph(node: ast.AST) -> str:
    """Return the first paragraph of a docstring, its lines joined by single spaces."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
        return ""
    text = ast.get_docstring(node) or ""
    lines = text.split("\n\n")[0].split("\n")
    # A title's underline is no prose.
    return " ".join(" ".join(line for line in lines if line.strip("=-~*# ")).split())


def first_line(doc: str, limit: int = 120) -> str:
    """Return the first sentence or so of a first paragraph."""
    sentence, stop, _ = doc.partition(". ")
    line = sentence + stop.strip()
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
