"""Plot what questions sent and cost, as SVG: a bar of tokens for each, the cost as a line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from agentnb.view.number_format import count, fraction, short_dollars
from agentnb.view.plots.latency_plot import BROWN, INK
from agentnb.view.style import BLUE, TEAL

WIDTH, HEIGHT, LEFT, TOP, FOOT = 340, 186, 20, 64, 22
WIDEST = 64
"""Pixels that a question takes at most: two bars are no wall."""
SAID = ("read from the prompt cache", "new", "stored for the next question")
LOOKS = (
    f'fill="{TEAL}"',
    f'fill="url(#new)" stroke="{INK}"',
    f'fill="{BLUE}" fill-opacity="0.15" stroke="{BLUE}" stroke-dasharray="2 2"',
)
PLACES = ((20, 5), (220, 5), (20, 22), (220, 22))
_HATCH = (
    '<pattern id="new" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    f'<rect width="2" height="5" fill="{INK}"/></pattern>'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """Holds a question's prompt tokens: read from the prompt cache, new, and stored there; and its cost in US
    dollars."""

    cached: float
    new: float
    stored: float
    cost: float

    @property
    def tokens(self) -> float:
        return self.cached + self.new + self.stored


def cost_svg(title: str, asked: Sequence[Bar]) -> str:
    """Return the plot, the oldest question at the left. Solid, hatched and dotted are told apart without colours."""
    most, dearest = max(one.tokens for one in asked), max(one.cost for one in asked)
    step = min(WIDEST, (WIDTH - 2 * LEFT) / len(asked))
    bars = "".join(_bar(LEFT + i * step, step * 0.72, one, most) for i, one in enumerate(asked))
    spots = [(LEFT + (i + 0.36) * step, _height(one.cost, dearest)) for i, one in enumerate(asked)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{BROWN}"/>' for x, y in spots)
    line = f'<polyline points="{path}" fill="none" stroke="{BROWN}" stroke-width="1.5"/>{dots}'
    ground = f'<path d="M{LEFT},{HEIGHT - FOOT} H{WIDTH - LEFT}" stroke="{INK}" stroke-opacity="0.5"/>'
    ends = "".join(
        f'<text x="{x:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{word}</text>'
        for x, word in ((spots[0][0], "oldest"), (spots[-1][0], "newest"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" font-family="system-ui, sans-serif" font-size="11.5" fill="{INK}"><title>{escape(title)}</title>'
        f"<defs>{_HATCH}</defs>{_legend(most, dearest)}{ground}{bars}{line}{ends}</svg>"
    )


def _height(value: float, most: float) -> float:
    """Return the pixel row of a value: the largest stands at the top, zero on the ground."""
    return HEIGHT - FOOT - fraction(value, most) * (HEIGHT - FOOT - TOP)


def _bar(x: float, width: float, one: Bar, most: float) -> str:
    """Return a question's bar, from the ground up: what was read, what was new, what was stored."""
    drawn, below = "", 0.0
    for tokens, look in zip((one.cached, one.new, one.stored), LOOKS, strict=True):
        foot, top = _height(below, most), _height(below + tokens, most)
        if foot - top >= 0.5:
            drawn += f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{foot - top:.1f}" {look}/>'
        below += tokens
    return drawn


def _legend(most: float, dearest: float) -> str:
    """Return the words above: what each look means, and how much the highest of each is."""
    box = '<rect x="{x}" y="{y}" width="14" height="9" {look}/>'
    line = '<path d="M{x},{y} m0,5 h14" {look} stroke-width="1.5"/>'
    looks = [*((box, look) for look in LOOKS), (line, f'stroke="{BROWN}"')]
    drawn = "".join(
        mark.format(x=x, y=y, look=look) + f'<text x="{x + 20}" y="{y + 9}">{said}</text>'
        for (mark, look), said, (x, y) in zip(looks, (*SAID, "cost"), PLACES, strict=True)
    )
    highest = f"highest bar: {count(most)} tokens; highest cost: {short_dollars(dearest)}"
    return f'{drawn}<text x="{LEFT}" y="48">{highest}</text>'
