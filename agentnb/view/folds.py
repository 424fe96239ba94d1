"""Show the folds under a run's panels: its steps, its context, its task, and what the words mean. Html. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentnb.view.number_format import count, dollars, number, seconds
from agentnb.view.style import (
    CODE,
    FAINT,
    FOLD,
    PRE,
    SMALL,
    SMALL_CODE,
    SUMMARY,
    clean,
    esc,
    line_html,
    unbroken,
)
from agentnb.view.tables import MOST_ROWS, Figure, filled, plain_table
from agentnb.view.words import call_words, cost_words, run_doc, run_words
from agentnb.view.words.run_doc import Doc

MORE_STEPS = "agentnb-steps"
"""Marks steps where the journal has more. There the page puts a button that brings them."""
PAGE = 25
"""Steps that one click brings from the journal."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
LONGEST = 4_000
"""Characters of one tool result or argument shown in html; the journal holds it whole."""


def folds_html(doc: Doc) -> str:
    """Return the folds, closed, and which run, thread and model this was."""
    folds = [
        fold("Delegated", "".join(map(line_html, run_words.child_lines(doc)))),
        fold("Plan", "".join(map(line_html, run_words.plan_lines(doc)))),
        fold(run_words.steps_title(doc), _steps_html(doc)),
        fold("Thinking", _thinking_html(doc)),
        fold(run_words.definitions_title(doc), _definitions_html(doc)),
        fold(run_words.images_title(doc), "".join(map(_image_html, run_doc.dicts(doc, "images")))),
        fold("Question", f'<pre style="{PRE}">{esc(cut(doc.get("task")))}</pre>' if doc.get("task") else ""),
        fold("What the words mean", _WORDS if cost_words.layer_totals(doc)[0] else ""),
    ]
    identity = unbroken(map(esc, run_words.identity(doc) or [""]))
    return f'{"".join(folds)}<p style="margin:6px 0 0 0;{SMALL};{FAINT}">{identity}</p>'


_WORDS = "".join(
    f'<p style="margin:2px 0;{SMALL}"><strong>{esc(word)}</strong>: {esc(meaning)}</p>'
    for word, meaning in cost_words.WORDS
)


def fold(title: str, body: str) -> str:
    """Return a fold that opens with the keyboard too; nothing where there is nothing in it."""
    if not body:
        return ""
    inner = f'<div style="padding:2px 0 8px 16px;overflow-x:auto">{body}</div>'
    return f'<details style="{FOLD}"><summary style="{SUMMARY}">{esc(title)}</summary>{inner}</details>'


def cut(value: object) -> str:
    """Return the value as text, its end left out where it is long."""
    text = "" if value is None else clean(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… and {count(len(text) - LONGEST)} more characters"


def _steps_html(doc: Doc) -> str:
    steps = run_doc.dicts(doc, "steps")
    if not steps:
        return ""
    left_out = run_words.left_out_of_steps_line(doc)
    shown = (line_html(left_out) if left_out else "") + _step_rows(steps)
    return f'<div class="{MORE_STEPS}">{shown}</div>' if left_out else shown


def step_page(doc: Doc, before: int | None) -> tuple[str, int]:
    """Return the html of the steps that end before this place (None: the last), and how many come before them."""
    steps = run_doc.dicts(doc, "steps")
    end = len(steps) if before is None else min(before, len(steps))
    first = max(0, end - PAGE)
    return (_step_rows(steps[first:end]) if first < end else ""), first


def _step_rows(steps: Sequence[Doc]) -> str:
    tools = "".join(_tool_html(step, tool) for step in steps for tool in run_doc.dicts(step, "tools"))
    columns, rows = filled(("step", "state", "what", "time", "tokens in", "cost"), [step_cells(s) for s in steps])
    return plain_table(columns, rows) + tools


def step_cells(step: Doc) -> tuple[object, ...]:
    """Return number, state, what happened, time, tokens and cost of a step."""
    tokens = cost_words.input_tokens(run_doc.part(step, "usage"))
    cost = number(step.get("cost"))
    return (
        "" if run_doc.is_failed_attempt(step) else step.get("n", ""),
        run_doc.state_word(step.get("state")),
        "failed" if run_doc.is_failed_attempt(step) else clean(step.get("what") or ""),
        Figure(seconds(step.get("seconds"))),
        Figure(count(tokens) if tokens else ""),
        Figure(dollars(cost) if cost else ""),
    )


def _tool_html(step: Doc, tool: Doc) -> str:
    head = f"step {clean(step.get('n', '?'))}: {call_words.tool_line(tool)}"
    result = cut(tool.get("result"))
    body = f'<pre style="{PRE};max-height:16em;overflow:auto">{esc(result)}</pre>' if result else ""
    call = f'<code style="{CODE}">{esc(head)}</code>'
    outcome = f'<span style="{SMALL}">{esc(call_words.tool_outcome(tool))}</span>'
    return f'<div style="margin:6px 0 0 0">{call} {outcome}{body}</div>'


def _thinking_html(doc: Doc) -> str:
    """Return what the model showed of its thinking, as it was written: plain text, one paragraph a block."""
    return "".join(
        f'<pre style="{PRE};white-space:pre-wrap">{esc(cut(text))}</pre>' for text in run_doc.items(doc, "thinking")
    )


def _definitions_html(doc: Doc) -> str:
    found = run_doc.dicts(doc, "definitions")
    more = len(found) - MOST_ROWS + int(number(doc.get("definitions_more")) or 0)
    shown = "".join(map(_definition_html, found[:MOST_ROWS]))
    return shown + (line_html(f"and {count(more)} more: %agent_context show") if shown and more > 0 else "")


def _definition_html(item: Doc) -> str:
    """Return one paragraph, so that a narrow window shows all of it."""
    facts = [clean(item.get("form") or ""), "new" if item.get("new") else "", run_words.place(item)]
    facts += [clean(item.get("reason") or ""), f"≈ {count(item.get('tokens'))} tokens"]
    name = f'<code style="{SMALL_CODE}">{esc(item.get("name") or "?")}</code>'
    about = esc(" · ".join(filter(None, facts)))
    return f'<p style="margin:3px 0;{SMALL}">{name} <span style="{FAINT}">{about}</span></p>'


def _image_html(item: Doc) -> str:
    """Return what was sent, small; the document may come from anywhere, so only a picture's own letters reach the
    address."""
    kind, data = str(item.get("media_type") or ""), str(item.get("data") or "")
    picture = ""
    if kind in ("image/png", "image/jpeg") and _BASE64.fullmatch(data):
        width, height = run_words.thumbnail(item)
        alt = esc(cut(item.get("text")))
        picture = (
            f'<img src="data:{kind};base64,{data}" alt="{alt}" width="{width}" height="{height}" '
            'style="border:1px solid #80808055;margin:2px 0">'
        )
    return f'<div style="margin:4px 0 8px 0;{SMALL}">{picture}<br>{esc(run_words.image_line(item))}</div>'
