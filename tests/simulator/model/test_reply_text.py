"""What the simulated model says: short, true to the prompt, and with code where code was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.models.catalog import find
from agentnb.simulator.model.dialogue import Said, Spoken
from agentnb.simulator.model.prompt_parser import read
from agentnb.simulator.model.reply_text import report

Asker = Callable[..., Spoken]


def call(name: str, /, **arguments: Any) -> Said:
    return Said(kind="call", role="assistant", name=name, call_id=name, arguments=arguments)


def result(name: str, words: str, **options: Any) -> Said:
    return Said(kind="result", role="user", name=name, call_id=name, text=words, **options)


def test_it_names_cells_definitions_and_values_and_quotes_one_line(ask: Asker, tides: str, cells: str) -> None:
    said = ask(f"{tides}\n{cells}", "<task>Explain the result above.</task>").text
    assert said.count("Simulated") == 1
    assert "I was given cells 1 and 2 (with output)" in said
    assert "the definitions `tides.harmonic` (tides.py), `tides.omega` (tides.py) and `growth` (cell 2)" in said
    assert "the values `sales` and `table`" in said
    assert "Cell 2 shows `7.5`." in said
    assert len(re.findall(r"[.!?](?:\s|$)", said)) <= 4


@pytest.mark.parametrize(
    ("task", "quoted"),
    [
        (
            "Explain `harmonic`.",
            "`tides.harmonic` begins with `def harmonic(t, amplitude, phase=0.0, *, period: float = 12.42) -> float:`. "
            "It ends with `return amplitude * np.cos(omega(period) * t + phase)`.",
        ),
        ("What is in `table`?", "`table: DataFrame, 12 rows x 3 columns`"),
        ("What is in cell 1?", "Cell 1 ends with `sales = [120, 130, 900]`."),
        ("Explain In[2] and its output", "Cell 2 shows `7.5`."),
        ("Why is sales so large?", "`sales: list of 3: [120, 130, 900]`"),
        ("What is `surge`?", "`surge` is not among it."),
    ],
)
def test_what_the_question_points_at_is_quoted(ask: Asker, tides: str, cells: str, task: str, quoted: str) -> None:
    assert quoted in ask(tides, f"{cells}\n<task>{task}</task>").text


def test_of_a_cell_that_failed_its_error_is_quoted(ask: Asker, tides: str) -> None:
    error = (
        "<output kind=\"error\">\nNameError: name 'sales' is not defined\n    growth = sales (cell, line 1)\n</output>"
    )
    cell = f'<cell number="3">\ngrowth = sales\n{error}\n</cell>'
    said = ask(tides, f"{cell}\n<task>Why is the result above so large?</task>").text
    assert "Cell 3 shows `NameError: name 'sales' is not defined`." in said


def test_the_error_is_quoted(ask: Asker, tides: str) -> None:
    failed = (
        "<error>\nZeroDivisionError: division by zero\ntides.py, line 5, in omega\n    return 2 * PI / period\n</error>"
    )
    assert "The error is `ZeroDivisionError: division by zero`." in ask(tides, f"{failed}\n<task>Why?</task>").text


@given(st.text(max_size=40), st.text(alphabet="abc1 .,\n`<>", max_size=60), st.text(max_size=40))
def test_what_it_quotes_stands_in_the_prompt(source: str, output: str, task: str) -> None:
    text = f'<cell number="7">\n{source}\n<output>\n{output}\n</output>\n</cell>\n<task>{task}</task>'
    said = report("any", read([Said(kind="text", role="user", text=text)]))
    quoted = re.search(r"Cell 7 (?:shows|ends with) `([^`]*)`", said)
    assert quoted is None or quoted[1].rstrip("…") in text.replace("`", "´")


def test_nothing_given_and_nothing_asked(ask: Asker) -> None:
    assert "Nothing of the notebook came with the question." in ask("Why?").text
    assert "The request holds no question." in ask().text


def test_results_take_a_line_each(ask: Asker, tides: str) -> None:
    texts = [tides, "42", "first `line`\nsecond\nthird", "word " * 200]
    made = [item for text in texts for item in (call("inspect", name="a"), result("inspect", text))]
    failed = result("inspect", "no such name", is_error=True)
    assert ask("inspect `a`", *made, failed).text.splitlines()[-5:] == [
        "- `inspect` brought the definitions `tides.harmonic` (tides.py) and `tides.omega` (tides.py).",
        "- `inspect` returned `42`.",
        "- `inspect` returned 3 lines, the first `first ´line´`.",
        f"- `inspect` returned `{('word ' * 200)[:119]}…`.",
        "- `inspect` failed with `no such name`.",
    ]


def test_the_beginning_of_a_single_longer_result_is_quoted(ask: Asker) -> None:
    lines = [f"line {number}" for number in range(9)]
    said = ask("Run `1`", call("run_code", code="1"), result("run_code", "\n".join(lines))).text
    assert said.endswith("`run_code` returned:\n\n```\n" + "\n".join(lines[:6]) + "\n… 3 more lines\n```")


def test_of_very_many_results_the_rest_is_counted(ask: Asker) -> None:
    made = [item for n in range(15) for item in (call("run_code", code="1"), result("run_code", str(n)))]
    said = ask("Run `1`", *made).text
    assert said.endswith("- `run_code` returned `11`.\n- … 3 more")


@pytest.mark.parametrize("task", ["Write a function `peak` that returns the largest value.", "Plot `sales`."])
def test_code_that_is_asked_for_stands_in_a_fence(ask: Asker, cells: str, task: str) -> None:
    said = ask(f"{cells}\n<task>{task}</task>").text
    (code,) = re.findall(r"```python\n(.*?)\n```", said, re.DOTALL)
    compile(code, "reply", "exec")
    assert "sales" in code


def test_no_code_where_none_is_asked_for(ask: Asker, cells: str) -> None:
    for task in ("Explain the last plot", "What does the function write?", "How did you fix it?"):
        assert "```" not in ask(f"{cells}\n<task>{task}</task>").text


def test_the_reply_is_the_same_each_time(ask: Asker, cells: str) -> None:
    assert ask(f"{cells}\n<task>Why?</task>") == ask(f"{cells}\n<task>Why?</task>")


def test_every_model_answers_in_its_own_name(cells: str) -> None:
    row = find("gpt-4.1")
    assert row is not None
    said = report(row.label, read([Said(kind="text", role="user", text=f"{cells}\n<task>Why?</task>")]))
    assert row.label in said
