"""How a run looks: a run document in, html, markdown and plain text out. Pure; no widget, no IPython.

The document (mime type `MIME`) is plain JSON; any of its fields may be missing or null while the run goes on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agentnb.view import markup, timeline
from agentnb.view import view_text as say
from agentnb.view.exact_text import Shown, arguments_shown
from agentnb.view.number_format import count, dollars, fraction, number, seconds, share
from agentnb.view.proposed import proposals_html, proposals_markdown, proposals_text
from agentnb.view.style import (
    BAR,
    BLUE,
    CODE,
    FAINT,
    FIGURE,
    FOLD,
    FOOT,
    HATCH,
    HEAD,
    LABEL,
    NAME,
    NO_MATH,
    PANEL,
    PANELS,
    PRE,
    ROW,
    SMALL,
    SMALL_CODE,
    SUMMARY,
    TABLE,
    TEAL,
    WIDTH,
    clean,
    esc,
    line_html,
    unbroken,
    wrap,
    wrapped,
)
from agentnb.view.tables import MOST_ROWS, Figure, filled, plain_table
from agentnb.view.view_text import Doc

MIME = "application/vnd.agentnb.run.v1+json"
__all__ = [
    "MIME",
    "bundle",
    "live_html",
    "questions_text",
    "run_html",
    "run_markdown",
    "run_text",
    "wrap",
]

RESUME = "%agent_runs resume"
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
LONGEST = 4_000
"""Characters of one tool result or argument shown in html; the JSON holds it whole."""


def bundle(doc: Doc, *, error_follows: bool = False) -> dict[str, Any]:
    """The mime bundle of a finished run: html, markdown, plain text and the document itself.

    `error_follows`: the run's error is raised right below, so only the document tells it here.
    """
    tells = RESUME in clean(say.part(doc, "error").get("todo") or "")
    follows = {"error": None, "error_follows": True} if error_follows else {}
    shown = dict(doc) | {"tells_how": tells} | follows
    return {
        "text/html": run_html(shown),
        "text/markdown": run_markdown(shown),
        "text/plain": run_text(shown),
        MIME: dict(doc),
    }


def run_html(doc: Doc) -> str:
    """The whole run as one static piece of html."""
    return wrap("".join(live_html(doc).values()))


def live_html(doc: Doc) -> dict[str, str]:
    """The parts in the order of the page: answer, summary, panels, details, and last what waits for a person's word,
    since the buttons stand below it. Equal parts need not be sent again."""
    panels = f'<div class="{NO_MATH}" style="{PANELS}">{_layers_panel(doc)}{_latency_panel(doc)}</div>'
    waits = doc.get("state") == "WAITING"  # then the question is what counts: the figures are folded away
    return {
        "answer": f"<div>{_answer(doc)}</div>",
        "summary": f'<div class="{NO_MATH}">{_summary(doc)}</div>',
        "panels": "<div></div>" if waits else panels,
        "details": f'<div class="{NO_MATH}">{_folds(doc, panels if waits else "")}</div>',
        "questions": f'<div class="{NO_MATH}">{_questions(doc)}</div>',
    }


def _answer(doc: Doc) -> str:
    text = doc.get("text")
    body = markup.to_html(text) if isinstance(text, str) and text.strip() else _no_answer(doc)
    told = f'<div class="{NO_MATH}">{_error(doc)}{_remarks(doc)}</div>'  # sums in dollars, never formulas
    return f'<div style="margin:2px 0 8px 0">{body}</div>{proposals_html(doc)}{told}'


def _no_answer(doc: Doc) -> str:
    if say.ended(doc):
        return ""
    return f'<p style="margin:0 0 8px 0;{FAINT}"><em>{esc(say.phase(doc))} …</em></p>'


def _error(doc: Doc) -> str:
    error = say.part(doc, "error")
    if not error:
        return ""
    code = f' <code style="{CODE}">{esc(error["code"])}</code>' if error.get("code") else ""
    todo = f"<br>{esc(error['todo'])}" if error.get("todo") else ""
    return (
        '<p style="margin:0 0 8px 0;padding:6px 10px;border:0;border-left:4px solid #d1495b;background:#d1495b1f">'
        f"<strong>✗ {esc(say.error_kind(error))}</strong>{esc(say.error_message(error))}{todo}{code}</p>"
    )


def _remarks(doc: Doc) -> str:
    return "".join(f'<p style="margin:0 0 6px 0;{SMALL}">Note: {esc(line)}</p>' for line in say.remark_lines(doc))


def _summary(doc: Doc) -> str:
    mark, word, colour = say.state_words(doc)
    items = [f'<strong><span style="color:{colour}">{esc(mark)}</span> {esc(word)}</strong>']
    items += [esc(item) for item in say.summary_items(doc)]
    items += [f'<span style="{LABEL}">{esc(label)}</span>' for label in say.labels(doc)]
    # The space stands where a page drops every style, as code hosts may do.
    spans = " ".join(f'<span style="display:inline-block;margin:0 12px 0 0">{item}</span>' for item in items)
    return (
        '<div style="border:0;border-top:1px solid #80808055;border-bottom:1px solid #80808055;'
        f'margin:4px 0 8px 0;padding:5px 0;font-size:0.93em">{spans}</div>'
    )


def _layers_panel(doc: Doc) -> str:
    layers = say.layer_rows(doc)
    tokens, cached = say.layer_totals(doc)
    if say.ended(doc) and not tokens:
        return ""
    widest = max((number(layer.get("tokens")) or 0 for layer in layers), default=0)
    rows = "".join(_layer_row(layer, widest) for layer in layers)
    head = _heads("layer", "tokens", say.cached_word(doc))
    about = "≈ " if tokens and say.is_forecast(doc) else ""
    foot = _cells_row(FOOT, "all", _legend(), about + count(tokens), share(cached, tokens))
    lines = "".join(map(line_html, [*say.count_lines(doc), *say.cache_lines(doc)]))
    return _panel(say.layers_heading(doc), f'<table style="{TABLE}">{head}{rows}{foot}</table>{lines}')


def _layer_row(layer: Mapping[str, Any], widest: float) -> str:
    name, meaning = say.layer_words(layer)
    tokens, cached = layer.get("tokens"), layer.get("cached_tokens")
    label = f'<span title="{esc(meaning)}">{esc(name)}</span>'
    bar = _layer_bar(100 * fraction(tokens, widest), 100 * fraction(cached, tokens))
    title = f"{count(cached)} of {count(tokens)} tokens read from the prompt cache"
    cell = f'<span title="{esc(title)}">{esc(share(cached, tokens))}</span>'
    return _cells_row(ROW, label, bar, esc(say.approximate(layer)), cell)


def _layer_bar(width: float, solid: float) -> str:
    """Solid is read from the prompt cache, hatched was processed anew. What is solid is a border: paper has no
    backgrounds."""
    if width <= 0:
        return _track("")
    inner = f'<div style="width:{solid:.1f}%;height:0;border-top:10px solid {TEAL}"></div>' if solid else ""
    return _track(
        f'<div style="width:{max(width, 1.0):.1f}%;height:10px;border:1px solid {TEAL};box-sizing:content-box;'
        f'background-image:{HATCH};background-size:6px 6px">{inner}</div>'
    )


def _track(inner: str) -> str:
    return f'<div style="height:12px;padding:0 3px 0 0;min-width:3em">{inner}</div>'


def _legend() -> str:
    full = f"display:inline-block;width:0;height:0;border:5.5px solid {TEAL};margin:0 4px 0 0"
    box = f"display:inline-block;width:9px;height:9px;border:1px solid {TEAL};margin:0 4px 0 0"
    return (
        f'<span style="white-space:nowrap;margin:0 10px 0 0"><span style="{full}"></span>cached</span>'
        " "
        f'<span style="white-space:nowrap"><span style="{box};background-image:{HATCH};background-size:6px 6px"></span>'
        "new</span>"
    )


def _latency_panel(doc: Doc) -> str:
    latency = say.part(doc, "latency")
    lines = "".join(map(line_html, [*timeline.notes(doc), *say.cost_lines(doc)])) + _budget(doc)
    if say.ended(doc) and (number(latency.get("total")) is None or timeline.was_instant(doc)):
        heading = "What it would cost" if doc.get("state") == "DRY_RUN" else "What it cost"
        return _panel(heading, lines) if lines else ""
    rows = "".join(_phase_row(row, number(latency.get("total"))) for row in timeline.rows(doc))
    foot = _cells_row(FOOT, "total", "", seconds(latency.get("total")))
    heading = "How long the recording played" if say.recorded(doc) else "How long the last call took"
    heading += " (modelled)" if latency.get("modelled") else ""
    if number(latency.get("total")) is None:
        heading, foot = "How long this call takes", _cells_row(FOOT, "total", "known when it ends", seconds(None))
    table = f'<table style="{TABLE}">{_heads("phase", "time")}{rows}{foot}</table>'
    return _panel(heading, table + lines)


def _phase_row(row: timeline.Phase, total: float | None) -> str:
    name, start, length, estimated = row
    bar = ""
    if start is not None and length and total:
        left = 100 * fraction(start, total)
        width = min(100 - left, max(0.8, 100 * fraction(length, total)))
        hatched = f"height:10px;border:1px solid {BLUE};background-image:{HATCH};background-size:6px 6px"
        fill = hatched if estimated else f"height:0;border-top:12px solid {BLUE}"
        bar = f'<div style="margin-left:{left:.1f}%;width:{width:.1f}%;{fill}"></div>'
    value = f"≈ {seconds(length)}" if estimated and length is not None else seconds(length)
    return _cells_row(ROW, esc(name), _track(bar), esc(value))


def _budget(doc: Doc) -> str:
    line = say.budget_line(doc)
    if not line:
        return ""
    budget = say.part(doc, "budget")
    value = fraction(budget.get("spent"), budget.get("limit"))
    bar = f'<progress max="1" value="{value:.3f}" style="width:6em;height:10px;vertical-align:baseline"></progress>'
    return f'<p style="margin:4px 0 0 0;{SMALL}">{esc(line)} {bar}</p>'


def _panel(heading: str, body: str) -> str:
    title = f'<p style="margin:0 0 3px 0;{SMALL}"><strong>{esc(heading)}</strong></p>'
    return f'<div style="{PANEL}">{title}{body}</div>'


def _heads(name: str, *heads: str) -> str:
    """The header row: a name, a bar without a head, then the figures."""
    cells = [f'<th scope="col" style="{NAME};{FAINT}">{esc(name)}</th><th style="{BAR}"></th>']
    cells += [f'<th scope="col" style="{HEAD}">{esc(head)}</th>' for head in heads]
    return f'<tr style="{ROW}">{"".join(cells)}</tr>'


def _cells_row(style: str, name: str, bar: str, *values: str) -> str:
    """A row of finished html: name, bar, figures right-aligned."""
    cells = [f'<th scope="row" style="{NAME}">{name}</th><td style="{BAR}">{bar}</td>']
    cells += [f'<td style="{FIGURE}">{value}</td>' for value in values]
    return f'<tr style="{style}">{"".join(cells)}</tr>'


def _folds(doc: Doc, panels: str = "") -> str:
    folds = [
        _fold("What the last request sent, cost and took", panels),
        _fold(say.steps_title(doc), _steps_html(doc)),
        _fold(say.definitions_title(doc), _definitions_html(doc)),
        _fold(say.images_title(doc), _images_html(doc)),
        _fold("Task", f'<pre style="{PRE}">{esc(_cut(doc.get("task")))}</pre>' if doc.get("task") else ""),
        _fold("What the words mean", plain_table(("word", "meaning"), say.WORDS) if say.layer_totals(doc)[0] else ""),
    ]
    go_on = say.go_on_line(doc)
    lead = f'<p style="margin:4px 0 8px 0;{SMALL}">{esc(go_on)}</p>' if go_on else ""
    identity = unbroken(map(esc, say.identity(doc) or [""]))
    return f'{lead}{"".join(folds)}<p style="margin:6px 0 0 0;{SMALL};{FAINT}">{identity}</p>'


def _questions(doc: Doc) -> str:
    """Every call that waits, whole: what is approved must be what was read."""
    found = say.questions(doc) if doc.get("state") == "WAITING" else []
    if not found:
        return ""
    head = f"<strong>◔ {esc(say.question_heading(doc))}</strong>"
    calls = "".join(map(_question_html, found))
    run_id = esc(doc.get("run_id") or "")
    whole = f'<span style="display:inline-block">{run_id}</span>'  # an id that breaks cannot be copied by a click
    line = esc(say.answer_line(doc))
    how = f'<p style="margin:6px 0 0 0;{SMALL}">{line.replace(run_id, whole) if run_id else line}</p>'
    return (
        '<div style="margin:8px 0 0 0;padding:6px 10px;border:0;border-left:4px solid #b7791f;background:#b7791f1f">'
        f"{head}{calls}{how}</div>"
    )


def _question_html(question: Doc) -> str:
    title = f'<p style="margin:6px 0 0 0">{esc(say.question_title(question))}</p>'
    return title + "".join(map(_argument_html, arguments_shown(say.part(question, "arguments"))))


def _argument_html(shown: Shown) -> str:
    label = f'<div style="{SMALL};{FAINT}">{esc(shown.label)}</div>'
    # A browser drops the first newline of <pre>: it must not be the code's.
    return f'{label}<pre style="{PRE};max-height:24em;overflow:auto">\n{esc(shown.text)}</pre>'


def _fold(title: str, body: str) -> str:
    if not body:
        return ""
    inner = f'<div style="padding:2px 0 8px 16px;overflow-x:auto">{body}</div>'
    return f'<details style="{FOLD}"><summary style="{SUMMARY}">{esc(title)}</summary>{inner}</details>'


def _steps_html(doc: Doc) -> str:
    steps = say.dicts(doc, "steps")
    if not steps:
        return ""
    tools = "".join(_tool_html(step, tool) for step in steps for tool in say.dicts(step, "tools"))
    columns, rows = filled(("step", "state", "what", "time", "tokens in", "cost"), [_step_cells(s) for s in steps])
    return plain_table(columns, rows) + tools


def _step_cells(step: Doc) -> tuple[object, ...]:
    tokens = say.input_tokens(say.part(step, "usage"))
    cost = number(step.get("cost"))
    return (
        "" if say.is_failed_attempt(step) else step.get("n", ""),
        clean(step.get("state") or ""),
        "failed" if say.is_failed_attempt(step) else clean(step.get("what") or ""),
        Figure(seconds(step.get("seconds"))),
        Figure(count(tokens) if tokens else ""),
        Figure(dollars(cost) if cost else ""),
    )


def _tool_html(step: Doc, tool: Doc) -> str:
    head = f"step {clean(step.get('n', '?'))}: {say.tool_line(tool)}"
    result = _cut(tool.get("result"))
    body = f'<pre style="{PRE};max-height:16em;overflow:auto">{esc(result)}</pre>' if result else ""
    call = f'<code style="{CODE}">{esc(head)}</code>'
    return (
        f'<div style="margin:6px 0 0 0">{call} <span style="{SMALL}">{esc(say.tool_outcome(tool))}</span>{body}</div>'
    )


def _definitions_html(doc: Doc) -> str:
    found = say.dicts(doc, "definitions")
    if not found:
        return ""
    more = line_html(f"and {count(len(found) - MOST_ROWS)} more") if len(found) > MOST_ROWS else ""
    rows = "".join(_definition_row(item) for item in found[:MOST_ROWS])
    return f'<table style="{TABLE};max-width:44em">{rows}</table>{more}'


def _definition_row(item: Doc) -> str:
    """Two lines in one cell rather than five columns, so that a narrow window shows them whole."""
    facts = [clean(item.get("form") or ""), "new" if item.get("new") else "", say.place(item)]
    facts.append(clean(item.get("reason") or ""))
    name = f'<code style="{SMALL_CODE}">{esc(item.get("name") or "?")}</code>'
    about = f'<span style="{FAINT}">{esc(" · ".join(filter(None, facts)))}</span>'
    cell = f'<td style="{BAR};padding:4px 8px 4px 0;line-height:1.6">{name}<br>{about}</td>'
    return f'<tr style="{FOOT}">{cell}<td style="{FIGURE}">≈ {esc(count(item.get("tokens")))} tokens</td></tr>'


def _images_html(doc: Doc) -> str:
    return "".join(_image_html(item) for item in say.dicts(doc, "images"))


def _image_html(item: Doc) -> str:
    """What was sent, small; the document may come from anywhere, so only a picture's own letters reach the address."""
    kind, data = str(item.get("media_type") or ""), str(item.get("data") or "")
    picture = ""
    if kind in ("image/png", "image/jpeg") and _BASE64.fullmatch(data):
        width, height = say.thumbnail(item)
        alt = esc(_cut(item.get("text")))
        picture = (
            f'<img src="data:{kind};base64,{data}" alt="{alt}" width="{width}" height="{height}" '
            'style="border:1px solid #80808055;margin:2px 0">'
        )
    return f'<div style="margin:4px 0 8px 0;{SMALL}">{picture}<br>{esc(say.image_line(item))}</div>'


