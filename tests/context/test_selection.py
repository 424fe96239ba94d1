from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.resolve import inference
from agentnb.context.resolve.resolution import Resolver
from agentnb.context.selection import Selection, marks, render, select

Write = Callable[[str, str], Path]


def count(text: str) -> int:
    return len(text) // 4 + 1


def names(selection: Selection) -> list[tuple[str, str]]:
    return [(item.definition.name, item.form) for item in selection.chosen]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("explain `clean` and @Model.fit, please", ("clean", "Model.fit")),
        ("`f()` and `g(x, {y})` and `a b` and `x = 3` and ``", ("f", "g")),
        ("mail me@example.org or a.b@c.de; see @types/node, user@host:path", ()),
        ("```python\n@deco\ndef f(): `x`\n```\nwhat is @g?", ("g",)),
        ("@deco\ndef f(): pass", ()),
        ("    @deco(1, 2)\n    @other\n    async def f(): pass", ()),
        ("@clean fix this", ("clean",)),
        ("end with @clean. And {braces} 'quotes' \"more\" `it`", ("clean", "it")),
        ("`clean` twice `clean`", ("clean",)),
        ("`make(1, x=2).fit` and `a.b(c)` and `f(g(x)).y`", ("make().fit", "a.b")),
        ("", ()),
        ("```\nunclosed `x` @y", ()),
    ],
)
def test_marks(task: str, expected: tuple[str, ...]) -> None:
    assert marks(task) == expected


@given(st.text(alphabet=st.sampled_from("`@abc.{}\"'\n ()=~#"), max_size=300))
def test_marks_never_raise_and_are_names(task: str) -> None:
    assert all(part.isidentifier() for mark in marks(task) for part in mark.replace("()", "").split("."))


SETUP = """
    import math
    RATE = 0.5
    def helper(x): return math.sin(x) * RATE
    def clean(data): return helper(data)
    class Model:
        def fit(self): return clean(1)
    model = Model()
    data = [1, 2, 3]
"""


def test_marks_come_first_then_what_they_use(notebook) -> None:
    notebook.run(SETUP)
    selection = select("why is `clean` slow?", notebook.resolver, count=count)
    assert names(selection) == [("clean", "full"), ("helper", "full"), ("RATE", "full")]
    assert [item.reason for item in selection.chosen] == ["marked in the task", "used by clean", "used by helper"]
    assert all(item.tokens == count(render(item)) for item in selection.chosen)


def test_words_of_the_text_count_only_where_they_are_meant(notebook) -> None:
    notebook.run(SETUP)
    resolver = notebook.resolver
    assert names(select("what does the data in Model say", resolver, count=count))[0] == ("Model", "full")
    assert names(select("look at the data and the model", resolver, count=count)) == []
    assert names(select("look at `model`", resolver, count=count))[0] == ("Model", "full")
    assert names(select("clean it", resolver, count=count, mode="marks")) == []
    assert names(select("`clean` it", resolver, count=count, mode="none")) == []


def test_unresolved_marks_become_notes_and_python_words_do_not(notebook) -> None:
    notebook.run(SETUP)
    selection = select("`claen` `True` `int` `data` `results.csv` @nobody", notebook.resolver, count=count)
    assert len(selection.notes) == 2
    assert "Did you mean clean?" in selection.notes[0]


@pytest.mark.parametrize(
    ("task", "noted"),
    [
        ("Write a function `tidal_range` that gives the range, and try it on `data`", False),
        ("Please make a class called `Gauge`", False),
        ("What does the function `tidal_range` do?", True),
        ("Write a test. What does the function `tidal_range` do?", True),
    ],
)
def test_a_name_for_what_is_to_be_written_is_no_missing_one(notebook, task: str, noted: bool) -> None:
    notebook.run(SETUP)
    assert bool(select(task, notebook.resolver, count=count).notes) is noted


