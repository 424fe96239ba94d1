"""Outputs as text: what a screen shows in the end, heads and tails, tables with their shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.notebook.outputs import KEPT, Output, bounded, cut, joined, output_of, settle, shape_in


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("1 %\r50 %\r100 %\n", "100 %\n"),
        ("long line\rshort", "shortline"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("<Foo object at 0x7f1234567890>", "<Foo object>"),
        ("abc\x08\x08X", "aX"),
    ],
)
def test_what_a_screen_shows_in_the_end(raw: str, shown: str) -> None:
    assert settle(raw) == shown


@given(st.text(alphabet="ab\r\n\x08\x1b[0m", max_size=60))
def test_settling_ends_and_leaves_nothing_that_moves_a_cursor(text: str) -> None:
    assert "\r" not in settle(text)
    assert "\x08" not in settle(text)


@given(st.lists(st.text(max_size=30), max_size=80), st.integers(2, 30), st.integers(50, 2000))
def test_a_cut_text_keeps_its_head_and_tail_and_says_what_it_left_out(
    rows: list[str], lines: int, characters: int
) -> None:
    text = "\n".join(row.replace("\n", " ") for row in rows)
    short = cut(text, lines=lines, characters=characters)
    assert len(short) <= characters + 60
    kept = text.rstrip("\n")
    if kept.count("\n") + 1 > lines or len(kept) > characters:
        assert "left out …]" in short
    else:
        assert short == kept


def test_streams_that_follow_each_other_are_one() -> None:
    made = joined(
        [
            Output(kind="printed", text="a"),
            Output(kind="printed", text="b\n"),
            Output(kind="warnings", text="\r \r"),
            Output(kind="printed", text="c"),
        ]
    )
    assert [(each.kind, each.text) for each in made] == [("printed", "ab"), ("printed", "c")]


def test_kinds_of_displays() -> None:
    table = output_of({"text/plain": "   a\n0  1\n\n[1 rows x 1 columns]", "text/html": "<table>"}, result=True)
    assert table is not None
    assert (table.kind, table.title) == ("table", "table 1 x 1")
    page = output_of(
        {"text/plain": "<IPython.core.display.HTML object>", "text/html": "<p>Hello</p><p>there</p>"}, result=False
    )
    assert page is not None
    assert (page.kind, page.text) == ("shown", "Hello\nthere")
    widget = output_of(
        {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "IntSlider(value=3)"}, result=True
    )
    assert widget is not None
    assert (widget.kind, widget.text) == ("widget", "IntSlider(value=3)")
    assert output_of({"application/vnd.agentnb.run.v1+json": {}, "text/plain": "ours"}, result=False) is None


def test_sizes_of_tables() -> None:
    assert shape_in("[1000 rows x 12 columns]") == "1000 x 12"
    assert shape_in("shape: (10, 3)\n┌──┐") == "10 x 3"
    assert shape_in("1 2 3") == ""


def test_what_is_too_long_to_keep_says_how_much_is_gone() -> None:
    kept = bounded("line\n" * KEPT)
    assert len(kept) <= KEPT + 60
    assert "were not kept" in kept