def run_markdown(doc: Doc) -> str:
    """The run as Markdown: for front ends without html, and for export."""
    table = [f"| layer | tokens | {say.cached_word(doc)} |", "|---|---:|---:|"]
    table += [f"| {_md(a)} | {_md(b)} | {_md(c)} |" for a, b, c in _layer_cells(doc)]
    lines = [
        *say.count_lines(doc),
        *say.cache_lines(doc),
        timeline.line(doc),
        *timeline.notes(doc),
        *say.cost_lines(doc),
        say.budget_line(doc),
        say.go_on_line(doc),
        say.identity_line(doc),
    ]
    parts = [
        markup.to_markdown(doc["text"]) if isinstance(doc.get("text"), str) else "",
        *proposals_markdown(doc),
        *(f"**{_md(line)}**" for line in say.error_lines(doc)),
        *(f"Note: {_md(line)}" for line in say.remark_lines(doc)),
        f"**{_md(say.summary_line(doc))}**",
        "\n".join(table) if say.layer_totals(doc)[0] else "",
        *(_md(line) for line in lines),
        *_questions_markdown(doc),
    ]
    return "\n\n".join(part for part in parts if part)


def _questions_markdown(doc: Doc) -> list[str]:
    found = say.questions(doc) if doc.get("state") == "WAITING" else []
    parts = [f"**{_md(say.question_heading(doc))}**"] if found else []
    for question in found:
        parts.append(_md(say.question_title(question)).replace(".", "\\.", 1))
        for shown in arguments_shown(say.part(question, "arguments")):
            parts += [_md(shown.label), markup.fenced(clean(shown.text), shown.language)]
    return [*parts, _md(say.answer_line(doc))] if found else []


