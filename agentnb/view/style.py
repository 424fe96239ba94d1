"""Hold inline styles and the escaping that every piece of html goes through. Pure.

The html has to survive JupyterLab's sanitizer for untrusted notebooks (source: packages/apputils/src/sanitizer.ts, read
2026-11-22). It drops <style>, svg, ids, var() and rgb(). It lets pass plain inline declarations, 8-digit hex colours
and pictures in the page. flex passes too; where it is dropped, things stand below each other. Colours are inherited or
translucent, so that they hold on light and dark; nothing is told by colour alone. Sizes are shares of the page's own,
so that a class reads them on a projector.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from html import escape

WIDTH = 80
"""Columns of a terminal."""

MONO = "font-family:ui-monospace,Menlo,Consolas,monospace"
CODE = f"{MONO};font-size:0.9em;background:#80808022;border-radius:3px;padding:1px 4px;white-space:pre-wrap"
PRE = (
    f"{MONO};font-size:0.9em;line-height:1.45;background:#80808018;border:0;border-radius:4px;padding:8px 10px;"
    "margin:6px 0;white-space:pre-wrap;overflow-wrap:break-word;word-break:normal"
)
SMALL_CODE = CODE.replace("0.9em", "1em")
"""For places where the text around is small already."""
TEAL, BLUE, RED, AMBER, GREY = "#1a937d", "#4383d2", "#d95868", "#b7791f", "#7e838b"
"""Of marks and bars: three times as light or as dark as any page from white to #383838."""
HATCH = "linear-gradient(135deg, #8080808c 25%, transparent 25%, transparent 50%, #8080808c 50%, #8080808c 75%, transparent 75%)"  # noqa: E501
ROOT = "line-height:1.5;max-width:58em;margin:0;padding:0;overflow-wrap:break-word"
# Figures hold dollar signs, which MathJax would read as formulas; the answer is left to it.
NO_MATH = "mathjax_ignore tex2jax_ignore"
FAINT = "opacity:0.78"
SMALL = "font-size:0.9em;line-height:1.5"
# Side by side where there is room, else below each other as wide as the frame: right edges always meet.
PANELS = "display:flex;flex-wrap:wrap;gap:0 24px"
PANEL = "flex:1 1 25em;min-width:0;box-sizing:border-box;margin:0;padding:0 0 8px 0"
LABEL = "border:1px dashed #808080;border-radius:3px;padding:0 5px"
TABLE = "border-collapse:collapse;border:0;width:100%;margin:0;font-size:0.9em;table-layout:auto"
NAME = "text-align:left;padding:2px 8px 2px 0;border:0;white-space:nowrap;font-weight:normal;width:1%"
BAR = "padding:2px 0;border:0;text-align:left"
FIGURE = "text-align:right;padding:2px 0 2px 8px;border:0;white-space:nowrap;width:1%;font-variant-numeric:tabular-nums"
HEAD = f"{FIGURE};font-weight:normal;{FAINT}"
UNSEEN = "visibility:hidden;font-size:0"
FLOWS = "display:flex;flex-wrap:wrap;padding:0"
ROW = "background:transparent;border:0"
FOOT = "background:transparent;border:0;border-top:1px solid #80808055"
SUMMARY = f"{SMALL};cursor:pointer;padding:3px 0"
OUTCOME = "margin:4px 0 0 0;border:0;border-top:1px solid #80808055"
FOLD = "margin:0;border:0;border-top:1px solid #80808033"


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TICKS = re.compile(r"`([^`\n]+)`")
_LONE_HALF = re.compile(r"[\ud800-\udfff]")


def clean(value: object) -> str:
    """Return any value as text that UTF-8 can hold, without control characters but tab and newline."""
    text = value if isinstance(value, str) else str(value)
    text = _LONE_HALF.sub("?", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROL.sub("", text)


def esc(value: object) -> str:
    return escape(clean(value), quote=True)


def words_html(text: object) -> str:
    """Return plain words escaped; what stands in backticks is set as code."""
    return _TICKS.sub(rf'<code style="{SMALL_CODE}">\1</code>', esc(text))


def wrap(inner: str) -> str:
    """Return the frame around one part or all of them. The class gives widgets the look of other rendered html."""
    return f'<div class="jp-RenderedHTMLCommon agentnb-run" style="{ROOT}">{inner}</div>'


def line_html(sentence: str) -> str:
    return f'<p style="margin:4px 0 0 0;{SMALL}">{words_html(sentence)}</p>'


def unbroken(parts: Iterable[str]) -> str:
    """Finished html parts in a row with dots between them; in a narrow window lines break between parts only."""
    *first, last = parts
    spans = [f'<span style="display:inline-block">{part}\u00a0·</span>' for part in first]
    return " ".join([*spans, f'<span style="display:inline-block">{last}</span>'])


def wrapped(line: str, *, indent: int = 0, width: int = WIDTH) -> str:
    return textwrap.fill(
        line, width, subsequent_indent=" " * indent, break_on_hyphens=False, replace_whitespace=True, tabsize=4
    )
