"""Each lesson opens with a picture, asks three questions, and uses public names alone. nbval runs them all."""

from __future__ import annotations

import ast
import base64
import io
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.core.inputtransformer2 import TransformerManager

import agentnb

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
PLAIN = TransformerManager()


def cells(lesson: Path, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(lesson.read_text())["cells"] if cell["cell_type"] == kind]


def code(lesson: Path) -> list[ast.Module]:
    """The code cells as Python reads them; a cell magic's body is text to it."""
    return [ast.parse(PLAIN.transform_cell(text)) for text in cells(lesson, "code")]


def calls(lesson: Path, name: str) -> list[ast.Call]:
    nodes = (node for module in code(lesson) for node in ast.walk(module))
    return [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


@each_lesson
def test_it_opens_with_a_picture_that_is_there_and_small(lesson: Path) -> None:
    (target,) = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", cells(lesson, "markdown")[0])
    assert (NOTEBOOKS / target).stat().st_size < 8_000


@each_lesson
def test_it_asks_three_questions_that_wait_for_an_answer(lesson: Path) -> None:
    asked = [call for call in calls(lesson, "check") if ast.unparse(call.args[0]) == "..."]
    assert len(asked) == 3
    numbers = re.findall(r"# Question (\d): .+", "\n".join(cells(lesson, "code")))
    assert numbers == ["1", "2", "3"]


@each_lesson
def test_it_imports_public_names_alone(lesson: Path) -> None:
    for module in code(lesson):
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("agentnb"), ast.unparse(node)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "agentnb":
                assert node.attr in agentnb.__all__


@each_lesson
def test_it_shows_all_panels(lesson: Path) -> None:
    assert '%load_ext agentnb\n%config AgentNB.view = "full"\n' in cells(lesson, "code")[0] + "\n"


@each_lesson
def test_links_lead_to_other_lessons(lesson: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", "\n".join(cells(lesson, "markdown"))):
        assert (NOTEBOOKS / target).exists(), target


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (..., 3, "Write your answer"),
        (3, 3, "Right: 3"),
        (4, 3, "Not yet. Count."),
        (1940, 1957, "Not yet. Count."),
        (0.767, 0.77, "Right: 0.77"),
        (0.5, 0.77, "Not yet. Count."),
        (True, True, "Right: True"),
        (1, True, "Not yet. Count."),
        ("output", "output", "Right: output"),
        (None, 3, "Not yet. Count."),
    ],
)
def test_an_answer_is_checked(answer: Any, right: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(NOTEBOOKS / "lesson.py"))["check"](answer, right, "Count.")
    assert capsys.readouterr().out.startswith(said)


@pytest.fixture
def executed(run_all: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The lesson after Run All in a kernel of its own."""
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path))
    monkeypatch.setenv("AGENTNB_SIM_SPEED", "0")

    def run(lesson: str) -> Any:
        book = nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4)
        run_all(book, NOTEBOOKS)
        return book

    return run


@pytest.mark.slow
@pytest.mark.kernel
def test_a_plot_of_a_lesson_lies_on_no_card(executed: Callable[[str], Any]) -> None:
    pillow = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    book = executed("07-a-real-data-set")
    shown = [
        output for cell in book.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", ())
    ]
    assert len(shown) == 2
    for output in shown:
        picture = pillow.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
        assert picture.convert("RGBA").getpixel((0, 0))[3] == 0, "its ground is that of the page"
        assert "needs_background" not in str(output.metadata), "JupyterLab lays a card below where this is asked for"


@pytest.mark.slow
@pytest.mark.kernel
def test_what_the_lesson_on_context_hides_is_in_no_prompt(executed: Callable[[str], Any]) -> None:
    book = executed("05-context")
    (prompt,) = (cell.outputs[0]["data"]["text/plain"] for cell in book.cells if cell.source == "%agent_context prompt")
    assert "hours_afloat" in prompt
    assert "Ada Bright" not in prompt