@pytest.mark.parametrize("task", ["`thick.fit`", "`Thick.fit`", "`later`", "`made`"])
def test_a_method_reached_through_super_or_a_partial_runs_on_its_receivers_class(
    notebook, write: Write, task: str
) -> None:
    write(
        "shapes.py",
        "class Base:\n    def validate(self): pass\n    def fit(self, x):\n        self.validate()\n"
        "    @classmethod\n    def make(cls):\n        return cls.build()\n    @classmethod\n    def build(cls): pass\n"
        "class Thick(Base):\n    def validate(self):\n        raise ValueError\n"
        "    def fit(self, x):\n        return super().fit(x)\n    @classmethod\n    def build(cls): return Thick()\n",
    )
    notebook.run("from functools import partial\nfrom shapes import Thick\nthick = Thick()")
    notebook.run("later = partial(thick.fit, 3)\nmade = partial(Thick.make)")
    found = [name for name, _ in names(select(f"Explain {task}.", notebook.resolver, count=count))]
    assert ("shapes.Thick.build" if "made" in task else "shapes.Thick.validate") in found
    assert not {"shapes.Base.validate", "shapes.Base.build"} & set(found)


def test_the_budget_holds_and_what_is_left_out_is_said(notebook) -> None:
    notebook.run(SETUP + "\n    def huge():\n" + "        x = helper(1)\n" * 400)
    selection = select("`huge` `clean`", notebook.resolver, count=count, budget=300)
    assert sum(item.tokens for item in selection.chosen) <= 300
    assert ("huge", "signature") in names(selection)
    assert ("clean", "full") in names(selection)
    tiny = select("`huge` `clean`", notebook.resolver, count=count, budget=5)
    assert tiny.chosen == ()
    assert {name for name, _ in tiny.left_out} == {"huge", "clean", "helper"}
    assert "did not fit into the 5 left of 5" in tiny.left_out[0][1]


def test_other_packages_come_as_signatures_and_pythons_own_library_not_at_all(notebook, write: Write) -> None:
    write("mine.py", "import json\nimport networkx as nx\ndef go(): return json.dumps(nx.density(nx.Graph()))\n")
    notebook.run("import mine")
    chosen = dict(names(select("`mine.go`", notebook.resolver, count=count)))
    assert chosen["mine.go"] == "full"
    assert chosen["networkx.classes.function.density"] == "signature"
    assert not any(name.startswith("json") for name in chosen)


def test_200_kb_of_pasted_log_and_broken_text_are_no_trouble(notebook) -> None:
    notebook.run(SETUP)
    log = "2026-01-01 ERROR a.b.c {x} 'y' \"z\" `t @q model.fit\n" * 4000
    selection = select(f"`clean` fails:\n{log}", notebook.resolver, count=count)
    assert names(selection)[0] == ("clean", "full")


def test_a_class_too_large_comes_as_its_signature_with_what_makes_it(notebook) -> None:
    notebook.run("import networkx as nx")
    chosen = dict(names(select("`nx.Graph`", notebook.resolver, count=count, budget=2000)))
    assert chosen["networkx.classes.graph.Graph"] == "signature"


def test_blocks_are_escaped_and_say_what_they_replace(notebook) -> None:
    notebook.run("def f(a='<&>'): return 1", cell_id='a"<b>&')
    block = render(select("`f`", notebook.resolver, count=count).chosen[0], replaces="0123")
    head, body, tail = block.split("\n")
    assert 'cell="a&quot;&lt;b&gt;&amp;"' in head
    assert head.endswith('form="full" replaces="0123">')
    assert body == "def f(a='<&>'): return 1"
    assert tail == "</definition>"


def test_compiled_functions_are_rendered_by_their_signature(notebook) -> None:
    notebook.run("import math")
    block = render(select("`math.sin`", notebook.resolver, count=count).chosen[0])
    assert block.startswith('<definition name="math.sin" digest="')
    assert 'form="signature"' in block


def chosen_names(task: str, notebook) -> set[str]:
    return {item.definition.name for item in select(task, notebook.resolver, count=count).chosen}


def test_what_a_wrapper_does_runs_with_every_call(notebook, write: Write) -> None:
    write(
        "shop.py",
        """
        def logged(function):
            def wrapper(*args):
                return function(*args)
            return wrapper
        def marked(function):
            return function
        @logged
        @marked
        def pay(x): return x
    """,
    )
    notebook.run("import shop")
    chosen = {item.definition.name: item.form for item in select("`shop.pay`", notebook.resolver, count=count).chosen}
    assert chosen["shop.pay"] == chosen["shop.logged"] == "full"


