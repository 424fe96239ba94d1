"""Show the panels of a run: what its last request sent, layer by layer, and how long that took. Html. Pure."""

from __future__ import annotations

from agentnb.canonical import JsonMapping
from agentnb.view import timeline
from agentnb.view.number_format import count, fraction, number, seconds, share
from agentnb.view.style import (
    BAR,
    BLUE,
    FAINT,
    FIGURE,
    FOOT,
    HATCH,
    HEAD,
    NAME,
    NO_MATH,
    PANEL,
    PANELS,
    ROW,
    SMALL,
    TABLE,
    TEAL,
    UNSEEN,
    clean,
    esc,
    line_html,
)
from agentnb.view.words import cost_words, run_doc
from agentnb.view.words.run_doc import Doc

READ, NEW = "█", "░"
"""Letters of a bar: read from the prompt cache (or measured), and processed anew (or estimated)."""


def panels_html(doc: Doc) -> str:
    """Return both panels, side by side where there is room."""
    return f'<div class="{NO_MATH}" style="{PANELS}">{_layers_panel(doc)}{_latency_panel(doc)}</div>'


def _layers_panel(doc: Doc) -> str:
    layers = cost_words.layer_rows(doc)
    tokens, cached = cost_words.layer_totals(doc)
    if run_doc.ended(doc) and not tokens:
        return ""
    widest = max((number(layer.get("tokens")) or 0 for layer in layers), default=0)
    rows = "".join(_layer_row(layer, widest) for layer in layers)
    head = _heads("layer", "tokens", cost_words.cached_word(doc))
    about = "≈ " if tokens and run_doc.is_forecast(doc) else ""
    foot = _cells_row(FOOT, "all", "", about + count(tokens), share(cached, tokens))
    lines = "".join(map(line_html, [*cost_words.count_lines(doc), *cost_words.cache_lines(doc)]))
    return _panel(
        cost_words.layers_heading(doc), f'<table style="{TABLE}">{head}{rows}{foot}</table>{_legend()}{lines}'
    )


def prefix_html(doc: Doc) -> str:
    """Return the layers' bars in the order of the prompt, with a mark where the prefix broke."""
    layers = [layer for layer in cost_words.layer_rows(doc) if number(layer.get("tokens"))]
    widest = max((number(layer.get("tokens")) or 0 for layer in layers), default=0)
    broken = next((layer for layer in layers if fraction(layer.get("cached_tokens"), layer.get("tokens")) < 1), None)
    rows = ""
    for layer in layers:
        rows += _layer_row(layer, widest)
        if layer is broken and layer is not layers[-1]:
            broke = f"◀ the prefix broke here, in {cost_words.layer_words(layer)[0]}"
            said = broke if cost_words.layer_totals(doc)[1] else "◀ none of it was warm"
            told = f'<td colspan="3" style="{BAR};{SMALL}"><strong>{esc(said)}</strong></td>'
            rows += f'<tr style="{ROW}"><td></td>{told}</tr>'
    table = f'<table style="{TABLE}">{_heads("layer", "tokens", cost_words.cached_word(doc))}{rows}</table>'
    return f'<div style="max-width:34em;margin:0 0 8px 0">{table}{_legend()}</div>' if layers else ""


def _layer_row(layer: JsonMapping, widest: float) -> str:
    name, meaning = cost_words.layer_words(layer)
    tokens, cached = layer.get("tokens"), layer.get("cached_tokens")
    label = f'<span title="{esc(meaning)} ({esc(clean(layer.get("name")))})">{esc(name)}</span>'
    bar = _layer_bar(100 * fraction(tokens, widest), 100 * fraction(cached, tokens))
    title = f"{count(cached)} of {count(tokens)} tokens read from the prompt cache"
    cell = f'<span title="{esc(title)}">{esc(share(cached, tokens))}</span>'
    return _cells_row(ROW, label, bar, esc(cost_words.approximate(layer)), cell)


def _layer_bar(width: float, solid: float) -> str:
    """Solid is read from the prompt cache, hatched was processed anew. What is solid is a border: paper has no
    backgrounds."""
    if width <= 0:
        return _track("")
    cells = max(1, round(width / 5))
    read = round(cells * solid / 100)
    inner = f'<div style="width:{solid:.1f}%;height:0;border-top:10px solid {TEAL}"></div>' if solid else ""
    return _track(
        f'<div style="width:{max(width, 1.0):.1f}%;height:10px;border:1px solid {TEAL};box-sizing:content-box;'
        f'background-image:{HATCH};background-size:6px 6px">{inner}</div>',
        READ * read + NEW * (cells - read),
    )


