"""Every wire asked in one piece and as a stream, over the real SDKs, against the simulator: the reply is the same."""

from __future__ import annotations

import email.utils
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE
from wires import INSPECT, SIMULATED, cancelled, said, simulated

from agentnb.errors import (
    CallTimeout,
    ConnectionFailed,
    Overloaded,
    ProviderError,
    RateLimited,
    RunInterrupted,
    ServerFault,
    StreamBroken,
)
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Content, Opaque, Reply, Role, StopReason, ToolCall, ToolResult
from agentnb.providers import latency, transport
from agentnb.providers.base import CallAnswer, Wire
from agentnb.providers.calling import Calling
from agentnb.providers.promptcache import place_marks
from agentnb.simulator import Simulator

pytestmark = pytest.mark.slow


@dataclass
class Line:
    """One adapter over a simulator."""

    provider: Calling
    simulator: Simulator

    def wire(self, *blocks: Block, max_tokens: int = 500, stream: bool = False) -> Wire:
        base = (
            Block(layer=Layer.STATIC, role=Role.TOOLS, content=INSPECT),
            said("The harbour's tide tables: " + "high water, low water, " * 900, role=Role.SYSTEM),
        )
        prompt = Prompt(model=self.provider.model.name, blocks=base + blocks, max_tokens=max_tokens)
        wire = self.provider.encode(prompt, place_marks(prompt, self.provider.model), previous_message=None)
        return wire if stream else wire.plain()

    def ask(self, wire: Wire) -> tuple[CallAnswer, Heard]:
        heard = Heard()
        return self.provider.ask(wire, heard.take), heard


class Heard:
    """What a view would show of a call."""

    def __init__(self) -> None:
        self.text = ""
        self.waits: list[str] = []

    def take(self, kind: str, text: str) -> None:
        if kind == "restart":
            self.text = ""
        elif kind == "text":
            self.text += text
        elif kind == "wait":
            self.waits.append(text)


@pytest.fixture(params=list(SIMULATED))
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    with simulated(request.param) as (provider, simulator):
        yield Line(provider, simulator)


def without_names(reply: Reply) -> Reply:
    """The reply without what the server makes up anew each time: ids, signatures, what the prompt cache had by then."""
    content = tuple(_without_names(part) for part in reply.content if not _is_signature(part))
    whole = replace(reply.usage, input=reply.usage.input_total, cache_read=0, cache_write_5m=0, cache_write_1h=0)
    return replace(reply, content=content, usage=whole, message_id="", request_id=None, diagnosis=None)


def _is_signature(part: Content) -> bool:
    """Gemini signs a text in its own part, and a streamed one in a last empty part."""
    return isinstance(part, Opaque) and "thoughtSignature" in str(part.wire)


def _without_names(part: Content) -> Content:
    if isinstance(part, Opaque):
        return replace(part, wire={name: value for name, value in part.wire.items() if name != "id"})
    return replace(part, call_id="id") if isinstance(part, ToolCall) else part


TASKS = {
    "text": ("Hello?", 500, StopReason.END),
    "one call": ("Please inspect `tides.level`.", 500, StopReason.TOOLS),
    "parallel calls": (
        "Please inspect `tides.level`, and inspect `tides.low`, and inspect `moon`.",
        500,
        StopReason.TOOLS,
    ),
    "cut off": ("Hello?", 16, StopReason.MAX_TOKENS),
    "long": ("Hello?", 30_000, StopReason.END),
}


@pytest.mark.parametrize("task", list(TASKS))
def test_streaming_equals_plain(line: Line, task: str) -> None:
    """`long`: the Anthropic SDK by itself refuses to ask plainly for more than about 21,000 tokens."""
    text, limit, stop = TASKS[task]
    plain, seen = line.ask(line.wire(said(text), max_tokens=limit))
    sent = line.simulator.requests[-1]
    assert not sent.body.get("stream")
    assert "streamGenerateContent" not in sent.path
    streamed, shown = line.ask(line.wire(said(text), max_tokens=limit, stream=True))
    assert plain.reply.stop is stop
    assert without_names(plain.reply) == without_names(streamed.reply)
    assert seen.text == shown.text == plain.reply.text
    assert bool(plain.reply.request_id) == bool(streamed.reply.request_id)


