"""Replies that are not as published: from servers with habits of their own, from proxies, from nowhere.

Whatever comes, asking ends with a reply or with an error of ours, and no call, text or token is lost or doubled.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wires import WIRES, adapter_at, hello

from agentnb.agent.conversation.turn_blocks import (
    end_note,
    open_calls,
    reply_blocks,
    reply_tokens,
    result_block,
    thoughts,
)
from agentnb.agent.tools.tool import Outcome
from agentnb.canonical import SystemClock
from agentnb.errors import (
    AccessRefused,
    AgentnbError,
    NoReply,
    PromptTooLong,
    ProviderError,
    RequestRefused,
    ServerFault,
    StreamBroken,
)
from agentnb.models.catalog import lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Opaque, Reply, Role, StopReason, Text, ToolCall, Usage
from agentnb.models.tokens import TokenCounter
from agentnb.providers import anthropic, calling, google, openai_chat, openai_responses

DATA = Path(__file__).with_name("data")


SHAPES: list[Any] = [
    *(None, [], {}, 5, "x", {"error": "x"}, {"error": {}}, {"error": None}, {"type": "message"}),
    *({"choices": value} for value in (None, 5, [None], [{"message": 5, "finish_reason": "stop"}])),
    *({"content": value, "stop_reason": "end_turn"} for value in (None, [None], [{"type": "text", "text": 5}])),
    *({"output": value, "status": "completed"} for value in (None, 5, [None], [{"type": "message", "content": 5}])),
    *({"candidates": [value]} for value in (None, {"content": None, "finishReason": "STOP"}, {"finishReason": 5})),
]


def recorded() -> Iterator[tuple[str, bool, Any]]:
    """(wire, streamed, events or body) of every recorded reply."""
    for file in sorted(DATA.rglob("*.json")):
        exchange = json.loads(file.read_text())
        for request, response in zip(exchange["requests"], exchange["responses"], strict=True):
            path = request["path"].split("?")[0]
            if response["status"] != 200 or "cachedContents" in path or "count" in path:
                continue
            wire = exchange["provider"]
            if wire == "openai":
                wire = "chat" if "chat" in path else "responses"
            if "sse" not in response:
                yield wire, False, response["body"]
                continue
            lines = response["sse"].replace("\r\n", "\n").split("\n")
            data = [line[6:] for line in lines if line.startswith("data: ") and line != "data: [DONE]"]
            yield wire, True, [json.loads(line) for line in data]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield from places(one, (*path, name))


def damaged(value: Any, dice: random.Random) -> Any:
    """The JSON with one thing in it gone or of another type."""
    value = copy.deepcopy(value)
    *way, last = dice.choice(list(places(value))[1:])
    inner = value
    for name in way:
        inner = inner[name]
    if dice.random() < 0.15:
        del inner[last]
    else:
        inner[last] = dice.choice([None, [], {}, 5, "x", True, [None], {"a": 1}, -1, "", 1.5])
    return value


def sent(events: list[Any]) -> bytes:
    def name(event: Any) -> Any:
        return event.get("type") if isinstance(event, dict) else "x"

    return b"".join(f"event: {name(event)}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wire", list(WIRES))
def test_whatever_comes_is_a_reply_or_an_error_of_ours(
    answering: Any, wire: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real SDKs; and nothing is printed, as pydantic would at a field of another type."""
    monkeypatch.setattr(calling, "PAUSE", 0)
    dice = random.Random(1)
    mine = [value for name, streamed, value in recorded() if (name, streamed) == (wire, stream)]
    bodies = [[shape] if stream else shape for shape in SHAPES]
    bodies += [damaged(dice.choice(mine), dice) for _ in range(25)]
    answer = answering(200, b"", {"content-type": "text/event-stream" if stream else "application/json"})
    with answer, warnings.catch_warnings(record=True) as said:
        made = adapter_at(wire, answer.url)
        request = replace(made.encode(hello(made), (), previous_message=None), attempts=1)
        for body in bodies:
            answer.body = sent(body) if stream else json.dumps(body).encode()
            with contextlib.suppress(AgentnbError):
                made.ask(request if stream else request.plain(), lambda kind, text: None)
        made.close()
    assert [str(one.message) for one in said if "serializ" in str(one.message).lower()] == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wire", ["anthropic", "google", "responses"])
