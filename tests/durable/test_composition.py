"""States made of machines: sub-machines, branches with a join; and typed contexts."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from patience import PATIENCE
from pydantic import BaseModel

from agentnb.durable.composition import Branch, parallel, submachine
from agentnb.durable.journal.open import open_journal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import ContextNotStorable


def add_one(context):
    return ("COMPLETED" if context["n"] >= 3 else "ADD"), {"n": context["n"] + 1}


@pytest.fixture
def child(journal):
    child = AgentStateMachine(journal)
    child.register_state("ADD", add_one)
    return child


def test_a_state_runs_another_machine_and_goes_on_with_its_result(machine, child):
    branch = Branch(machine=child, start="ADD", into=lambda context: {"n": context["from"]})
    machine.register_state("SUB", submachine(branch, back=lambda mine, its: ("COMPLETED", {**mine, "n": its["n"]})))
    machine.initialize_run("r", "SUB", {"from": 1})
    assert machine.run_to_end("r").context == {"from": 1, "n": 4}
    assert [run.run_id for run in machine.journal.find(parent="r")] == ["r/1/sub"]
    assert child.get("r/1/sub").step == 3
    assert machine.replay("r", 1).same


def test_a_failed_run_inside_fails_the_state_and_goes_on_when_the_parent_is_resumed(machine, child):
    broken = [True]

    def fragile(context):
        if context["n"] == 2 and broken:
            raise ValueError("not yet")
        return add_one(context)

    child.register_state("ADD", fragile)
    machine.register_state("SUB", submachine(Branch(machine=child, start="ADD"), back=lambda a, b: ("COMPLETED", b)))
    machine.initialize_run("r", "SUB", {"n": 0})
    assert machine.execute_step("r") == "FAILED"
    assert "ValueError: not yet" in machine.get("r").error.message
    broken.clear()
    machine.resume("r")
    assert machine.run_to_end("r").context == {"n": 4}
    assert child.get("r/1/sub").step == 4, "its first two steps were not repeated"


def test_a_run_inside_that_waits_pauses_the_parent(machine, child):
    child.register_state("ADD", lambda context: ("AWAITING_WORD", context))
    child.register_state("AWAITING_WORD", lambda context: ("COMPLETED", {"word": child.current.event.data}))
    machine.register_state("SUB", submachine(Branch(machine=child, start="ADD"), back=lambda a, b: ("COMPLETED", b)))
    machine.initialize_run("r", "SUB", {})
    assert machine.run_to_end("r").status == "paused"
    assert "waiting in AWAITING_WORD (r/1/sub)" in machine.history("r")[-1].data["reason"]
    child.send("r/1/sub", "WORD", "go")
    machine.resume("r")
    assert machine.run_to_end("r").context == {"word": "go"}


def test_branches_run_side_by_side_and_join(machine, child):
    together = threading.Barrier(3, timeout=PATIENCE)

    def meet(context):
        together.wait()
        return "COMPLETED", {"n": context["n"] * 10}

    child.register_state("MEET", meet)
    branches = {
        name: Branch(machine=child, start="MEET", into=lambda context, i=i: {"n": i}) for i, name in enumerate("abc")
    }
    machine.register_state("FAN", parallel(branches, join=lambda mine, theirs: ("COMPLETED", mine | theirs)))
    machine.initialize_run("r", "FAN", {"task": "x"})
    assert machine.run_to_end("r").context == {"task": "x", "a": {"n": 0}, "b": {"n": 10}, "c": {"n": 20}}


def test_a_branch_that_fails_keeps_the_others_work(machine, child):
    runs = {"good": 0, "bad": 0}

    def work(context):
        runs[context["name"]] += 1
        if context["name"] == "bad" and runs["bad"] == 1:
            raise ValueError("once")
        return "COMPLETED", context

    child.register_state("WORK", work)
    branches = {n: Branch(machine=child, start="WORK", into=lambda context, n=n: {"name": n}) for n in runs}
    machine.register_state("FAN", parallel(branches, join=lambda mine, theirs: ("COMPLETED", {"n": len(theirs)})))
    machine.initialize_run("r", "FAN", {})
    assert machine.execute_step("r") == "FAILED"
    machine.resume("r")
    assert machine.run_to_end("r").context == {"n": 2}
    assert runs == {"good": 1, "bad": 2}


@dataclass
class Plan:
    goal: str
    steps: list[str] = field(default_factory=list)
    due: datetime | None = None


class Model(BaseModel):
    goal: str
    plan: Plan


def test_a_dataclass_as_context(tmp_path):
    home, due = tmp_path / "runs", datetime(2026, 11, 22, tzinfo=UTC)
    machine = AgentStateMachine(home, context_type=Plan)
    seen = []

    @machine.state("S")
    def step(plan: Plan):
        seen.append(type(plan))
        plan.steps.append("one")
        return ("COMPLETED" if len(plan.steps) == 2 else "S"), plan

    machine.initialize_run("r", "S", Plan("x", due=due))
    machine.run_to_end("r")
    assert machine.get("r").context == Plan("x", ["one", "one"], due)
    assert machine.context_at("r", 1) == Plan("x", ["one"], due)
    machine.close()
    again = AgentStateMachine(open_journal(home), context_type=Plan)
    assert again.context_at("r", 0) == Plan("x", [], due)
    assert seen == [Plan, Plan]
    again.close()


def test_a_pydantic_model_as_context_and_what_does_not_fit(journal):
    machine = AgentStateMachine(journal, context_type=Model)
    machine.register_state("S", lambda model: ("COMPLETED", model.model_copy(update={"goal": "y"})))
    machine.initialize_run("r", "S", Model(goal="x", plan=Plan("p")))
    assert machine.run_to_end("r").context == Model(goal="y", plan=Plan("p"))
    machine.initialize_run("dict", "S", {"goal": "x", "plan": {"goal": "p"}})
    with pytest.raises(ContextNotStorable, match=r"\['plan'\]"):
        machine.initialize_run("bad", "S", {"goal": "x", "plan": 3})


def test_asynchronous_subscribers_hear_every_step_in_order(machine, child):
    async def main():
        heard, done = [], asyncio.Event()

        async def listen(event):
            await asyncio.sleep(0)
            heard.append(event.next_state)
            if event.next_state == "COMPLETED":
                done.set()

        child.events.subscribe(listen, kinds={"step"})
        child.initialize_run("r", "ADD", {"n": 1})
        await asyncio.to_thread(child.run_to_end, "r")
        await asyncio.wait_for(done.wait(), 10)
        return heard

    assert asyncio.run(main()) == ["ADD", "ADD", "COMPLETED"]
