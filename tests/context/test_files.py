from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import networkx
import pytest

import agentnb.context.files as files
from agentnb.canonical import dump, load
from agentnb.context.files import FileIndex, from_stored, module_file, relative_file, to_stored
from agentnb.context.packages import PackageIndex
from agentnb.context.scanning import parse_definitions


def test_what_is_stored_gives_the_same_definitions_as_parsing() -> None:
    text = Path(inspect.getfile(networkx.Graph)).read_text()
    parsed = parse_definitions(text, module="networkx.classes.graph", file="networkx/classes/graph.py")
    stored = from_stored(load(dump(to_stored(parsed))), module=parsed.module)
    again = replace(stored, lines=parsed.lines, file=parsed.file)
    assert (again.entries, again.imports, again.doc) == (parsed.entries, parsed.imports, parsed.doc)
    assert (again.stars, again.pieces) == (parsed.stars, parsed.pieces)
    assert dict(again.by_name) == dict(parsed.by_name)


def test_the_next_kernel_does_not_parse_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "long.py"
    source.write_text("".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(1000)))
    first = FileIndex(PackageIndex(tmp_path / "home")).definitions(source, module="long")

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr(files, "parse_definitions", refuse)
    second = FileIndex(PackageIndex(tmp_path / "home")).definitions(source, module="long")
    assert second is not None
    assert first is not None
    assert second.by_name["f999"] == first.by_name["f999"]
    with pytest.raises(AssertionError, match="parsed again"):
        FileIndex(PackageIndex(tmp_path / "home")).definitions(source, module="renamed")


def test_a_damaged_or_foreign_row_is_no_trouble(tmp_path: Path) -> None:
    source = tmp_path / "long.py"
    source.write_text("def f(x):\n    return x\n" * 1000)
    index = PackageIndex(tmp_path / "home")
    FileIndex(index).definitions(source, module="long")
    kept = index.row(source)
    assert kept is not None
    for entries in (b"not json", b"[]", b"{}", b'{"entries": [[1]]}'):
        index.keep(replace(kept, entries=entries))
        found = FileIndex(index).definitions(source, module="long")
        assert found is not None
        assert "f" in found.chosen


def test_modules_are_found_without_being_imported_and_paths_are_relative_to_the_package() -> None:
    path = module_file("networkx.classes.graph")
    assert path is not None
    assert relative_file(path, "networkx.classes.graph") == "networkx/classes/graph.py"
    assert relative_file(path.parent / "__init__.py", "networkx.classes") == "networkx/classes/__init__.py"
    assert relative_file(path, "something.else") == "graph.py"
    assert module_file("no.such.module") is None
    assert module_file("math") is None


def test_what_only_calls_itself_a_module_has_no_file() -> None:
    """cffi puts such objects into sys.modules; they have no namespace."""

    class Lib:
        __slots__ = ()
        __class__ = type(files)  # type: ignore[assignment]

    impostor = Lib()
    assert isinstance(impostor, type(files))
    assert files.loaded_file(impostor) is None
