"""A real model uses the notebook's tools: by the schema that it is held to, through the agent, to the answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from local_tasks import TASKS, first_replies, home_with_weights

import agentnb
from agentnb.agent.run_document import AgentRun
from agentnb.providers.local import weights

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(3600)]


def home_of(model: str, place: Path) -> Path:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("a model on this machine needs xllamacpp: make test")
    home = home_with_weights(place / "home")
    if weights.path_of(weights.named(model), home) is None:
        pytest.skip(f"the weights are not here: python -m agentnb local get {model}")
    return home


def test_the_half_billion_model_inspects_runs_approved_code_and_answers(tmp_path: Path) -> None:
    home = home_of("qwen2.5-coder-0.5b", tmp_path)
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


def test_the_larger_model_begins_nine_of_twelve_tasks_rightly(tmp_path: Path) -> None:
    replies = first_replies("local:qwen2.5-coder-1.5b", home_of("qwen2.5-coder-1.5b", tmp_path))
    right = [judge(reply) for (_, judge), (_, reply) in zip(TASKS, replies, strict=True)]
    assert sum(right) >= 9, [task for (task, _), good in zip(TASKS, right, strict=True) if not good]
