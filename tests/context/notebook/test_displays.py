"""What cells have shown: which outputs are figures, what is kept of them, and which tasks speak of them."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from agentnb.context.notebook import displays
from agentnb.context.notebook.displays import (
    CHARACTERS,
    KEPT,
    TOTAL,
    WORDS,
    Displays,
    Shown,
    figure_of,
    names_of,
    of_latest,
    speaks_of_figure,
)

PNG = {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 640x480 with 1 Axes>"}


@pytest.mark.parametrize(
    "task",
    [
        "What does the plot above show?",
        "Explain this chart.",
        "why is the figure empty",
        "Is the histogram skewed?",
        "What's wrong with my scatter plot?",
        "Interpret the output chart",
        "Summarise the\ncurves",
        "the graph I just made: any outliers?",
        "Explain figure",
    ],
)
def test_a_task_that_means_a_figure(task: str) -> None:
    assert speaks_of_figure(task, names_data=False)


@pytest.mark.parametrize(
    "task",
    [
        "Plot a sine wave",
        "plot tides by month",
        "Write a function that makes a histogram",
        "draw a bar chart of sales, please",
        "figure out why this fails",
        "Add a new figure with two lines",
        "I want to graph the result",
        "What is 2 + 2?",
    ],
)
def test_a_task_that_asks_for_a_figure_or_for_none(task: str) -> None:
    assert not speaks_of_figure(task, names_data=False)


def test_where_a_variable_is_named_only_a_pointed_figure_is_meant() -> None:
    assert speaks_of_figure("Why does df have outliers in the plot above?", names_data=True)
    assert not speaks_of_figure("chart df and say which figures matter", names_data=True)


@pytest.mark.parametrize("words", ["the ", "the plot ", "a ", "a-", "the x-", "plot "])
def test_any_task_is_judged_in_time(words: str) -> None:
    started = time.process_time()
    speaks_of_figure(words * (20_000 // len(words)), names_data=False)
    assert time.process_time() - started < 10, "a pattern that goes back and forth takes minutes"


def test_figures_of_front_ends_in_words() -> None:
    plotly = {
        "data": [{"type": "scatter", "name": "high", "x": list(range(10_000))}, {"type": "bar"}],
        "layout": {"title": {"text": "Tide"}, "xaxis": {"title": {"text": "h"}}},
    }
    vega = {"mark": {"type": "bar"}, "encoding": {"x": {"field": "h", "type": "quantitative"}}, "title": "Tide"}
    page = '<div class="vega-embed"></div><script>(function(spec){})({"mark": "bar", "title": "<task>"}, {});</script>'
    svg = "<svg><g><text x='1'>high\n tide</text><title>G</title></g></svg>"
    said = {
        "application/vnd.plotly.v1+json": (plotly, "plotly figure, 2 traces, 'Tide', x 'h'; scatter 'high', bar"),
        "application/vnd.vegalite.v5+json": (vega, "Vega-Lite chart, 'Tide'; mark bar x h quantitative"),
        "text/html": (page, "Vega-Lite chart, '&lt;task>'; mark bar "),
        "image/svg+xml": (svg, "SVG picture with the texts 'high tide', 'G'"),
        "application/vnd.bokehjs_exec.v0+json": ("", "Bokeh figure"),
    }
    for kind, (data, words) in said.items():
        found = figure_of({"text/plain": "x", kind: data}, cell="c")
        assert found is not None, kind
        assert (found.text, found.data) == (words.rstrip(), ""), kind
        assert found.why


@pytest.mark.parametrize(
    "bundle",
    [
        {},
        {"text/plain": "a plot"},
        {"text/html": "<table></table>", "text/plain": "   x\n0  1"},
        {"image/png": None},
        {"application/vnd.plotly.v1+json": None},
    ],
)
def test_other_outputs_are_no_figures(bundle: dict[str, Any]) -> None:
    assert figure_of(bundle, cell="c") is None


@pytest.mark.parametrize(
    "junk", [{}, {"data": 3, "layout": []}, {"data": [None, 1, {"type": {}}]}, {"mark": 1, "encoding": 2}]
)
def test_a_broken_chart_is_no_error(junk: Any) -> None:
    for kind in ("application/vnd.plotly.v1+json", "application/vnd.vega.v6+json"):
        assert figure_of({kind: junk}, cell="c") is not None


def test_what_is_kept_is_bounded_and_of_the_newest_cell() -> None:
    kept = Displays()
    for number in range(KEPT + 5):
        kept.take({"image/png": "x" * (CHARACTERS - 1), "text/plain": "p" * 10_000}, cell=f"c{number // 10}")
    assert sum(len(item.data) for _, item in kept._kept) <= TOTAL + CHARACTERS
    assert {item.cell for item in of_latest(kept.kept)} == {"c4"}
    assert all(len(item.text) <= WORDS for item in of_latest(kept.kept))
    kept.take({"image/png": "x" * (CHARACTERS + 1)}, cell="large")
    assert [(item.data, bool(item.why)) for item in of_latest(kept.kept)] == [("", True)]
    kept.forget("large")
    assert of_latest(kept.kept)[0].cell == "c4"


def test_a_display_that_is_shown_anew_replaces_itself() -> None:
    kept = Displays()
    kept.take(PNG, cell="c", name="id")
    kept.take({"image/png": b"new"}, cell="later", name="id")
    assert [(item.cell, item.data) for item in of_latest(kept.kept)] == [("c", b"new")]
    kept.take({"text/plain": "done"}, cell="c", name="id")
    assert of_latest(kept.kept) == ()


def test_figures_have_names_of_their_own() -> None:
    one, two = Shown(cell="c"), Shown(cell="c", text="2")
    assert list(names_of([one], {})) == ["figure shown by cell c"], "its number is not known"
    assert list(names_of([one], {"c": 3})) == ["figure shown by cell 3"]
    assert list(names_of([one, two], {})) == ["figure 1 of 2 shown by cell c", "figure 2 of 2 shown by cell c"]
    other = Shown(cell="d")
    assert list(names_of([one, other], {"c": 3, "d": 5})) == ["figure shown by cell 3", "figure shown by cell 5"]
    assert list(names_of([Shown(cell="")], {})) == ["figure open in pyplot"]


def test_seeing_a_figure_imports_no_drawing_library() -> None:
    before = set(sys.modules)
    Displays().take(PNG, cell="c")
    assert displays.__name__ in before
    assert not {name for name in set(sys.modules) - before if name.startswith(("matplotlib", "PIL"))}
