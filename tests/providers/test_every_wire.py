"""Google and OpenAI (both of its wires) over the real SDKs and real HTTP, against the simulator; faults included."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from loopback import Answer, Loopback
from wires import INSPECT, SIMULATED, WIRES, adapter_at, cancelled, said, simulated

from agentnb.canonical import SystemClock
from agentnb.errors import (
    ConnectionFailed,
    KeyMissing,
    Overloaded,
    ProviderError,
    RateLimited,
    RequestRefused,
    ServerFault,
    StreamBroken,
)
from agentnb.models.catalog import lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Role, StopReason, ToolCall, ToolResult
from agentnb.providers import latency
from agentnb.providers.base import CallAnswer
from agentnb.providers.calling import Calling
from agentnb.providers.openai import OpenAIProvider
from agentnb.simulator import Simulator

OTHERS = [name for name in SIMULATED if name != "anthropic"]
LONG = "The harbour's tide tables, read aloud: " + "high water, low water, " * 900


@dataclass
class Line:
    """One adapter over a simulator."""

    provider: Calling
    simulator: Simulator

    def prompt(self, *blocks: Block, max_tokens: int = 500) -> Prompt:
        base = (
            Block(layer=Layer.STATIC, role=Role.TOOLS, content=INSPECT),
            said(LONG, layer=Layer.STATIC, role=Role.SYSTEM),
            said("project", layer=Layer.SEMI_STATIC, role=Role.SYSTEM),
        )
        return Prompt(model=self.provider.model.name, blocks=base + blocks, max_tokens=max_tokens)

    def ask(self, prompt: Prompt) -> tuple[CallAnswer, str]:
        shown: list[str] = []

        def hear(kind: str, text: str) -> None:
            if kind == "restart":
                shown.clear()
            elif kind == "text":
                shown.append(text)

        wire = self.provider.encode(prompt, (), previous_message=None)
        return self.provider.ask(wire, hear), "".join(shown)


@pytest.fixture(params=OTHERS)
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    with simulated(request.param) as (provider, simulator):
        yield Line(provider, simulator)


def test_a_call_streams_and_reports(line: Line) -> None:
    answer, shown = line.ask(line.prompt(said("Hello?")))
    assert answer.reply.stop is StopReason.END
    assert answer.reply.text == shown
    assert answer.reply.usage.input_total > 3000
    assert answer.reply.usage.output > 0
    timing = latency.from_trace(answer.trace, output_tokens=answer.reply.usage.output)
    assert timing.modelled
    assert timing.total > timing.ttft > 0


def test_the_same_prefix_is_read_from_the_prompt_cache(line: Line) -> None:
    if line.provider.model.cache.breakpoints:
        pytest.skip("nothing is cached without a mark; the marks have tests of their own")
    first, _ = line.ask(line.prompt(said("Hello?")))
    second, _ = line.ask(line.prompt(said("Hello?")))
    assert first.reply.usage.cache_read == 0
    assert second.reply.usage.cache_read > line.provider.model.cache.minimum
    assert second.reply.usage.input_total == first.reply.usage.input_total


def test_a_tool_call_and_its_result(line: Line) -> None:
    question = said("Please inspect `tides.level`.")
    first, _ = line.ask(line.prompt(question))
    assert first.reply.stop is StopReason.TOOLS
    (call,) = first.reply.calls
    assert dict(call.arguments) == {"name": "tides.level"}
    second, text = line.ask(line.prompt(question, *exchanged(first)))
    assert second.reply.stop is StopReason.END
    assert "level" in text


def test_parallel_tool_calls_and_their_results(line: Line) -> None:
    question = said("Please inspect `tides.level` and inspect `tides.low` too.")
    first, _ = line.ask(line.prompt(question))
    assert len({call.call_id for call in first.reply.calls}) == len(first.reply.calls)
    second, _ = line.ask(line.prompt(question, *exchanged(first), *()))
    assert second.reply.stop in (StopReason.END, StopReason.TOOLS)


def exchanged(answer: CallAnswer) -> list[Block]:
    """The reply as it came and the results of its calls."""
    blocks = [Block(layer=Layer.DYNAMIC, role=Role.ASSISTANT, content=part) for part in answer.reply.content]
    results = [ToolResult(call.call_id, call.name, "def level(hours): ...") for call in answer.reply.calls]
    return [*blocks, *(Block(layer=Layer.DYNAMIC, role=Role.USER, content=result) for result in results)]


def test_the_output_limit_cuts(line: Line) -> None:
    answer, _ = line.ask(line.prompt(said("Hello?"), max_tokens=16))
    assert answer.reply.stop is StopReason.MAX_TOKENS
    assert answer.reply.usage.output <= 16


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drop", "error_event", "garbage"])
def test_a_reply_that_breaks_off_is_asked_for_again_and_not_doubled(line: Line, kind: str) -> None:
    line.simulator.inject(kind=kind, after_events=2)
    answer, shown = line.ask(line.prompt(said("Hello?")))
    assert shown == answer.reply.text
    assert latency.from_trace(answer.trace, output_tokens=9).retry_wait > 0


FAULTS: list[tuple[dict[str, Any], tuple[type[ProviderError], ...]]] = [
    ({"kind": "429", "times": 9, "retry_after": 0}, (RateLimited,)),
    ({"kind": "500", "times": 9, "retry_after": 0}, (ServerFault,)),
    ({"kind": "503", "times": 9, "retry_after": 0}, (Overloaded,)),
    ({"kind": "drop", "after_events": 2, "times": 9}, (StreamBroken,)),
    ({"kind": "garbage", "after_events": 2, "times": 9}, (StreamBroken,)),
    ({"kind": "error_event", "after_events": 2, "times": 9}, (Overloaded, ServerFault, RateLimited)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "kinds"), FAULTS, ids=[fault["kind"] for fault, _ in FAULTS])
def test_what_goes_wrong_is_named(line: Line, fault: dict[str, Any], kinds: tuple[type[ProviderError], ...]) -> None:
    line.simulator.inject(**fault)
    with pytest.raises(kinds) as caught:
        line.ask(line.prompt(said("Hello?")))
    assert caught.value.todo


def test_a_refused_request_carries_the_providers_words(line: Line) -> None:
    orphan = Block(layer=Layer.DYNAMIC, role=Role.ASSISTANT, content=ToolCall("c1", "inspect", {"name": "x"}))
    with pytest.raises(RequestRefused) as caught:
        line.ask(line.prompt(said("Hello?"), orphan))
    assert caught.value.status == 400


def test_an_interrupt_wakes_a_call_that_waits(line: Line) -> None:
    line.simulator.inject(kind="stall")
    cancelled(line.provider, lambda: line.ask(line.prompt(said("Hello?"))))


def test_an_interrupted_call_is_not_sent_again(line: Line) -> None:
    """An SDK takes a connection that was cut for a bad one, and asks (and pays) once more unless it is stopped."""
    line.simulator.inject("slow_headers", times=5)
    line.provider.connect()
    cancelled(line.provider, lambda: line.ask(line.prompt(said("Hello?"))))
    assert line.provider._require_transport().trace.attempts <= 1
    line.simulator._engine.faults.clear()
    assert line.ask(line.prompt(said("Hello?")))[0].reply.text, "the connection serves the next call"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["google", "responses"])
def test_nobody_there(name: str) -> None:
    alone = adapter_at(name, "http://127.0.0.1:9")
    with pytest.raises(ConnectionFailed):
        Line(alone, Simulator()).ask(Line(alone, Simulator()).prompt(said("Hello?")))
    alone.close()


@pytest.mark.parametrize("name", ["google", "responses"])
def test_a_missing_key_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    adapter, address = WIRES[name]
    alone = adapter(lookup(address), clock=SystemClock())
    with pytest.raises(KeyMissing, match=r"(GOOGLE|OPENAI)_API_KEY.*sim:"):
        Line(alone, Simulator()).ask(Line(alone, Simulator()).prompt(said("Hello?")))


@pytest.mark.parametrize("answer", [404, ("text/html", b"<html>Welcome</html>"), ("application/json", b'{"ok": true}')])
def test_a_server_without_responses_is_asked_by_chat(answer: Any) -> None:
    """At an address of the user's own: what is no answer on /responses leads to /chat/completions, once for all.

    A web page may be that of a proxy which is out of order for once: the next call tries again.
    """
    with Simulator(speed=0, record=True) as simulator, ResponsesMissing(simulator.url, answer) as server:
        provider = OpenAIProvider(lookup("openai:gpt-4.1"), clock=SystemClock(), key="any", base_url=server.url + "/v1")
        line = Line(provider, simulator)
        first, _ = line.ask(line.prompt(said("Hello?")))
        second, _ = line.ask(line.prompt(said("Hello?")))
        provider.close()
    assert first.fell_back
    assert second.fell_back == ("text/html" in str(answer))
    assert first.reply.stop is StopReason.END
    assert [request.path for request in simulator.requests] == ["/v1/chat/completions"] * 2


class ResponsesMissing(Loopback):
    """A server in front of the simulator that knows Chat only."""

    def __init__(self, url: str, unknown: Any) -> None:
        self._behind = url
        self._unknown = (404, {}, b"") if unknown == 404 else (200, {"content-type": unknown[0]}, unknown[1])

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if not path.endswith("/chat/completions"):
            return self._unknown
        passed = {name: headers[name] for name in ("authorization", "content-type")}
        with urllib.request.urlopen(urllib.request.Request(self._behind + path, body, passed)) as answer:
            return answer.status, {"content-type": answer.headers["content-type"]}, answer.read()
