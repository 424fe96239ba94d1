"""OpenAI's two wires through the real SDK: shapes, automatic prompt caching, breakpoints, diagnostics, errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentnb.simulator import Simulator

openai = pytest.importorskip("openai", reason="the openai package is not installed")

DATA = Path(__file__).parents[1] / "data"
SOL = "gpt-6.1-sol"
OLDER = "gpt-4.1"
LONG = "The tide at the pier follows the moon and the sun. " * 150  # about 1,650 tokens, above the minimum of 1,024
PARAMETERS = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
INSPECT = {"type": "function", "name": "inspect", "description": "Fetch one more definition.", "parameters": PARAMETERS}
CHAT_INSPECT = {"type": "function", "function": {key: INSPECT[key] for key in ("name", "description", "parameters")}}
QUESTION = "inspect `tides.omega` and `tides.phase`"


@pytest.fixture
def api(http: Any, sim: Simulator) -> Any:
    return openai.OpenAI(api_key="any", base_url=f"{sim.url}/v1", max_retries=0, http_client=http)


def recorded(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"openai-{name}.json").read_text("utf-8"))


def raw(http: Any, sim: Simulator, path: str, body: Any) -> Any:
    return http.post(f"{sim.url}{path}", json=body, headers={"authorization": "Bearer any"})


def user(*parts: Any) -> dict[str, Any]:
    made = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"role": "user", "content": made}


def marked(text: str, **options: Any) -> dict[str, Any]:
    return {"type": "input_text", "text": text, "prompt_cache_breakpoint": {"mode": "explicit", **options}}


def used(reply: Any) -> tuple[int, int]:
    """(read, written)"""
    details = reply.usage.input_tokens_details
    return details.cached_tokens, details.cache_write_tokens


# Responses


def test_a_tool_loop_with_reasoning_sent_back(api: Any) -> None:
    first = api.responses.create(model=SOL, input=QUESTION, tools=[INSPECT], include=["reasoning.encrypted_content"])
    calls = [item for item in first.output if item.type == "function_call"]
    assert first.output[0].type == "reasoning"
    assert first.output[0].encrypted_content
    assert [json.loads(call.arguments) for call in calls] == [{"name": "tides.omega"}, {"name": "tides.phase"}]
    assert first.usage.output_tokens_details.reasoning_tokens > 0
    assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "def omega(): return 1"} for call in calls
    ]
    history = [user(QUESTION), *(item.model_dump(exclude_none=True) for item in first.output)]
    second = api.responses.create(model=SOL, input=[*history, *results], tools=[INSPECT])
    assert "`inspect` brought the definition `omega`" in second.output_text
    with pytest.raises(openai.BadRequestError, match="not found"):  # nothing is kept on the server
        api.responses.create(model=SOL, input=results, previous_response_id=first.id)
    with pytest.raises(openai.BadRequestError, match="No tool output found for function call"):
        api.responses.create(model=SOL, input=[*history, results[0]], tools=[INSPECT])
    with pytest.raises(openai.BadRequestError, match="No tool call found for function call output"):
        api.responses.create(model=SOL, input=results)


def test_reasoning_that_comes_back_counts_as_it_did(api: Any) -> None:
    """Recorded: 124 of input, 1,926 of output (1,792 of them reasoning) and a short result made 2,087."""
    ask = {"model": SOL, "tools": [INSPECT], "include": ["reasoning.encrypted_content"]}
    first = api.responses.create(input=QUESTION, **ask)
    said = [item.model_dump(exclude_none=True) for item in first.output]
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "x"}
        for item in said
        if "call_id" in item
    ]
    history = [user(QUESTION), *said, *results]

    def counted(items: list[Any], **more: Any) -> int:
        return int(api.responses.create(input=items, **ask, **more).usage.input_tokens)

    reasoning = first.usage.output_tokens_details.reasoning_tokens
    without = [item for item in history if item.get("type") != "reasoning"]
    assert counted(history) - counted(without) == reasoning
    later = [*history, user("And then?")]
    assert counted(later) - counted([*without, user("And then?")]) == reasoning, "all turns, from GPT-5.6 on"
    assert counted(later) - counted(later, reasoning={"context": "current_turn"}) == reasoning
    assert counted(history, reasoning={"context": "current_turn"}) == counted(history), "the present turn's stays"


@pytest.mark.parametrize("question", ["hello", QUESTION])
@pytest.mark.parametrize("model", [SOL, OLDER])
def test_streaming_equals_plain(api: Any, question: str, model: str) -> None:
    ask = {"model": model, "input": question, "tools": [INSPECT]}
    plain = api.responses.create(**ask)
    with api.responses.stream(**ask) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == plain.output_text
    assert final.usage == plain.usage
    assert [item.type for item in final.output] == [item.type for item in plain.output]
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == plain.output_text


def test_the_events_are_the_recorded_ones(http: Any, sim: Simulator) -> None:
    for exchange, question in zip(recorded("responses-tools-stream")["responses"], (QUESTION, "hello"), strict=True):
        theirs = kinds(exchange["sse"])
        ours = kinds(raw(http, sim, "/v1/responses", ask_stream(question)).text)
        message = ["response.output_item.added", "response.content_part.added", "response.output_text.delta"]
        assert ours[:2] == theirs[:2]
        assert ours[-1] == theirs[-1]
        assert set(theirs) <= set(ours)
        assert ours[2:5] == message


def ask_stream(question: str) -> dict[str, Any]:
    return {"model": OLDER, "input": question, "tools": [INSPECT], "stream": True}


def kinds(text: str) -> list[str]:
    return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]


def test_a_reply_that_is_cut_is_incomplete(api: Any) -> None:
    cut = api.responses.create(model=OLDER, input="hello", max_output_tokens=16)
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert cut.usage.output_tokens == 16
    with pytest.raises(openai.BadRequestError, match=r"Expected a value >= 16"):
        api.responses.create(model=OLDER, input="hello", max_output_tokens=1)


def test_counting_agrees_with_the_reply(api: Any) -> None:
    ask = {"model": SOL, "input": [user(LONG), user("x")], "instructions": "Be brief.", "tools": [INSPECT]}
    assert api.responses.input_tokens.count(**ask).input_tokens == api.responses.create(**ask).usage.input_tokens


# Automatic prompt caching, up to GPT-5.5


def test_automatic_caching_in_steps_of_128_from_1024(api: Any) -> None:
    first = api.responses.create(model=OLDER, input=[user(LONG), user("one")])
    second = api.responses.create(model=OLDER, input=[user(LONG), user("two")])
    assert used(first) == (0, 0)
    read, written = used(second)
    assert written == 0  # nothing is charged for writing
    assert read >= 1024
    assert read % 128 == 0
    assert second.usage.input_tokens - 128 <= read + 20 <= second.usage.input_tokens + 20


def test_the_step_may_end_inside_a_text(api: Any) -> None:
    api.responses.create(model=OLDER, input=f"{LONG} and then this")
    read, _ = used(api.responses.create(model=OLDER, input=f"{LONG} or something else"))
    assert read >= 1024


def test_below_the_minimum_nothing_is_cached(api: Any) -> None:
    for _ in range(2):
        assert used(api.responses.create(model=OLDER, input="word " * 900)) == (0, 0)


def test_the_cache_key_routes(api: Any) -> None:
    def read(key: str) -> int:
        return used(api.responses.create(model=OLDER, input=LONG, prompt_cache_key=key))[0]

    assert [bool(read(key)) for key in ("a", "b", "a", "b")] == [False, False, True, True]


@pytest.mark.parametrize(("retention", "seconds"), [(None, 300), ("24h", 86_400)])
def test_automatic_entries_expire(sim: Simulator, api: Any, retention: str | None, seconds: int) -> None:
    ask = {"model": OLDER, "input": LONG, **({"prompt_cache_retention": retention} if retention else {})}
    api.responses.create(**ask)
    sim.clock.advance(seconds - 1)
    assert used(api.responses.create(**ask))[0] > 0
    sim.clock.advance(seconds)
    assert used(api.responses.create(**ask))[0] == 0


def test_chat_and_responses_count_the_same(api: Any) -> None:
    chat = api.chat.completions.create(model=OLDER, messages=[{"role": "user", "content": LONG}])
    assert chat.usage.prompt_tokens == api.responses.create(model=OLDER, input=LONG).usage.input_tokens


# Breakpoints, GPT-5.6 and later

EXPLICIT = {"mode": "explicit"}


def test_an_explicit_breakpoint_is_exact(api: Any) -> None:
    first = api.responses.create(model=SOL, input=[user(marked(LONG), "one")], prompt_cache_options=EXPLICIT)
    second = api.responses.create(model=SOL, input=[user(marked(LONG), "two")], prompt_cache_options=EXPLICIT)
    assert used(first)[0] == 0
    assert used(first)[1] > 1024
    assert used(second) == (used(first)[1], 0)


def test_explicit_mode_without_marks_caches_nothing(api: Any) -> None:
    for _ in range(2):
        assert used(api.responses.create(model=SOL, input=LONG, prompt_cache_options=EXPLICIT)) == (0, 0)


def test_the_implicit_breakpoint_follows_an_append_only_conversation(api: Any) -> None:
    first = api.responses.create(model=SOL, input=[user(LONG)])
    answer = {"role": "assistant", "content": "ok"}
    second = api.responses.create(model=SOL, input=[user(LONG), answer, user("go on")])
    assert used(second)[0] == used(first)[1] > 1024
    assert 0 < used(second)[1] < 30


def test_the_trap_of_the_implicit_breakpoint(api: Any) -> None:
    """A stable prefix with a changing suffix in the same message: no hits, and everything is written each time."""
    replies = [api.responses.create(model=SOL, input=[user(LONG + tail)]) for tail in ("one", "two")]
    assert [used(reply)[0] for reply in replies] == [0, 0]
    assert all(used(reply)[1] > 1024 for reply in replies)
    with_mark = [api.responses.create(model=SOL, input=[user(marked(LONG), tail)]) for tail in ("one", "two")]
    assert used(with_mark[1])[0] > 1024


def test_only_the_latest_four_marks_are_written(api: Any) -> None:
    def ask(*parts: Any) -> Any:
        return api.responses.create(model=SOL, input=[user(*parts, "end")], prompt_cache_options=EXPLICIT)

    parts = [marked(f"{i} {LONG}") for i in range(5)]
    ask(*parts)
    assert used(ask(parts[0]))[0] == 0  # the fifth from the end was not written
    assert used(ask(*parts[:2]))[0] > 2048


def test_a_match_needs_no_lookback_but_a_mark(api: Any) -> None:
    many = [f"block {i}" for i in range(60)]
    first = api.responses.create(model=SOL, input=[user(marked(LONG))], prompt_cache_options=EXPLICIT)
    hit = api.responses.create(model=SOL, input=[user(marked(LONG), *many)], prompt_cache_options=EXPLICIT)
    missed = api.responses.create(model=SOL, input=[user(LONG, *many, marked("here"))], prompt_cache_options=EXPLICIT)
    assert used(hit)[0] == used(first)[1]
    assert used(missed)[0] == 0


def test_breakpoints_live_for_half_an_hour_or_twelve(sim: Simulator, api: Any) -> None:
    def ask() -> Any:
        parts = [marked(f"long {LONG}", ttl="12h"), marked(f"short {LONG}"), "end"]
        return api.responses.create(model=SOL, input=[user(*parts)], prompt_cache_options=EXPLICIT)

    first = ask()
    details = first.usage.input_tokens_details.cache_write_tokens_details
    assert details.ttl_12h_tokens + details.ttl_30m_tokens == used(first)[1]
    sim.clock.advance(1801)
    assert used(ask()) == (details.ttl_12h_tokens, details.ttl_30m_tokens)
    sim.clock.advance(1799)
    assert used(ask()) == (used(first)[1], 0)


def test_prewarming_writes_and_says_nothing(api: Any) -> None:
    warm = api.responses.create(model=SOL, input=[user(LONG)], prompt_cache_options={"prewarm": True})
    assert (warm.output, warm.usage.output_tokens) == ([], 0)
    assert used(api.responses.create(model=SOL, input=[user(LONG)]))[0] == used(warm)[1] > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"prompt_cache_key": "other"}, "prompt_cache_key_changed"),
        ({"tools": [INSPECT]}, "tools_changed"),
        ({"reasoning": {"effort": "high"}}, "reasoning_effort_changed"),
        ({"text": {"verbosity": "low"}}, "verbosity_changed"),
        ({"input": [user("x" + LONG)]}, "input_changed"),
    ],
)
def test_diagnostics(api: Any, change: dict[str, Any], reason: str | None) -> None:
    usual = {"model": SOL, "input": [user(LONG)], "prompt_cache_key": "mine"}
    first = api.responses.create(**usual)
    again = api.responses.create(**{**usual, **change}, prompt_cache_options={"comparison_response_id": first.id})
    found = again.prompt_cache_diagnostics
    assert found.type == ("cache_miss" if reason else "cache_hit")
    assert getattr(found, "reason", None) == reason
    gone = api.responses.create(**usual, prompt_cache_options={"comparison_response_id": "resp_gone"})
    assert gone.prompt_cache_diagnostics.type == "comparison_response_not_found"


def test_older_models_have_no_breakpoints_and_no_reasoning(api: Any) -> None:
    for extra in (
        {"prompt_cache_options": {"mode": "explicit"}},
        {"input": [user(marked("x"))]},
        {"reasoning": {"effort": "low"}},
    ):
        with pytest.raises(openai.BadRequestError, match="is not supported with this model") as caught:
            api.responses.create(**{"model": OLDER, "input": "x", **extra})
        assert caught.value.code == "unsupported_parameter"


# Chat Completions


def test_a_chat_tool_loop(api: Any) -> None:
    ask = {"model": OLDER, "tools": [CHAT_INSPECT]}
    question = {"role": "user", "content": QUESTION}
    first = api.chat.completions.create(messages=[question], **ask).choices[0]
    calls = first.message.tool_calls
    assert first.finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments)["name"] for call in calls] == ["tides.omega", "tides.phase"]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "0.5"} for call in calls]
    history = [question, first.message.model_dump(exclude_none=True)]
    second = api.chat.completions.create(messages=[*history, *results], **ask).choices[0]
    assert second.finish_reason == "stop"
    assert "`inspect` returned `0.5`." in second.message.content
    with pytest.raises(openai.BadRequestError, match="did not have response messages"):
        api.chat.completions.create(messages=[*history, results[0]], **ask)
    with pytest.raises(openai.BadRequestError, match="must be a response to a preceeding message"):
        api.chat.completions.create(messages=[question, results[0]], **ask)


def shape(value: Any) -> Any:
    return {key: shape(item) for key, item in value.items()} if isinstance(value, dict) else type(value).__name__


def test_chat_fields_are_the_recorded_ones(http: Any, sim: Simulator) -> None:
    ours = raw(http, sim, "/v1/chat/completions", {"model": OLDER, "messages": [{"role": "user", "content": "x"}]})
    assert shape(ours.json()) == shape(recorded("chat-plain")["responses"][0]["body"])
    assert ours.headers["openai-processing-ms"].isdigit()
    assert ours.headers["x-request-id"]


def test_chat_chunks_are_the_recorded_ones(http: Any, sim: Simulator) -> None:
    ask = {"model": OLDER, "stream": True, "stream_options": {"include_usage": True}, "tools": [CHAT_INSPECT]}
    for exchange, question in zip(recorded("chat-tools-stream")["responses"], (QUESTION, "hello"), strict=True):
        text = raw(http, sim, "/v1/chat/completions", {**ask, "messages": [{"role": "user", "content": question}]}).text
        ours, theirs = chunks(text), chunks(exchange["sse"])
        assert text.endswith("data: [DONE]\n\n")
        for end in (-1, -2):
            theirs[end].pop("obfuscation")
            assert shape(ours[end]) == shape(theirs[end])
        assert all(chunk["usage"] is None for chunk in ours[:-1])


def chunks(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def test_chat_streaming_equals_plain(api: Any) -> None:
    ask = {"model": SOL, "messages": [{"role": "user", "content": QUESTION}], "tools": [CHAT_INSPECT]}
    plain = api.chat.completions.create(**ask)
    with api.chat.completions.stream(**ask, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()
    assert streamed.usage == plain.usage
    assert streamed.choices[0].message.content == plain.choices[0].message.content
    assert [call.function.arguments for call in streamed.choices[0].message.tool_calls] == [
        call.function.arguments for call in plain.choices[0].message.tool_calls
    ]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("model", [SOL, OLDER])
@pytest.mark.parametrize("stream", [False, True])
def test_a_virtual_clock_moves_by_the_modelled_total(
    http: Any, make_sim: Any, path: str, model: str, *, stream: bool
) -> None:
    sim = make_sim(speed=1)
    before = sim.clock.now()
    asked = [{"role": "user", "content": QUESTION}]
    chat = path.endswith("completions")
    tools = [CHAT_INSPECT if chat else INSPECT]
    body = {"model": model, "stream": stream, "messages" if chat else "input": asked, "tools": tools}
    reply = raw(http, sim, path, body)
    assert sim.clock.now() - before == pytest.approx(
        float(reply.headers["agentnb-sim-timing"].rpartition("=")[2]), abs=2e-3
    )


# Errors


def test_errors_have_the_recorded_shape(api: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        api.responses.create(model="gpt-0", input="x")
    assert set(caught.value.body) == set(recorded("error-400")["responses"][0]["body"]["error"])
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, "empty array"),
        ({"messages": [{"role": "robot", "content": "x"}]}, r"messages\[0\]\.role"),
        ({}, "Missing required parameter: 'messages'"),
        ({"messages": [{"role": "user", "content": "word " * 1_100_000}]}, "maximum context length"),
    ],
)
def test_what_chat_refuses(http: Any, sim: Simulator, body: dict[str, Any], message: str) -> None:
    import re

    reply = raw(http, sim, "/v1/chat/completions", {"model": OLDER, **body})
    assert reply.status_code == 400
    assert re.search(message, reply.json()["error"]["message"])


def test_a_missing_key_and_an_unknown_path(http: Any, sim: Simulator) -> None:
    assert http.post(f"{sim.url}/v1/responses", json={}).status_code == 401
    assert raw(http, sim, "/v1/responses/gone/else", {}).status_code == 404
    assert raw(http, sim, "/v1/responses", []).status_code == 400


def test_a_mid_stream_error(sim: Simulator, api: Any) -> None:
    sim.inject("error_event", after_events=4)
    # The SDK yields this event rather than raising: a client has to look for it.
    seen = [event.type for event in api.responses.create(model=OLDER, input="x", stream=True)]
    assert seen[-1] == "error"
    sim.inject("error_event", after_events=4)
    with pytest.raises(openai.APIError, match="had an error"):
        list(api.chat.completions.create(model=OLDER, messages=[{"role": "user", "content": "x"}], stream=True))


@pytest.mark.parametrize(("kind", "code"), [("429", 429), ("500", 500), ("503", 503), ("529", 503)])
def test_faults(sim: Simulator, api: Any, kind: str, code: int) -> None:
    sim.inject(kind, retry_after=1)
    with pytest.raises(openai.APIStatusError) as caught:
        api.responses.create(model=OLDER, input="x")
    assert caught.value.status_code == code
    assert caught.value.response.headers["retry-after"] == "1"


def test_a_refusal(sim: Simulator, api: Any) -> None:
    sim.inject("refusal", times=3)
    assert api.responses.create(model=OLDER, input="x").incomplete_details.reason == "content_filter"
    kinds = [event.type for event in api.responses.create(model=OLDER, input="x", stream=True)]
    assert kinds[-1] == "response.incomplete"
    chat = api.chat.completions.create(model=OLDER, messages=[{"role": "user", "content": "x"}])
    assert chat.choices[0].finish_reason == "content_filter"


def test_the_models_are_listed(api: Any) -> None:
    assert SOL in [model.id for model in api.models.list()]
