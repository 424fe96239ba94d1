"""The Messages wire through the real SDK, and its shapes against recordings of the real API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from agentnb.simulator import Simulator

DATA = Path(__file__).parents[1] / "data"
INSPECT = {
    "name": "inspect",
    "description": "Fetch one more definition.",
    "input_schema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
}
MODEL = "claude-sonnet-4-6"
QUESTION = "inspect `tides.omega` and `tides.phase`"


def recorded(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"{name}.json").read_text("utf-8"))


def events_of(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n", 1)
        yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def raw_stream(http: Any, sim: Simulator, **body: Any) -> str:
    ask = {"model": "claude-sonnet-4-6", "max_tokens": 300, "stream": True, **body}
    reply = http.post(f"{sim.url}/v1/messages?beta=true", json=ask, headers={"x-api-key": "any"})
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    return reply.text


def shape(value: Any) -> Any:
    """Field names and types, all the way down."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value).__name__


def test_the_stream_has_the_recorded_events_and_fields(http: Any, sim: Simulator) -> None:
    ours = list(events_of(raw_stream(http, sim, messages=[{"role": "user", "content": QUESTION}], tools=[INSPECT])))
    theirs = list(events_of(recorded("tools-stream")["responses"][0]["sse"]))
    plain = list(events_of(recorded("tools-stream")["responses"][1]["sse"]))  # without the server's own tools
    known = {
        (name, value.get("delta", value.get("content_block", {})).get("type")): value
        for name, value in [*theirs, *plain]
    }
    for name, value in ours:
        kind = value.get("delta", value.get("content_block", {})).get("type")
        assert shape(value) == shape(known[name, kind])
    assert [name for name, _ in ours][:4] == [name for name, _ in theirs][:4]
    assert [name for name, _ in ours][-3:] == [name for name, _ in theirs][-3:]


def test_thinking_streams_as_recorded(http: Any, sim: Simulator) -> None:
    thinking = {"type": "enabled", "budget_tokens": 100}
    ours = list(events_of(raw_stream(http, sim, messages=[{"role": "user", "content": "why?"}], thinking=thinking)))
    theirs = list(events_of(recorded("thinking-stream")["responses"][0]["sse"]))
    assert kinds(ours) == kinds(theirs)


def kinds(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """The kinds of events in order, repetitions left out."""
    named = [value.get("delta", {}).get("type") or name for name, value in events]
    return [name for i, name in enumerate(named) if i == 0 or named[i - 1] != name]


def test_a_plain_reply_has_the_recorded_fields(client: Any) -> None:
    raw = client.messages.with_raw_response.create(
        model="claude-sonnet-4-6", max_tokens=99, messages=[{"role": "user", "content": "hi"}]
    )
    ours, theirs = json.loads(raw.text()), recorded("plain")["responses"][1]["body"]
    assert set(theirs) <= set(ours)
    assert set(theirs["usage"]) <= set(ours["usage"])
    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["agentnb-sim"] == "1"
    assert re.fullmatch(r"x-originResponse;dur=\d+", raw.headers["server-timing"])


@pytest.mark.parametrize("question", ["hello", QUESTION, "Explain `f`.\n\ndef f(x=1):\n    return x"])
@pytest.mark.parametrize("thinking", [False, True])
def test_streaming_equals_plain(client: Any, question: str, *, thinking: bool) -> None:
    ask: dict[str, Any] = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 2000,
        "messages": [{"role": "user", "content": question}],
        "tools": [INSPECT],
    }
    if thinking:
        ask["thinking"] = {"type": "adaptive"}
    plain = client.messages.create(**ask)
    with client.messages.stream(**ask) as stream:
        streamed = stream.get_final_message()
    assert comparable(streamed) == comparable(plain)


def comparable(message: Any) -> dict[str, Any]:
    value = message.model_dump(exclude={"id", "parsed_output"})
    for block in value["content"]:
        block.pop("id", None)
        block.pop("parsed_output", None)
    return value


def test_several_calls_come_in_one_reply(client: Any) -> None:
    reply = client.messages.create(
        model="claude-sonnet-4-6",
        max_tokens=300,
        tools=[INSPECT],
        messages=[{"role": "user", "content": QUESTION}],
    )
    calls = [block for block in reply.content if block.type == "tool_use"]
    assert reply.stop_reason == "tool_use"
    assert [call.input for call in calls] == [{"name": "tides.omega"}, {"name": "tides.phase"}]
    assert len({call.id for call in calls}) == 2


def test_max_tokens_cuts(client: Any) -> None:
    ask = {"model": "claude-sonnet-4-6", "messages": [{"role": "user", "content": "hello"}]}
    whole = client.messages.create(max_tokens=500, **ask)
    cut = client.messages.create(max_tokens=10, **ask)
    assert cut.stop_reason == "max_tokens"
    assert cut.usage.output_tokens == 10
    assert whole.content[0].text.startswith(cut.content[0].text)


def test_stop_sequences_cut(client: Any) -> None:
    reply = client.messages.create(
        model="claude-sonnet-4-6",
        max_tokens=500,
        stop_sequences=["never said", "does not reason"],
        messages=[{"role": "user", "content": "hello"}],
    )
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "does not reason")
    assert "does not reason" not in reply.content[0].text


