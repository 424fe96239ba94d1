from __future__ import annotations

import cProfile
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

import agentnb
from agentnb.context.notebook.trace import chain_of, frames_of, is_library, is_user_or_package, is_users, recording
from agentnb.context.notebook.tracebacks import describe_failure, shown_file
from agentnb.context.selection import select

Write = Callable[[str, str], Path]
SHOP = """
    def never(x): return x
    def inner(x): return x + 1
    def outer(x):
        if x > 100:
            return never(x)
        return pick(x)
    def pick(x):
        return globals()["in" + "ner"](x)
    def fails(x): return 1 / x
"""


def count(text: str) -> int:
    return len(text) // 4 + 1


def test_functions_are_recorded_once_in_call_order_with_their_depth(notebook, write: Write) -> None:
    write("shop.py", SHOP)
    notebook.run("import shop")
    with recording() as record:
        notebook.run("for i in range(5): shop.outer(i)\n[shop.inner(i) for i in range(3)]")
    ran = [(item.code.co_name, item.depth) for item in record.ran if item.code.co_filename.endswith("shop.py")]
    assert ran == [("outer", 1), ("pick", 2), ("inner", 3)]


def test_what_ran_comes_before_what_only_might(notebook, write: Write) -> None:
    write("shop.py", SHOP)
    notebook.run("import shop")
    with recording() as record:
        notebook.run("shop.outer(1)")
    plain = select("`shop.outer`", notebook.resolver, count=count)
    assert "shop.inner" not in {item.definition.name for item in plain.chosen}, "it is found only by running"
    ran = [item for item in record.ran if item.code.co_filename.endswith("shop.py")]
    traced = select("`shop.outer`", notebook.resolver, count=count, ran=ran)
    reasons = {item.definition.name: item.reason for item in traced.chosen}
    assert reasons["shop.inner"] == "it ran"
    assert list(reasons) == ["shop.outer", "shop.pick", "shop.inner", "shop.never"]


def test_the_frames_of_a_failure_lead_innermost_first(notebook, write: Write) -> None:
    write("shop.py", SHOP)
    notebook.run("import shop\ndef mine(x): return shop.fails(x)")
    with pytest.raises(ZeroDivisionError) as caught:
        notebook.run("mine(0)")
    frames = frames_of(caught.value)
    assert [(item.code.co_name, item.depth) for item in frames] == [("fails", 1), ("mine", 2)]
    selection = select("why?", notebook.resolver, count=count, ran=frames)
    assert [item.definition.name for item in selection.chosen] == ["shop.fails", "mine"]


def failure_of(notebook, cell: str) -> BaseException:
    with pytest.raises(Exception) as caught:
        notebook.run(cell)
    return caught.value


@pytest.mark.slow
def test_the_users_own_frames_come_before_a_librarys(notebook) -> None:
    pytest.importorskip("pandas")
    notebook.run("""
        import pandas as pd
        def load(): return total(pd.DataFrame({"a": [1]}), "missing")
        def total(frame, column): return frame[column].sum()
    """)
    frames = frames_of(failure_of(notebook, "load()"))
    assert [(item.code.co_name, item.failed) for item in frames[:2]] == [("total", True), ("load", True)]
    assert not any(item.failed for item in frames[2:]), "Cython's frames are nobody's own either"
    chosen = select("why?", notebook.resolver, count=count, ran=frames).chosen
    assert [(item.definition.name, item.form) for item in chosen[:2]] == [("total", "full"), ("load", "full")]
    assert {item.reason for item in chosen[:2]} == {"the error passed through it"}


@pytest.mark.slow
def test_of_a_librarys_frames_the_one_that_was_called_and_the_one_that_raised_count(notebook) -> None:
    pytest.importorskip("pandas")
    notebook.run("import pandas as pd\ntable = pd.DataFrame({'a': [1]})")
    error = failure_of(notebook, "table.query('q > 1')")
    ran = {item.code.co_name: item.reason for item in frames_of(error)}
    assert ran["query"] == "the error passed through it"
    assert next(iter(ran)) == "resolve"
    assert [name for name, reason in ran.items() if reason == "the error passed through it"] == ["query"]
    forms = {
        item.definition.name: item.form
        for item in select("?", notebook.resolver, count=count, ran=frames_of(error)).chosen
    }
    assert forms["pandas.core.frame.DataFrame.query"] == "signature"
    assert forms["pandas.core.computation.scope.Scope.resolve"] == "signature", "no library's body goes unasked"


