"""Show a run: a run document in; html, Markdown and plain text out. Pure; no widget, no IPython.

The document (mime type `MIME`) is plain JSON. While the run goes on, any field may be missing or null.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentnb.agent.way_on import RESUME
from agentnb.canonical import JsonObject
from agentnb.view import timeline
from agentnb.view.answer import markup
from agentnb.view.answer.highlight import code_html
from agentnb.view.answer.proposed import proposals_html, proposals_markdown, proposals_text
from agentnb.view.answer.terminal import answer_text
from agentnb.view.exact_text import ArgumentText, call_shown, exact
from agentnb.view.folds import folds_html, step_cells
from agentnb.view.number_format import count, fraction, number, share
from agentnb.view.outcome import outcome_items, outcome_line
from agentnb.view.panels import panels_html
from agentnb.view.saved import saved, without_pictures
from agentnb.view.style import (
    AMBER,
    CODE,
    FAINT,
    LABEL,
    NO_MATH,
    OUTCOME,
    PRE,
    RED,
    SMALL,
    SUMMARY,
    WIDTH,
    clean,
    esc,
    line_html,
    unbroken,
    words_html,
    wrap,
    wrapped,
)
from agentnb.view.tables import MOST_ROWS
from agentnb.view.words import call_words, cost_words, run_doc, run_words
from agentnb.view.words.run_doc import Doc

MIME = "application/vnd.agentnb.run.v1+json"
CUT_OFF = "opacity:0.62;border:0;border-left:2px dashed #808080;padding:0 0 0 10px"


def bundle(doc: Doc, *, error_follows: bool = False, full: bool = False, width: int = WIDTH) -> JsonObject:
    """Return the mime bundle of a run: html, Markdown, plain text and the document itself, each of bounded size.

    `full` shows at once what else is behind `details`. `error_follows`: the run's error is raised right below, so only
    the document tells it here. `width` is of the plain text, in columns.
    """
    return _forms(saved(doc), error_follows=error_follows, full=full, width=width)


def whole(doc: Doc, *, width: int = WIDTH) -> JsonObject:
    """Return the same with all that the journal holds of the run, however much that is."""
    return _forms(dict(doc), full=True, width=width)


def _forms(doc: JsonObject, *, error_follows: bool = False, full: bool, width: int) -> JsonObject:
    error = run_doc.part(doc, "error")
    said = (error.get("message"), error.get("todo"), *run_doc.items(doc, "notes"))
    tells = any(RESUME in clean(text or "") for text in said)
    follows = {"error": None, "error_follows": True} if error_follows else {}
    shown = doc | {"tells_how": tells} | follows
    return {
        "text/html": run_html(shown, full=full),
        "text/markdown": run_markdown(shown, full=full),
        "text/plain": run_text(shown, full=full, width=width),
        MIME: without_pictures(doc),
    }


def run_html(doc: Doc, *, full: bool = False) -> str:
    """Return the run as one static piece of html: the answer, and one line that opens to the rest. What waits for a
    person's word comes last, since the buttons stand below it."""
    told = f'<div class="{NO_MATH}">{_error(doc)}{_remarks(doc)}</div>'  # sums in dollars, never formulas
    return wrap(f'{_answer(doc)}{told}{_outcome(doc, full=full)}<div class="{NO_MATH}">{_questions(doc)}</div>')


def _answer(doc: Doc) -> str:
    text = doc.get("text")
    body = markup.to_html(text) if isinstance(text, str) and text.strip() else ""
    return f'<div style="margin:2px 0 8px 0">{body}{_cut_off(doc)}</div>{proposals_html(doc)}'


def _cut_off(doc: Doc) -> str:
    """Return what had streamed of the answer when the run was stopped: greyed, since it is no whole answer."""
    text = run_doc.part(doc, "stopped").get("text")
    return f'<div style="{CUT_OFF}">{markup.to_html(text)}</div>' if isinstance(text, str) and text.strip() else ""


