"""A real model uses the notebook's tools: by the schema that it is held to, through the agent, to the answer.

In `make test` it is the model of half a billion parameters; the larger one is asked by hand: `make test-tools`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from local_tasks import TASKS, first_replies, home_with

import agentnb
from agentnb.agent.run_document import AgentRun

pytestmark = [pytest.mark.model, pytest.mark.timeout(3600)]


def test_the_half_billion_model_inspects_runs_approved_code_and_answers(tmp_path: Path) -> None:
    home = home_with("qwen2.5-coder-0.5b", tmp_path / "home")
    task = "First inspect `prices`. Then run code that computes sum(prices). Then tell me the sum."
    with agentnb.Agent(
        model="local:qwen2.5-coder-0.5b",
        tools=["inspect", "run_code"],
        home=home,
        context="none",
        approval="ask",
        max_tokens=160,
        max_steps=12,
    ) as agent:
        agent.session.namespace["prices"] = [3.5, 4.25, 9.0, 1.25]
        run: AgentRun = agent.run(task)
        asked = 0
        while run.state == "WAITING":
            asked += 1
            run = agent.approve(run)
    used = [tool["name"] for step in run.steps for tool in step.tools]
    assert run.state == "COMPLETED"
    assert used[0] == "inspect"
    assert "run_code" in used
    assert asked >= 1
    assert "18" in run.text
    assert run.cost == 0.0
    assert run.latency.on_server.decode > 0


@pytest.mark.slow
def test_the_larger_model_begins_nine_of_twelve_tasks_rightly(tmp_path: Path) -> None:
    home = home_with("qwen2.5-coder-1.5b", tmp_path / "home")
    replies = first_replies("local:qwen2.5-coder-1.5b", home)
    right = [judge(reply) for (_, judge), (_, reply) in zip(TASKS, replies, strict=True)]
    assert sum(right) >= 9, [task for (task, _), good in zip(TASKS, right, strict=True) if not good]
