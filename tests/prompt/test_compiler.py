"""ASTContextCompiler: the blueprint's calls, mended."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb import ASTContextCompiler
from agentnb.errors import PathOutsideRoot

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


@pytest.mark.parametrize("path", ["../secret.py", "/etc/passwd", "a/../../b.py"])
def test_nothing_outside_the_root_is_read(root: Path, path: str) -> None:
    with pytest.raises(PathOutsideRoot):
        ASTContextCompiler(root).extract_entity(path, "f")


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
