"""Every recorded reply of the real API decodes, its usage adding up; and streaming gives what plain would have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import StreamBroken
from agentnb.models.messages import Opaque, Reply, StopReason, Text
from agentnb.providers.anthropic import AnthropicDecoder, decode_message, decode_usage

DATA = sorted(Path(__file__).with_name("data").joinpath("anthropic").glob("*.json"))


def recorded() -> Iterator[Any]:
    for file in DATA:
        exchange = json.loads(file.read_text())
        for i, (request, response) in enumerate(zip(exchange["requests"], exchange["responses"], strict=True)):
            if response["status"] == 200 and "count_tokens" not in request["path"]:
                yield pytest.param(response, id=f"{file.stem}-{i}")


def events(sse: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in sse.replace("\r\n", "\n").split("\n") if line.startswith("data: ")]


def decoded(response: dict[str, Any]) -> Reply:
    if "sse" not in response:
        return decode_message(response["body"])
    decoder = AnthropicDecoder()
    for event in events(response["sse"]):
        decoder.feed(event)
    return decoder.reply()


def reported(response: dict[str, Any]) -> dict[str, Any]:
    """The bill as the provider wrote it: the last usage wins, what it leaves out keeps its first value."""
    if "sse" not in response:
        return dict(response["body"]["usage"])
    usage: dict[str, Any] = {}
    for event in events(response["sse"]):
        found = event.get("usage") or event.get("message", {}).get("usage") or {}
        usage |= {name: value for name, value in found.items() if value is not None}
    return usage


@pytest.mark.parametrize("response", list(recorded()))
def test_each_recorded_reply_decodes_and_its_usage_adds_up(response: dict[str, Any]) -> None:
    reply = decoded(response)
    usage = reported(response)
    total = sum(
        usage.get(name) or 0 for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    )
    assert reply.usage.input_total == total
    assert reply.usage.output == usage["output_tokens"]
    assert reply.content
    assert reply.model
    assert reply.message_id.startswith("msg_")
    if reply.stop is StopReason.TOOLS:
        assert reply.calls


def test_thinking_goes_back_as_it_came() -> None:
    exchange = json.loads((DATA[0].parent / "thinking-stream.json").read_text())
    reply = decoded(exchange["responses"][0])
    thinking = reply.content[0]
    assert isinstance(thinking, Opaque)
    assert thinking.wire["thinking"]
    assert thinking.wire["signature"]


def test_a_streamed_call_gets_its_arguments_from_the_pieces() -> None:
    exchange = json.loads((DATA[0].parent / "tools-stream.json").read_text())
    reply = decoded(exchange["responses"][0])
    (call,) = reply.calls
    assert dict(call.arguments) == {"from_currency": "USD", "to_currency": "EUR"}


@pytest.mark.parametrize("response", [r for r in recorded() if "sse" in r.values[0]])
def test_a_stream_that_breaks_off_is_recognised(response: dict[str, Any]) -> None:
    decoder = AnthropicDecoder()
    for event in events(response["sse"]):
        if event["type"] in ("message_delta", "message_stop"):
            break
        decoder.feed(event)
    with pytest.raises(StreamBroken):
        decoder.reply()


COUNTS = st.integers(min_value=0, max_value=2_000_000)


@given(plain=COUNTS, read=COUNTS, short=COUNTS, long=COUNTS, out=COUNTS)
def test_parts_add_up_to_the_total(plain: int, read: int, short: int, long: int, out: int) -> None:
    usage = decode_usage(
        {
            "input_tokens": plain,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": short + long,
            "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
            "output_tokens": out,
        }
    )
    assert usage.input_total == plain + read + short + long
    assert (usage.cache_write_5m, usage.cache_write_1h, usage.output) == (short, long, out)


@given(pieces=st.lists(st.text(max_size=8), min_size=1, max_size=20), first=COUNTS, last=COUNTS)
def test_streaming_equals_plain(pieces: list[str], first: int, last: int) -> None:
    """The usage of message_delta is cumulative: overwriting gives the plain reply's bill, adding would not."""
    text = "".join(pieces)
    head = {"id": "msg_1", "model": "m", "role": "assistant", "content": [], "stop_reason": None}
    decoder = AnthropicDecoder()
    decoder.feed({"type": "message_start", "message": head | {"usage": {"input_tokens": first, "output_tokens": 1}}})
    decoder.feed({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    shown = [
        decoder.feed({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": p}})
        for p in pieces
    ]
    decoder.feed({"type": "content_block_stop", "index": 0})
    usage = {"input_tokens": first, "output_tokens": last}
    decoder.feed({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage})
    plain = head | {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": usage}
    assert decoder.reply() == decode_message(plain)
    assert "".join(delta[1] for delta in shown if delta) == text
    assert all(isinstance(part, Text) for part in decoder.reply().content)
