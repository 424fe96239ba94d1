"""Every recorded reply of Google and OpenAI decodes, its usage adding up; a stream gives what plain would have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.errors import ProviderError, RateLimited, StreamBroken
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Content, Opaque, Reply, Role, StopReason, Text, ToolCall, ToolResult
from agentnb.providers import google, openai_chat, openai_responses

DATA = Path(__file__).with_name("data")
NOT_REPLIES = ("cachedContents",)


def recorded(provider: str) -> Iterator[Any]:
    for file in sorted((DATA / provider).glob("*.json")):
        exchange = json.loads(file.read_text())
        for i, (request, response) in enumerate(zip(exchange["requests"], exchange["responses"], strict=True)):
            about_caches = request["path"].split("?")[0].endswith("/cachedContents") or request["method"] == "DELETE"
            if response["status"] == 200 and not about_caches:
                yield pytest.param(request, response, id=f"{file.stem}-{i}")


def exchange(provider: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / provider / f"{name}.json").read_text())
    return found


def events(sse: str) -> list[dict[str, Any]]:
    lines = sse.replace("\r\n", "\n").split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def folded(decoder: Any, response: dict[str, Any]) -> Reply:
    for event in events(response["sse"]):
        decoder.feed(event)
    reply = decoder.reply()
    assert isinstance(reply, Reply)
    return reply


def google_reply(response: dict[str, Any]) -> Reply:
    if "sse" in response:
        return folded(google.GoogleDecoder(), response)
    return google.decode_response(response["body"])


def openai_reply(path: str, response: dict[str, Any]) -> Reply:
    chat = "chat/completions" in path
    if "sse" in response:
        return folded(openai_chat.ChatDecoder() if chat else openai_responses.ResponsesDecoder(), response)
    body = response["body"]
    return openai_chat.decode_completion(body) if chat else openai_responses.decode_response(body)


@pytest.mark.parametrize(("request_", "response"), list(recorded("google")))
def test_google_replies_decode_and_add_up(request_: dict[str, Any], response: dict[str, Any]) -> None:
    reply = google_reply(response)
    reported = (events(response["sse"])[-1] if "sse" in response else response["body"])["usageMetadata"]
    assert reply.usage.input_total + reply.usage.output == reported["totalTokenCount"]
    assert reply.usage.cache_read == reported.get("cachedContentTokenCount", 0)
    assert reply.usage.reasoning == reported.get("thoughtsTokenCount", 0)
    assert reply.text or reply.calls
    assert reply.model
    assert (reply.stop is StopReason.TOOLS) == bool(reply.calls)


@pytest.mark.parametrize(("request_", "response"), list(recorded("openai")))
def test_openai_replies_decode_and_add_up(request_: dict[str, Any], response: dict[str, Any]) -> None:
    reply = openai_reply(request_["path"], response)
    if "sse" in response:
        found = [e.get("usage") or (e.get("response") or {}).get("usage") for e in events(response["sse"])]
        reported = next(usage for usage in reversed(found) if usage)
    else:
        reported = response["body"]["usage"]
    assert reply.usage.input_total + reply.usage.output == reported["total_tokens"]
    details = reported.get("input_tokens_details") or reported.get("prompt_tokens_details") or {}
    assert reply.usage.cache_read == (details.get("cached_tokens") or 0)
    assert reply.usage.cache_write == (details.get("cache_write_tokens") or 0)
    assert reply.text or reply.calls
    assert (reply.stop is StopReason.TOOLS) == bool(reply.calls)


def as_blocks(*contents: tuple[Role, Content]) -> tuple[Block, ...]:
    return tuple(Block(layer=Layer.DYNAMIC, role=role, content=content) for role, content in contents)


def sent_again(reply: Reply, answer: str) -> Prompt:
    """The reply and the results of its calls, as the next request's blocks."""
    said = [(Role.ASSISTANT, part) for part in reply.content]
    results = [(Role.USER, ToolResult(call.call_id, call.name, answer)) for call in reply.calls]
    question = (Role.USER, Text("the question"))
    return Prompt(model="m", blocks=as_blocks(question, *said, *results), max_tokens=99)


def test_a_signature_goes_back_with_the_call_it_came_with() -> None:
    response = exchange("google", "tools-stream")["responses"][0]
    came = events(response["sse"])[0]["candidates"][0]["content"]["parts"][0]
    reply = google_reply(response)
    body = google.encode(sent_again(reply, "Mexico"))
    part = body["contents"][1]["parts"][0]
    assert part["thoughtSignature"] == came["thoughtSignature"]
    assert part["functionCall"] == {"name": "get_country", "args": {}}, "an id that the model did not send is not sent"
    result = body["contents"][2]["parts"][0]["functionResponse"]
    assert result == {"name": "get_country", "response": {"result": "Mexico"}}


