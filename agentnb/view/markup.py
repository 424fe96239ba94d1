"""The small safe part of Markdown that answers are shown in: text in, html, markdown or plain text out.

A model's text is untrusted. Everything is escaped first; only paragraphs, headings, lists, tables, code, bold,
emphasis and http(s) links get markup of ours. Raw html stays visible as text; images are never fetched.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby, takewhile
from typing import Literal

from agentnb.view.style import CODE, PRE, clean

BlockKind = Literal["paragraph", "heading", "bullet", "number", "code", "table"]

CELL = "text-align:left;padding:3px 10px 3px 0;border:0;border-bottom:1px solid #80808033;vertical-align:top"

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^`]*$")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t#]*$")
_ITEM = re.compile(r"([ \t]*)(?:([-*+])|(\d{1,9})[.)])[ \t]+(.*)$")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_INLINE = re.compile(
    r"(?P<ticks>`+)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)"
    r"|\*\*(?P<bold>[^\s*](?:[^*]*[^\s*])?)\*\*"
    r"|(?<![\w*])\*(?P<em>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])"
    r"|(?<!!)\[(?P<label>[^\[\]]+)\]\((?P<url>https?://[^\s()<>\"']+)\)"
)
LONG_LINE = 4_000
"""Characters. A longer line is shown as it is: no pattern above may be handed a pasted log to backtrack in."""
# A dollar before a digit is money. Alone in an element, or escaped, it opens no formula; `$x^2$` still does.
_MONEY = re.compile(r"\$(?=\d)")
_MARKDOWN_ACTIVE = re.compile(r"([\\\[\]])")


@dataclass(frozen=True, kw_only=True)
class MarkdownBlock:
    """`level`: a heading's depth, a list item's nesting. `note`: a fence's language, an ordered item's number."""

    kind: BlockKind
    text: str
    level: int = 0
    note: str = ""


def parse(text: str) -> tuple[MarkdownBlock, ...]:
    """The blocks of a text. An unclosed fence runs to the end, as it must while an answer is streaming."""
    lines = clean(text).split("\n")
    out: list[MarkdownBlock] = []
    at = 0
    while at < len(lines):
        block, used = _next_block(lines, at)
        at += used
        if block:
            out.append(block)
    return tuple(out)


def _next_block(lines: list[str], at: int) -> tuple[MarkdownBlock | None, int]:
    line = lines[at]
    if not line.strip():
        return None, 1
    if fence := _match(_FENCE, line):
        return _fenced(lines, at, mark=fence[1], language=fence[2])
    if heading := _match(_HEADING, line):
        return MarkdownBlock(kind="heading", text=heading[2], level=len(heading[1])), 1
    if _starts_table(lines, at):
        rows = list(takewhile(lambda row: "|" in row, lines[at:]))
        return MarkdownBlock(kind="table", text="\n".join(rows)), len(rows)
    if item := _match(_ITEM, line):
        return _item(lines, at, item)
    rest = _continuation(lines, at + 1)
    return MarkdownBlock(kind="paragraph", text="\n".join([line.strip(), *rest])), 1 + len(rest)


def _match(pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
    return pattern.match(line) if len(line) <= LONG_LINE else None


def _fenced(lines: list[str], at: int, *, mark: str, language: str) -> tuple[MarkdownBlock, int]:
    closing = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$")
    body = list(takewhile(lambda row: not closing.match(row), lines[at + 1 :]))
    return MarkdownBlock(kind="code", text="\n".join(body), note=language), len(body) + 2


def _item(lines: list[str], at: int, found: re.Match[str]) -> tuple[MarkdownBlock, int]:
    rest = _continuation(lines, at + 1)
    return MarkdownBlock(
        kind="bullet" if found[2] else "number",
        text="\n".join([found[4].strip(), *rest]),
        level=min(4, len(found[1].expandtabs(4)) // 2),
        note=found[3] or "",
    ), 1 + len(rest)


def _continuation(lines: list[str], at: int) -> list[str]:
    """The lines that go on with the paragraph or item before `at`."""
    out = []
    for index in range(at, len(lines)):
        line = lines[index]
        if not line.strip() or any(_match(p, line) for p in (_FENCE, _HEADING, _ITEM)) or _starts_table(lines, index):
            break
        out.append(line.strip())
    return out


def _starts_table(lines: list[str], at: int) -> bool:
    following = lines[at + 1] if at + 1 < len(lines) else ""
    return "|" in lines[at] and "|" in following and bool(_match(_TABLE_RULE, following))


def to_html(text: str) -> str:
    """The text as html whose only tags are ours; styles inline and plain, so that every front end keeps them."""
    parts = []
    for kind, group in groupby(parse(text), key=lambda block: block.kind):
        if kind in ("bullet", "number"):
            parts.append(_list_html(kind, group))
        else:
            parts.extend(_block_html(block) for block in group)
    return "".join(parts)


def _block_html(block: MarkdownBlock) -> str:
    if block.kind == "code":
        return f'<pre style="{PRE}">{escape(block.text)}</pre>'
    if block.kind == "heading":
        size = {1: 1.3, 2: 1.15}.get(block.level, 1)
        return f'<p style="margin:10px 0 4px 0;font-size:{size}em"><strong>{_inline_html(block.text)}</strong></p>'
    if block.kind == "table":
        return _table_html(block.text)
    return f'<p style="margin:0 0 8px 0">{_inline_html(block.text)}</p>'


def _list_html(kind: str, items: Iterable[MarkdownBlock]) -> str:
    tag = "ol" if kind == "number" else "ul"
    body = "".join(_item_html(item) for item in items)
    return f'<{tag} style="margin:0 0 8px 0;padding-left:24px">{body}</{tag}>'


def _item_html(item: MarkdownBlock) -> str:
    value = f' value="{int(item.note)}"' if item.note else ""
    return f'<li{value} style="margin:2px 0 2px {item.level * 20}px">{_inline_html(item.text)}</li>'


def _table_html(text: str) -> str:
    head, _, *body = text.split("\n")
    rows = [_row_html(head, "th"), *(_row_html(line, "td") for line in body)]
    return f'<table style="border-collapse:collapse;margin:6px 0;font-size:0.93em">{"".join(rows)}</table>'


def _row_html(line: str, tag: str) -> str:
    cells = "".join(f'<{tag} style="{CELL}">{_inline_html(cell)}</{tag}>' for cell in _cells(line))
    return f'<tr style="background:transparent">{cells}</tr>'


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _spans(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, text, url) in order: kind is plain, code, bold, em or label (a link)."""
    at = 0
    for found in _INLINE.finditer(text) if len(text) <= LONG_LINE else ():
        if found.start() > at:
            yield "plain", text[at : found.start()], ""
        kind = found.lastgroup if found.lastgroup != "url" else "label"
        assert kind
        yield kind, found[kind], found["url"] or ""
        at = found.end()
    if at < len(text):
        yield "plain", text[at:], ""


