"""The plot of what questions sent and cost: the heights are the figures, on any page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from agentnb.view.plots.cost_plot import FOOT, HEIGHT, TOP, Bar, cost_svg

SVG = "{http://www.w3.org/2000/svg}"
FIRST = Bar(cached=0, new=100, stored=2900, cost=0.02)
SECOND = Bar(cached=3000, new=100, stored=0, cost=0.002)
DEAR = Bar(cached=1000, new=3000, stored=2000, cost=0.04)


def drawn(*asked: Bar) -> ElementTree.Element:
    return ElementTree.fromstring(cost_svg("Tokens & cost", asked))


def test_heights_are_the_figures() -> None:
    svg = drawn(FIRST, SECOND, DEAR)
    bars = [float(bar.get("height", "")) for bar in svg.findall(f"{SVG}rect") if float(bar.get("y", "")) >= TOP - 1]
    tokens = [value for one in (FIRST, SECOND, DEAR) for value in (one.cached, one.new, one.stored) if value]
    full = HEIGHT - FOOT - TOP
    assert bars == pytest.approx([value / DEAR.tokens * full for value in tokens], abs=0.11)
    (line,) = svg.findall(f"{SVG}polyline")
    rows = [float(spot.split(",")[1]) for spot in line.get("points", "").split()]
    assert rows == pytest.approx(
        [HEIGHT - FOOT - one.cost / DEAR.cost * full for one in (FIRST, SECOND, DEAR)], abs=0.1
    )


def test_it_says_what_is_highest_and_where_time_goes() -> None:
    words = [text.text or "" for text in drawn(FIRST, SECOND, DEAR).iter(f"{SVG}text")]
    assert "highest bar: 6,000 tokens; highest cost: $0.04" in words
    assert words[-2:] == ["oldest", "newest"]


@pytest.mark.parametrize("asked", [1, 2, 20, 200])
def test_any_number_of_questions_fits_and_stands_on_any_page(asked: int) -> None:
    text = cost_svg("t", [SECOND, DEAR] * asked)
    svg = ElementTree.fromstring(text)
    wide = float(svg.get("width", ""))
    assert all(0 <= float(bar.get("x", "")) <= wide for bar in svg.findall(f"{SVG}rect"))
    colours = set(re.findall(r"#[0-9a-f]{6}", text))
    assert colours.isdisjoint({"#000000", "#ffffff"}), "no paper, and ink for light and dark"


def test_nothing_that_cost_nothing_divides_by_nothing() -> None:
    assert "<svg" in cost_svg("t", [Bar(cached=0, new=1, stored=0, cost=0)] * 2)
