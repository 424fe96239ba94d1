from __future__ import annotations

import sys
import threading

from IPython.core.inputtransformer2 import TransformerManager

from agentnb.context.notebook.cells import CellIndex


def index(*cells: str) -> CellIndex:
    made = CellIndex(TransformerManager().transform_cell)
    for number, cell in enumerate(cells, 1):
        made.record(cell, cell_id=None, number=number)
    return made


def test_the_last_definition_wins_and_keeps_its_cell() -> None:
    cells = index("def f(): return 1", "def f(): return 2")
    found = cells.definitions()["f"]
    assert (found.source, found.cell, found.origin, found.file) == ("def f(): return 2", "In[2]", "cell", "")


def test_a_name_bound_to_something_else_is_no_definition_any_more() -> None:
    cells = index("def f(): pass\nclass A:\n    def g(self): pass\nimport os\nN = 1", "f = compute()\nA = 3\ndel N")
    assert set(cells.definitions()) == {"os", "A"}
    assert cells.definitions()["A"].kind == "constant"


def test_an_edited_cell_replaces_only_what_it_binds() -> None:
    cells = CellIndex(TransformerManager().transform_cell)
    cells.record("def a(): pass\ndef b(): pass", cell_id="x", number=1)
    cells.record("def b(): return 2", cell_id="x", number=2)
    assert cells.definitions()["b"].source == "def b(): return 2"
    assert "a" in cells.definitions()  # the kernel still has it


def test_imports_are_known_by_what_they_bind() -> None:
    cells = index("import networkx as nx, os.path\nfrom networkx import Graph as G")
    assert cells.imports() == {"nx": "networkx", "os": "os", "G": "networkx.Graph"}
    assert cells.definitions()["G"].kind == "import"


def test_imports_of_other_cells_come_with_the_definitions_that_need_them() -> None:
    cells = index("import math\nimport json", "def f(x): return math.sin(x)")
    assert cells.definitions()["f"].imports == ("import math",)


def test_magics_and_shell_lines_survive_as_they_were_typed() -> None:
    cells = index("%matplotlib inline\n!ls\ndef f():\n    files = !ls\n    return files\nx = %who_ls")
    assert cells.definitions()["f"].source == "def f():\n    files = !ls\n    return files"
    assert cells.notes == []


def test_cell_magics_that_run_python_are_parsed_apart_and_others_skipped() -> None:
    cells = index(
        "%%time\n\ndef f(): pass", "%%bash\ndef g(): pass", "%%writefile x.py\ndef h(): pass", "%%timeit\nq = 1"
    )
    assert set(cells.definitions()) == {"f"}
    assert cells.definitions()["f"].lines == (3, 3)


def test_agent_cells_are_not_code() -> None:
    assert set(index("%%agent\ndef f(): pass", "%agent explain f", "%%agent -m x\nimport os").definitions()) == set()


def test_a_cell_that_does_not_parse_becomes_a_note() -> None:
    cells = index("def g(): return 1", "def f(:\n  pass\ndef g(): return 2", "ok = 1", "", "   ", "%%", "if True:\nx")
    assert len(cells.notes) == 2
    assert cells.notes[0].startswith("In[2] did not parse: line 1")
    assert set(cells.definitions()) == {"g", "f", "ok"}
    assert cells.definitions()["g"].source == "def g(): return 1"  # the broken cell bound nothing
    assert cells.definitions()["f"].source == "def f(:\n  pass"  # but its own text is all there is of f


def test_a_transformer_that_fails_is_a_note() -> None:
    def explode(source: str) -> str:
        raise RuntimeError("an extension's transformer")

    cells = CellIndex(explode)
    cells.record("def f(): pass\n,f a b", cell_id=None, number=1)
    assert "f" in cells.definitions()
    assert cells.notes


def test_only_simple_values_are_constants() -> None:
    cells = index("A = 3\nB = [1, 2, A]\nC = open('x')\nD = [i for i in B]\nE = 'x' * 5000\nfor F in B: pass")
    assert set(cells.definitions()) == {"A", "B", "E"}
    assert "F" in cells.names


def test_each_of_several_constants_on_a_line_shows_its_own_value() -> None:
    cells = index('a = "é"; b = "y"  # why\nif a: c = 3; d = 4;\nclass A: k = 1; m = 2\n%magic\nn = 5; o = 6')
    shown = {name: found.source for name, found in cells.definitions().items()}
    assert shown == {
        "a": 'a = "é"',
        "b": 'b = "y"',
        "c": "c = 3",
        "d": "d = 4",
        "A": "class A: k = 1; m = 2",
        "A.k": "k = 1",
        "A.m": "m = 2",
        "n": "n = 5",
        "o": "o = 6",
    }
    assert cells.definitions()["A.m"].text == "class A:\n    m = 2"
    assert cells.definitions()["A"].signature == "class A:\n    k = 1\n    m = 2"