def test_results_of_parallel_calls_go_back_plainly(line: Line) -> None:
    question = said("Please inspect `tides.level` and inspect `tides.low` too.")
    first, _ = line.ask(line.wire(question))
    assert len(first.reply.calls) == 2
    came = [Block(layer=Layer.DYNAMIC, role=Role.ASSISTANT, content=part) for part in first.reply.content]
    results = [ToolResult(call.call_id, call.name, "def level(hours): ...") for call in first.reply.calls]
    back = [Block(layer=Layer.DYNAMIC, role=Role.USER, content=result) for result in results]
    second, _ = line.ask(line.wire(question, *came, *back))
    assert second.reply.stop is StopReason.END


def test_a_plain_reply_says_nothing_of_a_first_token(line: Line) -> None:
    answer, _ = line.ask(line.wire(said("Hello?")))
    assert not answer.trace.streamed
    assert answer.trace.first_token is None
    bare = replace_headers(answer)
    timing = latency.from_trace(bare, output_tokens=answer.reply.usage.output)
    assert timing.tpot is None
    assert timing.to_json()["streamed"] is False


def replace_headers(answer: CallAnswer) -> Any:
    """The trace as a real provider's, which sends no modelled figures."""
    answer.trace.response_headers = {}
    return answer.trace


FAULTS: list[tuple[dict[str, Any], tuple[type[ProviderError], ...]]] = [
    ({"kind": "429", "times": 9, "retry_after": 0}, (RateLimited,)),
    ({"kind": "500", "times": 9, "retry_after": 0}, (ServerFault,)),
    ({"kind": "503", "times": 9, "retry_after": 0}, (Overloaded,)),
    ({"kind": "drop", "times": 20}, (ConnectionFailed, StreamBroken)),
    ({"kind": "garbage", "times": 20}, (StreamBroken,)),
]


@pytest.mark.parametrize(("fault", "kinds"), FAULTS, ids=[fault["kind"] for fault, _ in FAULTS])
def test_what_goes_wrong_with_a_plain_call_is_named(
    line: Line, fault: dict[str, Any], kinds: tuple[type[ProviderError], ...]
) -> None:
    line.simulator.inject(**fault)
    with pytest.raises(kinds) as caught:
        line.ask(line.wire(said("Hello?")))
    assert caught.value.todo


@pytest.mark.parametrize("kind", ["500", "drop", "garbage"])
def test_a_plain_call_that_fails_once_is_asked_again(line: Line, kind: str) -> None:
    line.simulator.inject(kind=kind, retry_after=0 if kind == "500" else None)
    answer, heard = line.ask(line.wire(said("Hello?")))
    assert heard.text == answer.reply.text


# --- waiting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_the_time_that_the_server_names_is_waited_and_shown(line: Line, stream: bool) -> None:
    """google-genai by itself knows no retry-after; the others by themselves say nothing while they wait."""
    line.simulator.inject(kind="429", retry_after=0.4)
    answer, heard = line.ask(line.wire(said("Hello?"), stream=stream))
    (wait,) = heard.waits
    assert wait.endswith("answered 429; asking again in 0.4 s")
    timing = latency.from_trace(answer.trace, output_tokens=9)
    assert timing.retry_wait >= 0.4
    assert timing.attempts == 2


def test_a_wait_can_be_interrupted(line: Line) -> None:
    line.simulator.inject(kind="429", retry_after=50, times=3)
    waiting = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            line.provider.ask(line.wire(said("Hello?")), lambda kind, _: waiting.set() if kind == "wait" else None)
        except RunInterrupted as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert waiting.wait(PATIENCE)
    line.provider.cancel()
    thread.join(PATIENCE)
    assert len(failed) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_the_pause_after_a_refused_connection_can_be_interrupted(line: Line, stream: bool) -> None:
    line.simulator.stop()
    failed: list[BaseException] = []

    def stop(kind: str, _: str) -> None:
        if kind == "wait":
            line.provider.cancel()

    def work() -> None:
        try:
            line.provider.ask(line.wire(said("Hello?"), stream=stream), stop)
        except RunInterrupted as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert len(failed) == 1
    assert line.provider._require_transport().trace.attempts == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_connection_that_is_refused_is_tried_three_times_and_said(
    line: Line, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "FIRST_WAIT", 0.1)
    line.simulator.stop()
    heard = Heard()
    with pytest.raises(ConnectionFailed, match=r"could not be reached.*_BASE_URL"):
        line.provider.ask(line.wire(said("Hello?"), stream=stream), heard.take)
    assert [wait.partition(" ")[2] for wait in heard.waits] == [
        "did not answer; asking again in 0.1 s",
        "did not answer; asking again in 0.2 s",
    ]
    assert line.provider._require_transport().trace.attempts == 3


