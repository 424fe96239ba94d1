"""`%agent_context why NAME`: each definition that was sent or left out has a reason that reads as a sentence."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_what_was_left_out_says_why(kernel: Any) -> None:
    kernel.ok("def near(x):\n    return x\ndef far(x):\n    " + "x += 1\n    " * 900 + "return x")
    kernel.ok("def top(x):\n    if x < 0:\n        raise ValueError(far(x))\n    return near(x)\nclass Other: pass")
    kernel.ok("%agent --dry-run What does `top` do?")
    assert "marked in the task" in kernel.ok("%agent_context why top").text
    number = kernel.value("[n for n, cell in enumerate(In) if cell.startswith('def near')][-1]")
    assert f"cell [{number}]" in kernel.ok("%agent_context why near").text, "the number that stands beside the cell"
    assert "used by top" in kernel.ok("%agent_context why near").text
    told = " ".join(kernel.ok("%agent_context why far").text.split())
    assert "used by top; in full, " in told
    assert "did not fit into the" in told, "what is told by its signature says why"
    assert "it makes or changes Other" in kernel.ok("%agent_context why Other").text, (
        "it stands in a cell that was sent"
    )
    kernel.ok("%config AgentNB.context_tokens = 10\n%agent -t new --dry-run What does `far` do?")
    told = " ".join(kernel.ok("%agent_context why far").text.split())
    assert "did not fit into the" in told


def test_what_only_the_outline_tells_and_what_the_task_calls_otherwise(kernel: Any) -> None:
    kernel.ok("open('apart.py', 'w').write('def alone(x):\\n    return x\\n')")
    kernel.ok("import shapes as sh, apart as ap")
    kernel.ok("%agent --dry-run What does `sh.Box.volume` do?")
    assert "marked" in kernel.ok("%agent_context why sh.Box.volume").text
    told = " ".join(kernel.ok("%agent_context why ap.alone").text.split())
    assert "apart.alone" in told
    assert "only its signature, in the project's outline" in told
    assert "Outlines of your modules in use: apart, shapes." in kernel.ok("%agent_context show").text


def test_a_variable_is_told_by_the_cells_that_make_it_and_by_its_value(kernel: Any) -> None:
    kernel.ok("y = 41", cell="made")
    kernel.ok("z = 1", cell="other")
    kernel.ok("y += 1", cell="changed")
    kernel.ok("%%agent\nWhat is y?", cell="ask")
    told = kernel.ok("%agent_context why y").text
    assert told.count("it makes or changes y") == 2
    assert "the task involves y" in told
    assert "the task involves" not in kernel.ok("%agent_context why z").text


def test_a_hidden_cell_is_not_sent_where_its_number_is_named(kernel: Any) -> None:
    private = kernel.ok("kept = 'my own business'\nkept", cell="private")
    inputs = (message for message in private.messages if message["header"]["msg_type"] == "execute_input")
    number = int(next(inputs)["content"]["execution_count"])
    kernel.ok("shared = 2", cell="shared")
    kernel.ok(f"%agent_context hide {number}")
    told = kernel.ok(f"%agent_context prompt Explain cell {number} and its output.").text
    assert "shared = 2" in told
    assert "my own business" not in told