def test_lines_that_are_magics_need_no_transformer() -> None:
    def refuse(source: str) -> str:
        raise AssertionError("the transformer takes ten times as long as parsing")

    cells = CellIndex(refuse)
    source = "%matplotlib inline\n!ls {x}\ndef f():\n    %timeit g(1)\n    return 1\nf?\n?f\nstr.join??"
    source += "\ny = f()\ny\nz = !ls\nu, v = %who_ls"
    cells.record(source, cell_id="a", number=1)
    assert cells.notes == []
    assert cells.definitions()["f"].source == "def f():\n    %timeit g(1)\n    return 1"
    assert [(item.defines, item.uses) for item in cells.versions()] == [(("f", "y", "z", "u", "v"), ())]


def test_what_cells_define_is_a_view_that_later_cells_show_in() -> None:
    cells = index("import math as m\ndef f(x): return m.sin(x)")
    definitions, names = cells.definitions(), cells.names
    cells.record("import math\nm = 3\ndef g(): pass", cell_id=None, number=2)
    assert set(definitions) == {"f", "m", "g", "math"}
    assert definitions["f"].imports == ()
    assert list(definitions) == ["f", "m", "g", "math"]
    assert cells.imports() == {"math": "math"}
    assert "g" in names


def test_a_name_that_is_bound_anew_is_never_away_for_another_thread() -> None:
    cells = index("def f(): return 0\nimport math")
    stop = threading.Event()
    missing: list[str] = []

    def look() -> None:
        while not stop.is_set():
            found = cells.definitions()
            missing.extend(name for name in ("f", "math") if found.get(name) is None)
            list(found)
            cells.imports()

    readers = [threading.Thread(target=look) for _ in range(2)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for reader in readers:
            reader.start()
        for number in range(150):
            cells.record(f"import math\ndef f(): return {number}\nx{number} = 1", cell_id="a", number=number)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(before)
    assert missing == []


def test_reset_forgets() -> None:
    assert set(index("def f(): pass", "%reset -f\ng = 1").definitions()) == {"g"}


def test_inherited_and_nested_members_are_listed() -> None:
    cells = index("class A:\n    class B:\n        def c(self): pass")
    assert list(cells.definitions()) == ["A", "A.B", "A.B.c"]
    assert len(cells.definitions()) == 3


def test_versions_tell_what_each_cell_defines_and_uses() -> None:
    cells = CellIndex(TransformerManager().transform_cell)
    cells.record("import math\nN = 3", cell_id="a", number=1)
    cells.record("def f(x): return math.sin(x) * N\nprint(f(1), len([g for g in h]))", cell_id="b", number=2)
    cells.record("import math\nN = 4", cell_id="a", number=3)
    listed = [(item.cell, item.version, item.defines, item.uses) for item in cells.versions()]
    assert listed == [("b", 1, ("f",), ("math", "N", "h")), ("a", 2, ("N", "math"), ())]


def test_of_a_cell_that_failed_only_what_stands_above_counts() -> None:
    cells = index("def f(): return 1\nclass A:\n    old = 1\nN = 1\nimport json as js\ndef gone(): pass")
    failed = (
        "\n\nN = 2\n\n1 / 0\ndef f(): return 2\nclass A:\n    new = 1\nimport os as js\ndel gone\ndef fresh(): pass"
    )
    cells.record(failed, cell_id=None, number=2, failed_at=3)
    found = cells.definitions()
    assert (found["f"].source, found["N"].source) == ("def f(): return 1", "N = 2")
    assert "A.new" not in found
    assert cells.imports() == {"js": "json"}
    assert "gone" in found
    assert (found["fresh"].cell, found["fresh"].lines) == ("In[2]", (11, 11))  # its text is all there is of it


def test_what_a_cell_deletes_after_it_made_it_is_gone() -> None:
    cells = index(
        "def f(): pass\nx = g()\nimport os\ndef h(): pass", "def k(): pass\nfor i in y: pass\ndel (f, x), k, i, os"
    )
    assert set(cells.names) == {"h"}
    cells.record("del h\ndef h(): return 2\nif x:\n    del h\nbroken(", cell_id=None, number=3)
    assert set(cells.names) == {"h"}  # nothing of a cell that does not parse has run


def test_the_last_of_definition_and_import_counts_and_an_import_with_a_fallback() -> None:
    cells = index(
        "def a(): pass\nfrom m import a\nfrom m import b\ndef b(): pass\n"
        "try:\n    from m import c\nexcept ImportError:\n    def c(): pass\n"
    )
    assert {name: cells.definitions()[name].kind for name in "abc"} == {"a": "import", "b": "function", "c": "import"}


def test_a_cell_of_thousands_of_names_costs_no_more_for_each() -> None:
    def steps(count: int) -> int:
        made = 0

        def trace(*_: object) -> None:
            nonlocal made
            made += 1

        cells = CellIndex(str)
        sys.setprofile(trace)
        cells.record("\n".join(f"N{i} = {i}" for i in range(count)), cell_id="a", number=1)
        assert len(cells.definitions()) == count
        sys.setprofile(None)
        return made

    assert steps(2000) < 2.5 * steps(1000)


def test_one_enormous_cell_does_not_hide_the_others_from_inference() -> None:
    cells = index("a = 1", f"data = {'x' * 300!r}", "b = 2")
    assert cells.code(limit=100) == "a = 1\nb = 2"


def test_notes_are_told_once() -> None:
    cells = index("def f(:")
    assert [note.partition(":")[0] for note in cells.take_notes()] == ["In[1] did not parse"]
    assert cells.take_notes() == ()
