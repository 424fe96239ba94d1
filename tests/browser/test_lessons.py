"""Each lesson as its reader meets it: open it, write the answers, Run All, and nothing fails.

One page and forked kernels serve all of them. The answers are those that the notebook itself calls right; that a wrong
one is told so is tested with the quickstart.
"""

from __future__ import annotations

import ast
import json
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LESSONS = sorted(path.name for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
LONGEST = 60
"""Seconds that a lesson may take on a machine that does nothing else; a loaded one is given five times as long."""
RUN_ALL = "() => void window.jupyterapp.commands.execute('notebook:run-all-cells')"
# A cell that fails ends Run All: then those below it never get a number.
ENDED = """() => {
    const cells = [...window.jupyterapp.shell.currentWidget.content.model.cells].filter(cell => cell.type === 'code');
    const failed = cell => cell.outputs.toJSON().some(out => out.output_type === 'error');
    const may_fail = cell => (cell.getMetadata('tags') ?? []).includes('raises-exception');
    return cells.some(cell => failed(cell) && !may_fail(cell)) || cells.every(cell => cell.executionCount !== null);
}"""
PICTURE = "() => { const shown = document.querySelector('.jp-MarkdownOutput img'); return shown?.naturalWidth > 300; }"


def answered(source: str) -> str:
    """Write the right answer in the place of the three dots, as a reader does who has found it."""
    if "check(" not in source:
        return source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "check":
            dots, right, _ = node.args
            assert ast.unparse(dots) == "..."
            return source.replace("...", ast.unparse(right), 1)
    return source


def trouble(cell: dict[str, Any]) -> list[Any]:
    """Return what a reader would take for a failure: an error, or words on the error stream."""
    outputs = cell.get("outputs", ())
    return [each for each in outputs if each["output_type"] == "error" or each.get("name") == "stderr"]


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_to_its_end(
    quickstart: Path, open_page: Any, light: None, at_once: None, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = quickstart.with_name(name)
    book = json.loads(path.read_text())
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["source"] = answered("".join(cell["source"]))
    path.write_text(json.dumps(book))
    page = open_page(name, height=1400)
    page.wait_idle()
    page.page.wait_for_function(PICTURE)
    begun = time.monotonic()
    page.page.evaluate(RUN_ALL)
    page.page.wait_for_function(ENDED, timeout=5 * LONGEST * 1000)
    page.wait_idle()
    with capsys.disabled():
        print(f"\n  {name}: {time.monotonic() - begun:.0f} s of {LONGEST}")
    saved = page.save(path)
    may_fail = [cell for cell in saved["cells"] if "raises-exception" in cell["metadata"].get("tags", ())]
    assert [trouble(cell) for cell in saved["cells"] if cell not in may_fail and trouble(cell)] == []
    assert all(trouble(cell) for cell in may_fail), "a cell that is there to fail does"
    said = [line for cell in saved["cells"] for out in cell.get("outputs", ()) for line in out.get("text", ())]
    assert sum(line.startswith("Right: ") for line in said) == 3
