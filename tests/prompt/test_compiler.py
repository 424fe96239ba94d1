"""ASTContextCompiler: the blueprint's calls, mended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import ASTContextCompiler
from agentnb.errors import InputError, PathOutsideRoot

SOURCE = '''import functools

LIMIT = 10


@functools.cache
def area(width, height):
    """Area."""
    return width * height


class Box:
    @property
    def volume(self):
        return area(1, 2)

    def area(self):
        return 6
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "shapes.py").write_text(SOURCE)
    (tmp_path / "broken.py").write_text("def f(:\n")
    return tmp_path


def test_entities_keep_their_decorators_and_methods_are_named(root: Path) -> None:
    compiler = ASTContextCompiler(root)
    assert compiler.extract_entity("shapes.py", "area").startswith("@functools.cache\ndef area")
    assert "return 6" in compiler.extract_entity("shapes.py", "Box.area")
    assert compiler.extract_entity("shapes.py", "LIMIT") == "LIMIT = 10"
    assert "@property" in compiler.extract_entity("shapes.py", "Box.volume")


def test_what_cannot_be_had_is_said_in_the_text(root: Path) -> None:
    compiler = ASTContextCompiler(root)
    assert "there is no such file" in compiler.extract_entity("missing.py", "f")
    assert "does not parse" in compiler.extract_entity("broken.py", "f")
    unknown = compiler.extract_entity("shapes.py", "Bok")
    assert unknown.startswith("#")
    assert "Box" in unknown


@pytest.mark.parametrize("path", ["../secret.py", "/etc/passwd", "a/../../b.py", "link.py", "folder/secret.py"])
def test_nothing_outside_the_root_is_read(root: Path, path: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.py").write_text("def f(): pass\n")
    (root / "link.py").symlink_to(outside / "secret.py")
    (root / "folder").symlink_to(outside)
    with pytest.raises(PathOutsideRoot):
        ASTContextCompiler(root).extract_entity(path, "f")


def test_what_is_no_readable_file_is_one_line_of_comment(root: Path) -> None:
    os.mkfifo(root / "pipe.py")
    (root / "circle.py").symlink_to(root / "circle.py")
    (root / "inside.py").symlink_to(root / "shapes.py")
    compiler = ASTContextCompiler(root)
    for path in ("pipe.py", "circle.py", "", "a\0b.py", "x" * 5000, "none.py\nimport os", "shapes.py/deeper.py"):
        text = compiler.extract_entity(path, "f\nimport os")
        assert text.startswith("# "), text
        assert "\n" not in text
        assert len(text) < 300
        assert str(root) not in text
    assert "\n" not in compiler.extract_entity("shapes.py", "f\nimport os")
    assert compiler.extract_entity("inside.py", "LIMIT") == "LIMIT = 10", "a link inside the code base is fine"
    assert "\nimport os" not in compiler.compile_prompt("s", "", [("none.py\nimport os", "f\nimport os")])["prompt"]


def test_a_file_is_read_in_its_own_encoding_and_as_it_is_now(root: Path) -> None:
    compiler = ASTContextCompiler(root)
    (root / "latin.py").write_bytes("# coding: latin-1\nNAME = 'café'\n".encode("latin-1"))
    assert compiler.extract_entity("latin.py", "NAME") == "NAME = 'café'"
    (root / "latin.py").write_bytes("NAME = 'café'\n".encode("latin-1"))
    assert "invalid or missing encoding declaration" in compiler.extract_entity("latin.py", "NAME")
    (root / "shapes.py").write_text("def area(:\n")
    assert "does not parse" in compiler.extract_entity("shapes.py", "area"), (
        "no older version is passed off as this one"
    )
    (root / "shapes.py").write_text("def area(): return 5\n")
    assert compiler.extract_entity("shapes.py", "area") == "def area(): return 5"


@pytest.mark.parametrize(
    "wrong",
    [
        {"system_prompt": None},
        {"schema_context": {"t": 1}},
        {"query": 3},
        {"dependencies": None},
        {"dependencies": "ab"},
        {"dependencies": ["shapes.py"]},
        {"dependencies": [("shapes.py",)]},
    ],
)
def test_what_is_no_text_and_no_pair_is_refused_by_name(root: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ASTContextCompiler(root).compile_prompt(**({"system_prompt": "s"} | wrong))
    with pytest.raises(InputError, match="codebase_root"):
        ASTContextCompiler(None)  # type: ignore[arg-type]


def test_pairs_may_be_lists_and_half_a_character_does_no_harm(root: Path) -> None:
    compiler = ASTContextCompiler(root)
    listed = compiler.compile_prompt("s", "", [["shapes.py", "area"], ["shapes.py", "area"]], "\ud800")
    assert listed["cache_key"] == compiler.compile_prompt("s", "", [("shapes.py", "area")], "q")["cache_key"]
    assert listed["prompt"].endswith("\n\n?")


def test_a_prompt_has_four_layers_and_its_key_leaves_out_the_query(root: Path) -> None:
    compiler = ASTContextCompiler(root)
    dependencies = [("shapes.py", "area"), ("shapes.py", "Box")]
    one = compiler.compile_prompt("You help.", "table t(a int)", dependencies, "What is area?")
    two = compiler.compile_prompt("You help.", "table t(a int)", dependencies, "And volume?")
    assert [layer["name"] for layer in one["layers"]] == ["STATIC", "SEMI_STATIC", "HYDRATION", "DYNAMIC"]
    assert one["cache_key"] == two["cache_key"]
    assert one["prompt"] != two["prompt"]
    assert one["static_token_length"] == sum(layer["tokens"] for layer in one["layers"][:3])
    positions = [one["prompt"].index(text) for text in ("You help.", "table t", "def area", "What is area?")]
    assert positions == sorted(positions)


@given(order=st.permutations(["area", "Box", "LIMIT", "Box.area"]))
def test_the_same_facts_in_any_order_give_the_same_bytes(
    order: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "shapes.py").write_text(SOURCE)
    compiler = ASTContextCompiler(root)
    baseline = compiler.compile_prompt("s", "", [("shapes.py", n) for n in ("LIMIT", "Box", "Box.area", "area")], "q")
    shuffled = compiler.compile_prompt("s", "", [("shapes.py", n) for n in order], "q")
    assert shuffled == baseline
