"""Show an answer as text for a terminal or a pipe: wrapped, with colours where wanted. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from agentnb.view.answer.highlight import code_ansi
from agentnb.view.answer.markup import language_of, parse, plain

if TYPE_CHECKING:
    from markdown_it.token import Token

BOLD, ITALIC, STRUCK, CODE, LINK, FAINT = "1", "3", "9", "36", "34", "2"
_SPANS = {"strong": BOLD, "em": ITALIC, "s": STRUCK, "link": LINK}
NARROWEST = 8
"""Characters that a column of a table keeps."""
Word = tuple[str, str]
"""Text without a break in it, and the codes that it is shown with."""


def answer_text(text: str, *, width: int = 80, colours: bool = False) -> str:
    """Return Markdown as text: paragraphs wrapped, code and its colours kept, tables in columns."""
    return "\n\n".join("\n".join(block) for block in _blocks(parse(text)[0], max(20, width), colours))


def _blocks(tokens: Sequence[Token], width: int, colours: bool) -> list[list[str]]:
    """Return the lines of each block."""
    return [lines for group in _groups(tokens) if (lines := _block(group, width, colours))]


def _groups(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield each block with all that lies in it."""
    start = depth = 0
    for at, token in enumerate(tokens):
        depth += token.nesting
        if depth == 0:
            yield tokens[start : at + 1]
            start = at + 1


def _block(group: Sequence[Token], width: int, colours: bool) -> list[str]:
    token, inner = group[0], group[1:-1]
    if token.type in ("fence", "code_block"):
        source = token.content.rstrip("\n")
        shown = code_ansi(source, language_of(token)) if colours else source
        return [f"    {line}".rstrip() for line in shown.split("\n")]
    if token.type == "hr":
        return ["-" * width]
    if token.type == "heading_open":
        return _heading(inner, width, colours)
    if token.type == "table_open":
        return _table(inner, width)
    if token.type == "blockquote_open":
        body = _joined(_blocks(inner, width - 2, colours), blank=True)
        return [f"{_coded('>', FAINT, colours)} {line}".rstrip() for line in body]
    if token.type in ("bullet_list_open", "ordered_list_open"):
        return _list(group, width, colours)
    return _wrapped(_words(inner[0].children or () if inner else ()), width, colours)


def _joined(blocks: list[list[str]], *, blank: bool) -> list[str]:
    out: list[str] = []
    for block in blocks:
        out += [""] if out and blank else []
        out += block
    return out


def _heading(inner: Sequence[Token], width: int, colours: bool) -> list[str]:
    words = plain(inner[0].children or ()) if inner else ""
    lines = textwrap.wrap(words, width)
    return [_coded(line, BOLD, True) for line in lines] if colours else [*lines, "-" * min(width, len(words))]


def _list(group: Sequence[Token], width: int, colours: bool) -> list[str]:
    out: list[str] = []
    number = int(group[0].attrs.get("start", 1))
    for item in _groups(group[1:-1]):
        mark = f"{number}. " if group[0].type == "ordered_list_open" else "- "
        checked = item[0].meta.get("checked")
        box = "" if checked is None else "[x] " if checked else "[ ] "
        body = _joined(_blocks(item[1:-1], max(20, width - len(mark + box)), colours), blank=False) or [""]
        out += [f"{mark + box if n == 0 else ' ' * len(mark)}{line}".rstrip() for n, line in enumerate(body)]
        number += 1
    return out


def _table(inner: Sequence[Token], width: int) -> list[str]:
    rows: list[list[str]] = []
    for at, token in enumerate(inner):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and inner[at - 1].type in ("th_open", "td_open"):
            rows[-1].append(plain(token.children or ()))
    widths = [max(map(len, column)) or 1 for column in zip_longest(*rows, fillvalue="")]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    head, *body = [_table_row(row, widths) for row in rows]
    return [*head, "  ".join("-" * each for each in widths), *(line for row in body for line in row)]


def _table_row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=False)]
    lines = zip_longest(*cells, fillvalue="")
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _words(tokens: Sequence[Token]) -> Iterator[Word]:
    """Yield the pieces of a paragraph with their codes; a break is a piece of its own."""
    codes: list[str] = []
    target: list[str] = []
    label = ""
    for token in tokens:
        kind = token.type.partition("_")[0]
        if token.type in ("softbreak", "hardbreak"):
            yield "\n", ""
        elif token.type == "code_inline":
            yield f"`{token.content}`", CODE
        elif token.type == "image":
            yield f"picture: {plain(token.children or ())} ({token.attrs['src']})", LINK
        elif token.type == "formula":
            yield f"${token.content}$", ""
        elif token.nesting == 1:
            codes.append(_SPANS.get(kind, ""))
            target.append(str(token.attrs.get("href", "")))
        elif token.nesting == -1:
            code, link = codes.pop(), target.pop()
            if link and link != label:
                yield f" ({link})", code
        else:
            label = token.content
            yield token.content, ";".join(filter(None, codes))


def _wrapped(words: Iterator[Word], width: int, colours: bool) -> list[str]:
    """Return lines of at most `width` columns, broken at spaces; the codes are set anew on each piece."""
    lines: list[list[Word]] = [[]]
    unbroken: list[Word] = []
    used = 0
    for text, codes in (*words, ("\n", "")):
        for piece in re.findall(r"\n| +|[^ \n]+", text):
            if piece.strip():
                unbroken.append((piece, codes))
                continue
            length = sum(len(part) for part, _ in unbroken)
            if used and used + length > width:
                lines.append([])
                used = 0
            lines[-1] += unbroken
            unbroken, used = [], used + length
            if piece == "\n":
                lines.append([])
                used = 0
            elif used:
                lines[-1].append((piece, codes))
                used += len(piece)
    return ["".join(_coded(text, codes, colours) for text, codes in line).rstrip() for line in lines[:-1]]


def _coded(text: str, codes: str, colours: bool) -> str:
    return f"\x1b[{codes}m{text}\x1b[0m" if colours and codes and text.strip() else text