def test_a_call_id_that_the_model_sent_goes_back() -> None:
    reply = google_reply(exchange("google", "tools")["responses"][0])
    body = google.encode(sent_again(reply, "ok"))
    (call,) = reply.calls
    assert body["contents"][1]["parts"][0]["functionCall"]["id"] == call.call_id
    assert body["contents"][2]["parts"][0]["functionResponse"]["id"] == call.call_id


def test_encrypted_reasoning_goes_back_whole_before_its_call() -> None:
    recorded_ = exchange("openai", "responses-reasoning-cached")
    reply = openai_reply("/v1/responses", recorded_["responses"][0])
    came = recorded_["responses"][0]["body"]["output"]
    items = openai_responses.encode(sent_again(reply, "ok"), (), breakpoints=False)["input"]
    assert items[1] == came[0]
    assert items[2]["type"] == "function_call"
    assert items[3] == {
        "type": "function_call_output",
        "call_id": items[2]["call_id"],
        "output": [{"type": "input_text", "text": "ok"}],
    }


def test_the_phase_of_a_message_goes_back() -> None:
    reply = openai_reply("/v1/responses", exchange("openai", "responses-cache-explicit")["responses"][0])
    items = openai_responses.encode(sent_again(reply, ""), (), breakpoints=False)["input"]
    assert items[1]["phase"] == "final_answer"
    assert items[1]["content"] == [{"type": "output_text", "text": "OK"}]


@pytest.mark.parametrize(("provider", "name"), [("google", "stream"), ("openai", "responses-tools-stream")])
def test_a_stream_that_breaks_off_is_recognised(provider: str, name: str) -> None:
    decoder: Any = google.GoogleDecoder() if provider == "google" else openai_responses.ResponsesDecoder()
    for event in events(exchange(provider, name)["responses"][0]["sse"])[:-1]:
        decoder.feed(event)
    with pytest.raises(StreamBroken):
        decoder.reply()


def test_a_chat_stream_that_breaks_off_is_recognised() -> None:
    decoder = openai_chat.ChatDecoder()
    for event in events(exchange("openai", "chat-tools-stream")["responses"][0]["sse"])[:2]:
        decoder.feed(event)
    with pytest.raises(StreamBroken):
        decoder.reply()


