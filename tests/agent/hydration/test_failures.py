"""A failed cell: its error, its frames and their locals go beside the next task, clean and bounded."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import linecache
import textwrap
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.kernel_context import Observed
from agentnb.context.notebook.tracebacks import describe_failure, told_briefly
from agentnb.context.static.excerpts import LINES, excerpt


@pytest.fixture
def notebook_of_failures() -> Any:
    """A cell that fails -> what is told of it."""

    def run(source: str) -> str:
        file = f"/tmp/ipykernel_7/{len(source)}.py"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # as IPython does
        try:
            exec(compile(source, file, "exec"), {"__name__": "__main__"})
        except Exception as error:  # noqa: BLE001 - whatever the cell raises
            return describe_failure(error)
        raise AssertionError("it must fail")

    return run


def test_an_error_of_ours_is_told_without_our_frames_and_without_what_lies_below(notebook_of_failures: Any) -> None:
    told = notebook_of_failures("import agentnb\nagentnb.AgentStateMachine().execute_step('nobody')")
    assert told.count("cell, line 2") == 1
    assert "RunUnknown" in told
    assert "durable" not in told
    told = notebook_of_failures(
        "from agentnb.errors import ConnectionFailed\n"
        "try: 1 / 0\nexcept ZeroDivisionError as error: raise ConnectionFailed('no way') from error"
    )
    assert "no way" in told
    assert "division by zero" not in told


def test_every_frame_of_the_users_has_the_values_of_its_line_and_a_comprehension_takes_no_ones_place(
    notebook_of_failures: Any,
) -> None:
    told = notebook_of_failures(
        "def top(rows, k):\n    unused = 9\n    return middle(rows, 3 * k)\n"
        "def middle(rows, n):\n    return sum(leaf(r) for r in rows)\n"
        "def leaf(r):\n    scale = 2\n    return deepest(10 / r)\n"
        "def deepest(q):\n    near = 1\n    return [q / z for z in (0,)]\n"
        "rows = [4, 2]\ntop(rows, 7)\n"
    )
    lines = [line.strip() for line in told.splitlines()]

    def below(frame: str) -> list[str]:
        start = next(n for n, line in enumerate(lines) if line.endswith(frame)) + 2
        return [line for line in lines[start : start + 4] if line.startswith("# ")]

    assert below(", in top") == ["# rows: list of 2: [4, 2]", "# k: int: 7"]
    assert "# scale: int: 2" in below(", in leaf"), "all of the two innermost functions"
    assert {"# q: float: 2.5", "# near: int: 1"} <= {*lines}
    assert ".0" not in told


SECRET = "sk-ant-api03-" + "Zk9Qw3Rt7Yu1Io5Pa8Sd2Fg4Hj6Kl0Xc" * 2


def failing(book: Any) -> BaseException:
    book.cell("def parse(text, token):\n    value = text.strip()\n    return float(value)", "parse")
    try:
        book.session.namespace["parse"](" twelve ", SECRET)
    except ValueError as error:
        return error
    raise AssertionError("it must fail")


def test_the_error_and_its_locals_are_on_the_wire_without_secrets(book: Any) -> None:
    book.session.observed = Observed(error=failing(book))
    run = book.ask("What went wrong?")
    sent = book.bodies[-1]["messages"][-1]["content"][-1]["text"]
    assert "<error>" in sent
    assert "ValueError: could not convert string to float: 'twelve'" in sent
    assert "in parse" in sent
    assert "value" in sent.partition("in parse")[2]
    assert "sk-ant-api03" not in str(book.bodies[-1])
    assert run.receipt["redactions"]
    held = [item["name"] for item in run.receipt["definitions"]]
    assert any(name.endswith(".failing") for name in held), "the frames' functions come along"


def test_of_a_function_that_is_too_long_the_statements_around_the_failure_go_along(
    book: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [f"    x_{i} = [\n        {i},\n    ]" for i in range(1200)]
    steps[600] = "    for row in rows:\n        share = row / total\n        out.append(share)"
    source = "\n".join(["def long(rows, total, out):", *steps, "", "def near(rows):", "    return long(rows, 0, [])"])
    (tmp_path / "shares.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    near = importlib.import_module("shares").near
    with pytest.raises(ZeroDivisionError) as caught:
        near([1])
    book.session.observed = Observed(error=caught.value)
    run = book.ask("What went wrong?")
    forms = {item["name"]: item["form"] for item in run.receipt["definitions"]}
    assert (forms["shares.near"], forms["shares.long"]) == ("full", "signature")
    told = book.bodies[-1]["messages"][-1]["content"][-1]["text"]
    assert told.count("excerpt of ") == 1
    shown = told.partition("excerpt of long, lines ")[2].partition(":\n")[2].partition("    # ")[0]
    assert steps[600] in shown
    assert 30 <= shown.count("\n") <= LINES
    ast.parse(textwrap.dedent(shown))


def test_an_excerpt_is_whole_statements_around_the_line_wherever_it_stands() -> None:
    lines = inspect.getsource(ast).splitlines(keepends=True)
    found = 0
    for node in ast.walk(ast.parse("".join(lines))):
        if isinstance(node, ast.FunctionDef):
            start = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            for line in range(start, (node.end_lineno or 0) + 1, 7):
                parts = excerpt(lines, start, line, most=6)
                assert sum(last - first + 1 for first, last in parts) <= 6
                assert not parts or any(first <= line <= last for first, last in parts)
                if len(parts) == 1:
                    found += 1
                    ast.parse(textwrap.dedent("".join(lines[parts[0][0] - 1 : parts[0][1]])))
    assert found > 100
    assert excerpt(["def f(:\n"], 1, 1) == ()
    assert excerpt([], 5, 7) == ()


LONG = {
    "a literal": ("RATES = {{", "    'k{i}': {i},", "    'bad': 1 / zero,", "}}"),
    "a chain of calls": ("result = (table", "    .add({i})", "    .divide(zero)", ")"),
    "a query": ('ask("""', "    select {i} as x_{i},", "    1 / {{zero}}", '""")'),
}


def long_statement(kind: str, *, before: int, after: int) -> list[str]:
    first, line, bad, last = (text.format(i="{i}") for text in LONG[kind])
    around = [[line.format(i=i) for i in range(n)] for n in (before, after)]
    return [first, *around[0], bad, *around[1], last]


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize(("before", "after"), [(0, 60), (1, 60), (30, 30), (60, 1), (60, 0), (500, 500)])
def test_of_a_long_statement_its_ends_and_the_lines_around_are_told_and_what_is_left_out(
    kind: str, before: int, after: int
) -> None:
    inside = [f"    {text}" for text in long_statement(kind, before=before, after=after)]
    lines = [f"{text}\n" for text in ["def f(table, zero):", "    x = 1", *inside, "    return x"]]
    parts = excerpt(lines, 1, before + 4)
    assert sum(last - first + 1 for first, last in parts) == LINES
    told = [number for first, last in parts for number in range(first, last + 1)]
    assert told == sorted(set(told))
    assert {3, before + 4, len(lines) - 1} <= set(told)
    assert set(range(before + 4 - 15, before + 4 + 15)) & set(range(3, len(lines))) <= set(told)


def test_a_cell_that_fails_tells_its_statement_with_cuts_and_the_data_of_its_line(notebook_of_failures: Any) -> None:
    cell = notebook_of_failures
    told = cell("rows = [1, 2]\nzero = 0\n" + "\n".join(long_statement("a literal", before=50, after=30)))
    assert "RATES = {\n[… 41 lines of this statement left out …]\n    'k41': 41,\n" in told
    assert "    'bad': 1 / zero,\n    'k0': 0,\n" in told
    assert told.rstrip().endswith("}\n    # zero: int: 0\n</error>")
    told = cell("import math\nrows = [1, 2]\ntotal = sum(rows)\nshare = math.sqrt(rows['x'])\nprint(total)")
    assert "excerpt of the cell, lines 1 to 5:\nimport math\nrows = [1, 2]\n" in told
    assert "# rows: list of 2: [1, 2]" in told
    assert "# math" not in told
    assert "# total" not in told
    assert "excerpt" not in cell("1 / 0"), "the line itself is told anyhow"


def test_no_cut_leaves_half_a_secret(notebook_of_failures: Any) -> None:
    body = "\n".join(f"{number:02}MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJ" for number in range(40))
    key = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"
    told = notebook_of_failures(f'pair = (\n    """{key}""",\n    1 / 0,\n)')
    assert "ZeroDivisionError" in told
    assert "MIIEvQIBADANBgkqhkiG9w0" not in told


def test_an_error_that_was_told_is_not_told_again_until_it_changes(book: Any) -> None:
    def told() -> str:
        text: str = book.bodies[-1]["messages"][-1]["content"][-1]["text"]
        return text.partition("<error>")[2]

    error = failing(book)
    book.session.observed = Observed(error=error)
    book.ask("What went wrong?")
    assert "could not convert" in told()
    for task in ("And how is it mended?", "And what of the rest?"):
        book.ask(task)
        assert told().startswith("The error told last still stands: its cell has not run well since.")
        assert "could not convert" not in told()
    book.ask("In another thread it is new", thread="other")
    assert "could not convert" in told()
    book.session.observed = Observed(error=ValueError("another one"))
    book.ask("And now?")
    assert "another one" in told()
    book.session.observed = Observed(error=error)
    book.ask("And this again?")
    assert "could not convert" in told()
    book.session.observed = Observed()
    book.ask("Now it runs.")
    assert told() == ""


def test_a_question_about_another_cell_takes_no_traceback_along(book: Any) -> None:
    sources = [f"part_{letter} = [{i}, {i}]" for i, letter in enumerate("abcdefghijklmnopqrst")]
    for number, source in enumerate([*sources, "part_c.parse('twelve')"], 1):
        book.session.log.record(source, cell=f"c{number}", number=number)
    book.session.observed = Observed(error=failing(book))

    def told(task: str) -> bool:
        book.ask(task, thread=f"t{book.count}")
        return "in parse" in str(book.bodies[-1]["messages"])

    assert not told("What is part_f for?")
    assert told("Why can it not parse that?")
    assert told("What is part_c for?")
    assert told("Hm?"), "any cell may be meant"
    book.session.observed = Observed(error=failing(book), asked=True)
    assert told("What is part_f for?")


def test_of_a_librarys_functions_in_a_traceback_the_one_called_and_the_one_that_raised_are_told_by_signature(
    book: Any,
) -> None:
    book.cell("import pandas\ndef share(table):\n    return table['high'] / table['low']", "share")
    with pytest.raises(KeyError) as caught:
        book.session.namespace["share"](book.session.namespace["pandas"].DataFrame({"high": [1]}))
    book.session.observed = Observed(error=caught.value)
    held = book.ask("What went wrong?").receipt["definitions"]
    forms = {item["name"]: item["form"] for item in held if item["name"].startswith("pandas.")}
    assert forms == {
        "pandas.core.indexes.base.Index.get_loc": "signature",
        "pandas.core.frame.DataFrame.__getitem__": "signature",
    }
    assert sum(item["tokens"] for item in held if item["name"].startswith("pandas.")) < 400


def test_without_context_nothing_is_told(book: Any) -> None:
    book.session.observed = Observed(error=failing(book))
    book.ask("Hello", context="marks")
    assert "<error>" not in str(book.bodies[-1]["messages"])


def test_a_deep_and_hostile_failure_is_bounded(tmp_path: Path) -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def deep(n: int) -> None:
        if n == 0:
            raise Hostile
        deep(n - 1)

    try:
        deep(200)
    except Hostile as error:
        text = describe_failure(error, project=tmp_path)
    assert "Hostile: (its message cannot be shown)" in text
    assert "frames left out)" in text
    assert len(text) < 4000
    assert str(Path(__file__).parent) not in text


def test_the_locals_are_those_of_the_users_own_frames_and_of_the_failing_line_first(tmp_path: Path) -> None:
    def total(rows: list[str]) -> float:
        a1, a2, a3, a4, a5, a6, a7, a8 = range(8)
        wanted = rows[0]
        value = json.loads(wanted)
        return value + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8

    try:
        total(["{"])
    except ValueError as error:
        text = describe_failure(error, project=tmp_path)
    own = text.partition(", in total\n")[2].splitlines()
    assert own[0].strip().startswith("value = json.loads(wanted)")
    assert "# wanted: str" in text
    assert "in raw_decode" in text, "where it was raised is told too"
    assert "# idx: int: 0" in text.partition("in raw_decode")[2]


def test_the_notes_of_an_error_are_told() -> None:
    error = ValueError("bad input")
    error.add_note("while reading row 7")
    assert told_briefly(error) == "ValueError: bad input\nwhile reading row 7"
    assert "while reading row 7" in describe_failure(error)
