"""%agent_cache in a real kernel, on each provider: what warm, extend, clear, prune and list do, or why they cannot."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.kernel]


def test_anthropic_is_warmed_by_the_last_request(kernel: Any) -> None:
    kernel.ok("%agent Hello")
    warmed = kernel.ok("%agent_cache warm").text
    assert "Nothing was generated" in warmed
    assert "$" in warmed
    assert "agentnb keeps this list itself" in kernel.ok("%agent_cache list").text
    assert "keeps cache objects" in kernel.ok("%agent_cache prune").text
    assert "expires by itself" in kernel.ok("%agent_cache clear").text
    status = kernel.ok("%agent_cache status").text
    assert "policy for Claude Sonnet 4.6" in status
    assert "cache_budget is 0" in status


def test_a_machine_of_ones_own_is_no_call(kernel: Any) -> None:
    kernel.ok(
        """
import agentnb
own = agentnb.AgentStateMachine()
@own.state("PLANNING")
def plan(context):
    return "COMPLETED", context
"""
    )
    kernel.ok("%agent --machine own Do it")
    assert "made no call" in kernel.ok("%agent_cache explain").text
    for command in ("status", "list", "prune", "clear"):
        kernel.ok(f"%agent_cache {command}")
    assert "no request to keep warm" in kernel.run("%agent_cache warm").error
    kernel.ok("%agent Hello")
    kernel.ok("%agent --machine own Do it again")
    assert "Nothing was generated" in kernel.ok("%agent_cache warm").text


def test_openai_says_that_it_cannot_be_warmed(kernel: Any) -> None:
    kernel.ok("%agent -m sim:gpt-4.1 Hello")
    error = kernel.run("%agent_cache warm").error
    assert "no way to warm" in str(error)


def test_google_gets_a_cache_object_that_can_be_extended_listed_and_deleted(kernel: Any) -> None:
    kernel.ok("%config AgentNB.model = 'sim:gemini-2.5-flash'")
    kernel.ok("import agentnb\n@agentnb.tool\ndef long(question: str) -> str:\n    '''" + "Tides. " * 2000 + "'''")
    kernel.ok("%agent --tools inspect Hello")
    failed = kernel.run("%agent_cache warm").error
    assert "too little for a cache object" in str(failed)
    assert "2,048 or more" in str(failed)