def _inline_html(text: str) -> str:
    return "".join(_span_html(*span) for span in _spans(text)).replace("\n", "<br>")


def _span_html(kind: str, text: str, url: str) -> str:
    if kind == "code":
        return f'<code style="{CODE}">{escape(text.strip())}</code>'
    if kind == "bold":
        return f"<strong>{_inline_html(text)}</strong>"
    if kind == "em":
        return f"<em>{_inline_html(text)}</em>"
    if kind == "label":
        return f'<a href="{escape(url)}" target="_blank" rel="nofollow noopener noreferrer">{escape(text)}</a>'
    return _MONEY.sub("<span>$</span>", escape(text))


def to_markdown(text: str) -> str:
    """The same subset as Markdown again: raw html and anything that would fetch or link elsewhere is escaped."""
    parts = []
    for kind, group in groupby(parse(text), key=lambda block: block.kind):
        join = "\n" if kind in ("bullet", "number") else "\n\n"
        parts.append(join.join(_block_markdown(block) for block in group))
    return "\n\n".join(parts)


def _block_markdown(block: MarkdownBlock) -> str:
    if block.kind == "code":
        return fenced(block.text, block.note)
    if block.kind == "heading":
        return f"{'#' * block.level} {_inline_markdown(block.text)}"
    if block.kind in ("bullet", "number"):
        mark = f"{block.note}." if block.note else "-"
        return f"{'  ' * block.level}{mark} {_inline_markdown(block.text)}"
    if block.kind == "table":
        return "\n".join(_inline_markdown(line) for line in block.text.split("\n"))
    return _inline_markdown(block.text)


def fenced(text: str, language: str = "") -> str:
    """The text in a code fence that is longer than any run of backticks inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _inline_markdown(text: str) -> str:
    return "".join(_span_markdown(*span) for span in _spans(text))


def _span_markdown(kind: str, text: str, url: str) -> str:
    if kind == "code":
        ticks = "`" * (1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
        return f"{ticks} {text.strip()} {ticks}" if len(ticks) > 1 else f"`{text.strip()}`"
    if kind == "bold":
        return f"**{_inline_markdown(text)}**"
    if kind == "em":
        return f"*{_inline_markdown(text)}*"
    if kind == "label":
        return f"[{_plain_markdown(text)}]({url})"
    return _plain_markdown(text)


def _plain_markdown(text: str) -> str:
    """`<` cannot open a tag, `[` cannot open a link or an image; what they look like stays the same."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MONEY.sub(r"\\$", _MARKDOWN_ACTIVE.sub(r"\\\1", safe)).replace("`", "\\`")


def to_text(text: str, *, width: int = 80) -> str:
    """Plain text for a terminal: paragraphs wrapped, code and tables as they are."""
    parts = []
    for kind, group in groupby(parse(text), key=lambda block: block.kind):
        join = "\n" if kind in ("bullet", "number") else "\n\n"
        parts.append(join.join(_block_text(block, width) for block in group))
    return "\n\n".join(parts)


def _block_text(block: MarkdownBlock, width: int) -> str:
    if block.kind == "code":
        return textwrap.indent(block.text, "    ")
    if block.kind == "table":
        return block.text
    if block.kind in ("bullet", "number"):
        mark = "  " * block.level + (f"{block.note}. " if block.note else "- ")
        return textwrap.fill(block.text, width, initial_indent=mark, subsequent_indent=" " * len(mark))
    if block.kind == "heading":
        return f"{block.text}\n{'-' * min(width, len(block.text))}"
    return "\n".join(textwrap.fill(line, width) for line in block.text.split("\n"))
