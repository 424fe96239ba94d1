"""The code that the simulated model writes runs."""

from __future__ import annotations

from typing import Any

import pytest

from agentnb.simulator.model.dialogue import Said
from agentnb.simulator.model.prompt_parser import read
from agentnb.simulator.model.written_code import Written, write


def written(*texts: str) -> Written:
    found = write(read([Said(kind="text", role="user", text=text) for text in texts]))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("task", "name", "value"),
    [
        ("Write a function `peak` that returns the largest value.", "peak", 900),
        ("Please define a function called spread() for the range of sales.", "spread", 780),
        ("Make a function that doubles each value", "doubles_each_value", [240, 260, 1800]),
        ('Create a function "mean_level", the average', "mean_level", 1150 / 3),
        ("Implement a function.", "answer", [120, 130, 900]),
        ("Write a function smooth_it that gives the moving average over 2 months.", "smooth_it", [125.0, 515.0]),
        ("Write a function tidal_range that gives the range of sales.", "tidal_range", 780),
    ],
)
def test_a_function_of_the_asked_name_that_runs(cells: str, task: str, name: str, value: Any) -> None:
    namespace: dict[str, Any] = {"sales": [120, 130, 900]}
    code = written(cells, task).code
    exec(code, namespace)
    assert namespace[name](namespace["sales"]) == value
    assert code.endswith(f"{name}(sales)")


def test_a_failing_definition_is_repeated_with_its_line_guarded() -> None:
    source = 'def rate(total, count):\n    """Share."""\n    share = total / count  # fails at 0\n    return share'
    place = "lib.py, line 3, in rate\n    share = total / count  # fails at 0"
    error = f"<error>\nZeroDivisionError: division by zero\n{place}\n</error>"
    made = written(f'<definition name="lib.rate">\n{source}\n</definition>', f"{error}\n<task>Fix it.</task>")
    namespace: dict[str, Any] = {}
    exec(made.code, namespace)
    assert (namespace["rate"](1, 2), namespace["rate"](1, 0)) == (0.5, None)
    assert "except ZeroDivisionError:" in made.code
    assert made.replaces is None


@pytest.mark.parametrize(
    ("source", "line", "mended"),
    [
        ("for i in range(3)\n    print(i)", "for i in range(3)", "for i in range(3):\n    print(i)"),
        ("x = [1, 2\nprint(x)", "x = [1, 2", "x = [1, 2]\nprint(x)"),
        ("print((1 + 2)", "print((1 + 2)", "print((1 + 2))"),
    ],
)
def test_a_cell_that_does_not_parse_gets_what_its_line_lacks(source: str, line: str, mended: str) -> None:
    error = f'<output kind="error">\nSyntaxError: incomplete input\ncell, line 1\n    {line}\n</output>'
    made = written(f'<cell number="4">\n{source}\n{error}\n</cell>', "Fix cell 4, which failed with SyntaxError.")
    assert (made.code, made.replaces) == (mended, 4)


def test_an_error_whose_name_the_cell_may_not_have_is_guarded_by_one_that_it_has() -> None:
    error = "<error>\nJSONDecodeError: Expecting value\ncell, line 2\n    n = json.loads(t)\n</error>"
    made = written('<cell number="4">\nimport json\nn = json.loads(t)\n</cell>', f"{error}\n<task>Fix it.</task>")
    namespace: dict[str, Any] = {"t": "{"}
    exec(made.code, namespace)
    assert namespace["n"] is None


def test_a_failing_cell_is_what_would_be_replaced() -> None:
    shown = "ValueError    Traceback (most recent call last)\n  1 word = 'x'\n--> 2 n = int(word)\nValueError: invalid"
    cell = f'<cell number="4">\nword = "x"\nn = int(word)\n<output>\n{shown}\n</output>\n</cell>'
    made = written(cell, "Please fix the error")
    namespace: dict[str, Any] = {}
    exec(made.code, namespace)
    assert (namespace["word"], namespace["n"], made.replaces) == ("x", None, 4)


def test_a_misspelled_name_is_spelled_as_the_notebook_spells_it() -> None:
    shown = "NameError    Traceback (most recent call last)\n----> 1 top = max(weak)\n      2 print(top)\n"
    shown += "NameError: name 'weak' is not defined"
    cell = f'<cell number="4">\ntop = max(weak)\nprint(top)\n<output>\n{shown}\n</output>\n</cell>'
    made = written("<names>\nweek: list of 2\n</names>", cell, "Fix cell 4")
    assert (made.code, made.replaces) == ("top = max(week)\nprint(top)", 4)


def test_the_line_that_the_arrow_points_at_is_guarded() -> None:
    shown = "TypeError    Traceback (most recent call last)\n----> 1 top = max(3)\n      2 low = 0\nTypeError: no"
    cell = f'<cell number="4">\ntop = max(3)\nlow = 0\n<output>\n{shown}\n</output>\n</cell>'
    assert written(cell, "Fix cell 4").code.startswith("try:\n    top = max(3)\nexcept TypeError:")


@pytest.mark.slow
def test_a_plot_of_a_variable_of_the_prompt(cells: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    made = written(cells, "Plot sales over time").code
    namespace: dict[str, Any] = {"sales": [120, 130, 900]}
    exec(made, namespace)
    (line,) = namespace["ax"].lines
    assert list(line.get_ydata()) == [120, 130, 900]
    assert "table.plot(ax=ax)" in written(cells, "Draw `table`").code
    assert "ax.plot(sales, table)" in written(cells, "Plot `table` over `sales`.").code


@pytest.mark.parametrize("task", ["Fix it.", "Plot it.", "What does the function do?", "Write a poem."])
def test_nothing_to_build_on(task: str) -> None:
    assert write(read([Said(kind="text", role="user", text=task)])) is None


@pytest.mark.parametrize("line", ["", "(", "x = (\n", '    s = """a'])
def test_what_is_no_python_is_not_mended(line: str) -> None:
    cell = f'<cell number="1">\n{line}\nboom()\n<output>\nNameError: boom\nboom()\n</output>\n</cell>'
    found = write(read([Said(kind="text", role="user", text=f"{cell}\n<task>Fix it.</task>")]))
    assert found is None or compile(found.code, "cell", "exec")
