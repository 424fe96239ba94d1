"""Show cells that a model proposes: the code of a new one, the difference to the one it replaces. Pure.

The document's `proposals` hold them; `before` is the replaced cell's text where the notebook at hand still has it.
"""

from __future__ import annotations

import difflib
import re

from agentnb.view.answer import markup
from agentnb.view.answer.highlight import code_html
from agentnb.view.number_format import number, plural
from agentnb.view.style import BLUE, FOLD, PRE, RED, SMALL, SUMMARY, TEAL, clean, esc, words_html, wrapped
from agentnb.view.words.run_doc import Doc, dicts

ADDED, REMOVED = f"{TEAL}24", f"{RED}24"


WHOLE = "The whole cell, to copy:"
OFFERED = ' class="agentnb-offered"'


def proposals_html(doc: Doc) -> str:
    """Return the proposals below the answer; an empty text where there are none.

    A page that has our extension leaves a new cell out here (class `agentnb-offered`) while it offers it with buttons.
    """
    return "".join(
        f'<div{"" if item.get("replaces") else OFFERED} style="margin:8px 0;padding:2px 0 2px 10px;border:0;'
        f'border-left:4px solid {BLUE}">'
        f'<p style="margin:0;{SMALL}"><strong>{esc(_title(doc, item))}</strong> {words_html(item.get("why") or "")}</p>'
        f"{_body_html(item)}</div>"
        for item in dicts(doc, "proposals")
    )


def proposals_markdown(doc: Doc) -> list[str]:
    parts = []
    for item in dicts(doc, "proposals"):
        lines, language = _lines(item)
        parts += [f"**{_title(doc, item)}** {markup_escaped(item.get('why') or '')}".rstrip()]
        parts += [markup.fenced(clean("\n".join(lines)), language)]
    return parts


def proposals_text(doc: Doc, width: int) -> str:
    parts = []
    for item in dicts(doc, "proposals"):
        parts.append(wrapped(f"{_title(doc, item)} {clean(item.get('why') or '')}".rstrip(), width=width))
        lines, language = _lines(item)
        whole = [WHOLE, *str(item.get("source") or "").split("\n")] if language == "diff" else []
        parts += [f"    {clean(line)}" for line in lines]
        parts += [f"    {clean(line)}" for line in whole]
    return "\n".join(parts)


def _title(doc: Doc, item: Doc) -> str:
    found = dicts(doc, "proposals")
    which = f" {found.index(item) + 1} of {plural(len(found), 'cell')}" if len(found) > 1 else ""
    replaced = number(item.get("replaces"))
    return f"Proposed{which}, {f'in the place of cell {replaced:.0f}' if replaced else 'as a new cell'}:"


def _lines(item: Doc) -> tuple[list[str], str]:
    """Return the lines to show, and their language: the difference where the text before is known."""
    source = str(item.get("source") or "")
    before = item.get("before")
    if not isinstance(before, str):
        return source.split("\n"), "python"
    return difference(before, source), "diff"


def difference(before: str, after: str) -> list[str]:
    """Return the lines that differ, each with its sign, and three around them. Dots stand for lines left out above."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    shown = (line for line in list(found)[2:] if not _AT_THE_TOP.match(line))
    return ["⋯" if line.startswith("@@") else line for line in shown] or ["(no difference)"]


_AT_THE_TOP = re.compile(r"@@ -[01][ ,]")


def _body_html(item: Doc) -> str:
    lines, language = _lines(item)
    if language == "python":
        return f'<pre style="{PRE}">\n{code_html(clean(chr(10).join(lines)), language)}</pre>'
    whole = f'<pre style="{PRE}">\n{code_html(clean(str(item.get("source") or "")), "python")}</pre>'
    fold = f'<details style="{FOLD}"><summary style="{SUMMARY}">{WHOLE}</summary>{whole}</details>'
    return f'<pre style="{PRE}">\n{"".join(map(_line_html, lines))}</pre>{fold}'


def _line_html(line: str) -> str:
    tag, colour = {"+": ("ins", ADDED), "-": ("del", REMOVED)}.get(line[:1], ("span", ""))
    style = f"display:block;text-decoration:none{f';background:{colour}' if colour else ''}"
    return f'<{tag} style="{style}">{esc(line) or " "}</{tag}>'


def markup_escaped(line: object) -> str:
    """Return a sentence as Markdown: nothing in it is markup."""
    safe = clean(line).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for active in "`*_[]|$#":
        safe = safe.replace(active, f"\\{active}")
    return " ".join(safe.split())