def test_a_plain_call_that_waits_for_its_reply_can_be_interrupted(line: Line) -> None:
    line.simulator.inject(kind="slow_headers", times=5)
    line.provider.connect()
    cancelled(line.provider, lambda: line.ask(line.wire(said("Hello?"))))
    assert line.provider._require_transport().trace.attempts <= 1, "what was interrupted is not sent again"


@pytest.mark.parametrize("stream", [True, False])
def test_who_asks_for_an_hour_is_not_waited_for(line: Line, stream: bool) -> None:
    """Nor asked again at once, as google-genai would by itself."""
    line.simulator.inject(kind="429", retry_after=3600, times=3)
    heard = Heard()
    with pytest.raises(RateLimited) as caught:
        line.provider.ask(line.wire(said("Hello?"), stream=stream), heard.take)
    assert heard.waits == []
    assert len(line.simulator.requests) == 1
    assert caught.value.todo == (
        "Wait 3,600 s, then resume the run. agentnb itself waits at most 60 s (AgentNB.retry_wait)."
    )
    line.simulator._engine.faults.clear()
    assert line.ask(line.wire(said("Hello?"), stream=stream))[0].reply.text, "the connection serves the next call"


def test_how_long_is_waited_can_be_set(line: Line) -> None:
    line.simulator.inject(kind="429", retry_after=0.4, times=2)
    impatient = replace(line.wire(said("Hello?")), retry_wait=0.1)
    with pytest.raises(RateLimited, match=r"Wait 1 s.*at most 0 s"):
        line.ask(impatient)
    answer, heard = line.ask(replace(impatient, retry_wait=0.5))
    assert answer.reply.text
    assert len(heard.waits) == 1


def test_what_only_keeps_a_prompt_warm_waits_for_nothing_long(line: Line) -> None:
    if not line.provider.can_prewarm:
        pytest.skip("nothing to prewarm")
    line.simulator.inject(kind="429", retry_after=20)
    with pytest.raises(RateLimited, match="Wait 20 s"):
        line.provider.prewarm(line.wire(said("Hello?")))


@pytest.mark.parametrize("stream", [True, False])
def test_silence_ends_in_time(line: Line, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No byte for longer than the timeout: the call ends, and says so."""
    shorten(monkeypatch)
    line.simulator.inject(kind="slow_headers", seconds=1.5, times=3)
    with pytest.raises(CallTimeout, match="in time"):
        line.ask(line.wire(said("Hello?"), stream=stream))


def test_a_stream_that_stalls_is_asked_for_again_and_not_doubled(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)
    line.simulator.inject(kind="stall", after_events=3, seconds=1.5)
    answer, heard = line.ask(line.wire(said("Hello?"), stream=True))
    assert heard.text == answer.reply.text
    assert answer.trace.attempts == 2


def shorten(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("transport", "google", "anthropic"):
        monkeypatch.setattr(f"agentnb.providers.{module}.READ_TIMEOUT", 0.3)


@given(st.floats(min_value=0, max_value=1e6), st.sampled_from(["retry-after", "retry-after-ms"]))
def test_retry_after_in_numbers(number: float, name: str) -> None:
    seconds = transport.retry_after({name: str(number)}, now=0.0)
    assert seconds == pytest.approx(number / (1000 if name.endswith("ms") else 1))


@given(st.decimals(min_value=0, max_value=100_000, places=9, allow_nan=False), st.booleans())
def test_the_wait_that_google_writes_into_the_body(seconds: Any, streamed: bool) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds:f}s"}
    error = {"error": {"code": 429, "details": [{"@type": "type.googleapis.com/google.rpc.Help"}, info]}}
    assert transport.retry_delay(json.dumps([error] if streamed else error).encode()) == pytest.approx(float(seconds))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b'"error"', b'{"error": "text"}', b'{"error": {"details": null}}']
    + [b'{"error": {"details": [{"@type": "RetryInfo", "retryDelay": %b}]}}' % text for text in (b'"soon"', b"null")],
)
def test_a_body_that_names_no_wait(body: bytes) -> None:
    assert transport.retry_delay(body) is None


def test_retry_after_as_a_date_and_as_nonsense() -> None:
    now = 1_800_000_000.0
    assert transport.retry_after({"retry-after": email.utils.formatdate(now + 7, usegmt=True)}, now=now) == 7
    assert transport.retry_after({"retry-after": email.utils.formatdate(now - 7, usegmt=True)}, now=now) == 0
    assert transport.retry_after({"retry-after": "-3"}, now=now) == 0
    for text in ("soon", "nan", "inf"):
        assert transport.retry_after({"retry-after": text}, now=now) is None
    assert transport.retry_after({}, now=now) is None