def test_chat_keeps_the_last_usage_that_says_something() -> None:
    decoder = openai_chat.ChatDecoder()
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    decoder.feed({"id": "c", "model": "m", "choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]})
    decoder.feed({"usage": usage, "choices": []})
    decoder.feed({"usage": None, "choices": []})
    assert decoder.reply().usage.input_total == 7


def test_an_error_event_in_mid_stream_is_an_error() -> None:
    with pytest.raises(RateLimited):
        openai_responses.ResponsesDecoder().feed(
            {"type": "error", "code": "rate_limit_exceeded", "message": "slow down"}
        )
    with pytest.raises(ProviderError, match="had an error"):
        openai_chat.ChatDecoder().feed({"error": {"message": "The server had an error", "code": "server_error"}})


GOOGLE_STOPS = {
    "STOP": StopReason.END,
    "MAX_TOKENS": StopReason.MAX_TOKENS,
    "SAFETY": StopReason.REFUSAL,
    "PROHIBITED_CONTENT": StopReason.REFUSAL,
    "OTHER": StopReason.END,
}


@pytest.mark.parametrize(("finish", "stop"), GOOGLE_STOPS.items())
def test_each_finish_reason_of_google(finish: str, stop: StopReason) -> None:
    candidate = {"content": {"parts": [{"text": "x"}]}, "finishReason": finish}
    assert google.decode_response({"candidates": [candidate]}).stop is stop


def test_a_blocked_prompt_is_a_refusal() -> None:
    reply = google.decode_response({"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {}})
    assert (reply.stop, reply.stop_detail) == (StopReason.REFUSAL, "OTHER")


def test_a_call_that_cannot_be_read_is_asked_for_again() -> None:
    with pytest.raises(StreamBroken, match="cannot be read"):
        google.decode_response({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]})


@pytest.mark.parametrize(
    ("response", "stop"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, StopReason.MAX_TOKENS),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, StopReason.REFUSAL),
        ({"status": "completed"}, StopReason.END),
        (
            {
                "status": "completed",
                "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}],
            },
            StopReason.REFUSAL,
        ),
    ],
)
def test_each_end_of_a_response(response: dict[str, Any], stop: StopReason) -> None:
    assert openai_responses.decode_response(response).stop is stop


def test_a_call_cut_off_by_the_limit_breaks_nothing() -> None:
    item = {"type": "function_call", "call_id": "c", "name": "n", "arguments": '{"a": '}
    details = {"incomplete_details": {"reason": "max_output_tokens"}}
    reply = openai_responses.decode_response({"status": "incomplete", "output": [item], **details})
    assert reply.stop is StopReason.MAX_TOKENS
    choice = {"finish_reason": "length", "message": {"tool_calls": [{"id": "c", "function": item}]}}
    assert openai_chat.decode_completion({"choices": [choice]}).stop is StopReason.MAX_TOKENS


COUNTS = st.integers(min_value=0, max_value=2_000_000)


@given(plain=COUNTS, read=COUNTS, tools=COUNTS, out=COUNTS, thoughts=COUNTS)
def test_google_parts_add_up(plain: int, read: int, tools: int, out: int, thoughts: int) -> None:
    usage = google.decode_usage(
        {
            "promptTokenCount": plain + read,
            "cachedContentTokenCount": read,
            "toolUsePromptTokenCount": tools,
            "candidatesTokenCount": out,
            "thoughtsTokenCount": thoughts,
        }
    )
    assert usage.input_total == plain + read + tools
    assert (usage.cache_read, usage.output, usage.reasoning) == (read, out + thoughts, thoughts)


@given(plain=COUNTS, read=COUNTS, written=COUNTS, out=COUNTS)
def test_openai_parts_add_up_and_both_wires_agree(plain: int, read: int, written: int, out: int) -> None:
    details = {"cached_tokens": read, "cache_write_tokens": written}
    total = plain + read + written
    responses = {"input_tokens": total, "input_tokens_details": details, "output_tokens": out}
    chat = {"prompt_tokens": total, "prompt_tokens_details": details, "completion_tokens": out}
    usage = openai_responses.decode_usage(responses)
    assert usage == openai_chat.decode_usage(chat)
    assert (usage.input, usage.cache_read, usage.cache_write, usage.output) == (plain, read, written, out)
    assert usage.input_total == total


@given(pieces=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12), tokens=COUNTS)
def test_google_streaming_equals_plain(pieces: list[str], tokens: int) -> None:
    text = "".join(pieces)
    frame = {"modelVersion": "m", "responseId": "r"}
    decoder = google.GoogleDecoder()
    shown = []
    for i, piece in enumerate(pieces):
        finish = {"finishReason": "STOP"} if i == len(pieces) - 1 else {}
        usage = {"promptTokenCount": tokens, "candidatesTokenCount": i + 1}
        candidate = {"content": {"parts": [{"text": piece}]}, **finish}
        shown.append(decoder.feed(frame | {"candidates": [candidate], "usageMetadata": usage}))
    whole = {"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}
    plain = google.decode_response(frame | {"candidates": [whole], "usageMetadata": usage})
    assert decoder.reply() == plain
    assert "".join(delta[1] for delta in shown if delta) == text


@given(pieces=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12))
def test_chat_streaming_equals_plain(pieces: list[str]) -> None:
    frame = {"id": "c", "model": "m"}
    usage = {"prompt_tokens": 5, "completion_tokens": 6}
    decoder = openai_chat.ChatDecoder()
    arguments = json.dumps({"text": "".join(pieces)})
    for piece in pieces:
        decoder.feed(frame | {"choices": [{"delta": {"content": piece}}]})
    for i, letter in enumerate(arguments):
        head = {"id": "call", "function": {"name": "f", "arguments": letter}}
        call = head if i == 0 else {"function": {"arguments": letter}}
        decoder.feed(frame | {"choices": [{"delta": {"tool_calls": [{"index": 0, **call}]}}]})
    decoder.feed(frame | {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    decoder.feed(frame | {"choices": [], "usage": usage})
    message = {
        "content": "".join(pieces),
        "tool_calls": [{"id": "call", "function": {"name": "f", "arguments": arguments}}],
    }
    plain = frame | {"usage": usage, "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    assert decoder.reply() == openai_chat.decode_completion(plain)


def test_what_another_provider_understands_is_left_out() -> None:
    blocks = as_blocks(
        (Role.USER, Text("q")),
        (Role.ASSISTANT, Opaque("anthropic", {"type": "thinking", "thinking": "…"})),
        (Role.ASSISTANT, Text("a")),
        (Role.ASSISTANT, ToolCall("c", "f", {})),
        (Role.USER, ToolResult("c", "f", "r", True)),
    )
    prompt = Prompt(model="m", blocks=blocks, max_tokens=9)
    assert "thinking" not in json.dumps(google.encode(prompt))
    assert "thinking" not in json.dumps(openai_chat.encode(prompt))
    assert "thinking" not in json.dumps(openai_responses.encode(prompt, (), breakpoints=True))