def questions_text(doc: Doc) -> str:
    """What waits, for a terminal: every call whole."""
    found = say.questions(doc) if doc.get("state") == "WAITING" else []
    parts = [wrapped(say.question_heading(doc))] if found else []
    for question in found:
        parts.append(wrapped(say.question_title(question)))
        for shown in arguments_shown(say.part(question, "arguments")):
            parts.append(f"   {clean(shown.label)}")
            parts += [f"   | {line}" for line in clean(shown.text).split("\n")]
    return "\n".join(parts)


def run_text(doc: Doc) -> str:
    """The run for a terminal: 80 columns, no escape codes."""
    text = doc.get("text")
    images = [say.image_line(item) for item in say.dicts(doc, "images")]
    lines = [
        *say.count_lines(doc),
        *say.cache_lines(doc),
        timeline.line(doc),
        *timeline.notes(doc),
        *say.cost_lines(doc),
        say.budget_line(doc),
        say.go_on_line(doc),
        say.identity_line(doc),
    ]
    parts = [
        markup.to_text(text, width=WIDTH) if isinstance(text, str) else "",
        proposals_text(doc),
        *(wrapped(line) for line in say.error_lines(doc)),
        *(wrapped(f"Note: {line}") for line in say.remark_lines(doc)),
        "\n".join([wrapped(say.summary_line(doc)), *_layers_text(doc)]),
        "\n".join(wrapped(line) for line in lines if line),
        _steps_text(doc),
        _definitions_text(doc),
        "\n".join([f"{say.images_title(doc)}:", *(f"  {line}" for line in images)]) if images else "",
        questions_text(doc),
        wrapped(say.answer_line(doc)) if doc.get("state") == "WAITING" else "",
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part.strip())


