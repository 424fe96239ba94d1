"""Tell of figures what is drawn, axes by axes or mark by mark. Limits are not asked for: that would settle them."""

from __future__ import annotations

import itertools
import re
from typing import Any

from agentnb.canonical import JsonMapping
from agentnb.context.values import static_inspect
from agentnb.context.values.text_format import ITEMS, items, number, quoted

Spec = JsonMapping
SVG_CHARACTERS = 100_000
"""Of a picture in SVG that are searched for its texts."""


def matplotlib_figure(value: Any) -> str:
    """Return a matplotlib Figure: its title and its axes."""
    head = f"matplotlib figure, {len(value.axes)} axes"
    title = value._suptitle.get_text() if value._suptitle is not None else ""
    shown = [_axes(axes) for axes in value.axes[:ITEMS]]
    return "\n".join([f"{head}, {quoted(title)}" if title else head, *shown])


def matplotlib_axes(value: object) -> str:
    """Return one Axes of a matplotlib figure."""
    return f"matplotlib axes: {_axes(value)}"


def matplotlib_artist(value: Any) -> str:
    """Describe a line, a bar or a text of a figure by its class and its given label."""
    label = str(value.get_label() or "")
    return f"{static_inspect.type_name(value)}{'' if label.startswith('_') or not label else f' {quoted(label)}'}"


def _axes(axes: Any) -> str:
    texts = {"": axes.get_title(), "x ": axes.get_xlabel(), "y ": axes.get_ylabel()}
    said = [f"{name}{quoted(text)}" for name, text in texts.items() if text]
    scales = {"x": axes.get_xscale(), "y": axes.get_yscale()}
    said += [f"{name} scale {scale}" for name, scale in scales.items() if scale != "linear"]
    drawn = [_artists(kind, getattr(axes, kind)) for kind in ("lines", "patches", "collections", "images", "texts")]
    box = axes.dataLim
    x0, x1, y0, y1 = (number(float(edge)) for edge in (box.x0, box.x1, box.y0, box.y1))
    extent = f"data x {x0} to {x1}, y {y0} to {y1}"
    return "; ".join([", ".join([type(axes).__name__, *said]), *filter(None, drawn), *([extent] if any(drawn) else [])])


def _artists(kind: str, found: Any) -> str:
    """Return `2 lines 'high', 'low'`: labels that were given, not the `_child0` of those that were not."""
    labels = [str(artist.get_label() or "") for artist in itertools.islice(found, ITEMS)]
    named = ", ".join(quoted(label) for label in labels if label and not label.startswith("_"))
    return " ".join(filter(None, [f"{len(found)} {kind}", named])) if len(found) else ""


def plotly_spec(spec: Spec) -> str:
    """Return a plotly figure as the dictionaries that its front end draws from."""
    traces, layout = _listed(spec.get("data")), _mapping(spec.get("layout"))
    shown = [" ".join(filter(None, [str(t.get("type")), _word(t.get("name"))])) for t in map(_mapping, traces[:ITEMS])]
    titles = {
        "": _title(layout),
        "x ": _title(_mapping(layout.get("xaxis"))),
        "y ": _title(_mapping(layout.get("yaxis"))),
    }
    said = [f"{name}{quoted(text)}" for name, text in titles.items() if text]
    return ", ".join([f"plotly figure, {len(traces)} traces", *said]) + (
        f"; {items(shown, len(traces))}" if traces else ""
    )


def vega_spec(spec: Spec) -> str:
    """Return a Vega-Lite chart (Altair's) as the JSON that its front end draws from."""
    title = _title(spec)
    layers = _listed(spec.get("layer") or spec.get("hconcat") or spec.get("vconcat")) or [spec]
    shown = [_marks(_mapping(layer)) for layer in layers[:ITEMS]]
    return f"Vega-Lite chart{f', {quoted(title)}' if title else ''}; {items(shown, len(layers))}"


def _marks(layer: Spec) -> str:
    mark = layer.get("mark")
    kind = mark if isinstance(mark, str) else _mapping(mark).get("type")
    channels = _mapping(layer.get("encoding"))
    shown = [f"{name} {_channel(_mapping(item))}" for name, item in itertools.islice(channels.items(), ITEMS)]
    return " ".join(filter(None, [f"mark {kind}" if kind else "marks", items(shown, len(channels))]))


def _channel(item: Spec) -> str:
    said = [item.get("aggregate"), item.get("field"), item.get("type")]
    return " ".join(str(part) for part in said if isinstance(part, str)) or "set"


def _title(spec: Spec) -> str:
    """Read a title, which is a text or has one."""
    title = spec.get("title")
    text = title if isinstance(title, str) else _mapping(title).get("text")
    return text if isinstance(text, str) else ""


def _word(name: object) -> str:
    return quoted(name) if isinstance(name, str) and name else ""


def _mapping(value: object) -> Spec:
    return value if type(value) is dict else {}


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


_SVG_TEXT = re.compile(r">([^<>]{1,200})</(?:text|tspan|title)>")


def svg_text(source: str) -> str:
    """Return a picture in SVG, by the texts that are written in it."""
    texts = list(itertools.islice(_SVG_TEXT.finditer(source, 0, SVG_CHARACTERS), ITEMS + 1))
    shown = [quoted(" ".join(found[1].split())) for found in texts[:ITEMS]]
    said = f" with the texts {', '.join(shown)}{', …' if len(texts) > ITEMS else ''}" if shown else ""
    return f"SVG picture{said}"
