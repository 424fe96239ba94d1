from __future__ import annotations

import ast
import gc
import sys
import textwrap
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.resolve.outlines import text_of
from agentnb.context.static.definitions import FileDefinitions, without_docs
from agentnb.context.static.scanner import parse_definitions
from agentnb.context.static.syntax import header, parse


def parsed(source: str, module: str = "pkg.mod", file: str = "pkg/mod.py") -> FileDefinitions:
    return parse_definitions(textwrap.dedent(source).lstrip("\n"), module=module, file=file)


def test_a_function_keeps_its_decorators_and_the_imports_it_needs() -> None:
    found = parsed('''
        import os, numpy as np
        from functools import lru_cache, wraps

        @lru_cache(
            maxsize=None
        )
        def wave(t, *, height=1.0) -> float:
            """Height of a wave.

            More of it.
            """
            return height * np.sin(t)
    ''').by_name["wave"]
    assert found.name == "pkg.mod.wave"
    assert found.lines == (4, 12)
    assert found.source.startswith("@lru_cache(\n    maxsize=None\n)\ndef wave")
    assert found.imports == ("import numpy as np", "from functools import lru_cache")
    assert found.signature == 'def wave(t, *, height=1.0) -> float: ...  """Height of a wave."""'
    assert found.doc == "Height of a wave."
    assert found.references == ("lru_cache", "np.sin")


def test_a_method_is_shown_in_its_class_and_its_source_stands_alone() -> None:
    file = parsed("""
        class Base: ...
        class Model(Base):
            rate: float = 0.1
            def fit(self, data):
                text = '''
            kept
        as it is'''
                return self.step(data) + super().fit(data) + self.rate
            @property
            def size(self): return 1
            @size.setter
            def size(self, value): pass
    """)
    fit = file.by_name["Model.fit"]
    ast.parse(fit.source)
    assert "\n    kept\nas it is'''" in fit.source
    assert fit.text.startswith("class Model(Base):\n    def fit(self, data):")
    assert fit.references == ("self.step", "Base.fit", "self.rate")
    size = file.by_name["Model.size"]
    assert size.kind == "property"
    assert "@size.setter" in size.source
    assert file.by_name["Model"].signature.splitlines() == [
        "class Model(Base):",
        "    rate: float = 0.1",
        "    def fit(self, data): ...",
        "    @property def size(self): ...",
    ]


def test_of_overloads_the_implementation_counts_and_of_branches_the_one_that_runs() -> None:
    file = parsed("""
        from typing import overload, TYPE_CHECKING
        @overload
        def read(x: int) -> int: ...
        @overload
        def read(x: str) -> str: ...
        def read(x): return x
        if TYPE_CHECKING:
            def load(): "stub"
        else:
            def load(): "real"
        try:
            from fast import speed
            def quick(): "fast"
        except ImportError:
            def quick(): "slow"
    """)
    assert file.by_name["read"].source == "def read(x): return x"
    assert "real" in file.by_name["load"].source
    assert "fast" in file.by_name["quick"].source


@pytest.mark.parametrize(
    ("test", "runs"),
    [
        (f"sys.platform == {sys.platform!r}", True),
        (f"sys.platform != {sys.platform!r}", False),
        ("sys.platform == 'amiga'", False),
        ("os.name != 'amiga'", True),
        ("sys.platform.startswith('amiga')", False),
        ("sys.version_info < (3, 9)", False),
        ("mode == 'a'", True),
        ("mode != 'a'", True),
    ],
)
def test_the_branch_of_this_system_counts(test: str, runs: bool) -> None:
    file = parsed(f"import os, sys\nif {test}:\n    def f(): return True\nelse:\n    def f(): return False\n")
    assert file.by_name["f"].source == f"def f(): return {runs}"