def _outcome(doc: Doc, *, full: bool) -> str:
    """Return `✓ 10 s · $0.012 (saved 33 %) · 4 cells, 3 definitions · details`, a fold over everything else."""
    colour = run_doc.state_words(doc)[2]
    mark, *items = outcome_items(doc)
    parts = [f'<strong style="color:{colour}">{esc(mark[:1])}</strong>{esc(mark[1:])}', *map(esc, items)]
    parts += [f'<span style="{LABEL}">{esc(label)}</span>' for label in run_doc.labels(doc)]
    line = unbroken([*parts, '<span style="text-decoration:underline">details</span>'])
    go_on = run_words.go_on_line(doc)
    lead = f'<p style="margin:4px 0 8px 0;{SMALL}">{esc(go_on)}</p>' if go_on else ""
    more = line_html(cost_words.totals_line(doc)) if cost_words.totals_line(doc) else ""
    body = f'<div style="padding:6px 0 0 0">{panels_html(doc)}{more}{folds_html(doc)}</div>'
    return (
        f'<div class="{NO_MATH}"><details{" open" if full else ""} style="{OUTCOME}">'
        f'<summary style="{SUMMARY}">{line}</summary>{body}</details>{lead}</div>'
    )


def _error(doc: Doc) -> str:
    error = run_doc.part(doc, "error")
    if not error:
        return ""
    code = f' <code style="{CODE}">{esc(error["code"])}</code>' if error.get("code") else ""
    todo = f"<br>{words_html(error['todo'])}" if error.get("todo") else ""
    said = f"<strong>✗ {esc(run_words.error_kind(error))}</strong>{words_html(run_words.error_message(error))}"
    return (
        f'<p style="margin:0 0 8px 0;padding:6px 10px;border:0;border-left:4px solid {RED};background:{RED}1f">'
        f"{said}{todo}{code}</p>"
    )


def _remarks(doc: Doc) -> str:
    return "".join(
        f'<p style="margin:0 0 6px 0;{SMALL}">Note: {words_html(line)}</p>' for line in run_words.remark_lines(doc)
    )


def _questions(doc: Doc) -> str:
    """Return every call that waits, whole: what is approved must be what was read."""
    found = run_doc.questions(doc)
    if not found:
        return ""
    head = f"<strong>◔ {esc(call_words.question_heading(doc))}</strong>"
    calls = "".join(map(_question_html, found))
    run_id = esc(doc.get("run_id") or "")
    whole = f'<span style="display:inline-block">{run_id}</span>'  # an id that breaks cannot be copied by a click
    line = esc(call_words.answer_line(doc))
    told = line.replace(run_id, whole) if run_id else line
    how = (
        f'<details style="margin:6px 0 0 0;{SMALL}"><summary style="{SUMMARY}">Without buttons</summary>'
        f'<p style="margin:0">{told}</p></details>'
    )
    return (
        f'<div style="margin:8px 0 0 0;padding:6px 10px;border:0;border-left:4px solid {AMBER};background:{AMBER}1f">'
        f"{head}{calls}{how}</div>"
    )


def _question_html(question: Doc) -> str:
    title = f'<p style="margin:6px 0 0 0">{esc(call_words.question_title(question))}</p>'
    return title + "".join(map(_argument_html, _shown(question)))


def _shown(question: Doc) -> list[ArgumentText]:
    """Return the call's arguments, and under them what came of trying it."""
    call = call_shown(str(question.get("tool")), run_doc.part(question, "arguments"))
    tried = question.get("rehearsal")
    return [*call, ArgumentText("Tried first:", exact(str(tried)), "")] if tried else call


def _argument_html(shown: ArgumentText) -> str:
    label = f'<div style="{SMALL};{FAINT}">{esc(shown.label)}</div>'
    # A browser drops the first newline of <pre>: it must not be the code's.
    code = code_html(clean(shown.text), shown.language)
    return f'{label}<pre style="{PRE};max-height:24em;overflow:auto">\n{code}</pre>{_more_below(shown.text)}'