def test_values_of_unknown_class_are_guessed_by_the_notebooks_variables(notebook, write: Write) -> None:
    write("maps.py", "class Map:\n    def nodes(self): return []\n    def update(self, x): return x\n")
    write("other.py", "def far(m, x):\n    x.update(m)\n    return m.nodes()\n")
    notebook.run("import maps, other\nM = maps.Map()\nOD = {1: 2}")
    notebook.run("def mine(M): return M.nodes()\ndef theirs(OD): return OD.nodes()\ndef unnamed(m): return m.nodes()")
    assert "maps.Map.nodes" in chosen_names("`mine`", notebook)
    assert chosen_names("`theirs` `OD`", notebook) == {"theirs", "OD"}, "the notebook's OD is a dict"
    assert "maps.Map.nodes" in chosen_names("`unnamed`", notebook), "nothing called m: any class in use may be meant"
    assert chosen_names("`other.far`", notebook) == {"other.far"}, "another package's code does not know ours"


def test_each_definition_that_is_left_out_has_a_sentence_for_it(notebook, write: Write) -> None:
    calls = "".join(f"    f{i}(x)\n" for i in range(90))
    write("many.py", f"def top(x):\n{calls}" + "".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(90)))
    notebook.run("import many")
    selection = select("`many.top`", notebook.resolver, count=count, budget=700)
    reasons = dict(selection.left_out)
    assert len(reasons) + len(selection.chosen) == 91
    assert {reason.partition(", but ")[0] for reason in reasons.values()} == {"used by many.top"}
    assert any(reason.endswith("left of 700") for reason in reasons.values())


def test_a_task_of_a_thousand_marks_is_bounded_in_waiting_and_in_notes(
    notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook.run("def tax(x): return x\nclass Odd:\n    def __getattr__(self, name): return 1\nodd = Odd()")
    waits: list[float] = []
    monkeypatch.setattr(inference.SHARED, "infer", lambda code, expression, seconds: waits.append(seconds))
    clock = itertools.count()
    resolver = Resolver(
        cells=notebook.cells, namespace=notebook.namespace, clock=lambda: float(next(clock)), patience=3
    )
    marks = " ".join(f"`odd.part{i}` `gone{i}`" for i in range(1000))
    selection = select(f"`tax` {marks}", resolver, count=count)
    assert waits == [3.0, 2.0, 1.0], "a wait that took a second each"
    assert len(selection.notes) == 11
    assert "more marked names have no definition here" in selection.notes[-1]
    assert names(selection) == [("tax", "full")]


def test_a_wall_of_backticks_is_read_at_once() -> None:
    before = time.process_time()
    for text in ("`" * 200_000, "~" * 200_000, "```\n" * 20_000, "`a" * 50_000, "   " * 50_000 + "```"):
        marks(text)
    assert time.process_time() - before < 20, "it took minutes"


def test_the_projects_own_code_goes_along_in_full_and_another_packages_by_its_signature(notebook, write: Write) -> None:
    write("tides.py", "def level(t):\n    return t * 2\n")
    notebook.run("""
        import pandas as pd, tides
        def load(path):
            return tides.level(pd.read_csv(path))
        table = pd.DataFrame({"a": [1]})
        plus = lambda x: x + 1
    """)
    forms = dict(names(select("explain `load`", notebook.resolver, count=count)))
    assert forms["tides.level"] == "full"
    assert forms["pandas.io.parsers.readers.read_csv"] == "signature"
    assert names(select("explain `plus`", notebook.resolver, count=count)) == [("plus", "full")], "what `+` does"


def test_what_the_cells_in_question_use_of_the_users_modules_is_told_in_full(notebook, write: Write) -> None:
    write("lifts.py", "def quantile(values, q):\n    return sorted(values)[int(q * len(values))]\n")
    notebook.run("import math, lifts\nfrom lifts import quantile")
    found = select(
        "how is p95 computed", notebook.resolver, count=count, used=["quantile", "math.sqrt", "nothing.here"]
    )
    assert names(found) == [("lifts.quantile", "full")]
    assert found.chosen[0].reason == "used by a cell that the question is about"
