"""A plot of time to first token against prompt tokens, as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

# A front end shows it as a picture that knows nothing of the theme, so it brings its own paper.
INK, PAPER = "#222222", "#ffffff"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 260, 46, 34, 40
_SERIES = (
    ("cold", "catalogue, nothing cached", "#8a6d3b", False),
    ("cached", "catalogue, nine tenths read", "#2f6f9f", False),
    ("measured_cold", "your calls, mostly uncached", "#8a6d3b", True),
    ("measured_cached", "your calls, mostly read", "#2f6f9f", True),
)
Points = Sequence[tuple[int, float]]


def latency_svg(title: str, data: Mapping[str, Points]) -> str:
    """The plot of `latency.plot_data`: curves as lines, calls as dots, with a legend and both axes named."""
    every = [point for points in data.values() for point in points]
    wide = max((tokens for tokens, _ in every), default=1) or 1
    high = max((seconds for _, seconds in every), default=1.0) or 1.0
    parts = [_axes(wide, high)]
    for i, (name, label, colour, dots) in enumerate(_SERIES):
        spots = [_place(tokens / wide, seconds / high) for tokens, seconds in data.get(name, ())]
        parts.append(_dots(spots, colour) if dots else _curve(spots, colour))
        parts.append(_legend(i, label, colour, dots=dots))
    inside = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'style="max-width:100%;height:auto" font-family="sans-serif" font-size="11" fill="{INK}">'
        f'<title>{escape(title)}</title><rect width="{WIDTH}" height="{HEIGHT}" rx="4" fill="{PAPER}"/>{inside}</svg>'
    )


def _place(x: float, y: float) -> tuple[float, float]:
    return LEFT + x * (WIDTH - LEFT - 18), HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP)


def _curve(spots: Sequence[tuple[float, float]], colour: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _dots(spots: Sequence[tuple[float, float]], colour: str) -> str:
    return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" fill-opacity="0.7"/>' for x, y in spots)


def _legend(i: int, label: str, colour: str, *, dots: bool) -> str:
    x, y = LEFT + (i % 2) * 250, 16 + (i // 2) * 13
    mark = f'<circle cx="{x + 7}" cy="{y - 3}" r="3" fill="{colour}"/>'
    line = f'<line x1="{x}" y1="{y - 3}" x2="{x + 14}" y2="{y - 3}" stroke="{colour}" stroke-width="1.5"/>'
    return f'{mark if dots else line}<text x="{x + 20}" y="{y}">{escape(label)}</text>'


def _axes(wide: int, high: float) -> str:
    (x0, y0), (x1, y1) = _place(0, 0), _place(1, 1)
    frame = f'<path d="M{x0:.0f},{y1:.0f} V{y0:.0f} H{x1:.0f}" fill="none" stroke="{INK}" stroke-opacity="0.5"/>'
    across = "".join(
        f'<text x="{_place(tokens / wide, 0)[0]:.0f}" y="{y0 + 14:.0f}" text-anchor="middle">{tokens / 1000:g}k</text>'
        for tokens in _round_values(wide)
    )
    up = "".join(_level(_place(0, seconds / high)[1], f"{seconds:g}", x0, x1) for seconds in _round_values(high))
    names = (
        f'<text x="{x1:.0f}" y="{HEIGHT - 4}" text-anchor="end">prompt tokens</text>'
        f'<text x="{x0:.0f}" y="{HEIGHT - 4}">seconds to the first token (left)</text>'
    )
    return frame + across + up + names


def _level(y: float, label: str, x0: float, x1: float) -> str:
    """A value of the left axis, with a faint line across."""
    line = f'<path d="M{x0:.0f},{y:.1f} H{x1:.0f}" stroke="{INK}" stroke-opacity="0.12"/>'
    return f'{line}<text x="{x0 - 4:.0f}" y="{y + 4:.0f}" text-anchor="end">{label}</text>'


def _round_values(most: float) -> list[float]:
    """Three to six round values up to `most`, zero left out: steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most))
    step = next(step for step in (power * part for part in (0.1, 0.2, 0.5, 1, 2)) if most / step < 7)
    return [round(step * i, 9) for i in range(1, math.floor(most / step + 1e-9) + 1)]
