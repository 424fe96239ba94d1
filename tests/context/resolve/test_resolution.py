from __future__ import annotations

import os.path as osp
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agentnb.context.resolve.package_search import packages_in_use
from agentnb.context.resolve.resolution import Resolver, Unresolved
from agentnb.context.static.definitions import Definition, FileDefinitions

Write = Callable[[str, str], Path]


def found(resolver: Resolver, name: str) -> Definition:
    result = resolver.resolve(name)
    assert isinstance(result, Definition), result
    return result


SETUP = """
    import collections, functools, json, math, os.path, pathlib
    import networkx as nx
    from networkx import Graph as Gr
    N = 3
    def plain(x): return N
    class Model(Gr):
        rate: float = 0.1
        def fit(self): return plain(1)
        @property
        def size(self): raise SystemExit("a property ran")
    model = Model()
    G = nx.path_graph(4)
    half = functools.partial(plain, 1)
    @functools.lru_cache
    def remembered(): return 1
    def deco(g):
        def wrapper(*a): return g(*a)
        return wrapper
    @deco
    def decorated(): return 3
    alias = plain
"""

CASES = {
    "plain": "plain",
    "alias": "plain",
    "half": "plain",
    "remembered": "remembered",
    "decorated": "decorated",
    "N": "N",
    "Model": "Model",
    "Model.fit": "Model.fit",
    "model.fit": "Model.fit",
    "model.size": "Model.size",
    "Model.rate": "Model.rate",
    "model.add_edge": "networkx.classes.graph.Graph.add_edge",
    "G.add_edge": "networkx.classes.graph.Graph.add_edge",
    "G.nodes": "networkx.classes.graph.Graph.nodes",
    "Gr.order": "networkx.classes.graph.Graph.order",
    "nx.Graph.add_edge": "networkx.classes.graph.Graph.add_edge",
    "nx.DiGraph.order": "networkx.classes.graph.Graph.order",
    "nx.pagerank": "networkx.algorithms.link_analysis.pagerank_alg.pagerank",
    "nx.double_edge_swap": "networkx.algorithms.swap.double_edge_swap",
    "nx.NetworkXError": "networkx.exception.NetworkXError",
    "nx.utils.misc.arbitrary_element": "networkx.utils.misc.arbitrary_element",
    "json.dumps": "json.dumps",
    "json.JSONEncoder.encode": "json.encoder.JSONEncoder.encode",
    "json.decoder.WHITESPACE": "json.decoder.WHITESPACE",
    "collections.Counter.update": "collections.Counter.update",
    "functools.lru_cache": "functools.lru_cache",
    "pathlib.Path.open": f"{Path.__module__}.Path.open",
    "os.path.join": f"{sys.modules['os.path'].__name__}.join",
    "math.pi": "math.pi",
    "math.sin": "math.sin",
    "len": "len",
    "str.join": "str.join",
}


def test_names_mean_what_the_live_objects_are(notebook) -> None:
    notebook.run(SETUP)
    resolver = notebook.resolver
    assert {name: found(resolver, name).name for name in CASES} == CASES


@pytest.mark.slow
def test_before_anything_ran_the_text_and_astroid_say_the_same(notebook) -> None:
    notebook.run(SETUP, execute=False)
    resolver = notebook.cold
    by_text = [name for name in CASES if name not in {"alias", "half", "len", "str.join"}]
    assert {name: found(resolver, name).name for name in by_text} == {name: CASES[name] for name in by_text}


def test_compiled_things_have_a_signature_and_a_docstring_but_no_source(notebook) -> None:
    notebook.run("import math")
    sine = found(notebook.resolver, "math.sin")
    assert sine.source == ""
    assert sine.signature.startswith("def sin(x, /): ...")
    assert "sine" in sine.doc
    assert found(notebook.resolver, "math.pi").signature == "pi = 3.141592653589793"