def _layer_cells(doc: Doc) -> list[tuple[str, str, str]]:
    rows = []
    for layer in say.layer_rows(doc):
        name = say.layer_words(layer)[0]
        rows.append((name, say.approximate(layer), share(layer.get("cached_tokens"), layer.get("tokens"))))
    tokens, cached = say.layer_totals(doc)
    return [*rows, ("all", count(tokens), share(cached, tokens))]


def _layers_text(doc: Doc) -> list[str]:
    if not say.layer_totals(doc)[0]:
        return []
    tokens = [number(layer.get("tokens")) or 0 for layer in say.layer_rows(doc)]
    bars = [_text_bar(layer, max(tokens)) for layer in say.layer_rows(doc)]
    lines = ["-" * WIDTH, f"{'layer':<12}{'':<34}{'tokens':>12}{say.cached_word(doc):>10}"]
    for (name, amount, cached), bar in zip(_layer_cells(doc), [*bars, "█ cached  ░ new"], strict=True):
        lines.append(f"{name[:11]:<12}{bar:<34}{amount:>12}{cached:>10}")
    return lines


def _text_bar(layer: Doc, widest: float) -> str:
    tokens, cached = layer.get("tokens"), layer.get("cached_tokens")
    length = round(32 * fraction(tokens, widest)) or (1 if number(tokens) else 0)
    solid = round(length * fraction(cached, tokens))
    return "█" * solid + "░" * (length - solid)


