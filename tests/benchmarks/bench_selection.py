"""Tokens against recall: how much of what a cell really runs stands in the context, by strategy.

    python tests/benchmarks/bench_selection.py [BUDGET] [--tasks] [--peers]

Truth: the functions of the task's package that the cell ran (sys.setprofile), with the depth of the first call, 1 for
what the cell itself called. recall@k is the share of those with depth <= k that stand in the context in full (a
function counts when its lines lie inside a block); `sig@3` counts signatures too. Every strategy is given the same
marked names.

Precision at depth 1 (`named`) is the share of the definitions chosen because the task names them of which something
ran: the definition itself or, of a class, a method. `of all` is the share of all full definitions, constants left out,
of which something ran: how much of the context the cell really used.

`--peers` adds aider's repository map, where `make bench-peers` could install it: aider's own code (aider_map.py), given
the package without its tests, the task's words as mentioned identifiers and the same budget. It shows lines of
signatures; a function counts in `sig@3` when its `def` line stands in the map under its file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentnb.context.notebook.cells import CellIndex
from agentnb.context.notebook.trace import Ran, recording
from agentnb.context.resolve.files import FileIndex, module_file
from agentnb.context.resolve.resolution import Resolver
from agentnb.context.selection import MARKED, Chosen, Selection, render, select
from agentnb.context.static.definitions import Definition
from agentnb.models.tokens import TokenCounter


@dataclass(frozen=True)
class Task:
    package: str
    setup: str
    cell: str
    names: str
    other: str  # another call of the same functions, whose trace is lent to `cell`


def nx(cell: str, names: str, other: str, graph: str = "nx.karate_club_graph()") -> Task:
    return Task("networkx", f"import networkx as nx\nG = {graph}", cell, names, other)


TEMPLATE = "import jinja2\nenv = jinja2.Environment()"
TASKS = (
    nx("nx.voronoi_cells(G, {0, 33})", "`nx.voronoi_cells`", "nx.voronoi_cells(nx.path_graph(9), {0, 8})"),
    nx("nx.shortest_path(G, 0, 33)", "`nx.shortest_path`", "nx.shortest_path(nx.path_graph(9), 0)"),
    nx("list(nx.find_cliques(G))", "`nx.find_cliques`", "list(nx.find_cliques(nx.complete_graph(4)))"),
    nx(
        "nx.betweenness_centrality(G)",
        "`nx.betweenness_centrality`",
        "nx.betweenness_centrality(nx.path_graph(5))",
    ),
    nx("nx.minimum_spanning_tree(G)", "`nx.minimum_spanning_tree`", "nx.minimum_spanning_tree(nx.path_graph(4))"),
    nx("nx.is_connected(G); nx.diameter(G)", "`nx.is_connected` `nx.diameter`", "nx.diameter(nx.cycle_graph(6))"),
    nx("nx.max_weight_matching(G)", "`nx.max_weight_matching`", "nx.max_weight_matching(nx.path_graph(6))"),
    nx(
        "list(nx.community.louvain_communities(G, seed=1))",
        "`nx.community.louvain_communities`",
        "nx.community.louvain_communities(nx.path_graph(6), seed=2)",
    ),
    nx(
        "list(nx.topological_sort(D))",
        "`nx.topological_sort`",
        "list(nx.topological_sort(nx.DiGraph([(0, 1)])))",
        "nx.path_graph(3)\nD = nx.gnc_graph(20, seed=1)",
    ),
    Task(
        "jinja2",
        TEMPLATE,
        "env.from_string('{% for x in y %}{{ x|upper }}{% endfor %}')",
        "`env.from_string`",
        "env.from_string('{{ a }}')",
    ),
    Task(
        "jinja2",
        f"{TEMPLATE}\nt = env.from_string('Hi {{{{ name|upper }}}}')",
        "t.render(name='x')",
        "`t.render`",
        "env.from_string('{{ a }}').render(a=1)",
    ),
    Task("jinja2", TEMPLATE, "list(env.lex('{{ a + 1 }} b'))", "`env.lex`", "list(env.lex('x'))"),
    Task(
        "pygments",
        "import pygments\nfrom pygments.lexers.python import PythonLexer\n"
        "from pygments.formatters.html import HtmlFormatter\nlexer = PythonLexer()\nformatter = HtmlFormatter()",
        "pygments.highlight('def f(): return 1', lexer, formatter)",
        "`pygments.highlight` `HtmlFormatter`",
        "pygments.highlight('x = 1', lexer, formatter)",
    ),
    Task(
        "requests",
        "import requests",
        "requests.Request('GET', 'http://a.b/c', params={'x': 1}).prepare()",
        "`requests.Request.prepare`",
        "requests.Request('POST', 'http://a.b', json={}).prepare()",
    ),
    Task(
        "packaging",
        "from packaging.version import Version\nfrom packaging.specifiers import SpecifierSet",
        "Version('1.2') in SpecifierSet('>=1.0,<2')",
        "`Version` `SpecifierSet`",
        "Version('3') in SpecifierSet('==3')",
    ),
    Task(
        "traitlets",
        "import traitlets\nclass A(traitlets.HasTraits):\n    n = traitlets.Int(3)\na = A()",
        "a.observe(print, 'n'); a.n = 4",
        "`a.observe`",
        "A().observe(len, 'n')",
    ),
    Task(
        "nbformat",
        "import nbformat\nfrom nbformat import v4\nnb = v4.new_notebook()",
        "nbformat.reads(nbformat.writes(nb), as_version=4)",
        "`nbformat.reads` `nbformat.writes`",
        'nbformat.writes(nb)\nnbformat.reads(\'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\', 4)',
    ),
    Task(
        "dateutil",
        "from dateutil import parser, rrule\nimport datetime\nday = datetime.datetime(2020, 1, 1)",
        "parser.parse('3 May 2021 10:00'); list(rrule.rrule(rrule.DAILY, count=3, dtstart=day))",
        "`parser.parse` `rrule.rrule`",
        "parser.parse('2020-01-01')",
    ),
    Task("parso", "import parso", "parso.parse('def f(x): return x + 1')", "`parso.parse`", "parso.parse('x = [1]')"),
    Task(
        "attr",
        "import attr",
        "attr.make_class('P', ['x', 'y'])(1, 2)",
        "`attr.make_class`",
        "attr.make_class('Q', ['z'])(1)",
    ),
    Task(
        "json",
        "import json",
        "json.dumps({'a': [1]}, indent=1); json.loads('{\"a\": [1]}', parse_float=str)",
        "`json.dumps` `json.loads`",
        "json.dumps([1], indent=2)",
    ),
    Task(
        "difflib",
        "import difflib",
        "list(difflib.unified_diff(['a', 'b'], ['a', 'c']))",
        "`difflib.unified_diff`",
        "list(difflib.unified_diff(['x'], ['x', 'y', 'z']))",
    ),
    Task(
        "textwrap",
        "import textwrap",
        "textwrap.fill('some words ' * 20, 30)",
        "`textwrap.fill`",
        "textwrap.fill('one two', 5)",
    ),
    Task(
        "argparse",
        "import argparse\np = argparse.ArgumentParser()\nx = p.add_argument('--n', type=int)",
        "p.parse_args(['--n', '3'])",
        "`p.parse_args`",
        "p.parse_args([])",
    ),
    Task("sympy", "import sympy as sp\nx = sp.symbols('x')", "sp.diff(x**2, x)", "`sp.diff`", "sp.diff(x, x)"),
    Task(
        "sympy",
        "import sympy as sp\nx = sp.symbols('x')",
        "sp.simplify((x**2 - 1) / (x - 1))",
        "`sp.simplify`",
        "sp.simplify(x + x)",
    ),
    Task(
        "pandas",
        "import io\nimport pandas as pd\ntext = 'a,b\\n1,2\\n3,4\\n'",
        "pd.read_csv(io.StringIO(text))",
        "`pd.read_csv`",
        "pd.read_csv(io.StringIO('x\\n1\\n'))",
    ),
    Task(
        "pandas",
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2, 1], 'b': [3, 4, 5]})",
        "df.merge(df, on='a')",
        "`df.merge`",
        "df.merge(df, on=['a', 'b'])",
    ),
    Task(
        "sklearn",
        "from sklearn.linear_model import Ridge\nmodel = Ridge()",
        "model.fit([[1.0], [2.0]], [1.0, 2.0])",
        "`model.fit`",
        "Ridge(alpha=2.0).fit([[1.0], [3.0]], [1.0, 2.0])",
    ),
    Task(
        "sklearn",
        "from sklearn.preprocessing import StandardScaler\nfrom sklearn.pipeline import make_pipeline\n"
        "pipe = make_pipeline(StandardScaler())",
        "pipe.fit_transform([[1.0], [2.0]])",
        "`pipe.fit_transform`",
        "make_pipeline(StandardScaler()).fit_transform([[3.0], [4.0]])",
    ),
)
Place = tuple[str, int]
COUNTER = TokenCounter("claude-4")


def of_package(package: str) -> Callable[[str], bool]:
    path = module_file(package)
    assert path is not None
    root = str(path.parent) + "/" if path.stem == "__init__" else str(path)
    return lambda file: file.startswith(root)


def traced(code: str, namespace: dict[str, Any], package: str) -> tuple[Ran, ...]:
    with contextlib.redirect_stdout(io.StringIO()), recording(of_package(package)) as record:
        exec(compile(code, "<cell>", "exec"), namespace)
    return record.ran


def truth(ran: Iterable[Ran], depth: int) -> set[Place]:
    return {(item.code.co_filename, item.code.co_firstlineno) for item in ran if item.depth <= depth}


def covered(places: set[Place], chosen: Iterable[Chosen], forms: tuple[str, ...]) -> int:
    spans = [
        (item.definition.file, *item.definition.lines)
        for item in chosen
        if item.form in forms and item.definition.kind != "constant"
    ]
    return sum(any(file.endswith(f"/{at}") and a <= line <= b for at, a, b in spans) for file, line in places)


# strategies -----------------------------------------------------------------------------------------------------------


def ours(task: Task, resolver: Resolver, budget: int, ran: tuple[Ran, ...] = ()) -> Selection:
    return select(task.names, resolver, mode="marks", count=COUNTER.count, budget=budget, ran=ran)


def named_only(task: Task, resolver: Resolver, budget: int) -> Selection:
    chosen = select(task.names, resolver, mode="marks", count=COUNTER.count, budget=budget).chosen
    return Selection(chosen=tuple(item for item in chosen if item.reason == MARKED))


def breadth_first(task: Task, resolver: Resolver, budget: int) -> Selection:
    """Plain: ring by ring in the order of reference, whole bodies, until one does not fit."""
    chosen = list(named_only(task, resolver, budget).chosen)
    seen, spent, place = {item.definition.name for item in chosen}, sum(item.tokens for item in chosen), 0
    while place < len(chosen):
        user = chosen[place].definition
        place += 1
        for reference in user.references:
            found = resolver.follow(user, reference)
            if found is None or found.name in seen or not found.source or found.kind == "import":
                continue
            seen.add(found.name)
            item = Chosen(definition=found, form="full", reason="", tokens=0)
            cost = COUNTER.count(render(item))
            if spent + cost <= budget:
                spent += cost
                chosen.append(Chosen(definition=found, form="full", reason="", tokens=cost))
    return Selection(chosen=tuple(chosen))


def whole_files(task: Task, resolver: Resolver, budget: int) -> Selection:
    chosen = []
    for item in named_only(task, resolver, 4000).chosen:  # which files, not how much of them
        file = resolver._texts.file_containing(item.definition)
        if file is not None:
            whole = Definition(
                name=file.module,
                kind="import",
                origin="file",
                file=file.file,
                cell="",
                lines=(1, len(file.lines)),
                source="\n".join(file.lines),
                signature="",
                doc="",
            )
            chosen.append(Chosen(definition=whole, form="full", reason="", tokens=COUNTER.count(whole.source)))
    return Selection(chosen=tuple(chosen))


def blueprint(task: Task, resolver: Resolver, budget: int) -> Selection:
    """The first function or class of the bare name, without decorators or methods of a class that is not named."""
    return Selection(
        chosen=tuple(i for i in named_only(task, resolver, budget).chosen if i.definition.kind != "method")
    )


def ran_share(chosen: list[Chosen], ran: tuple[Ran, ...]) -> float:
    """The share of these definitions of which something ran; 1 for none."""
    places = truth(ran, 10**6)
    return statistics.fmean(covered(places, [item], ("full", "signature")) > 0 for item in chosen) if chosen else 1.0


def measure(selection: Selection, ran: tuple[Ran, ...]) -> list[float]:
    tokens = float(sum(item.tokens for item in selection.chosen))
    full = [covered(truth(ran, k), selection.chosen, ("full",)) / len(truth(ran, k)) for k in (1, 2, 3)]
    signatures = covered(truth(ran, 3), selection.chosen, ("full", "signature")) / len(truth(ran, 3))
    named = [item for item in selection.chosen if item.reason == MARKED]
    bodies = [item for item in selection.chosen if item.form == "full" and item.definition.kind != "constant"]
    return [tokens, *full, signatures, ran_share(named, ran), ran_share(bodies, ran)]


# aider ----------------------------------------------------------------------------------------------------------------

AIDER = Path(__file__).parents[2] / ".bench-peers" / "aider" / "bin" / "python"


def aider_question(task: Task, budget: int) -> dict[str, Any]:
    path = module_file(task.package)
    assert path is not None
    whole = path.stem == "__init__"
    files = [file for file in (path.parent.rglob("*.py") if whole else [path]) if "tests" not in file.parts]
    text = path.read_text("utf-8")
    characters = len(text) / COUNTER.count(text)
    root = path.parent.parent if whole else path.parent
    names = sorted(map(str, files))
    return {"root": str(root), "files": names, "names": task.names, "tokens": budget, "characters": characters}


def aider_rows(asked: list[tuple[Task, tuple[Ran, ...]]], budget: int) -> list[list[float]]:
    """One row of figures a task, like `measure`; empty where aider is not installed."""
    if not AIDER.exists():
        return []
    questions = [aider_question(task, budget) for task, _ in asked]
    command = [str(AIDER), str(Path(__file__).with_name("aider_map.py"))]
    done = subprocess.run(command, input=json.dumps(questions), capture_output=True, text=True, check=True)
    maps = json.loads(done.stdout)
    return [
        [float(COUNTER.count(text)), 0.0, 0.0, 0.0, in_map(text, question["root"], truth(ran, 3)), math.nan, math.nan]
        for text, question, (_, ran) in zip(maps, questions, asked, strict=True)
    ]


def in_map(text: str, root: str, places: set[Place]) -> float:
    """The share of the places whose `def` line the map shows under its file."""
    shown: dict[str, set[str]] = {}
    lines: set[str] = set()
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(("│", "⋮")):
            lines = shown.setdefault(str(Path(root) / line[:-1]), set())
        lines.add(line.removeprefix("│").rstrip())
    return statistics.fmean(def_line(file, line) in shown.get(file, ()) for file, line in places)


def def_line(file: str, line: int) -> str:
    """The line with `def` of a function whose code begins at `line`, where its decorators begin."""
    lines = Path(file).read_text("utf-8").splitlines()[line - 1 :]
    return next(text.rstrip() for text in lines if text.lstrip().startswith(("def ", "async def ", "class ", "lambda")))


def main(budget: int, show: bool, peers: bool = False) -> dict[str, list[float]]:
    rows: dict[str, list[list[float]]] = {}
    asked: list[tuple[Task, tuple[Ran, ...]]] = []
    if show:
        print("full@1 and full@3 by task: breadth first; agentnb; with another call's trace; with its own trace")
    left_out = sorted({task.package for task in TASKS if importlib.util.find_spec(task.package) is None})
    for task in TASKS:
        if task.package in left_out:
            continue
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(task.setup, namespace)
        cells = CellIndex(str)
        cells.record(task.setup, cell_id=None, number=1)
        own = traced(task.cell, dict(namespace), task.package)
        other = traced(task.other, dict(namespace), task.package)
        resolver = Resolver(cells=cells, namespace=namespace, index=INDEX)
        results = {
            "whole files": whole_files(task, resolver, 10**9),
            "blueprint": blueprint(task, resolver, budget),
            "named only": named_only(task, resolver, budget),
            "breadth first": breadth_first(task, resolver, budget),
            "agentnb": ours(task, resolver, budget),
            "agentnb, other call's trace": ours(task, resolver, budget, other),
            "agentnb, own trace": ours(task, resolver, budget, own),
        }
        for name, selection in results.items():
            rows.setdefault(name, []).append(measure(selection, own))
        if show:
            told = "  ".join(f"{rows[name][-1][1]:.2f} {rows[name][-1][3]:.2f}" for name in list(results)[3:])
            print(f"{task.package:10} {task.cell[:50]:50} {len(truth(own, 3)):4} ran  {told}")
        asked.append((task, own))
    if peers:
        rows["aider's repo map"] = aider_rows(asked, budget)
    print(f"\n{len(next(iter(rows.values())))} tasks, budget {budget}; median tokens, mean recall")
    heads = ("tokens", "full@1", "full@2", "full@3", "sig@3", "named", "of all")
    print(f"{'strategy':28} " + " ".join(f"{head:>7}" for head in heads))
    means = {}
    for name, values in rows.items():
        if not values:
            print(f"{name:28} not installed: make bench-peers")
            continue
        columns = list(zip(*values, strict=True))
        means[name] = [statistics.median(columns[0]), *(statistics.fmean(column) for column in columns[1:])]
        figures = " ".join(f"{value:7.2f}" for value in means[name][1:]).replace("nan", "  -")
        print(f"{name:28} {means[name][0]:7.0f} {figures}")
    if left_out:
        print("not installed, left out:", ", ".join(left_out))
    return means


INDEX = FileIndex()

if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    main(numbers[0] if numbers else 4000, "--tasks" in sys.argv, "--peers" in sys.argv)