def test_what_is_not_there_gets_a_reason_and_the_nearest_name(notebook) -> None:
    notebook.run(SETUP)
    resolver = notebook.resolver
    missing = resolver.resolve("nx.Graph.add_edgee")
    assert isinstance(missing, Unresolved)
    assert missing.nearest == "Did you mean nx.Graph.add_edge?"
    assert resolver.resolve("G").kind == "value"  # type: ignore[union-attr]
    assert resolver.resolve("not a name").kind == "text"  # type: ignore[union-attr]


def test_the_projects_modules_are_found_through_re_exports(notebook, write: Write) -> None:
    write("pkg/__init__.py", "from .core import *\nfrom . import deep as hidden\nfrom .core import Thing as Renamed\n")
    write("pkg/core.py", "__all__ = ['f']\ndef f(): return G\nG = 1\nclass Thing:\n    def act(self): pass\n")
    write("pkg/deep.py", "from .core import f as renamed\n")
    notebook.run("import pkg\nfrom pkg import f")
    for resolver in (notebook.resolver, notebook.cold):
        assert found(resolver, "pkg.f").file == "pkg/core.py"
        assert found(resolver, "f").name == "pkg.core.f"
        assert found(resolver, "pkg.hidden.renamed").name == "pkg.core.f"
        assert found(resolver, "pkg.Renamed.act").name == "pkg.core.Thing.act"
        assert found(resolver, "pkg.core.G").source == "G = 1"


def test_an_edited_file_is_read_again_and_a_broken_one_keeps_its_last_good_version(notebook, write: Write) -> None:
    write("tides.py", "def harmonic(t):\n    return t\n")
    notebook.run("import tides")
    assert "return t\n" in found(notebook.resolver, "tides.harmonic").source + "\n"
    write("tides.py", "import math\n\ndef harmonic(t):\n    return math.sin(t)\n")
    edited = found(notebook.resolver, "tides.harmonic")
    assert edited.imports == ("import math",)
    write("tides.py", "def harmonic(t:\n    return broken, and longer\n")
    resolver = notebook.resolver
    assert found(resolver, "tides.harmonic").source == edited.source
    why = "'(' was never closed"
    assert resolver.notes == (
        f"tides.py no longer parses (line 1: {why}): its last version that did is used",
        "tides.harmonic was edited since it was imported: the kernel runs the earlier version",
    )


@pytest.mark.slow
def test_no_code_of_the_users_runs(notebook) -> None:
    notebook.run("""
        def boom(*args): raise SystemExit("user code ran")
        class Meta(type):
            def __getattribute__(cls, name): boom()
            def __hash__(cls): boom()
            def __eq__(cls, other): boom()
        class Trap(metaclass=Meta):
            __slots__ = ("inner",)
            def __getattr__(self, name): boom()
            def __repr__(self): boom()
            def __eq__(self, other): boom()
            def __hash__(self): boom()
            def __bool__(self): boom()
            def __len__(self): boom()
            __class__ = property(boom)
            __dict__ = property(boom)
            @property
            def value(self): boom()
            def method(self): return 1
        trap = object.__new__(Trap)
    """)
    resolver = notebook.resolver
    assert found(resolver, "trap.method").name == "Trap.method"
    assert found(resolver, "trap.value").name == "Trap.value"
    resolver.resolve("trap.nothing")
    resolver.resolve("trap")
    resolver.class_of("trap")
    resolver.members_in_use("method")


def test_modules_and_functions_that_run_code_when_asked_for_their_names_are_not_asked(notebook) -> None:
    notebook.run("""
        import functools, sys, types
        def boom(*args): raise SystemExit("user code ran")
        class Lazy(types.ModuleType):
            __getattribute__ = __getattr__ = boom
            __dict__ = __name__ = __file__ = __spec__ = property(boom)
        class Name(str):
            __eq__ = __hash__ = partition = startswith = endswith = split = boom
        lazy = Lazy("lazy_thing")
        plain = types.ModuleType("plain_thing")
        plain.__name__, plain.__file__ = Name("plain_thing"), Name("/plain_thing.py")
        def called(): return 1
        called.__name__ = called.__qualname__ = called.__module__ = Name("called")
        class Half(functools.partial):
            __getattribute__ = boom
            func = property(boom)
        half = Half(called)
    """)
    notebook.run("import lazy_thing, plain_thing, called", execute=False)
    for name in ("lazy", "lazy.x", "plain", "plain.x", "called", "half"):
        notebook.resolver.resolve(name)
    assert found(notebook.resolver, "half").name == "called"
    assert set(packages_in_use(notebook.cells.imported(), notebook.namespace)) == {"functools", "types"}


