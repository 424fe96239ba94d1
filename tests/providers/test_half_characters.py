"""Half a character in a reply is joined with its other half, or replaced; a number that no journal holds, likewise."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wires import WIRES, adapter_at, hello

from agentnb import canonical
from agentnb.errors import ProviderError, StreamBroken
from agentnb.models.messages import Reply, StopReason, Usage
from agentnb.providers.calling import Halves

HIGH, LOW = "\ud83d", "\ude00"


def anthropic_events(pieces: list[str], arguments: dict[str, Any]) -> list[Any]:
    usage = {"input_tokens": 100, "output_tokens": 7}
    call, written = {"type": "tool_use", "id": "a", "name": "f", "input": {}}, json.dumps(arguments)
    return [
        {"type": "message_start", "message": {"id": "m", "model": "m", "content": [], "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(delta(0, {"type": "text_delta", "text": piece}) for piece in pieces),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": call},
        *(delta(1, {"type": "input_json_delta", "partial_json": letter}) for letter in written),
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage},
        {"type": "message_stop"},
    ]


def delta(index: int, what: Any) -> Any:
    return {"type": "content_block_delta", "index": index, "delta": what}


def google_events(pieces: list[str], arguments: dict[str, Any]) -> list[Any]:
    call = {"functionCall": {"id": "a", "name": "f", "args": arguments}}
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 7, "totalTokenCount": 107}
    parts: list[Any] = [{"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}]} for text in pieces]
    end = {"content": {"role": "model", "parts": [call]}, "finishReason": "STOP"}
    return [*parts, {"candidates": [end], "usageMetadata": usage, "responseId": "r"}]


def responses_events(pieces: list[str], arguments: dict[str, Any]) -> list[Any]:
    message = {"type": "message", "role": "assistant", "id": "i", "status": "completed"}
    call = {"type": "function_call", "call_id": "a", "id": "j", "name": "f", "arguments": json.dumps(arguments)}
    text = {"type": "output_text", "text": "".join(pieces), "annotations": []}
    usage = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
    whole = {"id": "r", "model": "m", "status": "completed", "usage": usage}
    return [
        *({"type": "response.output_text.delta", "delta": piece, "item_id": "i"} for piece in pieces),
        {"type": "response.completed", "response": {**whole, "output": [{**message, "content": [text]}, call]}},
    ]


def chat_events(pieces: list[str], arguments: dict[str, Any]) -> list[Any]:
    function = {"name": "f", "arguments": json.dumps(arguments)}
    call = {"index": 0, "id": "a", "type": "function", "function": function}
    return [
        *({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces),
        {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]},
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}},
    ]


EVENTS = {
    "anthropic": anthropic_events,
    "google": google_events,
    "responses": responses_events,
    "chat": chat_events,
}


def sse(events: list[Any]) -> bytes:
    def name(event: Any) -> str:
        return f"event: {event['type']}\n" if "type" in event else ""

    return b"".join(f"{name(event)}data: {json.dumps(event)}\n\n".encode() for event in events)


def asked(answering: Any, wire: str, events: list[Any]) -> tuple[Reply, str]:
    """The reply that the real SDK and our adapter make of a stream, and the text that was told meanwhile."""
    told: list[str] = []
    with answering(200, sse(events), {"content-type": "text/event-stream"}) as answer:
        made = adapter_at(wire, answer.url)
        request = made.encode(hello(made), (), previous_message=None)
        heard = made.ask(replace(request, attempts=1), lambda kind, text: told.append(text) if kind == "text" else None)
        made.close()
    return heard.reply, "".join(told)


@pytest.mark.parametrize("wire", list(WIRES))
def test_a_character_in_two_deltas_is_one_and_half_of_one_is_replaced(answering: Any, wire: str) -> None:
    """In the text, in what is told while it streams, and in a call's arguments, as the provider escapes them."""
    pieces = ["Smile ", HIGH, LOW, " and ", HIGH, " half, ", LOW, " other", HIGH]
    reply, told = asked(answering, wire, EVENTS[wire](pieces, {"text": f"{HIGH}{LOW} {HIGH}"}))
    whole = "Smile \U0001f600 and \ufffd half, \ufffd other\ufffd"
    assert (reply.text, told) == (whole, whole)
    assert [dict(call.arguments) for call in reply.calls] == [{"text": "\U0001f600 \ufffd"}]
    assert (reply.usage, reply.stop) == (Usage(input=100, output=7), StopReason.TOOLS)


@pytest.mark.parametrize("wire", list(WIRES))
def test_half_a_character_in_the_name_of_an_argument_is_replaced(answering: Any, wire: str) -> None:
    reply, _ = asked(answering, wire, EVENTS[wire](["x"], {f"a{HIGH}": {f"b{LOW}": [{f"c{HIGH}": "v"}]}}))
    assert dict(reply.calls[0].arguments) == {"a\ufffd": {"b\ufffd": [{"c\ufffd": "v"}]}}
    assert reply.usage == Usage(input=100, output=7)


