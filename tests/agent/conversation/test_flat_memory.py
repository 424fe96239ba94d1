"""What a run keeps in memory for each step stays small, early and late: counted in objects, which no load changes."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from scripted_model import ScriptedModel

from agentnb.agent.tools.tool import tool

CALLS, EVERY = 120, 10
"""A run of 500 by hand keeps as few."""


def ours() -> int:
    """How many objects of agentnb's own types there are; the simulator's are not counted."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    return sum(
        1
        for kind in kinds
        if str(kind.__module__).startswith("agentnb.") and not str(kind.__module__).startswith("agentnb.simulator")
    )


@pytest.mark.slow
def test_a_step_late_in_a_run_leaves_no_more_behind_than_an_early_one(book: Any) -> None:
    @tool(safe=True)
    def page(number: int) -> str:
        """Read a page."""
        return f"Page {number}: " + "high water, low water " * 100

    counts: list[int] = []

    def reply(n: int) -> Any:
        script.seen.clear()
        if n % EVERY == 0:
            counts.append(ours())
        return (f"I read page {n}.", [("page", {"number": n})]) if n < CALLS else ("Done.", [])

    script = ScriptedModel(reply, summary=lambda _: "Found: tides.")
    book.session.extra_tools["page"] = page
    with script.installed():
        run = book.ask("Read all pages.", context="none", max_steps=2_000, compact_at=10_500)
    assert run.state == "COMPLETED", run.error
    half = len(counts) // 2
    assert len(counts) == CALLS // EVERY
    assert max(counts[half:]) <= 1.1 * max(counts[:half]), counts