def _steps_text(doc: Doc) -> str:
    lines = []
    for step in say.dicts(doc, "steps"):
        n, state, what, time, *_ = _step_cells(step)
        after = f" → {clean(step['next'])}" if step.get("next") else ""
        took = f" ({time})" if number(step.get("seconds")) is not None else ""
        said = f": {what}{took}" if what else ""
        line = f"{clean(n):>3}  {state}{after}{said}" if n else f"     {state} failed"
        lines.append(wrapped(line, indent=5))
        tools = (f"     {say.tool_line(tool)}: {say.tool_outcome(tool)}" for tool in say.dicts(step, "tools"))
        lines += [wrapped(line, indent=7) for line in tools]
    return "\n".join([f"{say.steps_title(doc)}:", *lines]) if lines else ""


def _definitions_text(doc: Doc) -> str:
    """Those that came with this task; what the conversation held before is counted: a terminal has no folds."""
    found = say.dicts(doc, "definitions")
    new = [item for item in found if item.get("new")]
    lines = []
    for item in new[:MOST_ROWS]:
        name = clean(item.get("name") or "?")
        facts = [say.place(item), clean(item.get("form") or ""), f"≈ {count(item.get('tokens'))} tokens"]
        why = f": {clean(item['reason'])}" if item.get("reason") else ""
        lines.append(wrapped(f"     {name} ({', '.join(filter(None, facts))}){why}", indent=7))
    title = say.definitions_title(doc)
    if len(found) > len(new):
        title += "; %agent_context show lists all"
    return "\n".join([f"{title}:" if lines else f"{title}.", *lines]) if found else ""


def _md(line: str) -> str:
    """Plain words as Markdown: nothing in them is markup; a bar would end the table's cell, a dollar open a formula."""
    safe = clean(line).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for active in "`*_[]|$#":
        safe = safe.replace(active, f"\\{active}")
    return " ".join(safe.split())


def _cut(value: object) -> str:
    text = "" if value is None else clean(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… and {count(len(text) - LONGEST)} more characters"
