"""What a user sees of children: a line for each, live and behind `details`, and each by its own id."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_children_stand_as_lines_below_their_parent_and_are_shown_by_their_ids(start: Callable[..., Any]) -> None:
    kernel = start()
    kernel.ok("%load_ext agentnb")
    # The parent's reply passes; those of the children stand still for some seconds, in which the view is painted.
    kernel.ok(
        "sim = get_ipython()._agentnb_notebook.session.simulator()\n"
        "sim.inject(kind='stall', seconds=0)\nsim.inject(kind='stall', after_events=12, seconds=4, times=2)"
    )
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


def test_a_stop_while_a_child_writes_counts_what_it_wrote_and_goes_on(start: Callable[..., Any]) -> None:
    kernel = start()
    kernel.ok("%load_ext agentnb")
    # The parent's reply passes; the child's stands still after some words.
    kernel.ok(
        "sim = get_ipython()._agentnb_notebook.session.simulator()\n"
        "sim.inject(kind='stall', seconds=0)\nsim.inject(kind='stall', after_events=12)"
    )
    request = kernel.send("%agent --tools inspect,delegate Delegate “Explain tides at length, please.”")
    # The line of the child, then the clock alone: its reply stands still.
    after: list[str] = []

    def stands_still(shown: Any) -> bool:
        said = str(shown.messages[-1]["content"])
        if after or "● Explain tides at length, please. · Asking" in said:
            after.append(said)
        return sum("agentnb-clock" in each for each in after) > 1

    shown = kernel.collect(request, until=stands_still)
    kernel.manager.interrupt_kernel()
    kernel.collect(request, into=shown)
    assert shown.error.startswith("Stopped by you."), "no traceback"
    stopped = shown.run
    assert stopped["state"] == "PAUSED"
    (child,) = stopped["children"]
    assert child["state"] == "PAUSED"
    (asked,) = [step for step in stopped["steps"] if step["cost"]]
    assert child["cost"] > 0, "it had written"
    assert stopped["cost"]["total"] == pytest.approx(asked["cost"] + child["cost"])
    assert stopped["usage"]["calls"] == 2
    assert re.search(rf"Stopped by you after [\d.]+ s, ≈ \${stopped['cost']['total']:.3f}", shown.text), shown.text
    assert f"${stopped['cost']['total']:.3f}" in kernel.ok("%agent_runs").text
    done = kernel.ok("%agent_runs resume").run
    assert (done["run_id"], done["state"]) == (stopped["run_id"], "COMPLETED")
    assert [each["run_id"] for each in done["children"]] == [child["run_id"]], "the same child went on"
    assert done["children"][0]["cost"] > child["cost"]
    costs = sum(step["cost"] for step in done["steps"] if step["cost"])
    assert done["cost"]["total"] == pytest.approx(costs + done["children"][0]["cost"]), "each call counts once"
    names = kernel.value("[thread.name for thread in __import__('threading').enumerate()]")
    assert not [name for name in names if "agentnb-run" in name or "ThreadPool" in name], names
