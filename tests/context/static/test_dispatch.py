"""Functions that stand for several: registered implementations (singledispatch) and overloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentnb.context.resolve.resolution import Resolver
from agentnb.context.selection import select
from agentnb.context.static.definitions import Definition

Write = Callable[[str, str], Path]


def count(text: str) -> int:
    return len(text) // 4 + 1


def named(resolver: Resolver, name: str) -> Definition:
    found = resolver.resolve(name)
    assert isinstance(found, Definition), found
    assert found.name == name
    return found


def told(resolver: Resolver, task: str, *, budget: int = 4000) -> dict[str, tuple[str, str]]:
    found = select(task, resolver, count=count, budget=budget)
    return {item.definition.name: (item.form, item.reason) for item in found.chosen}


AREA = """
    import functools
    class Circle: pass
    class Square: pass
    @functools.singledispatch
    def area(shape):
        raise TypeError(shape)
    @area.register
    def _(shape: Circle) -> float:
        return 3.14
    @area.register(Square)
    def _(shape):
        return 4.0
    @area.register(int)
    @area.register(float)
    def of_number(shape):
        return shape * shape
"""
BESIDE = ["area[Circle]", "area[Square]", "of_number"]


@pytest.mark.parametrize("kind", ["resolver", "cold"])
def test_a_named_function_brings_what_is_registered_with_it(notebook, kind: str) -> None:
    notebook.run(AREA)
    found = told(getattr(notebook, kind), "explain `area`")
    assert found["area"] == ("full", "marked in the task")
    assert {name: found.get(name) for name in BESIDE} == dict.fromkeys(BESIDE, ("full", "registered with area"))


@pytest.mark.parametrize("kind", ["resolver", "cold"])
def test_each_implementation_is_found_by_the_name_under_which_it_is_told(notebook, kind: str) -> None:
    notebook.run(AREA)
    resolver = getattr(notebook, kind)
    for name, line in zip(BESIDE, ["return 3.14", "return 4.0", "return shape * shape"], strict=True):
        assert line in named(resolver, name).source
    assert not isinstance(resolver.resolve("area[str]"), Definition)
    assert not isinstance(resolver.resolve("Circle[int]"), Definition)


def test_from_several_cells_the_newest_of_each_type_counts_and_a_new_base_begins_anew(notebook) -> None:
    notebook.run("from functools import singledispatch\n@singledispatch\ndef area(shape): return 0", cell_id="a")
    notebook.run("@area.register\ndef _(shape: int): return 1", cell_id="b")
    notebook.run("@area.register\ndef _(shape: str): return 2", cell_id="c")
    notebook.run("@area.register\ndef _(shape: int): return 3", cell_id="b")
    for resolver in (notebook.resolver, notebook.cold):
        assert {"area[int]", "area[str]"} < set(told(resolver, "`area`"))
        assert "return 3" in named(resolver, "area[int]").source
        assert [named(resolver, name).cell for name in ("area[int]", "area[str]")] == ["b", "c"]
    notebook.run("@singledispatch\ndef area(shape): return 9", cell_id="a")
    for resolver in (notebook.resolver, notebook.cold):
        assert set(told(resolver, "`area`")) == {"area"}


def test_in_files_by_text_and_live_and_registered_from_a_cell(notebook, write: Write) -> None:
    write(
        "shapes.py",
        """
        import atexit
        from functools import singledispatch, singledispatchmethod
        @singledispatch
        def area(shape): return 0
        @area.register(list)
        def _(shape): return [area(item) for item in shape]
        class Drawing:
            @singledispatchmethod
            def add(self, item): raise TypeError
            @add.register
            def _(self, item: int | str): return item
            @add.register
            @classmethod
            def _(cls, item: bytes): return item
        @atexit.register
        def _(): pass
        """,
    )
    notebook.run("import shapes", execute=False)
    assert list(told(notebook.cold, "`shapes.area`")) == ["shapes.area", "shapes.area[list]"]
    outline = named(notebook.cold, "shapes").source
    assert "\n@area.register(list) def _(shape): ...\n" in outline
    assert "\n    @add.register(int | str) def _(self, item: int | str): ...\n" in outline
    methods = ["shapes.Drawing.add", "shapes.Drawing.add[int | str]", "shapes.Drawing.add[bytes]"]
    assert list(told(notebook.cold, "`shapes.Drawing.add`")) == methods
    notebook.run(
        "import shapes\nfrom shapes import area\nclass Mine: pass\n@area.register\ndef _(shape: Mine): return 5"
    )
    assert list(told(notebook.resolver, "`shapes.Drawing.add`")) == methods
    for resolver in (notebook.resolver, notebook.cold):
        first, *others = list(told(resolver, "`area`"))[:3]
        assert (first, set(others)) == ("shapes.area", {"area[Mine]", "shapes.area[list]"})
        for name in ("area[Mine]", "shapes.area[list]", *methods):
            named(resolver, name)


def test_the_registry_is_looked_at_and_nothing_of_the_users_runs(notebook) -> None:
    notebook.run("""
        import functools
        class Loud(type):
            def __hash__(cls): raise SystemExit("a hash ran") if armed else type.__hash__(cls)
            def __eq__(cls, other): raise SystemExit("a comparison ran")
        armed = []
        class Odd(metaclass=Loud):
            def __call__(self, item): raise SystemExit("an object was called")
        @functools.singledispatch
        def show(item): return 0
        show.register(int, lambda item: 1)
        show.register(str, Odd())
        @show.register(list)
        def _(item): return 2
        class Registry(dict):
            def values(self): raise SystemExit("a registry ran")
        show.registry = Registry()
        show.register = show.dispatch = property(lambda: 1)
    """)
    notebook.namespace["armed"].append(1)
    assert {"show", "show[list]"} <= set(told(notebook.resolver, "`show`"))


def test_where_there_is_no_room_the_implementations_are_told_by_their_signatures(notebook) -> None:
    body = "\n".join(f"    x{i} = shape + {i}" for i in range(200))
    notebook.run("from functools import singledispatch\n@singledispatch\ndef area(shape): return 0")
    notebook.run(f"@area.register\ndef _(shape: int) -> float:\n{body}\n    return 1.0")
    found = select("`area`", notebook.resolver, count=count, budget=400)
    forms = {item.definition.name: item for item in found.chosen}
    assert forms["area[int]"].form == "signature"
    assert forms["area[int]"].definition.signature == "@area.register(int) def _(shape: int) -> float: ..."


def test_a_function_with_overloads_brings_them_as_signatures(notebook, write: Write) -> None:
    write(
        "typed.py",
        """
        from typing import overload
        @overload
        def get(key: str) -> str: ...
        @overload
        def get(
            key: int,
        ) -> int: ...
        def get(key):
            return key
        class Box:
            @overload
            def at(self, key: int) -> int: ...
            @overload
            def at(self, key: slice) -> list[int]: ...
            def at(self, key):
                return get(key)
        """,
    )
    notebook.run("import typed", execute=False)
    notebook.run("from typing import overload\n@overload\ndef own(key: str) -> str: ...\ndef own(key): return key")
    resolver = notebook.cold
    found = {item.definition.name: item for item in select("`typed.get` `own`", resolver, count=count).chosen}
    assert found["typed.get"].form == "full"
    assert "return key" in found["typed.get"].definition.source
    beside = found["typed.get[overload]"]
    assert (beside.form, beside.reason) == ("signature", "overloads of typed.get")
    lines = ["@overload def get(key: str) -> str: ...", "@overload def get(key: int) -> int: ..."]
    assert [line.replace("( ", "(").replace(", )", ")") for line in beside.definition.signature.split("\n")] == lines
    assert found["own[overload]"].definition.signature == "@overload def own(key: str) -> str: ..."
    for name in ("typed.get[overload]", "typed.Box.at[overload]", "own[overload]"):
        named(resolver, name)
    assert "typed.get[overload]" not in told(resolver, "`typed.Box.at`")
