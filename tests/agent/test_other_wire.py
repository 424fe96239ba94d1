"""A server without the Responses API: the person is told once that Chat Completions are asked, and from when on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from scripted import Scripted

import agentnb
from agentnb.agent.states.thinking import OTHER_WIRE


def test_a_server_that_knows_chat_alone_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("AGENTNB_STREAM", "false")
    with closing(Scripted("chat")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        agent = agentnb.Agent(model="openai:gpt-4.1")
        first, second = agent.run("Hello"), agent.run("Hello again")
    assert OTHER_WIRE in first.receipt["notes"]
    assert OTHER_WIRE not in second.receipt["notes"]
    assert "later calls of this session go there" in OTHER_WIRE
