from __future__ import annotations

import os
from pathlib import Path

import pytest

import agentnb.context.resolve.files as files
from agentnb.context.resolve.files import FileIndex, module_file, relative_file
from agentnb.context.static.definitions import FileDefinitions


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


# what may lie on a disk -------------------------------------------------------------------------------------------


def read(path: Path, index: FileIndex | None = None) -> FileDefinitions | None:
    return (index or FileIndex()).definitions(path, module=path.stem)


def changing(monkeypatch: pytest.MonkeyPatch, *versions: bytes) -> None:
    """Each reading of a file is followed by somebody writing the next of these versions."""
    waiting = list(versions)
    real = files.read_bytes

    def read_bytes(path: Path) -> bytes:
        data = real(path)
        if waiting:
            path.write_bytes(waiting.pop(0))
        return data

    monkeypatch.setattr(files, "read_bytes", read_bytes)


def test_a_file_that_changes_between_stat_and_read_is_read_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "m.py"
    source.write_text("def old(): pass\n")
    changing(monkeypatch, b"def newer(): pass\n\n\n", b"def newest(): return 1\n")
    index = FileIndex()
    found = read(source, index)
    assert found is not None
    assert list(found.chosen) == ["newest"]
    assert read(source, index) is found


def test_a_file_that_is_shortened_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "m.py"
    source.write_text("".join(f"def f{i}(): return {i}\n" for i in range(2000)))
    changing(monkeypatch, b"def short(): pass\n")
    found = read(source, FileIndex())
    assert found is not None
    assert list(found.chosen) == ["short"]


def test_a_file_that_never_rests_is_no_hang_and_is_read_again_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "m.py"
    source.write_text("first = 1\n")
    changing(monkeypatch, *(f"def f{i}(): pass{' ' * i}\n".encode() for i in range(20)))
    index = FileIndex()
    assert read(source, index) is not None
    monkeypatch.undo()
    source.write_text("def at_rest(): pass\n")
    found = read(source, index)
    assert found is not None
    assert list(found.chosen) == ["at_rest"]


def test_a_file_that_is_deleted_or_becomes_a_directory_is_not_there(tmp_path: Path) -> None:
    source = tmp_path / "m.py"
    index = FileIndex()
    source.write_text("def f(): pass\n")
    assert read(source, index)
    source.unlink()
    assert read(source, index) is None
    source.mkdir()
    assert read(source, index) is None
    source.rmdir()
    source.write_text("def g(): pass\n")
    found = read(source, index)
    assert found is not None
    assert list(found.chosen) == ["g"]


def test_links_that_lead_in_circles_and_pipes_are_not_there(tmp_path: Path) -> None:
    loop = tmp_path / "loop.py"
    loop.symlink_to(loop)
    assert read(loop) is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.py")
        assert read(tmp_path / "pipe.py") is None


def test_a_broken_file_keeps_its_last_good_version_and_says_so(tmp_path: Path) -> None:
    source = tmp_path / "m.py"
    index = FileIndex()
    filler = "".join(f"def f{i}(): return {i}\n" for i in range(2000))
    for text in ("def good(): return 1\n", filler):
        source.write_text(text)
        good = read(source, index)
        assert good is not None
        for broken in (text + "def broken(:\n", text + "\x00", text.encode() + b"'\xff'\n"):
            source.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
            found = read(source, index)
            assert found is not None
            assert found.error is not None
            assert (found.lines, found.entries) == (good.lines, good.entries)
        source.write_text(text + "\n")
        found = read(source, index)
        assert found is not None
        assert found.error is None


@pytest.mark.parametrize(
    ("data", "source"),
    [
        ("# -*- coding: latin-1 -*-\ndef f(): return 'é'\n".encode("latin-1"), "def f(): return 'é'"),
        ("\ufeffdef f(): return 'é'\n".encode(), "def f(): return 'é'"),
        (b"import os\r\n\r\ndef f():\r\n    return os\r\n", "def f():\n    return os"),
        (b"import os\r\rdef f():\r    return os\r", "def f():\n    return os"),
        (b"def f(): return '\\\n'  # no end", "def f(): return '\\\n'  # no end"),
        (b"\x0cdef f(): pass\n\x0c\n", "def f(): pass"),
    ],
)
def test_encodings_and_line_ends(tmp_path: Path, data: bytes, source: str) -> None:
    (tmp_path / "m.py").write_bytes(data)
    found = read(tmp_path / "m.py")
    assert found is not None
    assert found.error is None
    assert found.by_name["f"].source.strip("\x0c") == source


@pytest.mark.parametrize("data", [b"def f(): return '\xff'\n", b"# coding: none-such\nx = 1\n", b"\xff\xfed\x00e\x00"])
def test_what_cannot_be_decoded_says_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.py").write_bytes(data)
    found = read(tmp_path / "m.py")
    assert found is not None
    assert str(found.error).startswith("cannot be decoded")


def test_a_null_byte_hides_only_its_own_block(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_bytes(b"def f(): pass\n\ndef g(): return '\x00'\n")
    found = read(tmp_path / "m.py")
    assert found is not None
    assert found.error is not None
    assert found.by_name["f"].source == "def f(): pass"


@pytest.mark.parametrize(
    "deep",
    [
        "return " + " + ".join(["x"] * 20_000),
        "return x" + ".y" * 20_000,
        "return " + "(" * 150 + "x" + ")" * 150,
        "return " + "[" * 5_000 + "]" * 5_000,
        "return " + "lambda: " * 2_000 + "x",
        "\n".join("    " * depth + "if x:" for depth in range(1, 90)) + "\n" + "    " * 90 + "pass",
    ],
)
def test_code_nested_beyond_reason_is_shown_as_it_stands(tmp_path: Path, deep: str) -> None:
    body = deep if deep.startswith("    ") else f"    {deep}"
    (tmp_path / "m.py").write_text(f"def before(): pass\n\n\ndef f(x):\n{body}\n\n\ndef after(): pass\n")
    found = read(tmp_path / "m.py")
    assert found is not None
    assert found.by_name["f"].source == f"def f(x):\n{body}"
    assert found.by_name["f"].digest
    assert found.by_name["before"].source == "def before(): pass"
    assert found.by_name["after"].source == "def after(): pass"


@pytest.mark.slow
def test_a_file_of_200_000_lines(tmp_path: Path) -> None:
    source = tmp_path / "m.py"
    source.write_text("".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(100_000)))
    found = read(source)
    assert found is not None
    assert found.by_name["f99999"].lines == (199_999, 200_000)


def test_a_file_too_large_to_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BYTES_LIMIT", 1000)
    (tmp_path / "m.py").write_text("x = 1\n" * 1000)
    found = read(tmp_path / "m.py")
    assert found is not None
    assert "larger than" in str(found.error)


def test_a_definition_may_be_called_like_a_builtin(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def print(x): return str(x)\ndef f(): return print(len('x'))\n")
    found = read(tmp_path / "m.py")
    assert found is not None
    assert found.by_name["print"].source == "def print(x): return str(x)"
    assert found.by_name["f"].references == ("print",)
