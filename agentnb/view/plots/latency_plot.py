"""Plot time to first token against prompt tokens, as SVG and as html that holds it as a picture. Pure."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from agentnb.view.style import esc

# A front end shows it as a picture that knows no theme: without a background, in colours for both.
INK = "#7d7d7d"
BROWN, BLUE = "#b0650f", "#3b7bcf"
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 420, 330, 44, 26, 40, 142
_LEGEND = (
    ("line", BROWN, "catalogue, nothing cached"),
    ("line", BLUE, "catalogue, nine tenths read"),
    ("dot", BROWN, "your calls, mostly uncached"),
    ("ring", BLUE, "your calls, mostly read"),
)
_OWN = (
    ("dash", BROWN, "your calls' fit, nothing cached"),
    ("band", BROWN, "8 of 10 such calls expected here"),
)
Points = Sequence[tuple[float, float]]


def latency_svg(title: str, data: Mapping[str, Points]) -> str:
    """Return the plot of `latency.plot_data`: curves as lines, calls as dots or rings, the calls' fit and its interval.

    Both axes begin at zero. What the interval holds above everything else is cut off at the top.
    """
    shown = [point for name, points in data.items() if name not in ("low", "high") for point in points]
    scale = (max((x for x, _ in shown), default=1) or 1, max((y for _, y in shown), default=1.0) or 1.0)
    spots = {name: [_place(x / scale[0], min(1.0, y / scale[1])) for x, y in points] for name, points in data.items()}
    legend = [*_LEGEND, *(_OWN if "fit" in data else ())]
    inside = "".join(
        [
            _axes(*scale),
            _band(spots.get("low", ()), spots.get("high", ())),
            _curve(spots.get("cold", ()), BROWN),
            _curve(spots.get("cached", ()), BLUE),
            _curve(spots.get("fit", ()), BROWN, dashed=True),
            _marks(spots.get("measured_cold", ()), "dot", BROWN),
            _marks(spots.get("measured_cached", ()), "ring", BLUE),
            *(_legend(i, *entry) for i, entry in enumerate(legend)),
        ]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="11.5" fill="{INK}">'
        f"<title>{escape(title)}</title>{inside}</svg>"
    )


def picture_html(svg: str, alt: str) -> str:
    """Return the SVG as a picture in the page: it shrinks with the window, and an untrusted notebook keeps it."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{esc(alt)}" style="max-width:100%;margin:0 0 8px 0">'


def _place(x: float, y: float) -> tuple[float, float]:
    return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP)


def _path(spots: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)


def _curve(spots: Points, colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<polyline points="{_path(spots)}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>' if spots else ""
    )


def _band(low: Points, high: Points) -> str:
    return f'<polygon points="{_path([*low, *reversed(high)])}" fill="{BROWN}" fill-opacity="0.12"/>' if low else ""


def _marks(spots: Points, kind: str, colour: str) -> str:
    """Filled or hollow, for those who cannot tell the colours apart."""
    look = f'fill="{colour}" fill-opacity="0.8"' if kind == "dot" else f'fill="none" stroke="{colour}"'
    return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" {look}/>' for x, y in spots)


def _legend(i: int, kind: str, colour: str, label: str) -> str:
    x, y = LEFT, 20 + i * 17
    marks = {
        "line": _curve([(x, y - 4), (x + 16, y - 4)], colour),
        "dash": _curve([(x, y - 4), (x + 16, y - 4)], colour, dashed=True),
        "band": f'<rect x="{x}" y="{y - 9}" width="16" height="10" fill="{colour}" fill-opacity="0.12"/>',
    }
    return (
        f'{marks.get(kind) or _marks([(x + 8, y - 4)], kind, colour)}<text x="{x + 23}" y="{y}">{escape(label)}</text>'
    )


def _axes(wide: float, high: float) -> str:
    (x0, y0), (x1, y1) = _place(0, 0), _place(1, 1)
    frame = f'<path d="M{x0:.0f},{y1:.0f} V{y0:.0f} H{x1:.0f}" fill="none" stroke="{INK}" stroke-opacity="0.5"/>'
    across = "".join(
        f'<text x="{_place(tokens / wide, 0)[0]:.0f}" y="{y0 + 15:.0f}" text-anchor="middle">{tokens:,.0f}</text>'
        for tokens in _round_values(wide)
    )
    levels = _round_values(high)
    digits = max(0, -math.floor(math.log10(levels[0]) + 1e-9))
    up = "".join(_level(_place(0, seconds / high)[1], f"{seconds:.{digits}f}", x0, x1) for seconds in levels)
    names = (
        f'<text x="{x1:.0f}" y="{HEIGHT - 7}" text-anchor="end">prompt tokens</text>'
        f'<text x="8" y="{y1 - 14:.0f}">seconds to the first token</text>'
    )
    return frame + across + up + names


def _level(y: float, label: str, x0: float, x1: float) -> str:
    """Return a value of the left axis, with a faint line across."""
    line = f'<path d="M{x0:.0f},{y:.1f} H{x1:.0f}" stroke="{INK}" stroke-opacity="0.12"/>'
    return f'{line}<text x="{x0 - 6:.0f}" y="{y + 4:.0f}" text-anchor="end">{label}</text>'


def _round_values(most: float) -> list[float]:
    """Return three to six round values up to `most`, without zero. Steps are 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most))
    step = next(step for step in (power * part for part in (0.1, 0.2, 0.5, 1, 2)) if most / step < 7)
    return [round(step * i, 9) for i in range(1, math.floor(most / step + 1e-9) + 1)]
