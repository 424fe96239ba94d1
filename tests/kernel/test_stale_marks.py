"""The output of an answer says when what it rests on is another by now, and says it no more when that is taken back."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

OLDER = "Based on an older"


def test_an_edit_of_its_basis_marks_the_output_and_taking_it_back_unmarks_it(kernel: Any) -> None:
    kernel.ok("def clean(rows):\n    return [row for row in rows if row]", "clean")
    kernel.ok("limits = [3, 70]", "limits")
    about_code = kernel.ok("%%agent\nExplain `clean`.", "ask-1")
    about_data = kernel.ok("%%agent\nAre limits fine?", "ask-2")
    assert OLDER not in about_code.text + about_data.text
    kernel.ok("def clean(rows):\n    return sorted(rows)", "clean")
    assert OLDER in about_code.text
    assert about_code.run["stale"]
    assert OLDER not in about_data.text
    kernel.ok("limits.append(8)", "more")
    assert f"{OLDER} `limits`" in about_data.text
    kernel.ok("def clean(rows):\n    return [row for row in rows if row]  # as it was", "clean")
    assert OLDER not in about_code.text
    kernel.ok("limits.remove(8)", "less")
    assert OLDER not in about_data.text


def test_the_list_has_the_newest_answer_of_each_cell_in_any_conversation(kernel: Any) -> None:
    kernel.ok("limits = [3, 70]", "limits")
    for cell, thread in (("ask-1", ""), ("ask-2", " -t side"), ("ask-3", " -t new"), ("ask-2", " -t side")):
        kernel.ok(f"%%agent{thread}\nAre limits fine, {cell}?", cell)
    assert "No answer rests on anything older" in kernel.ok("%agent_context stale", "list-1").text
    kernel.ok("limits.append(8)", "more")
    told = kernel.ok("%agent_context stale", "list-2").text
    for cell in ("ask-1", "ask-2", "ask-3"):
        assert told.count(f"Are limits fine, {cell}?") == 1
    assert told.count("Based on an older `limits`") == 3
    assert "All of them: ≈ $" in told
    kernel.ok("%%agent -t side\nAre limits fine, ask-2?", "ask-2")
    assert "ask-2" not in kernel.ok("%agent_context stale", "list-3").text


@pytest.mark.slow
def test_a_hundred_edits_mark_the_output_only_where_its_basis_changed(kernel: Any) -> None:
    draw = random.Random(11)
    cells = {f"c{i}": f"def step_{i}(x):\n    return x + {i}" for i in range(5)}
    for cell, source in cells.items():
        kernel.ok(source, cell)
    answer = kernel.ok("%%agent\nExplain `step_2`.", "ask")
    false = missed = 0
    for edit in range(100):
        cell = draw.choice(sorted(cells))
        changed = {
            "again": cells[cell],
            "comment": f"{cells[cell]}  # note {edit}",
            "body": f"{cells[cell]} * {edit + 2}",
        }
        kind = draw.choice(sorted(changed))
        kernel.ok(changed[kind], cell)
        marked, should = OLDER in answer.text, (cell, kind) == ("c2", "body")
        false, missed = false + (marked and not should), missed + (should and not marked)
        kernel.ok(cells[cell], cell)
    assert (false, missed) == (0, 0)
    assert OLDER not in answer.text
