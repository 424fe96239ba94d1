"""Library code in the context: by signature and what of the docstring matters; never a body unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentnb.context.selection import BUDGET, LIBRARY_SHARE, render, select
from agentnb.context.static.docstrings import brief, parameters_used, parts_that_matter

Write = Callable[[str, str], Path]


def count(text: str) -> int:
    return len(text) // 4 + 1


def told(task: str, notebook) -> dict[str, str]:
    chosen = select(task, notebook.resolver, count=count, code=notebook.cells.code()).chosen
    return {item.definition.name: render(item) for item in chosen}


@pytest.fixture
def tables(notebook):
    pytest.importorskip("pandas")
    notebook.run("import pandas as pd\ndf = pd.DataFrame({'a': [1, 2], 'b': [3.0, None]})")
    return notebook


def test_a_marked_chain_brings_the_signatures_of_its_calls_and_nothing_inside_them(tables) -> None:
    found = told("Why is `df.isna().sum()` so large?", tables)
    assert list(found) == ["pandas.core.frame.DataFrame.isna", "pandas.core.frame.DataFrame.sum"]
    assert "def isna(self) -> DataFrame: ..." in found["pandas.core.frame.DataFrame.isna"]
    assert not any("return" in block.partition("\n")[2] for block in found.values()), "no body"
    assert list(told("`df.groupby('a').b.mean()`", tables)) == ["pandas.core.frame.DataFrame.groupby"]


@pytest.mark.parametrize("task", ["Show me the source of `df.isna`.", "How is `df.isna` implemented?"])
def test_the_body_comes_where_the_source_is_asked_for(tables, task: str) -> None:
    assert "res_mgr = self._mgr.isna" in told(task, tables)["pandas.core.frame.DataFrame.isna"]


def test_what_the_users_code_calls_is_told_with_the_parameters_that_it_passes(tables) -> None:
    tables.run("def load(path):\n    return pd.read_csv(path, sep=';', parse_dates=['d'])")
    block = told("Explain `load`.", tables)["pandas.io.parsers.readers.read_csv"]
    assert (
        "def read_csv(filepath_or_buffer, sep=lib.no_default, parse_dates=None, … 41 more)" in block or "more)" in block
    )
    assert "# sep: str" in block
    assert "# parse_dates: " in block
    assert "# header" not in block


def test_little_of_what_is_sent_is_a_librarys(tables) -> None:
    calls = "\n".join(
        f"    x = pd.{name}(x)" for name in ("concat", "merge", "melt", "pivot", "cut", "qcut", "crosstab")
    )
    own = "\n".join(f"    y_{i} = x * {i}  # a line of the user's own" for i in range(120))
    tables.run(f"def work(x):\n{calls}\n{own}\n    return x")
    chosen = select("Explain `work`.", tables.resolver, count=count).chosen
    library = sum(item.tokens for item in chosen if item.definition.library)
    assert 0 < library <= LIBRARY_SHARE * sum(item.tokens for item in chosen)
    marks = " ".join(f"`pd.{name}`" for name in dir(__import__("pandas")) if name[0].islower())
    named = select(marks, tables.resolver, count=count).chosen
    assert sum(item.tokens for item in named) <= LIBRARY_SHARE * BUDGET * 1.2


def test_no_file_of_a_library_is_parsed_for_it(tables, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentnb.context.resolve import files

    read: list[Path] = []
    parse = files.parsed_source
    monkeypatch.setattr(files, "parsed_source", lambda data, path, *rest: read.append(path) or parse(data, path, *rest))
    told("`df.isna().sum()` `pd.DataFrame` `pd.read_csv` `pd` `df.shape` `df.columns` `df.nonsense`", tables)
    assert [path for path in read if "site-packages" in str(path)] == []


def test_a_package_on_the_path_is_the_users_own_and_an_installed_one_is_not(notebook, write: Write) -> None:
    write("mine.py", "def own(x):\n    return x + 1\n")
    write("lib/site-packages/theirs.py", "def foreign(x):\n    '''Do it.'''\n    return x + 1\n")
    notebook.run(f"import sys; sys.path.insert(0, {str(notebook.project / 'lib' / 'site-packages')!r})")
    notebook.run("import mine, theirs; sys.path.pop(0)")
    found = told("`mine.own` `theirs.foreign`", notebook)
    assert "return x + 1" in found["mine.own"]
    assert found["theirs.foreign"].splitlines()[1] == 'def foreign(x): ...  """Do it."""'


FAMILY = """
    class Base:
        def __init__(self, w): self.w = w
        def fit(self, x):
            self.validate(x)
            return self._step(x)
        def validate(self, x): pass
        def _step(self, x): return x * self.w
    class Thick(Base):
        def validate(self, x):
            if x < 0: raise ValueError(x)
