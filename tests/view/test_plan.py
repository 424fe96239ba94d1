"""The plan of a run as people see it: one line while it goes on and at its end, and the list behind `details`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from agentnb.agent.run_document import run_document
from agentnb.agent.state import AgentState, Segment
from agentnb.agent.tools.plan import PlanItem
from agentnb.settings import RunOptions
from agentnb.view.outcome import outcome_line
from agentnb.view.progress import Progress
from agentnb.view.render import bundle

PLAN = (
    PlanItem(text="load", state="done"),
    PlanItem(text="clean <b>", state="doing"),
    PlanItem(text="plot"),
)


def document(state: str, plan: tuple[PlanItem, ...] = PLAN) -> Any:
    told = AgentState(task="t", thread="", options=RunOptions(), segment=Segment(root=""), plan=plan, text="Done.")
    return run_document(run_id="r-1", standing=state, state=told, steps=())


def test_the_live_view_says_at_which_step_of_the_plan_the_run_is() -> None:
    run = Progress(began=0.0)
    view = SimpleNamespace(
        kind="view", step=3, state="ACTING", next_state="ACTING", data={"context": document("ACTING")}
    )
    run.feed(view, 1.0)
    assert "plan: 1 of 3 done, now clean <b>" in run.line(1.0)
    assert "now clean &lt;b&gt;" in run.stage_html()


def test_the_outcome_tells_how_far_the_plan_came_and_the_list_stands_behind_it() -> None:
    assert "plan: 1 of 3 done" in outcome_line(document("FAILED"))
    assert "plan" not in outcome_line(document("COMPLETED", ()))
    forms = bundle(document("COMPLETED"), full=True)
    assert [line.strip() for line in forms["text/plain"].splitlines()[-3:]] == ["✓ load", "● clean <b>", "○ plot"]
    assert "● clean &lt;b&gt;" in forms["text/html"]
    assert "- ✓ load" in forms["text/markdown"]
