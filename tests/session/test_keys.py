"""Keys and addresses count from the next call on that begins after they were set, and are shown nowhere."""

from __future__ import annotations

import http.client
import io
import json
import os
import pickle
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from loopback import Answer, Loopback
from patience import PATIENCE

from agentnb.errors import AccessRefused, KeyMissing
from agentnb.script import Agent
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator

RIGHT, WRONG = "sk-right-5b1e0c77", "sk-wrong-93ad4f20"
WIRES = {
    "anthropic:claude-sonnet-4-6": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ""),
    "google:gemini-2.5-flash": ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", ""),
    "openai:gpt-4.1": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/v1"),
}


class Gate(Loopback):
    """A server that lets nothing but the right key through to a simulator, and counts what it let through. Its refusal
    repeats what it was sent."""

    def __init__(self, simulator: Simulator) -> None:
        self._behind = simulator.url.removeprefix("http://")
        self.passed = self.refused = 0

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if RIGHT not in str(headers):
            self.refused += 1
            sent = [
                headers[name] for name in headers if name.lower() in ("x-api-key", "authorization", "x-goog-api-key")
            ]
            said = {"error": {"message": f"invalid key {sent}", "code": 401}}
            return 401, {"content-type": "application/json"}, json.dumps(said).encode()
        self.passed += 1
        behind = http.client.HTTPConnection(self._behind, timeout=PATIENCE)
        behind.request("POST", path, body, dict(headers))
        came = behind.getresponse()
        return came.status, {"content-type": came.headers["content-type"]}, came.read()


@pytest.fixture
def gates() -> Iterator[tuple[Gate, Gate]]:
    with Simulator(speed=0) as simulator, Gate(simulator) as one, Gate(simulator) as other:
        yield one, other


@pytest.mark.parametrize("model", WIRES)
def test_keys_and_addresses_count_at_the_next_call(
    model: str, gates: tuple[Gate, Gate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, address, path = WIRES[model]
    for name in [name for name in os.environ if name.startswith(("ANTHROPIC_", "GOOGLE_", "GEMINI_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    first, second = gates
    session = Session(settings=Settings(home=tmp_path / "home"))
    agent = Agent(model, session=session, tools=["inspect"])

    with pytest.raises(KeyMissing, match=key):
        agent.run("Hello?")
    monkeypatch.setenv(address, first.url + path)
    monkeypatch.setenv(key, WRONG)
    with pytest.raises(AccessRefused) as refused:
        agent.run("Hello?")
    assert f"Check {key}" in str(refused.value)
    assert "invalid key" in str(refused.value)

    monkeypatch.setenv(key, f"{RIGHT}\n")  # as a file has it
    assert agent.run("Hello?").state == "COMPLETED"
    before = session.provider(model)

    monkeypatch.setenv(address, second.url + path)
    assert agent.run("And now?").state == "COMPLETED"
    assert (first.refused, first.passed, second.passed) == (1, 1, 1)
    assert session.provider(model).scope != before.scope, "what is warm at one place is not warm at another"

    shown = repr((session, session.provider(model), agent, vars(session.provider(model)), refused.value))
    assert RIGHT not in shown
    assert WRONG not in shown
    session.close()
    frames = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    assert [line for line in frames.format() if RIGHT in line or WRONG in line] == [], "as verbose tracebacks show it"
    kept = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    for text in (RIGHT, WRONG):
        assert text.encode() not in kept + pickled(refused.value)


def pickled(error: BaseException) -> bytes:
    """Without what another library may have registered for errors, such as their causes with open sockets."""
    out = io.BytesIO()
    pickler = pickle.Pickler(out)
    pickler.dispatch_table = {}
    pickler.dump(error)
    return out.getvalue()


@pytest.mark.parametrize("model", WIRES)
def test_a_key_that_was_copied_with_dots_for_its_end_is_named_and_not_sent(
    model: str, gates: tuple[Gate, Gate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, address, path = WIRES[model]
    monkeypatch.setenv(address, gates[0].url + path)
    monkeypatch.setenv(key, f"{RIGHT}…")
    with Agent(model, session=Session(settings=Settings(home=tmp_path / "home")), tools=["inspect"]) as agent:
        with pytest.raises(AccessRefused, match=f"nothing was sent.*Check {key}") as refused:
            agent.run("Hello?")
        frames = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
        assert [line for line in frames.format() if RIGHT in line] == []
        monkeypatch.setenv(key, RIGHT)
        assert agent.run("Hello?").state == "COMPLETED"
    assert (gates[0].refused, gates[0].passed) == (0, 1)