def _more_below(text: str) -> str:
    """Return a line below a text that is higher than its block: some systems draw no bar at its side."""
    lines = text.split("\n")
    if sum(1 + len(line) // LINE_SEEN for line in lines) <= LINES_SEEN:
        return ""
    what = f"all {count(len(lines))} lines" if len(lines) > 1 else "the whole line"
    return f'<div style="{SMALL}">↓ The block scrolls: read {what} before you run it.</div>'


LINES_SEEN, LINE_SEEN = 16, 80
"""Lines that a block of what is to be approved shows at once, and characters of a line, at least."""


def run_markdown(doc: Doc, *, full: bool = False) -> str:
    """Return the run as Markdown: for front ends without html, and for export."""
    parts = [
        markup.to_markdown(doc["text"]) if isinstance(doc.get("text"), str) else "",
        markup.to_markdown(str(run_doc.part(doc, "stopped").get("text") or "")),
        *proposals_markdown(doc),
        *(f"**{_md(line)}**" for line in run_words.error_lines(doc)),
        *(f"Note: {_md(line)}" for line in run_words.remark_lines(doc)),
        f"**{_md(outcome_line(doc))}**",
        _md(run_words.go_on_line(doc)),
        *(_details_markdown(doc) if full else ()),
        *_questions_markdown(doc),
    ]
    return "\n\n".join(part for part in parts if part)


def _details_markdown(doc: Doc) -> list[str]:
    table = [f"| layer | tokens | {cost_words.cached_word(doc)} |", "|---|---:|---:|"]
    table += [f"| {_md(a)} | {_md(b)} | {_md(c)} |" for a, b, c in _layer_cells(doc)]
    lists = [
        "\n".join(f"- {_md(line)}" for line in lines)
        for lines in (run_words.child_lines(doc), run_words.plan_lines(doc))
    ]
    return ["\n".join(table) if cost_words.layer_totals(doc)[0] else "", *map(_md, _sentences(doc)), *lists]


def _sentences(doc: Doc) -> list[str]:
    """Return what the panels say, in lines."""
    lines = [
        *cost_words.count_lines(doc),
        *cost_words.cache_lines(doc),
        timeline.line(doc),
        *timeline.notes(doc),
        *cost_words.cost_lines(doc),
        cost_words.budget_line(doc),
        cost_words.totals_line(doc),
        run_words.identity_line(doc),
    ]
    return [line for line in lines if line]


def _questions_markdown(doc: Doc) -> list[str]:
    found = run_doc.questions(doc)
    parts = [f"**{_md(call_words.question_heading(doc))}**"] if found else []
    for question in found:
        parts.append(_md(call_words.question_title(question)).replace(".", "\\.", 1))
        for shown in _shown(question):
            parts += [_md(shown.label), markup.fenced(clean(shown.text), shown.language)]
    return [*parts, _md(call_words.answer_line(doc))] if found else []


def questions_text(doc: Doc, width: int) -> str:
    """Return what waits, for a terminal: every call whole."""
    found = run_doc.questions(doc)
    parts = [wrapped(call_words.question_heading(doc), width=width)] if found else []
    for question in found:
        parts.append(wrapped(call_words.question_title(question), width=width))
        for shown in _shown(question):
            parts.append(f"   {clean(shown.label)}")
            parts += [f"   | {line}" for line in clean(shown.text).split("\n")]
    return "\n".join(parts)


def run_text(doc: Doc, *, full: bool = False, width: int = WIDTH) -> str:
    """Return the run for a terminal or a pipe: lines of `width` columns, no escape codes."""
    text = doc.get("text")
    parts = [
        answer_text(text, width=width) if isinstance(text, str) else "",
        answer_text(str(run_doc.part(doc, "stopped").get("text") or ""), width=width),
        proposals_text(doc, width),
        *(wrapped(line, width=width) for line in run_words.error_lines(doc)),
        *(wrapped(f"Note: {line}", width=width) for line in run_words.remark_lines(doc)),
        wrapped(outcome_line(doc), width=width),
        wrapped(run_words.go_on_line(doc), width=width),
        details_text(doc, width) if full else "",
        questions_text(doc, width),
        wrapped(call_words.answer_line(doc), width=width),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part.strip())


def details_text(doc: Doc, width: int) -> str:
    """Return what stands behind `details`, for a terminal."""
    images = [run_words.image_line(item) for item in run_doc.dicts(doc, "images")]
    parts = [
        "\n".join(_layers_text(doc, width)),
        "\n".join(wrapped(line, width=width) for line in _sentences(doc)),
        _listed("Delegated", run_words.child_lines(doc), width),
        _listed("Plan", run_words.plan_lines(doc), width),
        _steps_text(doc, width),
        _thinking_text(doc, width),
        _definitions_text(doc, width),
        "\n".join(
            [f"{run_words.images_title(doc)}:", *(wrapped(f"  {line}", indent=4, width=width) for line in images)]
        )
        if images
        else "",
    ]
    return "\n\n".join(part.rstrip() for part in parts if part.strip())


def _layer_cells(doc: Doc) -> list[tuple[str, str, str]]:
    rows = []
    for layer in cost_words.layer_rows(doc):
        name = cost_words.layer_words(layer)[0]
        rows.append((name, cost_words.approximate(layer), share(layer.get("cached_tokens"), layer.get("tokens"))))
    tokens, cached = cost_words.layer_totals(doc)
    return [*rows, ("all", count(tokens), share(cached, tokens))]


def _layers_text(doc: Doc, width: int) -> list[str]:
    if not cost_words.layer_totals(doc)[0]:
        return []
    tokens = [number(layer.get("tokens")) or 0 for layer in cost_words.layer_rows(doc)]
    room = max(0, min(34, width - 36))
    bars = [_text_bar(layer, max(tokens), room - 2) for layer in cost_words.layer_rows(doc)]
    key = "█ cached  ░ new" if room > 16 else ""
    lines = ["-" * width, f"{'layer':<14}{'':<{room}}{'tokens':>12}{cost_words.cached_word(doc):>10}"]
    for (name, amount, cached), bar in zip(_layer_cells(doc), [*bars, key], strict=True):
        lines.append(f"{name[:13]:<14}{bar:<{room}}{amount:>12}{cached:>10}")
    return lines


def _text_bar(layer: Doc, widest: float, most: int) -> str:
    tokens, cached = layer.get("tokens"), layer.get("cached_tokens")
    length = round(most * fraction(tokens, widest)) or (1 if number(tokens) else 0)
    solid = round(length * fraction(cached, tokens))
    return "█" * solid + "░" * (length - solid)


def _listed(title: str, lines: Sequence[str], width: int) -> str:
    return "\n".join([f"{title}:", *(wrapped(f"  {line}", indent=4, width=width) for line in lines)]) if lines else ""


def _steps_text(doc: Doc, width: int) -> str:
    lines = []
    for step in run_doc.dicts(doc, "steps"):
        n, state, what, time, *_ = step_cells(step)
        took = f" ({time})" if number(step.get("seconds")) is not None else ""
        said = f": {what}{took}" if what else ""
        line = f"{clean(n):>3}  {state}{said}" if n else f"     {state} failed"
        lines.append(wrapped(line, indent=5, width=width))
        tools = (
            f"     {call_words.tool_line(tool)}: {call_words.tool_outcome(tool)}"
            for tool in run_doc.dicts(step, "tools")
        )
        lines += [wrapped(line, indent=7, width=width) for line in tools]
    left_out = run_words.left_out_of_steps_line(doc)
    lines = [wrapped(left_out, width=width), *lines] if left_out else lines
    return "\n".join([f"{run_words.steps_title(doc)}:", *lines]) if lines else ""


def _thinking_text(doc: Doc, width: int) -> str:
    lines = [wrapped(f"     {clean(text)}", indent=5, width=width) for text in run_doc.items(doc, "thinking")]
    return "\n".join(["thinking:", *lines]) if lines else ""


def _definitions_text(doc: Doc, width: int) -> str:
    """List those that came with this task; what the conversation held before is counted: a terminal has no folds."""
    found = run_doc.dicts(doc, "definitions")
    new = [item for item in found if item.get("new")]
    lines = []
    for item in new[:MOST_ROWS]:
        name = clean(item.get("name") or "?")
        facts = [run_words.place(item), clean(item.get("form") or ""), f"≈ {count(item.get('tokens'))} tokens"]
        why = f": {clean(item['reason'])}" if item.get("reason") else ""
        lines.append(wrapped(f"     {name} ({', '.join(filter(None, facts))}){why}", indent=7, width=width))
    title = run_words.definitions_title(doc)
    if len(found) > len(new):
        title += "; %agent_context show lists all"
    head = wrapped(f"{title}:" if lines else f"{title}.", width=width)
    return "\n".join([head, *lines]) if found else ""


def _md(line: str) -> str:
    """Return plain words as Markdown that marks up nothing. A bar would end the table's cell, a dollar open a
    formula."""
    safe = clean(line).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for active in "`*_[]|$#":
        safe = safe.replace(active, f"\\{active}")
    return " ".join(safe.split())
