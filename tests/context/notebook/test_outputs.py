"""Outputs as text: what a screen shows in the end, heads and tails, tables with their shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.notebook.cell_runs import CellRun
from agentnb.context.notebook.cell_text import BRIEF, cell_body
from agentnb.context.notebook.outputs import (
    KEPT,
    Output,
    bounded,
    cut,
    joined,
    output_of,
    settle,
    shape_in,
    steady,
)


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
    assert len(short) <= characters + 120
    kept = text.rstrip("\n")
    if kept.count("\n") > lines or len(kept) > characters:
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


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (
            "1.02 µs ± 3.5 ns per loop (mean ± std. dev. of 7 runs, 1,000,000 loops each)",
            "998 ns ± 12.1 ns per loop (mean ± std. dev. of 7 runs, 100,000 loops each)",
        ),
        ("1min 2s ± 1.1 s per loop (mean ± std. dev. of 3 runs, 1 loop each)",) * 2,
        ("CPU times: user 3 µs, sys: 1 µs, total: 4 µs\nWall time: 6.2 µs", "CPU times: total: 0 ns\nWall time: 1 ms"),
        ("fit took 0.53 s", "fit took 1.2 s"),
        ("100%|██| 10/10 [00:01<00:00,  9.8it/s]", "100%|██| 10/10 [00:02<00:00,  4.1it/s]"),
        ("5/5 - 3s 12ms/step - loss: 0.2", "5/5 - 4s 9ms/step - loss: 0.2"),
        ("2026-11-30 10:41:13,123 INFO read", "2026-12-01 09:00:00,001 INFO read"),
    ],
)
def test_what_differs_each_time_reads_the_same(first: str, then: str) -> None:
    assert steady(first) == steady(then) != first


@pytest.mark.parametrize("text", ["route 3: 12 min", "2026-11-30 10:41:13", "delay 5 s", "took the bus", "0.53", "7 s"])
def test_data_is_no_timing(text: str) -> None:
    assert steady(text) == text


@given(st.integers(1, 4).map(lambda n: "1" * 10**n + ".,5 s took"))
def test_long_numbers_take_no_time(text: str) -> None:
    assert steady(text) == text


def test_lines_that_were_not_kept_are_counted_among_those_left_out() -> None:
    lines = "".join(f"line {number}\n" for number in range(200_000))
    kept = bounded(bounded(lines) + lines)
    told = cut(kept, lines=10, characters=4_000)
    assert f"[… {400_000 - 10:,} lines left out …]" in told
    assert told.startswith("line 0\nline 1\n")
    assert told.endswith("line 199998\nline 199999")


def test_rows_that_do_not_fit_are_counted_with_those_between_them() -> None:
    told = cut("\n".join(f"{number:0150}" for number in range(1_000)), lines=4, characters=400)
    assert "[… 998 lines left out …]" in told


def test_a_table_in_short_has_its_columns_rows_of_both_ends_and_its_shape() -> None:
    rows = "\n".join(f"{number:<5}{number * 2:>9}" for number in [*range(9), *range(991, 1000)])
    table = Output(kind="table", text=f"          price\n{rows}\n\n[1000 rows x 1 columns]")
    run = CellRun(cell="a", number=1, source="prices", outputs=(table,))
    told = cell_body(run, BRIEF)
    for part in ("price", "0            0", "999       1998", "[1000 rows x 1 columns]", "left out"):
        assert part in told


def test_a_table_in_html_has_a_line_for_each_row_however_its_source_is_broken_into_lines() -> None:
    pytest.importorskip("jinja2", reason="pandas' Styler needs it")
    pandas = pytest.importorskip("pandas")
    style = pandas.DataFrame({"k": [1, 2], "v": [0.5, 2.5]}).style.format("{:.1f}").set_caption("Costs")
    made = output_of({"text/plain": repr(style), "text/html": style._repr_html_()}, result=True)
    assert made is not None
    assert made.text.split("\n") == ["Costs", "| k | v", "0 | 1.0 | 0.5", "1 | 2.0 | 2.5"]


def test_lines_of_html_are_words_but_for_what_is_set_as_typed() -> None:
    page = "<p>one\ntwo</p><ul><li>three\n<li>four</ul><pre>five\n six</pre>"
    made = output_of({"text/plain": "<IPython.core.display.HTML object>", "text/html": page}, result=False)
    assert made is not None
    assert made.text.split("\n") == ["one two", "three", "four", "five", "six"]


@pytest.mark.parametrize("text", ["<pandas.io.formats.style.Styler at 0x7f01a2b3c4d5>", "<mine.Page object at 0x7f01>"])
def test_an_object_that_only_has_html_is_told_by_its_words(text: str) -> None:
    page = "<style>td {color: red}</style><table><caption>Costs</caption><tr><td>rent</td><td>9</td></tr></table>"
    made = output_of({"text/plain": text, "text/html": page}, result=True)
    assert made is not None
    assert made.text.split("\n") == ["Costs", "rent | 9"]


@pytest.mark.parametrize("place", ["/tmp/ipykernel_2309/2004788901.py", r"C:\Temp\ipykernel_71\20047.py"])
def test_a_cells_made_up_file_is_told_without_its_process(place: str) -> None:
    assert settle(f"{place}:2: UserWarning: be careful") == "cell:2: UserWarning: be careful"


def test_a_long_table_that_says_no_shape_says_its_rows() -> None:
    page = f"<table><thead><tr><th>n</th></tr></thead><tbody>{'<tr><td>1</td></tr>' * 400}</tbody></table>"
    made = output_of({"text/plain": "     n\n" + "1\n" * 400, "text/html": page}, result=True)
    assert made is not None
    assert cut(made.text, lines=8, characters=800).endswith("[400 rows]")