def test_a_web_page_is_no_api(answering: Any, wire: str, stream: bool) -> None:
    variable = {"anthropic": "ANTHROPIC", "google": "GOOGLE_GEMINI", "responses": "OPENAI"}[wire] + "_BASE_URL"
    with answering(200, b"<html>Log in</html>", {"content-type": "text/html; charset=utf-8"}) as page:
        made = adapter_at(wire, page.url, scope="")
        request = made.encode(hello(made), (), previous_message=None)
        with pytest.raises(StreamBroken, match=f"is not the API: it sent text/html.*Set {variable}"):
            made.ask(request if stream else request.plain(), lambda kind, text: None)
        made.close()
    assert page.asked <= 2, "once on each wire"


NO_REPLIES: list[Any] = [{}, [], 5, {"status": "ok"}, {"error": "Unexpected endpoint"}, {"error": {"message": "off"}}]


@pytest.mark.parametrize("body", NO_REPLIES, ids=json.dumps)
@pytest.mark.parametrize("wire", list(WIRES))
def test_json_that_is_no_reply_is_asked_for_once(answering: Any, wire: str, body: Any) -> None:
    """It is whole and readable: the same server would send the same again."""
    with answering(200, json.dumps(body).encode(), {"content-type": "application/json"}) as answer:
        made = adapter_at(wire, answer.url, scope="")
        request = made.encode(hello(made), (), previous_message=None).plain()
        with pytest.raises(NoReply, match=r"sent JSON that is no reply.*_BASE_URL") as caught:
            made.ask(request, lambda kind, text: None)
        made.close()
    assert caught.value.about == json.dumps(body)
    assert answer.asked == (2 if wire == "responses" else 1), "once on each wire"


@pytest.mark.parametrize("wire", list(WIRES))
def test_half_of_a_json_body_is_asked_for_again(answering: Any, wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "PAUSE", 0)
    with answering(200, b'{"id": "a", "con', {"content-type": "application/json"}) as answer:
        made = adapter_at(wire, answer.url)
        with pytest.raises(StreamBroken):
            made.ask(made.encode(hello(made), (), previous_message=None).plain(), lambda kind, text: None)
        made.close()
    assert answer.asked == 3