def test_count_tokens_agrees_with_the_reply(client: Any) -> None:
    ask = {
        "model": "claude-sonnet-4-6",
        "messages": [{"role": "user", "content": "hello"}],
        "tools": [INSPECT],
        "system": "Be brief.",
    }
    counted = client.messages.count_tokens(**ask)
    assert counted.input_tokens == client.messages.create(max_tokens=9, **ask).usage.input_tokens


def test_the_models_are_listed(client: Any) -> None:
    assert "claude-sonnet-4-6" in [model.id for model in client.models.list()]


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "inspect", "input": {}}]}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "x"}
HI = {"type": "text", "text": "hi"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "claude-sonet"}, r"model: claude-sonet"),
        ({"messages": []}, "at least one message is required"),
        ({"messages": [user({"type": "text", "text": ""})]}, "text content blocks must be non-empty"),
        ({"messages": [{"role": "user", "content": ""}]}, "must have non-empty content"),
        ({"messages": [CALL, user(RESULT)]}, 'first message must use the "user" role'),
        ({"messages": [user(HI), CALL, user(HI)]}, "without `tool_result` blocks immediately after: t1"),
        ({"messages": [user(HI), CALL]}, "must end with a user message"),
        ({"messages": [user(RESULT)]}, "unexpected `tool_use_id` found in `tool_result` blocks: t1"),
        ({"messages": [user({"type": "odd"})]}, "does not match any of the expected tags"),
        ({"system": [{"type": "text", "text": ""}]}, "system: text content blocks must be non-empty"),
        ({"max_tokens": 10**6, "stream": True}, "maximum allowed number of output tokens"),
        ({"tools": [INSPECT, INSPECT]}, "Tool names must be unique"),
        ({"tools": [INSPECT | {"name": "mcp.look"}]}, "tools.0.custom.name: String should match pattern"),
        ({"tools": [INSPECT], "tool_choice": {"type": "tool", "name": "gone"}}, "not found in provided tools"),
        ({"system": [{**HI, "cache_control": {"type": "ephemeral", "ttl": "2h"}}]}, "Input should be '5m' or '1h'"),
    ],
)
def test_what_is_refused_and_how(client: Any, change: dict[str, Any], message: str) -> None:
    ask = {"model": "claude-sonnet-4-6", "max_tokens": 99, "messages": [user(HI)], **change}
    with pytest.raises(anthropic.APIStatusError, match=message) as caught:
        client.messages.create(**ask)
    assert caught.value.status_code == (404 if "model" in change else 400)
    assert shape(caught.value.body) == shape(recorded("error-400")["responses"][0]["body"])
    assert caught.value.request_id == caught.value.body["request_id"]


def test_a_prompt_longer_than_the_window(client: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 200000 maximum"):
        client.messages.create(
            model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": "word " * 200_000}]
        )


@pytest.mark.parametrize(
    ("path", "headers", "data", "status", "kind"),
    [
        ("/v1/messages", {}, b"{}", 401, "authentication_error"),
        ("/v1/messages", {"authorization": "Bearer k"}, b"{broken", 400, "invalid_request_error"),
        ("/v1/messages", {"x-api-key": "k"}, b"{}", 400, "invalid_request_error"),
        ("/v1/messages", {"x-api-key": "k"}, b"[]", 400, "invalid_request_error"),
        ("/v1/elsewhere", {"x-api-key": "k"}, b"{}", 404, "not_found_error"),
    ],
)
def test_bad_requests(
    http: Any, sim: Simulator, path: str, headers: dict[str, str], data: bytes, status: int, kind: str
) -> None:
    reply = http.post(sim.url + path, headers={"content-type": "application/json", **headers}, content=data)
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)


def test_thinking_is_bound_to_what_stood_before_it(client: Any) -> None:
    ask: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 300, "thinking": {"type": "adaptive"}}
    first = client.messages.create(messages=[user(HI)], system="One.", **ask)
    thread = [user(HI), {"role": "assistant", "content": [block.model_dump() for block in first.content]}, user(HI)]
    for block in thread[1]["content"]:
        block.pop("citations", None)
    assert client.messages.create(messages=thread, system="One.", **ask).stop_reason == "end_turn"
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        client.messages.create(messages=thread, system="Two.", **ask)
    older = {**ask, "model": "claude-sonnet-4-6"}
    assert client.messages.create(messages=thread, system="Two.", **older).stop_reason == "end_turn"


def test_requests_are_kept_without_keys(sim: Simulator, make_client: Any) -> None:
    client = make_client(sim, api_key="secret-key-of-mine")
    client.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=[user(HI)])
    (kept,) = sim.requests
    assert (kept.method, kept.path, kept.status) == ("POST", "/v1/messages", 200)
    assert json.loads(kept.raw) == kept.body
    assert kept.usage is not None
    assert kept.usage["output_tokens"] == 9
    assert "secret-key" not in repr(kept)


def test_no_conversation_is_held_on_the_server(client: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="send it whole"):
        client.beta.messages.create(
            model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "And?"}], thread={"type": "create"}
        )


def test_the_sdks_own_tool_runner(client: Any) -> None:
    def tide(station: str) -> str:
        """The tide at a station."""
        return f"3 m at {station}"

    runner = client.beta.messages.tool_runner(
        model=MODEL,
        max_tokens=400,
        tools=[anthropic.beta_tool(tide)],
        messages=[{"role": "user", "content": "Please call tide for `dover`."}],
        thread=False,
    )
    last = runner.until_done()
    assert last.stop_reason == "end_turn"
    assert "dover" in str(last.content)