def test_half_a_character_in_a_call_that_cannot_be_read_is_written_out(answering: Any) -> None:
    events = EVENTS["anthropic"](["x"], {})
    events[-5:-4] = [delta(1, {"type": "input_json_delta", "partial_json": f"{{{HIGH}"})]
    with pytest.raises(StreamBroken, match=r"\\ud83d") as caught:
        asked(answering, "anthropic", events)
    str(caught.value).encode()
    assert caught.value.spent == Usage(input=100, output=7).to_json()


@pytest.mark.parametrize("wire", list(WIRES))
def test_numbers_that_no_journal_holds(answering: Any, wire: str) -> None:
    arguments = {"wide": 2**80, "huge": 10**400, "none": float("nan"), "least": -(2**63)}
    reply, _ = asked(answering, wire, EVENTS[wire](["x"], arguments))
    given = dict(reply.calls[0].arguments)
    assert given == {"wide": float(2**80), "huge": None, "none": None, "least": -(2**63)}
    canonical.dump_exact(given)


ANY_TEXT = st.text(st.characters(exclude_categories=[]) | st.sampled_from([HIGH, LOW, "a", "\U0001f600"]))


@given(ANY_TEXT, st.data())
def test_any_text_is_told_as_it_is_in_the_reply_however_it_is_cut(text: str, data: Any) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    told: list[str] = []
    halves = Halves(lambda _, text: told.append(text))
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        halves("text", text[start:end])
    halves.end()
    assert "".join(told) == canonical.well_formed(text)
    canonical.well_formed(text).encode()
    assert canonical.well_formed(canonical.well_formed(text)) == canonical.well_formed(text)


TYPED_PARTS: list[dict[str, Any]] = [
    {"text": "x", "thoughtSignature": f"QUJD{HIGH}"},
    {"functionCall": {"id": "b", "name": "g", "args": {}}, "thoughtSignature": LOW},
    {"inlineData": {"mimeType": "image/png", "data": f"{LOW}AA"}},
    {"inlineData": {"mimeType": f"image/{HIGH}", "displayName": '}"\\', "data": "QUJD"}, "thoughtSignature": "QUJD"},
    {"executableCode": {"code": f"x{LOW}", "language": HIGH}},
    {"codeExecutionResult": {"outcome": LOW, "output": "x"}},
    {"text": f'\\ud83d "thoughtSignature": "{HIGH}{LOW}', "thought": True},
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("part", TYPED_PARTS)
def test_half_a_character_in_a_typed_field_ends_no_run(answering: Any, part: Any, stream: bool) -> None:
    """Google's SDK reads signatures, pictures and languages as types of its own, and failed at one."""
    first = {"candidates": [{"content": {"role": "model", "parts": [{"text": f"a{HIGH}"}]}}]}
    after = [{"text": f"{LOW}b"}] if stream else [{"text": "a\U0001f600b"}]
    candidate = {"content": {"role": "model", "parts": [*after, part]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 7, "totalTokenCount": 107}
    whole = {"candidates": [candidate], "usageMetadata": usage, "responseId": "r"}
    body = sse([first, whole]) if stream else json.dumps(whole, indent=1).encode()
    with answering(200, body, {"content-type": "text/event-stream" if stream else "application/json"}) as answer:
        made = adapter_at("google", answer.url)
        request = replace(made.encode(hello(made), (), previous_message=None), attempts=1, stream=stream)
        reply = made.ask(request, lambda kind, text: None).reply
        made.close()
    assert reply.text.startswith("a\U0001f600b")
    assert reply.usage == Usage(input=100, output=7)
    for one in reply.content:
        str(one).encode()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("part", [{"text": 7}, {"text": "x", "thoughtSignature": "!"}])
def test_a_chunk_that_the_sdk_cannot_read_has_its_usage_counted(answering: Any, part: Any, stream: bool) -> None:
    """Google's SDK gives nothing of a chunk where one field is not of its kind; what it cost is told all the same."""
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 7, "totalTokenCount": 107}
    whole = {"candidates": [candidate], "usageMetadata": usage, "responseId": "r"}
    body = sse([whole]) if stream else json.dumps(whole).encode()
    with answering(200, body, {"content-type": "text/event-stream" if stream else "application/json"}) as answer:
        made = adapter_at("google", answer.url)
        request = replace(made.encode(hello(made), (), previous_message=None), attempts=1, stream=stream)
        spent = None
        try:
            spent = made.ask(request, lambda kind, text: None).reply.usage.to_json()
        except ProviderError as error:
            spent = error.spent
        made.close()
    assert spent == Usage(input=100, output=7).to_json()
