"""Cells in a conversation: a request only ever extends the one before it, and shows each cell as it last ran."""

from __future__ import annotations

import itertools
import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from thread_machine import ThreadMachine, search

from agentnb.agent.kernel_context import Observed
from agentnb.context.notebook.notebook_text import NotebookText, TextCell
from agentnb.context.notebook.outputs import Output

CELLS = tuple(f"cell{i}" for i in range(20))
TASKS = (
    "Explain the cell above.",
    "Explain In[3].",
    "What is value_4, and why?",
    "Summarise this notebook.",
    "And now?",
    "Which cell prints 7.25?",
)


class CellSearch(ThreadMachine):
    """One thread over cells that run, run again and change; each request is compared with what ran."""

    def __init__(self) -> None:
        super().__init__()
        self.newest: dict[str, int] = {}

    @initialize(cells=st.integers(0, 20))
    def begin(self, cells: int) -> None:
        for i in range(cells):
            self._run(CELLS[i], 0, i % 4)

    @rule(
        runs=st.lists(st.tuples(st.sampled_from(CELLS), st.integers(0, 3), st.integers(0, 3)), max_size=4),
        task=st.sampled_from(TASKS),
        budget=st.sampled_from([300, 16_000]),
    )
    def ask(self, runs: list[tuple[str, int, int]], task: str, budget: int) -> None:
        for cell, version, shown in runs:
            self._run(cell, version, shown)
        self._ask(task, context_tokens=budget)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), task=st.sampled_from(TASKS))
    def ask_again(self, data: st.DataObject, task: str) -> None:
        self._ask(task, cell=data.draw(st.sampled_from(self.asked)))

    def _run(self, cell: str, version: int, shown: int) -> None:
        self.number += 1
        name = f"value_{cell.removeprefix('cell')}"
        source = "\n".join([f"{name} = {version}", *(f"{name} += {i}" for i in range(8)), f"print({name})"])
        self.session.cells.record(source, cell_id=cell, number=self.number)
        outputs = [Output(kind="printed", text=f"{shown}.25\n" * (1 + 20 * shown))]
        self.session.log.record(source, cell=cell, number=self.number, outputs=outputs)
        self.session.namespace[name] = version
        self.newest[cell] = self.number

    def _ask(self, task: str, cell: str | None = None, **changes: Any) -> None:
        run_id, run = self.complete(task, cell, **changes)
        _, sent = self.received()
        context = self.session.machine().get(run_id).context
        parent = context["parent"]
        before = [self.last[parent]] if parent and context["segment_root"] != run_id else []
        for one, other in itertools.pairwise([*before, *sent]):
            assert self.wire.kept(one, other) == len(one.blocks), "a request only ever extends the one before it"
        self.last[run_id] = sent[-1]
        self._check_cells(sent[-1].texts, run)

    def _check_cells(self, texts: tuple[str, ...], run: Any) -> None:
        text = "\n".join(texts)
        whole = [(int(n), rest) for n, rest in re.findall(r'<cell number="(\d+)"([^>]*)>', text)]
        lined = {
            int(n)
            for part in re.findall(r'<notebook form="outline">\n(.*?)\n</notebook>', text, re.DOTALL)
            for group in re.findall(r"^([\d, ]+): ", part, re.MULTILINE)
            for n in group.split(", ")
        }
        for cell, number in self.newest.items():
            assert number in lined or number in {n for n, _ in whole}, f"{cell} as it last ran is not told"
        plain = [n for n, rest in whole if "more_than" not in rest and "older_than" not in rest]
        assert len(plain) == len(set(plain)), "a run is told once, but for one that is named though a newer one is held"
        for number, rest in whole:
            replaced = re.search(r'replaces="(\d+)"', rest)
            assert replaced is None or int(replaced.group(1)) < number
        listed = {item["cell"]: item["execution_count"] for item in run.receipt["cells"]}
        assert listed == self.newest


@pytest.mark.slow
def test_no_order_of_runs_breaks_a_thread(wire: ModuleType) -> None:
    search(CellSearch, wire, examples=15, steps=8)


def test_an_edit_that_is_told_and_taken_back_is_told_as_taken_back_once(book: Any) -> None:
    log, session = book.session.log, book.session
    log.record("a = 1", cell="c1", number=1)

    def ask(source: str, *, live: bool = True) -> str:
        text = NotebookText(cells=(TextCell("c1", "code", source),), live=live)
        session.observed = Observed(text=text)
        book.ask("And now?")
        return str(book.bodies[-1]["messages"][-1]["content"])

    assert "edited since" not in ask("a = 1")
    assert 'number="1" state="edited since it ran; not run as it is now"' in ask("a = 2")
    assert "state=" not in ask("a = 2")
    assert "state=" not in ask("a = 1", live=False), "a saved file may be older"
    assert '<cell number="1" state="is in the notebook as it ran"/>' in ask("a = 1")
    assert "state=" not in ask("a = 1")
    assert 'state="edited since' in ask("a = 2"), "edited again"
