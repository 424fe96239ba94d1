"""Inherited members by text: the class that Python would find, in files and in cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.context.static.definitions import Definition
from agentnb.context.static.inheritance import resolution_order

Write = Callable[[str, str], Path]

HIERARCHIES = st.lists(st.lists(st.integers(0, 7), max_size=3, unique=True), min_size=1, max_size=8).map(
    lambda rows: {number: [base for base in row if base < number] for number, row in enumerate(rows)}
)
"""Number -> the numbers of its bases, each lower than its own."""


def pythons_order(bases: dict[int, list[int]], number: int) -> list[int] | None:
    """What `type.__mro__` says; None where Python refuses the class or one of its bases."""
    made: dict[int, Any] = {}
    for cls, below in bases.items():
        try:
            made[cls] = type(str(cls), tuple(made[base] for base in below) or (object,), {})
        except (TypeError, KeyError):
            continue
    return [int(cls.__name__) for cls in made[number].__mro__[:-1]] if number in made else None


@given(HIERARCHIES)
def test_the_order_is_pythons_own_where_python_takes_the_class(bases: dict[int, list[int]]) -> None:
    for number in bases:
        expected = pythons_order(bases, number)
        found = resolution_order(number, lambda cls: bases[cls])
        assert found[0] == number
        assert len(set(found)) == len(found)
        assert expected is None or found == expected


@given(st.dictionaries(st.integers(0, 5), st.lists(st.integers(0, 5), max_size=4), min_size=6, max_size=6))
def test_any_bases_end_though_they_lead_in_circles(bases: dict[int, list[int]]) -> None:
    assert all(resolution_order(cls, lambda cls: bases[cls])[0] == cls for cls in bases)


DIAMOND = """
    class Base:
        def go(self): return "base"
        def stop(self): return "base"
    class Left(Base):
        def stop(self): return "left"
    class Right(Base):
        def go(self): return "right"
        class Options:
            def table(self): return 1
    class Both(Left, Right):
        pass
    Alias = Both
    class Lower(Alias):
        pass
"""


def by_text(notebook: Any, name: str) -> str:
    found = notebook.cold.resolve(name)
    assert isinstance(found, Definition), found
    return found.name


def test_a_diamonds_member_is_the_one_that_python_finds(notebook, write: Write) -> None:
    write("shapes.py", DIAMOND)
    notebook.run("import shapes", execute=False)
    assert by_text(notebook, "shapes.Both.go") == "shapes.Right.go"
    assert by_text(notebook, "shapes.Lower.go") == "shapes.Right.go"
    assert by_text(notebook, "shapes.Lower.stop") == "shapes.Left.stop"
    assert by_text(notebook, "shapes.Both.Options.table") == "shapes.Right.Options.table"
    notebook.run("import shapes")
    live = notebook.resolver.resolve("shapes.Both.go")
    assert isinstance(live, Definition)
    assert live.name == "shapes.Right.go"


def test_a_diamond_over_several_files_and_imports(notebook, write: Write) -> None:
    write("pack/__init__.py", "from .both import Both\n")
    write("pack/base.py", "class Base:\n    def go(self): return 0\n")
    write("pack/left.py", "from . import base as b\nclass Left(b.Base): pass\n")
    write("pack/right.py", "from pack.base import Base as B\nclass Right(B):\n    def go(self): return 2\n")
    write("pack/both.py", "from .left import Left\nfrom .right import *\nclass Both(Left, Right): pass\n")
    notebook.run("from pack import Both", execute=False)
    assert by_text(notebook, "Both.go") == "pack.right.Right.go"


def test_a_diamond_in_cells_and_from_a_file_into_cells(notebook, write: Write) -> None:
    write("shapes.py", DIAMOND)
    notebook.run(DIAMOND, execute=False)
    notebook.run(
        """
        import shapes as s
        from shapes import Left as L
        registry = {}
        class Mine(L, s.Right):
            made = Base
        """,
        execute=False,
    )
    assert by_text(notebook, "Both.go") == "Right.go"
    assert by_text(notebook, "Mine.go") == "shapes.Right.go"
    assert by_text(notebook, "Mine.stop") == "shapes.Left.stop"


@pytest.mark.slow
def test_bases_that_have_no_common_order_or_lead_in_circles_are_no_error(notebook, write: Write) -> None:
    write(
        "odd.py",
        """
        class A:
            def go(self): return "a"
        class B(A): pass
        class Refused(A, B): pass
        class Circle(Round): pass
        class Round(Circle):
            def turn(self): pass
        class Own(Own.Inner):
            class Inner:
                def inner(self): pass
        """,
    )
    notebook.run("import odd", execute=False)
    assert by_text(notebook, "odd.Refused.go") == "odd.A.go"
    assert by_text(notebook, "odd.Circle.turn") == "odd.Round.turn"
    assert by_text(notebook, "odd.Own.inner") == "odd.Own.Inner.inner"
    assert not isinstance(notebook.cold.resolve("odd.Circle.nothing"), Definition)


@pytest.mark.parametrize("order", ["Left, Right", "Right, Left"])
def test_what_is_only_promised_to_type_checkers_gives_way_to_any_real_member(notebook, write: Write, order) -> None:
    write(
        "typed.py",
        f"""
        from typing import TYPE_CHECKING
        class Left:
            if TYPE_CHECKING:
                def go(self): ...
        class Right:
            def go(self): return 1
        class Both({order}): pass
        """,
    )
    notebook.run("import typed", execute=False)
    assert by_text(notebook, "typed.Both.go") == "typed.Right.go"
