"""Draw a lesson's plots as SVG pictures that read on white and on black. No part of agentnb."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_INK, _RED = "#7d7d7d", "#cf5151"
_COLOURS = ("#3b7bcf", "#b0650f", "#2f9e6e", "#8f6fc4")
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT, _LANE = 680, 62, 60, 46, 280, 330, 40
_TIMES = (10, 60, 300, 1800, 3600, 14_400)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing as SVG, shown as a picture, and the same in words."""

    svg: str
    words: str

    def __repr__(self) -> str:
        return self.words

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        data = base64.b64encode(self.svg.encode()).decode()
        html = f'<img src="data:image/svg+xml;base64,{data}" alt="{_esc(self.words)}" style="max-width:100%">'
        return {"text/plain": self.words, "text/html": html}


@dataclass(frozen=True)
class _Axis:
    """Places values from `low` to `high` between two pixels."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, here = map(math.log10 if self.log else float, (self.low, self.high, value))
        return self.begin + (here - low) / (high - low) * (self.end - self.begin)


def lines(
    title: str, across: str, up: str, series: Mapping[str, Sequence[tuple[float, float]]], *, log: bool = False
) -> Plot:
    """Curves by name, as (x, y) points; a name that ends with `…` is dots. `log`: across is time, by powers of ten."""
    every = [point for points in series.values() for point in points]
    high, top = max(x for x, _ in every), max(y for _, y in every) * 1.08
    at_x = _Axis(min(x for x, _ in every) if log else 0, high, _LEFT, _WIDTH - _RIGHT, log)
    at_y = _Axis(0, top, _BOTTOM, _TOP)
    ticks = [value for value in _TIMES if at_x.low <= value <= high] if log else _rounds(high)
    parts = _frame(series, across, up, top, at_y)
    parts += [_text(at_x(x), _BOTTOM + 18, _time(x) if log else f"{x:,.0f}") for x in ticks]
    for colour, (name, points) in zip(_COLOURS, series.items(), strict=False):
        spots = [(at_x(x), at_y(y)) for x, y in points]
        parts += _dots(spots, colour) if name.endswith("…") else [_curve(spots, colour)]
    return Plot(svg=_svg(title, _HEIGHT, parts), words=f"{title}: {', '.join(series)}")


def bars(title: str, across: str, parts: Mapping[str, Sequence[float]], line: Mapping[str, Sequence[float]]) -> Plot:
    """A bar of parts for each of 1, 2, 3 …, and beside it one line with a scale of its own."""
    ((name, values),) = line.items()
    top = max(map(sum, zip(*parts.values(), strict=True))) * 1.08
    at_y, at_line = _Axis(0, top, _BOTTOM, _TOP), _Axis(0, max(values) * 1.08, _BOTTOM, _TOP)
    wide = (_WIDTH - _LEFT - _RIGHT) / len(values)
    drawn = _frame([*parts, name], across, "tokens", top, at_y)
    for n, (value, pieces) in enumerate(zip(values, zip(*parts.values(), strict=True), strict=True)):
        middle, below = _LEFT + (n + 0.5) * wide, 0.0
        for colour, piece in zip(_COLOURS, pieces, strict=False):
            drawn.append(
                _rect(middle - wide * 0.32, at_y(below + piece), wide * 0.64, at_y(below) - at_y(below + piece), colour)
            )
            below += piece
        drawn.append(_text(middle, _BOTTOM + 18, str(n + 1)))
    spots = [(_LEFT + (n + 0.5) * wide, at_line(value)) for n, value in enumerate(values)]
    colour = _COLOURS[len(parts)]
    drawn += [_curve(spots, colour), *_dots(spots, colour)]
    for value in (max(values), values[-1]):
        drawn.append(_text(_WIDTH - _RIGHT + 6, at_line(value) + 4, f"{value:.4f}", "start", colour))
    return Plot(svg=_svg(title, _HEIGHT, drawn), words=f"{title}: {', '.join([*parts, name])}")


def gantt(title: str, lanes: Mapping[str, Sequence[tuple[float, float]]], marks: Mapping[str, float]) -> Plot:
    """A lane for each worker with the stretches in which it worked, in seconds, and named moments across all lanes."""
    end = max(*(stop for spans in lanes.values() for _, stop in spans), *marks.values()) * 1.02
    at_x, bottom = _Axis(0, end, _LEFT + 60, _WIDTH - _RIGHT), _TOP + _LANE * len(lanes)
    parts = []
    for n, (name, spans) in enumerate(lanes.items()):
        y = _TOP + _LANE * n
        parts.append(_text(_LEFT + 50, y + 18, name, "end"))
        parts += [_rect(at_x(a), y, max(at_x(b) - at_x(a) - 0.6, 0.6), 26, _COLOURS[n % 4]) for a, b in spans]
    for name, when in marks.items():
        parts.append(f'<path d="M{at_x(when):.1f} {_TOP - 12}V{bottom}" stroke="{_RED}" stroke-width="2"/>')
        parts.append(_text(at_x(when), _TOP - 18, name, colour=_RED))
    parts += [_text(at_x(x), bottom + 18, f"{x:g} s") for x in [0, *_rounds(end)]]
    return Plot(svg=_svg(title, bottom + 30, parts), words=f"{title}: {', '.join([*lanes, *marks])}")


def _frame(names: Iterable[str], across: str, up: str, top: float, at_y: _Axis) -> list[str]:
    """The legend, faint lines across with their values, and the axes with their names."""
    parts, x = [], _LEFT
    for colour, name in zip(_COLOURS, names, strict=False):
        parts += [_rect(x, 6, 12, 12, colour), _text(x + 18, 16, name.removesuffix(" …"), "start")]
        x += 34 + 7 * len(name)
    values = _rounds(top)
    digits = max(0, -math.floor(math.log10(values[0]) + 1e-9))
    for y in values:
        parts.append(f'<path d="M{_LEFT} {at_y(y):.1f}H{_WIDTH - _RIGHT}" stroke="{_INK}" stroke-opacity="0.25"/>')
        parts.append(_text(_LEFT - 6, at_y(y) + 4, f"{y:,.{digits}f}", "end"))
    parts.append(f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_WIDTH - _RIGHT}" fill="none" stroke="{_INK}"/>')
    return [*parts, _text(8, 36, up, "start"), _text(_WIDTH - _RIGHT, _BOTTOM + 38, across, "end")]


def _svg(title: str, height: float, parts: Iterable[str]) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="system-ui, sans-serif" font-size="12">'
    )
    return f"{head}<title>{_esc(title)}</title>{''.join(parts)}</svg>"


def _text(x: float, y: float, words: str, anchor: str = "middle", colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{_esc(words)}</text>'


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _curve(spots: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _dots(spots: Sequence[tuple[float, float]], colour: str) -> list[str]:
    return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in spots]


def _rounds(top: float) -> list[float]:
    """Up to five round values up to `top`, without zero."""
    power = 10 ** math.floor(math.log10(top))
    step = next(power * part for part in (0.1, 0.2, 0.25, 0.5, 1, 2) if top / (power * part) < 6)
    return [step * n for n in range(1, int(top / step) + 1)]


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"


def _esc(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