def test_constants_type_aliases_enums_and_nested_definitions() -> None:
    file = parsed("""
        from typing import TypeAlias
        from enum import Enum
        LIMITS = {
            "a": 1,
        }
        Pair: TypeAlias = tuple[int, int]
        a, b = 1, 2
        class Color(Enum):
            RED = 1
        def outer():
            def inner(): return LIMITS
            return inner
    """)
    kinds = {name: file.by_name[name].kind for name in file.by_name}
    assert kinds == {
        "LIMITS": "constant",
        "Pair": "type alias",
        "a": "constant",
        "b": "constant",
        "Color": "class",
        "Color.RED": "constant",
        "outer": "function",
        "outer.<locals>.inner": "function",
    }
    assert file.by_name["LIMITS"].source == 'LIMITS = {\n    "a": 1,\n}'
    assert file.by_name["outer.<locals>.inner"].source == "def inner(): return LIMITS"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax came with Python 3.12")
def test_type_parameters_are_no_names_of_others() -> None:
    file = parsed("""
        type Pair[T] = tuple[T, Other]
        def first[T](x: T) -> T: return pick(x)
        class Box[T]:
            type Inner = list[T]
            def put(self, x: T) -> T: return x
    """)
    assert file.by_name["Pair"].kind == file.by_name["Box.Inner"].kind == "type alias"
    assert file.by_name["Pair"].references == ("Other",)
    assert file.by_name["first"].references == ("pick",)
    assert "T" not in file.by_name["Box"].references
    assert file.by_name["first"].signature == "def first[T](x: T) -> T: ..."


def test_relative_imports_are_resolved_against_the_package() -> None:
    file = parse_definitions("from . import a\nfrom ..b import c as d", module="x.y.z", file="x/y/z.py")
    assert [(item.bound, item.target) for item in file.imports] == [("a", "x.y.a"), ("d", "x.b.c")]
    init = parse_definitions("from .m import f", module="x.y", file="x/y/__init__.py")
    assert init.imports[0].target == "x.y.m.f"


def test_references_follow_locals_annotations_and_imports_inside_functions() -> None:
    found = parsed("""
        def work(graph: "Graph", n=DEFAULT):
            from pkg.deep import tool
            other = Graph(n)
            other.add(tool.run(len(x) for x in graph.nodes))
            return [helper(n) for n in range(n)]
    """).by_name["work"]
    assert found.references == ("DEFAULT", "Graph", "Graph().add", "pkg.deep.tool.run", "Graph().nodes", "helper")


@pytest.mark.parametrize(
    "broken", ["def f(:\n", "x = (\n", "\x00", "class A:\n  def f(self):\n pass", "(" * 5000, "-" * 200_000 + "1"]
)
def test_a_broken_file_says_why_and_keeps_what_parses(broken: str) -> None:
    file = parse_definitions(f"def good(): return 1\n\n{broken}\n\ndef fine(): return 2\n", module="m", file="m.py")
    assert file.error is not None
    assert file.error.message
    if "\x00" not in broken and "class" not in broken:
        assert file.by_name["good"].source == "def good(): return 1"


def test_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    text = "import os\n\nclass A:\n    def f(self):\n        return os.sep\n"
    unix = parse_definitions(text, module="m", file="m.py").by_name["A.f"]
    windows = parse_definitions("\ufeff" + text.replace("\n", "\r\n"), module="m", file="m.py").by_name["A.f"]
    assert unix == windows


NAMES = st.sampled_from(["alpha", "beta", "gamma", "delta"])
LINES = st.sampled_from(["# a comment", "", "other = 1", "def stray(): pass", "import json", "class Z: pass"])


@given(before=st.lists(LINES, max_size=6), after=st.lists(LINES, max_size=6))
def test_edits_outside_a_definition_do_not_change_its_digest(before: list[str], after: list[str]) -> None:
    body = "@deco\ndef f(x):\n    '''doc'''\n    return os.sep + x\n"
    plain = parse_definitions("import os\n" + body, module="m", file="m.py")
    edited = parse_definitions("\n".join(["import os", *before, body, *after]), module="m", file="m.py")
    assert edited.by_name["f"].digest == plain.by_name["f"].digest


