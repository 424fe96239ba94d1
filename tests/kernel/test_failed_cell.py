"""A cell that failed: `%agent` alone explains it, `--fix` proposes it mended; and the guide where nothing is asked."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.kernel

BROKEN = """def share(parts):
    whole = sum(parts)
    return [part / whole for part in parts]

rows = [0, 0]
share(rows)"""


def message_of(result: Any) -> str:
    assert result.status == "error"
    return str(result.error or result.stdout)


@pytest.mark.parametrize("code", ["%%agent", "%%agent\n", "%%agent\n  \n\n", "%agent", "  %agent  "])
def test_without_a_question_a_guide_with_five_examples_is_shown(kernel: Any, code: str) -> None:
    shown = kernel.ok(code)
    assert shown.text.count("%agent") >= 5
    for line in ("%%agent", "%agent --fix", "--dry-run", "%agent -t new"):
        assert line in shown.text
        assert line in shown.displays[0]["text/html"]
    assert kernel.value("'_agent' in globals()") is False


def test_the_help_has_the_examples(kernel: Any) -> None:
    text = kernel.value("get_ipython().magics_manager.magics['cell']['agent'].__doc__")
    assert text.count("\n  %") == 5
    assert "--fix" in text
    assert kernel.ok("%%agent?").status == "ok"


def test_alone_after_an_error_it_explains_that_and_in_a_cell_it_still_guides(kernel: Any) -> None:
    kernel.run(BROKEN)
    shown = kernel.ok("%agent").run
    assert shown["task"].startswith("Explain the error of cell 2 (ZeroDivisionError)")
    assert "cell 2" in str(shown["text"])
    assert not shown["notes"], "the cell is named: no place on a page is looked for"
    assert "Ask about this notebook" in kernel.ok("%%agent\n").displays[0]["text/html"]


def test_a_question_that_fails_behind_code_is_no_error_of_that_code(kernel: Any) -> None:
    failed = kernel.run("rate = 3\n%agent -m nobody:nothing What is `rate`?")
    assert "nobody" in message_of(failed)
    assert "Ask about this notebook" in kernel.ok("%agent").displays[0]["text/html"], "no cell has failed"
    kernel.ok("%agent What is `rate`?")
    told = kernel.ok("%agent_context prompt").text
    assert "rate: int: 3" in told
    own = told[told.index("--- user:") :]
    assert "<error>" not in own
    assert "agentnb/" not in own


def test_fix_proposes_the_cell_that_failed_mended_with_the_values_in_the_users_frames(kernel: Any) -> None:
    kernel.run(BROKEN)
    kernel.ok("print('something else')")
    shown = kernel.ok("%agent --fix --tools inspect Keep it short.").run
    assert shown["task"].startswith("Fix cell 2, which failed with ZeroDivisionError: propose the whole cell, mended;")
    assert shown["task"].endswith("where the fault lies in a file, say which lines to change there. Keep it short.")
    (proposal,) = shown["proposals"]
    assert proposal["replaces"] == 2
    assert proposal["digest"]
    code = "import json as j; m = get_ipython()._agentnb_notebook.session.machine()\n"
    blocks = kernel.ok(f"{code}print(j.dumps(m.get(_agent.run_id).context['blocks']))").stdout
    assert "whole: int: 0" in blocks, "the values in the frames of the error"
    assert "ZeroDivisionError" in blocks
    assert kernel.value("rows") == [0, 0], "nothing proposed runs"


def test_a_cell_that_runs_well_again_is_not_to_be_fixed(kernel: Any) -> None:
    assert "no cell has failed" in message_of(kernel.run("%agent --fix"))
    kernel.run("1 / nought", "one")
    kernel.ok("nought = 1", "two")
    kernel.ok("1 / nought", "one")
    assert "no cell has failed" in message_of(kernel.run("%agent --fix"))
    kernel.run("def broken(:\n    pass", "three")
    assert kernel.ok("%agent --fix --dry-run").run["task"].startswith("Fix cell")


def error_told(kernel: Any, source: str) -> str:
    """What the model is told beside the source of a cell that fails."""
    kernel.run(source)
    kernel.ok("%agent -t new --fix")
    code = "import json as j; m = get_ipython()._agentnb_notebook.session.machine()\n"
    blocks = kernel.ok(f"{code}print('\\n'.join(str(b) for b in m.get(_agent.run_id).context['blocks']))").stdout
    return str(blocks).replace("\\n", "\n").partition('<output kind="error">')[2]


def test_a_cell_that_does_not_parse_is_told_with_its_line_and_nothing_of_the_kernels_machinery(kernel: Any) -> None:
    told = error_told(kernel, "rows = [1, 2]\ndef broken(:\n    pass")
    assert "SyntaxError: invalid syntax\ncell, line 2\n    def broken(:\n" in told
    assert "IPython" not in told
    (kernel.directory / "broken_module.py").write_text("rows = (1,\n  2 3)\n")
    told = error_told(kernel, "import broken_module")
    assert "broken_module.py, line 2\n    2 3)\n" in told
    told = error_told(kernel, "import ast; ast.literal_eval('1 +')")
    assert "(<unknown>, line 1)" in told.replace("&lt;", "<"), "a text that cannot be read is no line of the cell"
    assert "IPython" not in error_told(kernel, "%%time\n1 / 0")
