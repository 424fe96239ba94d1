"""Cache objects and the end of kernels: none outlives its session, and those that a killed one left are pruned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentnb.simulator import Simulator

pytestmark = [pytest.mark.kernel]

TOOL = f"""
import agentnb
@agentnb.tool(safe=True)
def tides(question: str) -> str:
    '''{"Answer questions about tides. " * 450}'''
    return question
"""


@pytest.fixture
def google(start: Any) -> Iterator[Callable[[], tuple[Simulator, Any]]]:
    """A provider that outlives the kernels, and kernels that ask it as if it were the Gemini API."""
    with Simulator(speed=0, record=True) as simulator:

        def make() -> tuple[Simulator, Any]:
            kernel = start(
                GOOGLE_API_KEY="any",
                GOOGLE_GEMINI_BASE_URL=simulator.url,
                AGENTNB_MODEL="google:gemini-2.5-flash",
            )
            kernel.ok("%load_ext agentnb")
            kernel.ok(TOOL)
            return simulator, kernel

        yield make


def alive(simulator: Simulator) -> list[str]:
    import json
    import urllib.request

    with urllib.request.urlopen(f"{simulator.url}/sim/state") as page:
        return [one["name"] for one in json.load(page)["cached_contents"]["alive"]]


def test_an_object_ends_with_its_kernel_or_with_the_extension(google: Any) -> None:
    simulator, kernel = google()
    kernel.ok("%agent --tools inspect,tides Hello")
    assert "It is deleted when the kernel ends" in kernel.ok("%agent_cache warm").text
    assert len(alive(simulator)) == 1
    kernel.ok("%unload_ext agentnb")
    assert alive(simulator) == []
    kernel.ok("%load_ext agentnb")
    kernel.ok("%agent --tools inspect,tides Hello")
    kernel.ok("%agent_cache warm")
    kernel.manager.shutdown_kernel(now=False)
    assert alive(simulator) == []


def test_prune_deletes_what_a_killed_kernel_left_and_not_what_another_one_uses(google: Any) -> None:
    simulator, first = google()
    first.ok("%agent --tools inspect,tides Hello")
    first.ok("%agent_cache warm")
    (left,) = alive(simulator)
    _, second = google()
    assert "0 cache objects deleted" in second.ok("%agent_cache prune").text
    assert "another kernel" in second.ok("%agent_cache list").text
    assert alive(simulator) == [left]
    first.manager.shutdown_kernel(now=True)  # a SIGKILL: nothing is tidied up
    assert alive(simulator) == [left]
    assert "an ended kernel" in second.ok("%agent_cache list").text
    pruned = second.ok("%agent_cache prune").text
    assert "1 cache object deleted" in pruned
    assert left in pruned
    assert alive(simulator) == []