def test_a_module_that_loads_when_it_is_first_used_stays_unloaded(notebook, write: Write) -> None:
    write("heavy.py", "raise SystemExit('loaded')\n\ndef work(): pass\n")
    notebook.run("""
        import importlib.util, sys
        spec = importlib.util.find_spec("heavy")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        heavy = sys.modules["heavy"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(heavy)
    """)
    assert found(notebook.resolver, "heavy.work").file == "heavy.py"
    assert "heavy" in packages_in_use(notebook.cells.imported(), notebook.namespace)
    del sys.modules["heavy"]


def test_nothing_is_imported(notebook, write: Write) -> None:
    write("lonely.py", "raise SystemExit('imported')\n\ndef f(): pass\n")
    notebook.run("import lonely", execute=False)
    assert found(notebook.cold, "lonely.f").file == "lonely.py"
    assert "lonely" not in sys.modules


def test_zips_encodings_and_loops(notebook, write: Write, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = project / "lib.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("zipped.py", "def inside(): return 1\n")
    monkeypatch.syspath_prepend(str(archive))
    (project / "latin.py").write_bytes("# -*- coding: latin-1 -*-\ndef größe(): return 'é'\n".encode("latin-1"))
    (project / "wrong.py").write_bytes(b"def f(): return '\xff\xfe'\n")
    write("ring_a.py", "from ring_b import x\n")
    write("ring_b.py", "from ring_a import x\n")
    (project / "loop").symlink_to(project / "loop")
    notebook.run("import zipped, latin")
    resolver = notebook.resolver
    assert found(resolver, "zipped.inside").source == "def inside(): return 1"
    assert found(resolver, "latin.größe").file == "latin.py"
    assert isinstance(resolver.resolve("wrong.f"), Unresolved)
    assert isinstance(resolver.resolve("ring_a.x"), Unresolved)
    assert isinstance(resolver.resolve("loop.x"), Unresolved)
    assert any("wrong.py" in note for note in resolver.notes)


def test_a_function_that_shadows_a_builtin_is_the_users(notebook) -> None:
    notebook.run("def len(x): return 0")
    assert found(notebook.resolver, "len").origin == "cell"


def test_bare_names_of_imported_modules_are_found_if_only_one_has_them(notebook, write: Write) -> None:
    write("tides.py", "def harmonic(): pass\ndef both(): pass\n")
    write("waves.py", "def both(): pass\n")
    notebook.run("import tides, waves")
    assert found(notebook.resolver, "harmonic").name == "tides.harmonic"
    ambiguous = notebook.resolver.resolve("both")
    assert isinstance(ambiguous, Unresolved)
    assert "tides.both" in ambiguous.reason
    assert "waves.both" in ambiguous.reason


def test_what_a_definition_uses_is_found_in_its_own_modules_scope(notebook, write: Write) -> None:
    write(
        "a.py",
        """
        from b import helper as h
        LIMIT = 3
        def top(): return h(LIMIT)
        class C:
            def m(self): return self.n()
            def n(self): pass
    """,
    )
    write("b.py", "def helper(x): return x\n")
    notebook.run("import a\ndef helper(): pass")
    resolver = notebook.resolver
    top = found(resolver, "a.top")
    names = [resolver.follow(top, reference) for reference in top.references]
    assert [item.name for item in names if item] == ["b.helper", "a.LIMIT"]
    method = found(resolver, "a.C.m")
    assert [resolver.follow(method, reference).name for reference in method.references] == ["a.C.n"]


def test_a_source_that_is_gone_is_said(notebook, write: Write) -> None:
    file = write("gone.py", "def f(): pass\nclass A:\n    x = 1\n")
    notebook.run("import gone")
    file.unlink()
    missing = notebook.resolver.resolve("gone.f")
    assert isinstance(missing, Unresolved)
    assert missing.reason == "no source: the file that defines gone.f cannot be read"
    assert notebook.resolver.resolve("gone.A.x").kind == "value"  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_file_of_200_000_lines_and_one_nested_beyond_reason(notebook, write: Write) -> None:
    write("long.py", "".join(f"def f{i}(x):\n    return g(x) + {i}\n\n\n" for i in range(50_000)))
    write(
        "deep.py", "def ok(): return 1\n\n\nx = " + "f(" * 150 + ")" * 150 + "\ny = " + "+".join(["1"] * 20_000) + "\n"
    )
    write("dots.py", "def far(a):\n    return a" + ".b" * 5000 + "\n")
    notebook.run("import long, deep, dots", execute=False)
    resolver = notebook.cold
    assert found(resolver, "long.f49999").lines == (199_997, 199_998)
    assert found(resolver, "deep.ok").source == "def ok(): return 1"
    assert found(resolver, "dots.far").lines == (1, 2)
    assert any("nested too deeply" in note for note in resolver.notes)


@pytest.mark.slow
def test_packages_that_import_in_circles_are_searched_once(notebook, write: Write) -> None:
    """With a search that follows every path, 12 modules that star-import each other would never end."""
    names = [f"m{i}" for i in range(12)]
    stars = "".join(f"from .{name} import *\n" for name in names)
    write("ring/__init__.py", stars + "from .same import same\n")
    for name in names:
        write(f"ring/{name}.py", stars + f"def of_{name}(): return nowhere(missing.name)\n")
    write("ring/same.py", "from .same import same\nfrom .same import other\n")
    notebook.run("import ring", execute=False)
    resolver = notebook.cold
    assert found(resolver, "ring.of_m7").file == "ring/m7.py"
    assert isinstance(resolver.resolve("ring.nothing.at.all"), Unresolved)
    assert isinstance(resolver.resolve("ring.same.other.x"), Unresolved)
    user = found(resolver, "ring.of_m3")
    assert [resolver.follow(user, reference) for reference in user.references] == [None, None]


def test_by_text_alone_members_are_found_where_they_are_inherited_from(notebook, write: Write) -> None:
    write("pack/__init__.py", "from .main import Program, main\nfrom .deep import *\n")
    write("pack/main.py", "class Program:\n    def parse(self): return 1\nmain = Program\n")
    write(
        "pack/deep.py",
        """
        from typing import TYPE_CHECKING, TypeAlias
        class Base:
            def like(self): return "real"
            class Options:
                def table(self): return 1
        class Column(Base):
            if TYPE_CHECKING:
                def like(self): ...
                def promised(self): ...
            class Options(Base.Options): pass
        if TYPE_CHECKING:
            Client = Base
        else:
            class _Client(Base):
                def get(self): return 1
            Client = _Client
        Event: TypeAlias = Column
        """,
    )
    notebook.run("import pack", execute=False)
    cases = {
        "pack.main.parse": "pack.main.Program.parse",
        "pack.Column.like": "pack.deep.Base.like",
        "pack.Column.promised": "pack.deep.Column.promised",
        "pack.Column.Options.table": "pack.deep.Base.Options.table",
        "pack.Client.get": "pack.deep._Client.get",
        "pack.Event.like": "pack.deep.Base.like",
        "pack.Client": "pack.deep.Client",
    }
    assert {name: found(notebook.cold, name).name for name in cases} == cases


def test_what_a_call_returns(notebook, write: Write) -> None:
    write("maker.py", "import networkx as nx\nclass Car:\n    def go(self): pass\ndef build() -> 'Car': return Car()\n")
    notebook.run("""
        import maker
        class Model:
            def fit(self): pass
        def make() -> Model: return Model()
        def guess(): return Model()
    """)
    resolver = notebook.cold
    assert found(resolver, "make().fit").name == "Model.fit"
    assert found(resolver, "Model().fit").name == "Model.fit"
    assert found(resolver, "maker.build().go").name == "maker.Car.go"
    assert found(resolver, "guess().fit").name == "Model.fit"  # astroid
    assert isinstance(resolver.resolve("make().nothing"), Unresolved)


def test_of_several_definitions_in_one_cell_the_live_one_counts(notebook) -> None:
    notebook.run("""
        try:
            import no_such_accelerator
            def fast(): return "compiled"
        except ImportError:
            def fast(): return "plain"
        def sqrt(x): return x
        from math import sqrt
        try:
            from no_such_package import tan
        except ImportError:
            def tan(x): return x
    """)
    assert found(notebook.resolver, "fast").source.endswith('"plain"')
    assert found(notebook.resolver, "sqrt").name == "math.sqrt"
    assert found(notebook.resolver, "tan").source.startswith("def tan(x)")


def test_what_runs_otherwise_than_as_a_cell_is_found_too(notebook, write: Write, project: Path) -> None:
    script = write("script.py", "class Sensor:\n    rate = 2\n    def read(self): return self.rate\n")
    exec(compile(script.read_text(), str(script), "exec"), notebook.namespace)  # as %run does
    notebook.run("def called(): return 1\nclass Model:\n    def fit(self): return 1")
    notebook.cells = type(notebook.cells)(notebook.transform)  # a magic of the user's ran it: it was no cell
    notebook.run("sensor = Sensor()\nmade = called\nexec('def drawn(): pass')", execute=True)
    for name in ("Sensor", "sensor.rate", "Sensor.read"):
        assert found(notebook.resolver, name).file == "script.py"
    assert found(notebook.resolver, "called").source == "def called(): return 1"
    assert found(notebook.resolver, "Model").source.startswith("class Model:")
    assert found(notebook.resolver, "made").name == "called"
    drawn = notebook.resolver.resolve("drawn")
    assert drawn.reason == "no source: drawn was made by code that stands in no cell and no file"


def test_a_name_that_was_found_leads_to_the_same_definition(notebook, write: Write) -> None:
    """A thread holds definitions by their names: one that leads nowhere would be told to the model as removed."""
    write("pack/__init__.py", "from .col import col\n")
    write("pack/col.py", "class Col:\n    def plus(self): return 1\ncol = Col()\n")
    notebook.run("""
        import os.path as osp, networkx as nx, re, socket, types
        from typing import TypeAlias
        import pack
        def outer():
            def inner(): return 1
            class Local:
                def method(self): return 1
            return inner, Local
        inner, Local = outer()
        local = Local()
        Rows = list[dict]
        square = lambda x: x * x
        Number: TypeAlias = int
    """)
    cases = {
        "inner": "outer.<locals>.inner",
        "outer.inner": "outer.<locals>.inner",
        "Local": "outer.<locals>.Local",
        "local.method": "outer.<locals>.Local.method",
        "Rows": "Rows",
        "square": "square",
        "Number": "Number",
        "nx": "networkx",
        "osp": osp.__name__,
        "pack.col": "pack.col.col",
        "compile": "compile",
        "types.FunctionType": "types.FunctionType",
        "socket.timeout": "TimeoutError",
        "pack.col.plus": "pack.col.Col.plus",
    }
    for name, expected in cases.items():
        first = found(notebook.resolver, name)
        assert (first.name, found(notebook.resolver, first.name).digest) == (expected, first.digest)
        assert first.cell in ("", "In[1]")


def test_accessors_properties_and_attributes_that_are_not_set_yet(notebook) -> None:
    notebook.run("""
        class Text:
            def upper(self): return 1
        class Accessor:  # as pandas and xarray make them
            def __init__(self, cls): self._accessor = cls
            def __get__(self, owner, kind): raise SystemExit("a descriptor ran")
        class Column:
            str = Accessor(Text)
            @property
            def text(self) -> Text: raise SystemExit("a property ran")
            def fit(self):
                self.coef_ = 1
        column = Column()
    """)
    for name in ("column.str.upper", "column.text.upper", "Column.str.upper"):
        assert found(notebook.resolver, name).name == "Text.upper"
    assert found(notebook.resolver, "column.str").name == "Text"
    assert found(notebook.resolver, "column.coef_").name == "Column.fit"


def test_a_class_is_looked_through_once_for_all_the_attributes_that_it_may_set(notebook, monkeypatch) -> None:
    notebook.run("""
        class Model:
            def fit(self, x):
                self.left_: int = x
                self.same = self.same == x
            def score(self): self.right_ = self.left_
    """)
    read, whole = [], FileDefinitions.python_of
    monkeypatch.setattr(FileDefinitions, "python_of", lambda file, entry: read.append(entry.name) or whole(file, entry))
    resolver = notebook.resolver
    assert [found(resolver, f"Model.{name}").name for name in ("left_", "same", "right_")] == [
        "Model.fit",
        "Model.fit",
        "Model.score",
    ]
    for number in range(40):
        assert isinstance(resolver.resolve(f"Model.nothing_{number}"), Unresolved)
    assert read.count("Model") == 1


def test_names_are_read_as_python_reads_them(notebook) -> None:
    notebook.run("def ﬁt(x): return x\ndef größe(): return 1")
    assert found(notebook.resolver, "ﬁt").name == found(notebook.resolver, "fit").name == "fit"
    assert found(notebook.resolver, "gro\u0308ße").name == "größe"
    assert found(notebook.cold, "gro\u0308ße").name == "größe"


def test_signatures_of_compiled_functions_are_python(notebook) -> None:
    notebook.run("import numpy as np")
    names = ("print", "open", "np.sin", "np.array", "list.append")
    shown = [found(notebook.resolver, name).signature for name in names]
    assert shown[0].startswith("def print(*args, sep=' '")
    assert shown[1].startswith("def open(file, mode='r', buffering=-1, encoding=None, errors=None")
    assert shown[2].startswith("def sin(x, /, out=None")
    assert shown[3].startswith("def array(object, dtype=None, *, copy=True")
    assert shown[4].startswith("def append(self, object, /)")


def test_a_slip_gets_a_hint_and_what_may_be_computed_no_complaint(notebook, write: Write) -> None:
    write("tides.py", "from json import dumps\ndef harmonic(t): return t\n")
    notebook.run("""
        import tides
        class Table:
            def __getattr__(self, name): raise SystemExit("it ran")
            def merge(self): return 1
            @property
            def T(self): raise SystemExit("it ran")
        table = Table()
    """)
    resolver = notebook.resolver
    hints = {
        "tides.dmps": "tides.dumps",
        "tide.harmonic": "tides.harmonic",
        "table.merg": "table.merge",
    }
    for name, meant in hints.items():
        assert resolver.resolve(name).nearest == f"Did you mean {meant}?"
    assert resolver.resolve("tids.append").nearest == "", "tides has no append: what is meant must be there"
    for name in ("table.price", "table.T.price"):  # a table has columns
        assert resolver.resolve(name).kind == "value"


def test_only_what_a_name_leads_to_is_said_to_be_broken(notebook, write: Write) -> None:
    write("broken.py", "def f(:\n")
    write("other.py", "def g(): return 1\n")
    notebook.run("import broken, other", execute=False)
    resolver = notebook.cold
    resolver.resolve("nowhere")
    assert resolver.notes == ()
    resolver.resolve("broken.g")
    assert resolver.notes[0].startswith("broken.py does not parse (line 1")


def test_what_is_older_than_its_definition_is_said(notebook) -> None:
    notebook.run("def f(): return 1\nclass A:\n    def m(self): return 1\n    def same(self): return 1\na, g = A(), f")
    notebook.run("def f(): return 2\nclass A:\n    def m(self): return 2\n    def same(self): return 1")
    for name, older in (("f", ""), ("g", "f"), ("a.m", "A.m"), ("A.m", ""), ("a.same", "")):
        resolver = notebook.resolver
        assert "1" not in found(resolver, name).source or name == "a.same"
        note = f"{older} was defined again, but its earlier version is in use: run again what was made of it"
        assert resolver.notes == ((note,) if older else ())


def test_names_that_nobody_can_write_are_no_trouble(notebook) -> None:
    notebook.run(
        "globals().update({3: 'x', ('a', 'b'): 1, '': 2, 'a b': 3})\ndef f(): return g\nclass A: pass\na = A()"
    )
    resolver = notebook.resolver
    resolver.members_in_use("x")
    assert "Did you mean f?" in resolver.resolve("ff").nearest
    assert packages_in_use([], notebook.namespace) == {}


def test_a_package_s_own_function_hides_its_module_of_that_name(notebook, write: Write) -> None:
    write("pack/__init__.py", "def tool(): return 1\n")
    write("pack/tool.py", "def inner(): return 1\n")
    notebook.run("import pack", execute=False)
    assert found(notebook.cold, "pack.tool").kind == "function"
    assert found(notebook.cold, "pack.tool.inner").name == "pack.tool.inner"


def test_a_cell_s_function_may_use_what_another_cell_called_like_a_builtin(notebook) -> None:
    notebook.run("from math import pow\ndef print(*a): return a")
    notebook.run("def area(r): return print(pow(r, 2), len('x'))")
    area = found(notebook.resolver, "area")
    assert area.imports == ("from math import pow",)
    assert notebook.resolver.follow(area, "print").name == "print"
    assert notebook.resolver.follow(area, "len") is None


def test_a_variable_is_no_function_of_its_name_in_a_module_that_is_imported(notebook, write: Write) -> None:
    write("plotting.py", "def clf(): pass\ndef level(): pass\n")
    write("table.py", "ROWS = 3\n")
    notebook.run("import plotting\nclf = object()\ntable = [1, 2]\nsum = 3")
    resolver = notebook.resolver
    assert found(resolver, "level").name == "plotting.level"
    for name in ("clf", "table", "sum"):
        assert resolver.mentioned(name) is None or resolver.mentioned(name).origin == "cell"
        assert getattr(resolver.resolve(name), "file", "") == ""
    assert found(resolver, "plotting.clf").name == "plotting.clf"


def test_a_function_whose_file_was_edited_since_it_was_imported_says_so(notebook, write: Write) -> None:
    write(
        "late.py",
        "import os\ndef f(x):\n    def g(): return x\n    return g\nclass A:\n    def m(self): return super()\n",
    )
    notebook.run("import late\na = late.A()")
    for name in ("late.f", "a.m"):
        found(notebook.resolver, name)
    resolver = notebook.resolver
    edited = "def f(x):\n    def g(): return x\n    return g\nclass A:\n    def m(self): return 2\n"
    write("late.py", f"# moved down\nimport os\n{edited}")
    assert "return g" in found(resolver, "late.f").source
    assert resolver.notes == (), "moved down, and the same"
    assert "return 2" in found(resolver, "a.m").source
    assert resolver.notes == ("late.A.m was edited since it was imported: the kernel runs the earlier version",)


PATCHED = """
    import functools
    class Base:
        def fit(self): return 1
        def same(self): return self.fit()
        @functools.lru_cache
        def kept(self): return 2
        @property
        def size(self): return 3
        alias = same
    class Own(Base):
        def same(self): return super().same()
"""


@pytest.mark.parametrize("where", ["file", "cell"])
def test_a_class_in_which_a_cell_replaced_a_method_says_so(notebook, write: Write, where: str) -> None:
    if where == "file":
        write("patchy.py", PATCHED)
        notebook.run("from patchy import *")
    else:
        notebook.run(PATCHED)
    resolver = notebook.resolver
    assert found(resolver, "Base").source
    assert found(resolver, "Own").source
    assert resolver.notes == (), "decorators, properties and overrides are in the text"
    notebook.run("def other(self): return 4\nBase.fit = other")
    resolver = notebook.resolver
    assert found(resolver, "Base").source
    assert resolver.notes == ("Base.fit was replaced in the kernel: other runs, not what the class's text says",)
    assert found(resolver, "Base.fit").name == "other", "the method itself is the one that runs"
