"""Check the answers of a lesson's reader, and draw its plots. It is no part of agentnb, and knows nothing of it."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

INK = "#7d7d7d"  # reads on white and on black
COLOURS = ("#3b7bcf", "#b0650f", "#2f9e6e", "#8f6fc4")
WIDTH, LEFT, RIGHT, TOP = 680, 62, 60, 46


def check(answer: object, right: object, hint: str) -> None:
    """Say whether an answer is right; where it is not, give the hint. Numbers may be off by one in a hundred."""
    if answer is ...:
        print("Write your answer in the place of the three dots, and run this cell.")
    elif _same(answer, right):
        print(f"Right: {right}")
    else:
        print(f"Not yet. {hint}")


def _same(answer: object, right: object) -> bool:
    if isinstance(answer, bool) or isinstance(right, bool | str):
        return answer == right
    return (
        isinstance(answer, int | float) and isinstance(right, int | float) and math.isclose(answer, right, rel_tol=0.01)
    )


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


def lines(
    title: str, across: str, up: str, series: Mapping[str, Sequence[tuple[float, float]]], *, log: bool = False
) -> Plot:
    """Curves over one axis, from zero up; `log` spreads that axis by powers of ten. A series named `…` is dots."""
    every = [point for points in series.values() for point in points]
    low, high = min(x for x, _ in every), max(x for x, _ in every)
    top = max(y for _, y in every) * 1.08
    height, bottom = 330, 280
    spread: Callable[[float], float] = math.log10 if log else float
    begin, end = spread(low) if log else 0.0, spread(high)
    at_x = lambda x: LEFT + (spread(x) - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)
    at_y = lambda y: bottom - y / top * (bottom - TOP)
    parts = [
        _legend(series),
        *_levels(top, at_y),
        f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>',
    ]
    ticks = _decades(low, high) if log else _rounds(high)
    parts += [_text(at_x(x), bottom + 18, _seconds(x) if log else f"{x:,.0f}") for x in ticks]
    parts += [_text(WIDTH - RIGHT, bottom + 38, across, "end"), _text(8, 34, up, "start")]
    for colour, (name, points) in zip(COLOURS, series.items(), strict=False):
        spots = [(at_x(x), at_y(y)) for x, y in points]
        parts += _dots(spots, colour) if name.endswith("…") else [_curve(spots, colour)]
    return Plot(svg=_svg(title, height, parts), words=f"{title}: {', '.join(series)}")


def turns(title: str, parts: Mapping[str, Sequence[float]], line: Sequence[float], along: str) -> Plot:
    """A bar for each turn, of parts on top of each other, with a second quantity as a line on an axis of its own."""
    height, bottom = 330, 280
    count, totals = len(line), [sum(values) for values in zip(*parts.values(), strict=True)]
    top, most = max(totals) * 1.08, max(line) * 1.08
    wide = (WIDTH - LEFT - RIGHT) / count
    at_y = lambda y: bottom - y / top * (bottom - TOP)
    at_line = lambda y: bottom - y / most * (bottom - TOP)
    drawn = [_legend({**parts, along: ()}), *_levels(top, at_y)]
    for n in range(count):
        below = 0.0
        for colour, values in zip(COLOURS, parts.values(), strict=False):
            x, y = LEFT + n * wide + wide * 0.18, at_y(below + values[n])
            drawn.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide * 0.64:.1f}" height="{at_y(below) - y:.1f}" fill="{colour}"/>'
            )
            below += values[n]
        drawn.append(_text(LEFT + (n + 0.5) * wide, bottom + 18, str(n + 1)))
    spots = [(LEFT + (n + 0.5) * wide, at_line(value)) for n, value in enumerate(line)]
    drawn += [_curve(spots, COLOURS[3]), *_dots(spots, COLOURS[3])]
    drawn += [_text(WIDTH - RIGHT + 8, at_line(value) + 4, f"{value:.3f}", "start") for value in (max(line), min(line))]
    drawn += [f'<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="{INK}"/>']
    drawn += [_text(8, 34, "tokens", "start"), _text(WIDTH - RIGHT, bottom + 38, "question", "end")]
    return Plot(svg=_svg(title, height, drawn), words=f"{title}: {', '.join([*parts, along])}")


def gantt(title: str, lanes: Mapping[str, Sequence[tuple[float, float]]], marks: Mapping[str, float]) -> Plot:
    """A lane for each worker with the stretches in which it worked, in seconds, and named moments across all lanes."""
    end = max([stop for spans in lanes.values() for _, stop in spans] + [*marks.values()]) * 1.02
    bottom = TOP + 40 * len(lanes)
    at_x = lambda x: LEFT + 60 + x / end * (WIDTH - LEFT - 60 - RIGHT)
    parts = []
    for n, (name, spans) in enumerate(lanes.items()):
        y = TOP + 40 * n
        parts.append(_text(LEFT + 50, y + 18, name, "end"))
        parts += [
            f'<rect x="{at_x(a):.1f}" y="{y}" width="{max(at_x(b) - at_x(a) - 0.6, 0.6):.1f}" height="26" fill="{COLOURS[n % 4]}"/>'
            for a, b in spans
        ]
    for name, when in marks.items():
        parts.append(f'<path d="M{at_x(when):.1f} {TOP - 12}V{bottom}" stroke="#cf5151" stroke-width="2"/>')
        parts.append(_text(at_x(when), TOP - 18, name, colour="#cf5151"))
    parts += [_text(at_x(x), bottom + 18, f"{x:g} s") for x in _rounds(end, least=0)]
    return Plot(svg=_svg(title, bottom + 30, parts), words=f"{title}: {', '.join(lanes)}; {', '.join(marks)}")


def _svg(title: str, height: float, parts: Iterable[str]) -> str:
    inside = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="12"><title>{_esc(title)}</title>{inside}</svg>'
    )


def _text(x: float, y: float, words: str, anchor: str = "middle", colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{_esc(words)}</text>'


def _curve(spots: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _dots(spots: Sequence[tuple[float, float]], colour: str) -> list[str]:
    return [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in spots]


def _legend(names: Iterable[str]) -> str:
    said, x = "", LEFT
    for colour, name in zip(COLOURS, names, strict=False):
        said += f'<rect x="{x}" y="6" width="12" height="12" fill="{colour}"/>{_text(x + 18, 16, name.removesuffix(" …"), "start")}'
        x += 34 + 7 * len(name)
    return said


def _levels(top: float, at_y: Callable[[float], float]) -> list[str]:
    """Faint lines across, each with its value."""
    values = _rounds(top)
    digits = max(0, -math.floor(math.log10(values[0]) + 1e-9))
    return [
        f'<path d="M{LEFT} {at_y(y):.1f}H{WIDTH - RIGHT}" stroke="{INK}" stroke-opacity="0.25"/>'
        + _text(LEFT - 6, at_y(y) + 4, f"{y:,.{digits}f}", "end")
        for y in values
    ]


def _rounds(top: float, *, least: int = 1) -> list[float]:
    """Up to five round values up to `top`."""
    step = 10 ** math.floor(math.log10(top))
    step = next(step * part for part in (0.1, 0.2, 0.25, 0.5, 1, 2) if top / (step * part) < 6)
    return [step * n for n in range(least, int(top / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    return [value for value in (10, 60, 300, 1800, 3600, 14_400) if low <= value <= high]


def _seconds(value: float) -> str:
    return f"{value:g} s" if value < 60 else f"{value / 60:g} min" if value < 3600 else f"{value / 3600:g} h"


def _esc(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
