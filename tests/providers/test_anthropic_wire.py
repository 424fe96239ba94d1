"""The Anthropic adapter over the real SDK and real HTTP, against the simulator; what it says when things go wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wires import INSPECT, cancelled

from agentnb.canonical import SystemClock
from agentnb.errors import (
    AccessRefused,
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
from agentnb.models.messages import Role, StopReason, Text, ToolResult
from agentnb.providers import latency
from agentnb.providers.anthropic import AnthropicProvider
from agentnb.providers.base import CallAnswer
from agentnb.providers.promptcache import place_marks
from agentnb.simulator import Simulator

MODEL = lookup("sim:claude-sonnet-4-6")
LONG = "The harbour's tide tables, read aloud: " + "high water, low water, " * 600


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(speed=0, record=True) as running:
        yield running


@pytest.fixture
def provider(simulator: Simulator) -> Iterator[AnthropicProvider]:
    made = connect(simulator)
    yield made
    made.close()


def connect(simulator: Simulator) -> AnthropicProvider:
    scope = f"sim:{simulator.instance}"
    return AnthropicProvider(MODEL, clock=SystemClock(), key="any", base_url=simulator.url, scope=scope)


def block(text: str, *, layer: Layer = Layer.DYNAMIC, role: Role = Role.USER) -> Block:
    return Block(layer=layer, role=role, content=Text(text))


BASE = (
    Block(layer=Layer.STATIC, role=Role.TOOLS, content=INSPECT),
    block(LONG, layer=Layer.STATIC, role=Role.SYSTEM),
    block("project", layer=Layer.SEMI_STATIC, role=Role.SYSTEM),
)


def prompt_of(*blocks: Block, previous_end: int = 0, max_tokens: int = 500) -> Prompt:
    return Prompt(model=MODEL.name, blocks=BASE + blocks, max_tokens=max_tokens, previous_end=previous_end)


def ask(provider: AnthropicProvider, prompt: Prompt, previous: str | None = None) -> tuple[CallAnswer, str]:
    shown: list[str] = []
    wire = provider.encode(prompt, place_marks(prompt, MODEL), previous_message=previous)
    answer = provider.ask(wire, lambda kind, text: shown.append(text) if kind == "text" else None)
    return answer, "".join(shown)


def test_a_call_streams_and_reports(provider: AnthropicProvider, simulator: Simulator) -> None:
    answer, shown = ask(provider, prompt_of(block("Hello?")))
    assert answer.reply.stop is StopReason.END
    assert answer.reply.text == shown
    assert answer.reply.usage.cache_write_5m > 1024
    assert answer.reply.request_id
    body = simulator.requests[-1].body
    assert body["stream"] is True
    assert body["diagnostics"] == {"previous_message_id": None}
    assert all(isinstance(message["content"], list) for message in body["messages"])


def test_the_four_breakpoints(provider: AnthropicProvider, simulator: Simulator) -> None:
    first, _ = ask(provider, prompt_of(block("One?")))
    reply = block(first.reply.text, role=Role.ASSISTANT)
    later = prompt_of(block("One?"), reply, block("Two?"), previous_end=4)
    second, _ = ask(provider, later, first.reply.message_id)
    assert second.reply.usage.cache_read == first.reply.usage.cache_read + first.reply.usage.cache_write
    body = simulator.requests[-1].body
    assert [("cache_control" in item) for item in body["system"]] == [True, True]
    marked = [[("cache_control" in item) for item in message["content"]] for message in body["messages"]]
    assert marked == [[True], [False], [True]]
    assert not any("cache_control" in tool for tool in body["tools"])


def test_a_tool_call_and_its_result(provider: AnthropicProvider) -> None:
    question = block("Please inspect `tides.level`.")
    first, _ = ask(provider, prompt_of(question))
    assert first.reply.stop is StopReason.TOOLS
    (call,) = first.reply.calls
    assert dict(call.arguments) == {"name": "tides.level"}
    called = tuple(Block(layer=Layer.DYNAMIC, role=Role.ASSISTANT, content=part) for part in first.reply.content)
    result = Block(
        layer=Layer.DYNAMIC,
        role=Role.USER,
        content=ToolResult(call.call_id, "inspect", "def level(hours): ..."),
    )
    second, text = ask(provider, prompt_of(question, *called, result, previous_end=4), first.reply.message_id)
    assert second.reply.stop is StopReason.END
    assert "level" in text


def test_the_latency_is_the_modelled_one(provider: AnthropicProvider) -> None:
    cold, _ = ask(provider, prompt_of(block("Hello?")))
    warm, _ = ask(provider, prompt_of(block("Hello?")))
    first = latency.from_trace(cold.trace, output_tokens=cold.reply.usage.output)
    second = latency.from_trace(warm.trace, output_tokens=warm.reply.usage.output)
    assert first.modelled
    assert second.ttft - (second.queue or 0) < first.ttft - (first.queue or 0)
    assert first.total > first.ttft > 0


def test_the_output_limit_cuts(provider: AnthropicProvider) -> None:
    answer, _ = ask(provider, prompt_of(block("Hello?"), max_tokens=5))
    assert answer.reply.stop is StopReason.MAX_TOKENS
    assert answer.reply.usage.output <= 5


FAULTS: list[tuple[dict[str, object], type[ProviderError]]] = [
    ({"kind": "429", "times": 9, "retry_after": 0}, RateLimited),
    ({"kind": "529", "times": 9, "retry_after": 0}, Overloaded),
    ({"kind": "500", "times": 9, "retry_after": 0}, ServerFault),
    ({"kind": "drop", "after_events": 4, "times": 9}, StreamBroken),
    ({"kind": "error_event", "after_events": 4, "times": 9}, Overloaded),
    ({"kind": "garbage", "after_events": 4, "times": 9}, StreamBroken),
]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=[str(fault["kind"]) for fault, _ in FAULTS])
def test_what_goes_wrong_is_named(
    provider: AnthropicProvider, simulator: Simulator, fault: dict[str, object], kind: type[ProviderError]
) -> None:
    simulator.inject(**fault)  # type: ignore[arg-type]
    with pytest.raises(ProviderError) as caught:
        ask(provider, prompt_of(block("Hello?")))
    assert type(caught.value) is kind, caught.value
    assert caught.value.todo


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["drop", "error_event", "garbage"])
def test_a_reply_that_breaks_off_is_asked_for_again_and_not_doubled(
    provider: AnthropicProvider, simulator: Simulator, kind: str
) -> None:
    simulator.inject(kind=kind, after_events=4)
    shown: list[str] = []

    def hear(channel: str, text: str) -> None:
        if channel == "restart":
            shown.clear()
        elif channel == "text":
            shown.append(text)

    prompt = prompt_of(block("Hello?"))
    wire = provider.encode(prompt, place_marks(prompt, MODEL), previous_message=None)
    answer = provider.ask(wire, hear)
    assert "".join(shown) == answer.reply.text
    assert answer.wasted.input_total > 0, "what the broken reply used is paid for too"
    measured = latency.from_trace(answer.trace, output_tokens=answer.reply.usage.output)
    assert measured.attempts == 2
    assert measured.retry_wait > 0


def test_a_refused_request_carries_the_providers_words(provider: AnthropicProvider) -> None:
    empty = Prompt(model=MODEL.name, blocks=BASE, max_tokens=10)
    with pytest.raises(RequestRefused, match="message") as caught:
        ask(provider, empty)
    assert caught.value.status == 400
    assert caught.value.request_id


def test_nobody_there() -> None:
    alone = AnthropicProvider(MODEL, clock=SystemClock(), key="any", base_url="http://127.0.0.1:9", scope="sim:none")
    with pytest.raises(ConnectionFailed):
        ask(alone, prompt_of(block("Hello?")))
    alone.close()


def test_a_missing_key_is_one_clear_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    alone = AnthropicProvider(lookup("anthropic:claude-sonnet-4-6"), clock=SystemClock())
    with pytest.raises(KeyMissing, match="ANTHROPIC_API_KEY"):
        ask(alone, prompt_of(block("Hello?")))


def test_an_interrupt_wakes_a_call_that_waits(simulator: Simulator, provider: AnthropicProvider) -> None:
    """The stalled server would keep the call waiting for ever: only the cancel can end it."""
    simulator.inject(kind="stall")
    cancelled(provider, lambda: ask(provider, prompt_of(block("Hello?"))))


def test_a_wrong_key_is_named(simulator: Simulator) -> None:
    assert issubclass(AccessRefused, ProviderError)
    nobody = AnthropicProvider(MODEL, clock=SystemClock(), key=" ", base_url=simulator.url, scope="sim:x")
    with pytest.raises(ProviderError):
        ask(nobody, prompt_of(block("Hello?")))
    nobody.close()


@pytest.mark.slow
def test_what_broken_replies_had_used_is_told_when_none_comes_through(
    provider: AnthropicProvider, simulator: Simulator
) -> None:
    simulator.inject(kind="drop", after_events=4, times=9)
    with pytest.raises(StreamBroken, match=r"3 replies that broke off had used [\d,]+ input and \d+ output tokens"):
        ask(provider, prompt_of(block("Hello?")))