"""


def test_self_means_the_class_that_the_method_is_called_on(notebook) -> None:
    notebook.run(FAMILY)
    notebook.run("thick, plain = Thick(2), Base(1)\ndef use(x): return thick.fit(x)")
    assert "Thick.validate" in told("Why does `thick.fit` raise?", notebook)
    assert "Base.validate" not in told("Why does `thick.fit` raise?", notebook)
    assert "Base.validate" in told("And `plain.fit`?", notebook)
    assert "Thick.validate" in told("And `Thick.fit`?", notebook)
    assert "Thick.validate" in told("Explain `use`.", notebook), "called on a variable in a function"


def test_self_is_resolved_over_files_and_by_text_alone(notebook, write: Write) -> None:
    write("base.py", "class Base:\n    def fit(self, x):\n        return self.check(x)\n    def check(self, x): pass\n")
    write("thick.py", "import base\nclass Thick(base.Base):\n    def check(self, x):\n        raise ValueError(x)\n")
    notebook.run("import thick\nmodel = thick.Thick()")
    for resolver in (notebook.resolver, notebook.cold):
        chosen = select("Why does `model.fit` raise?", resolver, count=count).chosen
        assert [item.definition.name for item in chosen] == ["base.Base.fit", "thick.Thick.check"]


GOOGLE = """Fit a line.

Args:
    x (list): The places.
    weights (list, optional): How much each
        counts. More follows.
    unused: Nothing.

Returns:
    float: The slope.
"""
SPHINX = """Fit a line.

:param x: The places.
:type x: list
:param int weights: How much each counts.
:param unused: Nothing.
:returns: The slope.
:rtype: float
"""
NUMPY = """
    Fit a line.

    More prose.

    Parameters
    ----------
    x, y : array_like
        The places.
    weights : list, optional
        How much each counts. More follows.
    unused : int
        Nothing.

    Returns
    -------
    float
        The slope.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, SPHINX, NUMPY])
def test_the_parts_of_a_docstring_that_matter_in_every_style(docstring: str) -> None:
    summary, *parts = parts_that_matter(docstring, {"x", "weights"})
    assert summary == "Fit a line."
    assert [part.partition(":")[0] for part in parts] == ["x", "weights", "returns"]
    assert "The places." in parts[0]
    assert "How much each counts." in parts[1]
    assert "The slope." in parts[2]


@pytest.mark.parametrize("docstring", ["", "One line", "::\n\n:param", "Parameters\n----\n", "Args:\n", "x\n" * 9000])
def test_any_docstring_will_do(docstring: str) -> None:
    assert brief("def f(x): ...", docstring, name="f", code="f(1)").startswith("def f(x): ...")


def test_which_parameters_code_passes() -> None:
    signature = "def f(self, a, b=1, *, c=(1, 2), d=3): ..."
    assert parameters_used(signature, "f", "x.f(1, d='a, b')") == {"a", "d"}
    assert parameters_used(signature, "f", "f(g(1, 2), [3, 4])\nf(c==1)\nfar(9, d=1)") == {"a", "b"}
    assert parameters_used("not Python", "f", "f(a=1, **more") == {"a"}, "a call that does not end"