@given(st.text(alphabet=st.sampled_from("def class(x):\n    return'\"@=#\\\x0c\r1"), max_size=200))
def test_nothing_raises_whatever_the_text(text: str) -> None:
    file = parse_definitions(text, module="m", file="m.py")
    for name in file.by_name:
        definition = file.by_name[name]
        assert definition.digest
        assert definition.signature
    assert isinstance(text_of(file.outline), str)


def test_headers_over_several_lines_become_one() -> None:
    file = parsed("""
        def f(
            a,  # first
            b=(1,),
            *, c: dict[str, int] = {"x": 1},
        ) -> None: pass
    """)
    assert file.by_name["f"].signature == 'def f(a, b=(1,), *, c: dict[str, int] = {"x": 1}) -> None: ...'


@given(
    st.lists(
        st.sampled_from(
            ["def f", "class A", "async def g", "(", ")", "a", ", ", ",", ": ", ":", "=", "[1:2]", " ", "->"]
        ),
        max_size=12,
    ).map("".join)
)
def test_plain_headers_are_as_tokenizing_gives_them(line: str) -> None:
    try:
        ast.parse(f"{line}:\n    pass")
    except SyntaxError:
        return
    assert header(f"{line}:\n    pass") == header(f"@deco\n{line}:\n    pass")


def test_the_broken_definition_itself_is_shown_as_it_stands() -> None:
    file = parsed("""
        def before(): pass

        @deco
        def broken(x:
            return x


        # a comment
        def after(): pass
    """)
    assert file.error is not None
    assert file.by_name["broken"].source == "@deco\ndef broken(x:\n    return x"
    assert file.by_name["broken"].signature == "@deco ..."
    assert file.by_name["after"].source == "def after(): pass"


def test_without_docs_keeps_the_first_line_and_still_parses() -> None:
    file = parsed('''
        class A:
            """Short."""
            def f(self):
                """First "line".

                Much more \\\\ here.
                """
                text = """not
                a docstring"""
                return text
    ''')
    for name in ("A", "A.f"):
        short = without_docs(file.by_name[name])
        assert "Much more" not in short.text
        assert '"""First \'line\'. […]"""' in short.text
        assert "not\n        a docstring" in short.text
        ast.parse(short.source)
        ast.parse(short.framed or short.source)
        assert short.digest == file.by_name[name].digest  # the same version of the same definition


def test_redaction_reaches_every_text_of_a_definition() -> None:
    found = parsed("""
        from secretive import SECRET
        class A:
            def f(self, x=SECRET, y="SECRET"):
                "SECRET is told."
                return "SECRET"
    """).by_name["A.f"]
    clean = found.redacted(lambda text: text.replace("SECRET", "[redacted]"))
    assert "SECRET" not in clean.text + clean.signature + clean.source + clean.doc
    assert clean.digest != found.digest
    assert found.redacted(str) is found
    assert without_docs(clean).redacted(str).digest == clean.digest


@pytest.mark.slow
def test_threads_that_parse_at_once_all_get_their_trees() -> None:
    """What the garbage collector calls lets another thread in while a tree is made; 3.11 then mixes up depths."""
    text = "\n".join(f"def f{i}(a, b={i}):\n    return [a + {i} * (b - {i})]" for i in range(20))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(150):
                parse(text)
        except SystemError as error:
            errors.append(error)

    interval, threshold, called = sys.getswitchinterval(), gc.get_threshold(), lambda *_: sum(range(50))
    workers = [threading.Thread(target=work) for _ in range(4)]
    gc.callbacks.append(called)
    sys.setswitchinterval(1e-6)
    gc.set_threshold(100)
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        gc.callbacks.remove(called)
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
    assert errors == []
