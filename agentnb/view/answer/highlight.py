"""Show source code as html or terminal text with its words told apart by colour and weight. Pure. [home of pygments]

The styles stand in the html: a sanitized page keeps no style sheet. Every colour has a contrast of about 4 to 1 on a
white page and on a dark one. That is nearly the most that one colour can have on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygments.lexer import Lexer
    from pygments.token import _TokenType

LONGEST = 40_000
"""Characters. A longer source is shown as it is: colouring would cost more than a person waits."""

STYLES: Mapping[str, str] = {
    "Keyword": "color:#9a5cc9;font-weight:bold",
    "Keyword.Constant": "color:#9a5cc9",
    "Operator.Word": "color:#9a5cc9;font-weight:bold",
    "Literal.String": "color:#2f8a3c",
    "Literal.String.Interpol": "color:#a8700c",
    "Literal.Number": "color:#b0650f",
    "Name.Function": "color:#3b7bcf",
    "Name.Class": "color:#3b7bcf;font-weight:bold",
    "Name.Decorator": "color:#b0650f",
    "Name.Builtin": "color:#12858c",
    "Name.Exception": "color:#12858c",
    "Name.Tag": "color:#3b7bcf",
    "Comment": "color:#7a7a7a;font-style:italic",
    "Generic.Inserted": "color:#2f8a3c",
    "Generic.Deleted": "color:#d04848",
    "Generic.Error": "color:#d04848",
}
"""Token kind -> style. A kind that is not listed takes that of the kind above it, or none."""

PYTHON = frozenset({"python", "py", "python3", "py3", "ipython", "ipython3"})


def code_html(source: str, language: str) -> str:
    """Return the inside of a `<pre>`: escaped, in spans with inline styles where the language is known."""
    lexer = _lexer(language) if len(source) <= LONGEST else None
    if lexer is None:
        return escape(source, quote=False)
    parts = []
    for style, text in _runs(lexer, source):
        inner = escape(text, quote=False)
        parts.append(f'<span style="{style}">{inner}</span>' if style and text.strip() else inner)
    return "".join(parts)


def code_ansi(source: str, language: str) -> str:
    """Return the same for a terminal of 256 colours."""
    lexer = _lexer(language) if len(source) <= LONGEST else None
    if lexer is None:
        return source
    parts = []
    for style, text in _runs(lexer, source):
        codes = _ansi(style)
        lines = text.split("\n")
        parts.append("\n".join(f"\x1b[{codes}m{line}\x1b[0m" if codes and line.strip() else line for line in lines))
    return "".join(parts)


def _runs(lexer: Lexer, source: str) -> list[tuple[str, str]]:
    """Return (style, text) in order, neighbours of one style joined; together they are the source."""
    runs: list[tuple[str, str]] = []
    for kind, text in lexer.get_tokens(f"{source}\n"):  # some see a last line only where it ends
        style = _style(kind)
        if runs and (runs[-1][0] == style or not text.strip()):
            runs[-1] = (runs[-1][0], runs[-1][1] + text)
        elif text:
            runs.append((style, text))
    style, text = runs.pop()
    return [*runs, (style, text.removesuffix("\n"))]


@lru_cache(1024)
def _style(kind: _TokenType) -> str:
    names = tuple(kind)
    return next((STYLES[name] for n in range(len(names), 0, -1) if (name := ".".join(names[:n])) in STYLES), "")


@lru_cache(64)
def _ansi(style: str) -> str:
    """Return `color:#9a5cc9;font-weight:bold` -> `1;38;5;134`."""
    pairs = dict(part.split(":") for part in style.split(";") if part)
    codes = ["1"] if "font-weight" in pairs else []
    codes += ["3"] if "font-style" in pairs else []
    if colour := pairs.get("color"):
        red, green, blue = (round(int(colour[i : i + 2], 16) / 255 * 5) for i in (1, 3, 5))
        codes.append(f"38;5;{16 + 36 * red + 6 * green + blue}")
    return ";".join(codes)


@lru_cache(32)
def _lexer(language: str) -> Lexer | None:
    if not language:
        return None
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:  # a lexer may not change the text: what is shown is what was written
        return get_lexer_by_name(language, stripnl=False, ensurenl=False, encoding="utf-8")
    except ClassNotFound:
        return None
