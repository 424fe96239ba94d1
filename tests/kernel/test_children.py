"""What a user sees of children: a line for each, live and behind `details`, and each by its own id."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_children_stand_as_lines_below_their_parent_and_are_shown_by_their_ids(start: Callable[..., Any]) -> None:
    kernel = start(AGENTNB_SIM_SPEED="4")
    kernel.ok("%load_ext agentnb")
    result = kernel.ok("%agent --tools inspect,delegate Delegate “Explain tides”, “Explain moons”.")
    live = [json.dumps(message["content"], ensure_ascii=False) for message in result.messages]
    painted = [text for text in live if "Explain moons" in text and "comm_id" in text and "● Explain tides" in text]
    assert painted, "both stand in the live view while they work"
    final = result.displays[-1]
    assert "✓ Explain tides · $0.0" in final["text/html"]
    run = result.run
    assert [child["state"] for child in run["children"]] == ["COMPLETED"] * 2
    child = run["children"][0]["run_id"]
    assert child.startswith(f"{run['run_id']}/")
    shown = kernel.ok(f"%agent_runs show {child}")
    assert shown.run["task"] == "Explain tides"
    assert f"part of {run['run_id']}" in shown.displays[-1]["text/plain"]
    listed = kernel.ok("%agent_runs list").displays[0]["text/plain"]
    assert run["run_id"] in listed
    assert child not in listed
    assert "1 question" in listed