UNREADABLE: dict[str, Any] = {
    "anthropic": {
        "content": [{"type": "text", "text": "It is"}],
        "usage": {"input_tokens": 100, "output_tokens": 7},
    },
    "google": {
        "candidates": [{"content": {"parts": [{"text": "It is"}], "role": "model"}}],
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 7, "totalTokenCount": 107},
    },
    "responses": {
        "output": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": "{oops"}],
        "status": "completed",
        "usage": {"input_tokens": 100, "output_tokens": 7},
    },
    "chat": {
        "choices": [
            {
                "message": {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{oops"}}]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7},
    },
}


@pytest.mark.parametrize("wire", list(WIRES))
def test_what_whole_replies_had_used_that_could_not_be_read(
    answering: Any, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "PAUSE", 0)
    with answering(200, json.dumps(UNREADABLE[wire]).encode(), {"content-type": "application/json"}) as answer:
        made = adapter_at(wire, answer.url)
        request = made.encode(hello(made), (), previous_message=None).plain()
        with pytest.raises(StreamBroken, match="3 replies that broke off had used 300 input and 21 output") as caught:
            made.ask(request, lambda kind, text: None)
        made.close()
    assert caught.value.spent == Usage(input=300, output=21).to_json()


def block(content: Any, role: Role = Role.ASSISTANT) -> Block:
    return Block(layer=Layer.DYNAMIC, role=role, content=content)


# --- the Chat wire of other servers ------------------------------------------------------------------------------


def chat(*chunks: dict[str, Any], finish: str = "tool_calls") -> tuple[Reply, list[str]]:
    decoder = openai_chat.ChatDecoder()
    shown = []
    for delta in chunks:
        told = decoder.feed({"id": "c", "model": "m", "choices": [{"delta": delta}]})
        shown += [told[1]] if told else []
    decoder.feed({"id": "c", "choices": [{"delta": {}, "finish_reason": finish}]})
    return decoder.reply(), shown


def piece(arguments: Any = "", **more: Any) -> dict[str, Any]:
    name = {"name": more.pop("name")} if "name" in more else {}
    return {**more, "function": {**name, "arguments": arguments}}


HABITS = {
    "both calls in one chunk": [
        [piece('{"x":1}', id="a", index=0, name="f"), piece('{"x":2}', id="b", index=1, name="f")]
    ],
    "no index": [[piece('{"x":1}', id="a", name="f")], [piece('{"x":2}', id="b", name="f")]],
    "no index, in pieces": [
        [piece('{"x"', id="a", name="f")],
        [piece(":1}")],
        [piece('{"x"', id="b", name="f")],
        [piece(":2}")],
    ],
    "one index for all": [[piece('{"x":1}', id="a", index=0, name="f"), piece('{"x":2}', id="b", index=0, name="f")]],
    "neither index nor id": [[piece('{"x":1}', name="f"), piece('{"x":2}', name="f")]],
    "the id in every piece": [
        [piece('{"x"', id="a", index=0, name="f")],
        [piece(":1}", id="a", index=0, name="f")],
        [piece('{"x":2}', id="b", index=1, name="f")],
    ],
    "arguments as an object": [
        [piece({"x": 1}, id="a", index=0, name="f"), piece({"x": 2}, id="b", index=1, name="f")]
    ],
    "one id is blank": [[piece('{"x":1}', id="a", index=0, name="f")], [piece('{"x":2}', id="", index=1, name="f")]],
    "the same id twice": [
        [piece('{"x"', id="a", index=0, name="f")],
        [piece(":1}", id="a", index=0)],
        [piece('{"x"', id="a", index=1, name="f")],
        [piece(":2}", id="a", index=1)],
    ],
}


@pytest.mark.parametrize("habit", list(HABITS))
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "eos_token"])
def test_two_calls_are_two_calls_however_they_come(habit: str, finish: str) -> None:
    reply, _ = chat(*({"tool_calls": pieces} for pieces in HABITS[habit]), finish=finish)
    assert [(call.name, dict(call.arguments)) for call in reply.calls] == [("f", {"x": 1}), ("f", {"x": 2})]
    assert len({call.call_id for call in reply.calls}) == 2
    assert all(call.call_id for call in reply.calls)
    assert (reply.stop, reply.stop_detail) == (StopReason.TOOLS, "")


def test_text_and_a_call_in_one_chunk_lose_neither() -> None:
    reply, shown = chat({"content": "Let me look.", "tool_calls": [piece("{}", id="a", index=0, name="f")]})
    assert reply.text == "".join(shown) == "Let me look."
    assert len(reply.calls) == 1


@given(st.lists(st.sampled_from(["f", "g"]), min_size=1, max_size=4), st.data())
def test_calls_in_pieces_are_put_together_by_index(names: list[str], data: Any) -> None:
    """Whatever the order in which the pieces of parallel calls come."""
    texts = [json.dumps({"n": i, "text": "x" * i}) for i in range(len(names))]
    waiting = [list(text) for text in texts]
    chunks = [{"tool_calls": [piece(id=f"c{i}", index=i, name=name)]} for i, name in enumerate(names)]
    while any(waiting):
        i = data.draw(st.sampled_from([i for i, letters in enumerate(waiting) if letters]))
        chunks.append({"tool_calls": [piece(waiting[i].pop(0), index=i)]})
    reply, _ = chat(*chunks)
    assert [(call.call_id, call.name, json.dumps(call.arguments)) for call in reply.calls] == [
        (f"c{i}", name, text) for i, (name, text) in enumerate(zip(names, texts, strict=True))
    ]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_in_words_is_kept_for_people_and_never_sent_back(field: str) -> None:
    reply, _ = chat({field: "Ebb "}, {field: "follows flood."}, {"content": "At six."}, finish="stop")
    whole = {"message": {field: "Ebb follows flood.", "content": "At six."}, "finish_reason": "stop"}
    assert openai_chat.decode_completion({"choices": [whole]}).content == reply.content
    assert reply.text == "At six."
    blocks = reply_blocks(reply, step=1)
    assert thoughts(blocks) == ["Ebb follows flood."]
    ask = Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text("When?"))
    body = openai_chat.encode(Prompt(model="m", blocks=(ask, *blocks), max_tokens=9))
    assert [message["content"] for message in body["messages"]] == ["When?", "At six."]
    usage = Usage(input=9, output=12)
    counted, without = (
        reply_tokens(some, usage, TokenCounter("gpt"), lookup("openai:gpt-4.1")) for some in (blocks, blocks[1:])
    )
    assert counted[blocks[0].digest] == 0
    assert 0 < counted[blocks[1].digest] < without[blocks[1].digest]


def test_content_as_a_list_of_parts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "High water."},
    ]
    message = {"content": parts}
    reply = openai_chat.decode_completion({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert reply.text == chat({"content": parts}, finish="stop")[0].text == "High water."


@given(
    st.lists(st.tuples(st.sampled_from([Role.SYSTEM, Role.USER, Role.ASSISTANT]), st.text()), min_size=1, max_size=9)
)
def test_texts_go_out_as_strings_and_what_was_sent_stays_a_prefix(said: list[tuple[Role, str]]) -> None:
    """Many servers take no list of parts; and a longer conversation begins with the shorter one's words."""
    blocks = tuple(block(Text(words), role) for role, words in said)
    sent, before = (
        openai_chat.encode(Prompt(model="m", blocks=some, max_tokens=9))["messages"] for some in (blocks, blocks[:-1])
    )
    assert all(isinstance(message["content"], str) for message in sent)
    assert [message["content"] for message in before[:-1]] == [m["content"] for m in sent[: max(len(before) - 1, 0)]]
    if before:
        assert sent[len(before) - 1]["content"].startswith(before[-1]["content"])


def test_an_error_inside_a_200() -> None:
    with pytest.raises(ServerFault, match="upstream gave up"):
        openai_chat.decode_completion({"error": {"message": "upstream gave up", "code": 502}})
    with pytest.raises(StreamBroken):
        chat({"content": "Hi"}, finish="error")


@pytest.mark.parametrize(
    "usage", [None, {}, 5, {"prompt_tokens": None}, {"prompt_tokens": "7", "completion_tokens": -1}]
)
def test_a_usage_that_says_nothing_costs_no_reply(usage: Any) -> None:
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop"}
    reply = openai_chat.decode_completion({"choices": [choice], "usage": usage})
    assert (reply.text, reply.usage) == ("Hi", Usage())


# --- what is wrong is not asked again ----------------------------------------------------------------------------

CODES = {
    "server_error": ServerFault,
    "vector_store_timeout": ServerFault,
    "invalid_prompt": RequestRefused,
    "context_length_exceeded": PromptTooLong,
    "bio_policy": RequestRefused,
    "image_too_large": RequestRefused,
    "insufficient_quota": AccessRefused,
}


@pytest.mark.parametrize("code", list(CODES))
def test_each_failure_of_a_response(code: str) -> None:
    failed = {"status": "failed", "error": {"code": code, "message": "so it is"}}
    with pytest.raises(ProviderError, match="so it is") as caught:
        openai_responses.decode_response(failed)
    assert type(caught.value) is CODES[code]


# --- replies that were cut off -----------------------------------------------------------------------------------

THOUGHT = {"type": "thinking", "thinking": "First"}


def test_thinking_that_was_cut_off_does_not_go_back() -> None:
    """Without its signature it would be a 400, and so would each later turn of the thread be."""
    message = {"content": [THOUGHT | {"signature": ""}], "stop_reason": "max_tokens", "usage": {"output_tokens": 9}}
    (only,) = reply_blocks(anthropic.decode_message(message))
    assert only.content == Text("(no answer)")


def test_thinking_before_an_answer_that_was_cut_off_goes_back() -> None:
    content = [THOUGHT | {"signature": "s"}, {"type": "text", "text": "High wa"}]
    reply = anthropic.decode_message({"content": content, "stop_reason": "max_tokens"})
    assert [one.content for one in reply_blocks(reply)] == list(reply.content)


@pytest.mark.parametrize("stop", ["max_tokens", "model_context_window_exceeded", "refusal"])
def test_a_call_that_was_cut_off_goes_with_the_thinking_that_led_to_it(stop: str) -> None:
    text = {"type": "text", "text": "I look."}
    call = {"type": "tool_use", "id": "t", "name": "inspect", "input": {}}
    content = [THOUGHT | {"signature": "s"}, text, THOUGHT | {"signature": "u"}, call]
    kept = [one.content for one in reply_blocks(anthropic.decode_message({"content": content, "stop_reason": stop}))]
    assert [type(part) for part in kept] == [Opaque, Text]


def test_reasoning_that_led_to_nothing_does_not_go_back() -> None:
    output = [{"type": "reasoning", "id": "rs", "encrypted_content": "e"}]
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": output}
    reply = openai_responses.decode_response(cut)
    assert reply.stop is StopReason.MAX_TOKENS
    assert [one.content for one in reply_blocks(reply)] == [Text("(no answer)")]


def test_a_signature_behind_the_last_text_goes_back() -> None:
    parts = [{"text": "High water."}, {"text": "", "thoughtSignature": "s"}]
    reply = google.decode_response({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]})
    assert [one.content for one in reply_blocks(reply)] == list(reply.content)


def test_an_id_that_comes_again_in_the_next_step_is_another_call() -> None:
    call = ToolCall("call_0", "inspect", {"name": "a"})
    again = ToolCall("call_0", "inspect", {"name": "b"})
    turn = [block(call), result_block(call, Outcome(text="1")), block(again)]
    assert open_calls(turn) == [again]


NOTES = {
    "refusal": (StopReason.REFUSAL, "SAFETY", "refused to answer: SAFETY"),
    "other": (StopReason.END, "OTHER", "none of the usual: OTHER"),
    "cut": (StopReason.MAX_TOKENS, "length", "cut off at 7 tokens"),
    "full": (StopReason.CONTEXT_FULL, "", "lower AgentNB.compact_at"),
    "nothing": (StopReason.END, "", "without an answer"),
}


@pytest.mark.parametrize("case", list(NOTES))
def test_an_end_that_is_none_is_told(case: str) -> None:
    stop, detail, says = NOTES[case]
    reply = Reply(content=(), stop=stop, usage=Usage(output=7), model="m", stop_detail=detail)
    assert says in end_note(reply)


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "It could do harm."}
    reply = anthropic.decode_message({"content": [], "stop_reason": "refusal", "stop_details": details})
    assert (reply.stop, reply.stop_detail) == (StopReason.REFUSAL, "It could do harm.")
    assert not end_note(replace(reply, content=(Text("Hi"),), stop=StopReason.END, stop_detail=""))


# --- a server of one's own ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["anthropic", "responses", "chat"])
def test_a_server_of_ones_own_is_asked_without_a_key(
    answering: Any, wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    adapter, model = WIRES[wire]
    whole = next(value for name, streamed, value in recorded() if (name, streamed) == (wire, False) and "id" in value)
    with answering(200, json.dumps(whole).encode(), {"content-type": "application/json"}) as server:
        monkeypatch.setenv(adapter.vendor.address, server.url)
        made = adapter(lookup(model), clock=SystemClock())
        answer = made.ask(made.encode(hello(made), (), previous_message=None).plain(), lambda kind, text: None)
        made.close()
    assert answer.reply.content


def test_googles_name_of_a_reply_stands_in_its_errors() -> None:
    with pytest.raises(StreamBroken, match="Request id r-1"):
        google.decode_response({"responseId": "r-1", "candidates": [{"content": {"parts": [{"text": "Hi"}]}}]})
