"""What may run unasked: a tool by its exact name, or by what one of its arguments is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.tools.policy import allowed_tools, allows
from agentnb.errors import InputError
from agentnb.view.exact_text import call_shown, whole_difference

NOTES = ["edit_file(path=notes/*)", "run_tests(command=make test)"]


@pytest.mark.parametrize(
    ("tool", "arguments", "may"),
    [
        ("edit_file", {"path": "notes/a.md", "new": "x"}, True),
        ("edit_file", {"path": "src/a.py"}, False),
        ("edit_file", {"path": "notes/../src/a.py"}, False),
        ("edit_file", {"path": "notes\\..\\src"}, False),
        ("edit_file", {"path": "Notes/a.md"}, False),
        ("edit_file", {"path": "notes/a\n../b"}, False),
        ("edit_file", {"path": ["notes/a"]}, False),
        ("edit_file", {}, False),
        ("edit_files", {"path": "notes/a.md"}, False),
        ("run_tests", {"command": "make test"}, True),
        ("run_tests", {"command": "make test "}, False),
        ("run_code", {"code": "1"}, False),
    ],
)
def test_an_argument_that_fits_lets_that_call_through_and_no_other(tool: str, arguments: Any, may: bool) -> None:
    assert allows(NOTES, tool, arguments) is may
    assert allows([tool], tool, arguments), "the name alone allows every call of the tool"


@pytest.mark.parametrize(
    "entry", ["run_code(code=df.*)", "propose_cell(source=?)", "run_code(", "a b", "x(y=)", "", "x()"]
)
def test_what_is_no_rule_or_would_let_anything_through_is_refused(entry: str) -> None:
    with pytest.raises(InputError):
        allowed_tools([entry])


def test_one_exact_line_of_code_may_be_allowed() -> None:
    assert allows(["run_code(code=df.describe())"], "run_code", {"code": "df.describe()"})
    assert not allows(["run_code(code=df.describe())"], "run_code", {"code": "df.describe()\nevil()"})


@given(st.text("ab\n -+", max_size=30), st.text("ab\n -+", max_size=30))
def test_a_change_to_a_file_is_shown_whole(old: str, new: str) -> None:
    lines = list(whole_difference(old, new))
    assert "\n".join(line[1:] for line in lines if line[0] in " -") == old
    assert "\n".join(line[1:] for line in lines if line[0] in " +") == new
    shown = call_shown("edit_file", {"path": "a.py", "version": "1", "old": old, "new": new})
    assert [item.language for item in shown] == ["", "", "diff"]