def _track(inner: str, letters: str = "") -> str:
    """Draw a bar. `letters` draw the bar where styles are dropped, as code hosts do: only there they are seen."""
    unstyled = f'<span style="{UNSEEN}">{letters}</span>' if letters else ""
    return f'<div style="height:12px;padding:0 3px 0 0;min-width:1.5em">{inner}{unstyled}</div>'


def _legend() -> str:
    full = f"display:inline-block;width:0;height:0;border:5.5px solid {TEAL};margin:0 4px 0 0"
    box = f"display:inline-block;width:9px;height:9px;border:1px solid {TEAL};margin:0 4px 0 0"
    return (
        f'<p style="margin:4px 0 0 0;{SMALL}">'
        f'<span style="white-space:nowrap;margin:0 10px 0 0"><span style="{full}"></span>'
        f'<span style="{UNSEEN}">{READ} </span>cached</span> '
        f'<span style="white-space:nowrap"><span style="{box};background-image:{HATCH};background-size:6px 6px"></span>'
        f'<span style="{UNSEEN}">{NEW} </span>new</span></p>'
    )


def _latency_panel(doc: Doc) -> str:
    latency = run_doc.part(doc, "latency")
    lines = "".join(map(line_html, [*timeline.notes(doc), *cost_words.cost_lines(doc)])) + _budget(doc)
    if run_doc.ended(doc) and (number(latency.get("total")) is None or timeline.was_instant(doc)):
        heading = "What it would cost" if doc.get("state") == "DRY_RUN" else "What it cost"
        return _panel(heading, lines) if lines else ""
    found = timeline.rows(doc)
    whole = max([timeline.total(doc) or 0.0, *((row.start or 0.0) + (row.length or 0.0) for row in found)])
    rows = "".join(_phase_row(row, whole) for row in found)
    foot = _cells_row(FOOT, "total", "", seconds(timeline.total(doc)))
    heading = "How long the recording played" if run_doc.recorded(doc) else "How long the last call took"
    heading += " (modelled)" if latency.get("modelled") else ""
    if number(latency.get("total")) is None:
        heading, foot = "How long this call takes", _cells_row(FOOT, "total", "known when it ends", seconds(None))
    table = f'<table style="{TABLE}">{_heads("phase", "time")}{rows}{foot}</table>'
    return _panel(heading, table + lines)


def _phase_row(row: timeline.Phase, total: float | None) -> str:
    name, start, length, estimated = row
    bar = letters = ""
    if start is not None and length and total:
        left = 100 * fraction(start, total)
        width = min(100 - left, max(0.8, 100 * fraction(length, total)))
        hatched = f"height:10px;border:1px solid {BLUE};background-image:{HATCH};background-size:6px 6px"
        fill = hatched if estimated else f"height:0;border-top:12px solid {BLUE}"
        bar = f'<div style="margin-left:{left:.1f}%;width:{width:.1f}%;{fill}"></div>'
        letters = "\u2007" * round(left / 5) + (NEW if estimated else READ) * max(1, round(width / 5))
    value = f"≈ {seconds(length)}" if estimated and length is not None else seconds(length)
    return _cells_row(ROW, esc(name), _track(bar, letters), esc(value))


def _budget(doc: Doc) -> str:
    line = cost_words.budget_line(doc)
    if not line:
        return ""
    budget = run_doc.part(doc, "budget")
    value = fraction(budget.get("spent"), budget.get("limit"))
    bar = f'<progress max="1" value="{value:.3f}" style="width:6em;height:10px;vertical-align:baseline"></progress>'
    return f'<p style="margin:4px 0 0 0;{SMALL}">{esc(line)} {bar}</p>'


def _panel(heading: str, body: str) -> str:
    title = f'<p style="margin:0 0 3px 0;{SMALL}"><strong>{esc(heading)}</strong></p>'
    return f'<div style="{PANEL}">{title}{body}</div>'


def _heads(name: str, *heads: str) -> str:
    """Return the header row: a name, a bar without a head, then the figures."""
    cells = [f'<th scope="col" style="{NAME};{FAINT}">{esc(name)}</th><th style="{BAR}"></th>']
    cells += [f'<th scope="col" style="{HEAD}">{esc(head)}</th>' for head in heads]
    return f'<tr style="{ROW}">{"".join(cells)}</tr>'


def _cells_row(style: str, name: str, bar: str, *values: str) -> str:
    """Return a row of finished html: name, bar, figures right-aligned."""
    cells = [f'<th scope="row" style="{NAME}">{name}</th><td style="{BAR}">{bar}</td>']
    cells += [f'<td style="{FIGURE}">{value}</td>' for value in values]
    return f'<tr style="{style}">{"".join(cells)}</tr>'