def test_the_function_that_failed_is_sent_in_full_however_long_as_far_as_it_fits(notebook) -> None:
    body = "\n".join(f"    a{i} = x + {i}" for i in range(500))
    notebook.run(f"def longest(x):\n{body}\n    return 1 / x\ndef outer(x): return longest(x)")
    frames = frames_of(failure_of(notebook, "outer(0)"))
    chosen = {item.definition.name: item for item in select("why?", notebook.resolver, count=count, ran=frames).chosen}
    assert (chosen["longest"].form, chosen["longest"].reason) == ("full", "the error was raised in it")
    assert chosen["longest"].tokens > 1600
    selection = select("why?", notebook.resolver, count=count, ran=frames, budget=500)
    reasons = {item.definition.name: (item.form, item.reason) for item in selection.chosen}
    assert reasons["longest"][0] == "signature"
    assert "the error was raised in it; in full, " in reasons["longest"][1]
    assert "tokens did not fit into the 500 left" in reasons["longest"][1]
    assert reasons["outer"] == ("full", "the error passed through it")


@pytest.mark.parametrize(
    "how", ["raise RuntimeError from error", "raise RuntimeError", "raise ExceptionGroup('', [error])"]
)
def test_the_cause_of_an_error_leads_to_where_it_was_raised(notebook, how: str) -> None:
    notebook.run(f"""
        def parse(text): return int(text)
        def load(text):
            try:
                return parse(text)
            except ValueError as error:
                {how}
    """)
    error = failure_of(notebook, "load('x')")
    ran = [(item.code.co_name, item.reason) for item in frames_of(error)]
    assert ran == [("parse", "the error was raised in it"), ("load", "the error was raised in it")], "one in each"
    text = describe_failure(error)
    assert "invalid literal for int()" in text
    assert "in parse" in text


def test_a_circle_of_causes_and_a_long_chain_end(notebook) -> None:
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert chain_of(one) == [one, two]
    group = ExceptionGroup("many", [ValueError(str(i)) for i in range(100)])
    assert len(chain_of(group)) == 4
    assert describe_failure(group).count("One part of the group:") == 3


def test_recording_ends_and_leaves_an_earlier_hook_in_place() -> None:
    before = sys.getprofile()
    with pytest.raises(KeyError), recording():
        raise KeyError
    assert sys.getprofile() is before
    profile = cProfile.Profile()
    profile.enable()
    try:
        with recording() as record:
            is_user_or_package("x")
        count("a" * 9)
    finally:
        profile.disable()
    assert record is not None
    assert any(code.co_name == "count" for code in profile_codes(profile)), "cProfile goes on"


def profile_codes(profile: cProfile.Profile) -> list[CodeType]:
    return [entry.code for entry in profile.getstats() if isinstance(entry.code, CodeType)]


def test_pythons_own_library_and_generated_code_are_no_news() -> None:
    import json

    assert not is_user_or_package(json.__file__)
    assert not is_user_or_package("<string>")
    assert is_user_or_package("/home/ann/tides.py")
    assert is_user_or_package(pytest.__file__)


@pytest.mark.parametrize("folder", ["/home/ana/.venv/lib/python3.12/site-packages", "/usr/lib/python3/dist-packages"])
def test_installed_packages_are_known_by_their_folder_in_any_python(folder: str) -> None:
    file = f"{folder}/ipykernel/zmqshell.py"
    assert is_library(file), "Debian's own packages are no code of the user's"
    assert is_user_or_package(file)
    assert not is_users(file)
    assert shown_file(file, project=None) == "ipykernel/zmqshell.py"
    assert not is_library("/home/ann/site-packages-notes/tides.py")
    assert is_library(agentnb.__file__), "a checkout of agentnb is no code of the user's either"


def test_only_the_users_functions_are_recorded_whoever_calls_them(notebook, write: Write) -> None:
    write("site-packages/rendering.py", "def render(f): return helper(f)\ndef helper(f): return f()\n")
    write("mine.py", "import rendering\ndef observe(): return rendering.helper(count)\ndef count(): return 1\n")
    notebook.run(f"import sys; sys.path.insert(0, {str(notebook.project / 'site-packages')!r})")
    notebook.run("import rendering, mine; sys.path.pop(0)")
    with recording() as record:
        exec(
            compile("mine.observe()\nrendering.render(mine.count)", "/tmp/ipykernel_7/9.py", "exec"), notebook.namespace
        )
    assert [(item.code.co_name, item.depth) for item in record.ran] == [("observe", 1), ("count", 2)]


def test_threads_that_a_cell_starts_are_recorded_and_one_that_outlives_it_no_longer(notebook, write: Write) -> None:
    write("shop.py", SHOP)
    notebook.run("import shop, threading\ngo, done = threading.Event(), threading.Event()")
    notebook.run("def late():\n    shop.outer(1)\n    done.set()\n    go.wait(10)\n    shop.fails(1)")
    with recording() as record:
        notebook.run("thread = threading.Thread(target=late)\nthread.start()\ndone.wait(10)")
    notebook.run("go.set()\nthread.join(10)")
    assert {"late", "outer", "pick", "inner"} <= {item.code.co_name for item in record.ran}
    assert "fails" not in {item.code.co_name for item in record.ran}
    assert threading.getprofile() is None
