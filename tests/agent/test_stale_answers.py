"""An answer knows that its cells, definitions or values are older now; edits beside them mark nothing."""

from __future__ import annotations

import random
from typing import Any

from agentnb.agent.stale_answers import note_on, older_parts
from agentnb.agent.state import AgentState
from agentnb.context.notebook.outputs import Output


def run_cell(book: Any, cell: str, source: str, shown: str = "") -> None:
    book.count += 1
    book.session.cells.record(source, cell_id=cell, number=book.count)
    outputs = [Output(kind="printed", text=shown)] if shown else []
    book.session.log.record(source, cell=cell, number=book.count, outputs=outputs)
    exec(source, book.session.namespace)


def older(book: Any, run: Any) -> tuple[str, ...]:
    state = AgentState.from_json(book.session.machine().get(run.run_id).context)
    return older_parts(book.session.hydrator(), state)


def test_each_kind_of_change_marks_the_answer_and_taking_it_back_unmarks_it(book: Any) -> None:
    run_cell(book, "clean", "def clean(x):\n    return x")
    run_cell(book, "data", "rows = [1, 2]\nprint(rows)", "[1, 2]")
    about_code, about_data = book.ask("Explain `clean`."), book.ask("What is in rows?")
    assert older(book, about_code) == older(book, about_data) == ()
    run_cell(book, "clean", "def clean(x):\n    return x + 1")
    (word,) = older(book, about_code)
    assert word.startswith("cell [1], which ran again as [")
    assert note_on([word]).startswith("Based on an older cell [1]")
    assert older(book, about_data) == ()
    run_cell(book, "clean", "# as it was\ndef clean(x):\n    return x  # only words")
    assert older(book, about_code) == ()
    run_cell(book, "anew", "def clean(x):\n    return x + 2")
    assert older(book, about_code) == ("`clean`",), "another cell defines it now"
    run_cell(book, "anew", "def clean(x):\n    return x")
    run_cell(book, "other", "rows = rows + [3]")
    assert older(book, about_data) == ("`rows`",)


def test_edits_beside_an_answer_mark_nothing_and_edits_of_its_basis_all_do(book: Any) -> None:
    """A hundred edits, drawn with one seed: those that change what the answer rests on, and those that do not."""
    draw = random.Random(4)
    cells = {f"c{i}": (f"name_{i} = {i}", f"value {i}") for i in range(12)}
    for cell, (source, shown) in cells.items():
        run_cell(book, cell, source, shown)
    run = book.ask("Explain name_3.")
    false = missed = 0
    for edit in range(100):
        cell = draw.choice(sorted(cells))
        source, shown = cells[cell]
        kind = draw.choice(["again", "comment", "blank", "value", "output"])
        changed = {
            "again": (source, shown),
            "comment": (f"{source}  # note {edit}", shown),
            "blank": (f"\n\n{source}\n", shown),
            "value": (f"name_{cell[1:]} = {edit + 100}", shown),
            "output": (source, f"other {edit}"),
        }[kind]
        run_cell(book, cell, *changed)
        marked = bool(older(book, run))
        should = cell == "c3" and kind in ("value", "output")
        false += marked and not should
        missed += should and not marked
        run_cell(book, cell, source, shown)
        assert older(book, run) == (), "taken back"
    assert (false, missed) == (0, 0)
