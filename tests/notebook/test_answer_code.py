"""The blocks of an answer that go into the notebook: exact texts by number, and the cell that each would replace."""

from __future__ import annotations

import pytest

from agentnb.agent.run_document import AgentRun
from agentnb.notebook.lab.answer_code import block_of, replaced
from agentnb.notebook.lab.protocol import CellText, digest_of

ANSWER = """1. In a list:

   ```python
   if x:
       y = 1
   ```

```sh
pip list
```

~~~py
text = "```"
~~~

```python
unfinished = 1"""


@pytest.mark.parametrize(
    ("number", "source"),
    [(1, "if x:\n    y = 1"), (2, 'text = "```"'), (3, "unfinished = 1"), (4, ""), (0, ""), (-1, "")],
)
def test_a_block_is_exact_without_the_indent_of_what_it_stands_in(number: int, source: str) -> None:
    assert block_of(AgentRun({"text": ANSWER}), number) == source


def test_what_was_stopped_has_blocks_too() -> None:
    assert block_of(AgentRun({"text": "", "stopped": {"text": ANSWER}}), 2) == 'text = "```"'


def cells(*sources: str) -> tuple[CellText, ...]:
    made = enumerate(sources)
    return tuple(CellText(id=str(n), kind="code", execution_count=None, digest=digest_of(s), source=s) for n, s in made)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f():\n    return 2", "3"),  # the last that defines it
        ("import numpy as np\na = 1\nb = 2", "1"),  # most of the names; imports are everybody's
        ("import numpy as np", None),
        ("print(a)", None),
        ("no python at all", None),
    ],
)
def test_the_cell_that_defines_the_same_is_the_one_to_replace(source: str, found: str | None) -> None:
    notebook = cells(
        "import numpy as np\ndef f(): ...", "a = 0\n%time f()\nb = 1", "b = 5", "def f():\n    return 1", "%%agent\nf"
    )
    cell = replaced(notebook, source)
    assert (cell.id if cell else None) == found
