"""The Gemini wire through the real google-genai SDK: shapes, implicit and explicit caches, errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from agentnb.simulator import Simulator

JSON = {"content-type": "application/json"}
DATA = Path(__file__).parents[1] / "data"
PRO = "gemini-3.1-pro-preview"
OLDER = "gemini-2.5-pro"
LONG = "The tide at the pier follows the moon and the sun. " * 450  # about 5,000 tokens, above the 4,096 of Gemini 3.1
INSPECT = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="inspect",
            description="Fetch one more definition.",
            parameters_json_schema={
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
            },
        )
    ]
)


@pytest.fixture
def gemini(sim: Simulator) -> Iterator[Callable[..., genai.Client]]:
    made: list[genai.Client] = []

    def make(**options: Any) -> genai.Client:
        client = genai.Client(**{"api_key": "any", "http_options": options_for(sim, **versioned(options)), **options})
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def versioned(options: dict[str, Any]) -> dict[str, Any]:
    return {"api_version": options.pop("api_version", "v1beta")}


def options_for(sim: Simulator, **options: Any) -> types.HttpOptions:
    """Certificates are not read: it takes longer than everything else here."""
    unread = {"verify": False}
    return types.HttpOptions(base_url=sim.url, client_args=unread, async_client_args=unread, **options)


@pytest.fixture
def models(gemini: Callable[..., genai.Client]) -> Any:
    return gemini().models


def user(*parts: Any) -> types.Content:
    return types.Content(
        role="user", parts=[types.Part(text=part) if isinstance(part, str) else part for part in parts]
    )


def cached(reply: Any) -> int:
    return reply.usage_metadata.cached_content_token_count or 0


def test_usage_adds_up_and_thoughts_stand_outside(models: Any) -> None:
    usage = models.generate_content(model=PRO, contents="hello").usage_metadata
    assert usage.thoughts_token_count > 0
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )


def test_fields_are_the_recorded_ones(http: Any, sim: Simulator, models: Any) -> None:
    body = json.loads((DATA / "google-tools.json").read_text("utf-8"))
    for asked, answered in zip(body["requests"], body["responses"], strict=True):
        path = asked["path"].replace("gemini-3-flash-preview", PRO)
        ours = http.post(sim.url + path, json=asked["body"], headers={"x-goog-api-key": "any"}).json()
        assert set(ours) == set(answered["body"])
        assert set(answered["body"]["usageMetadata"]) | {"serviceTier"} == set(ours["usageMetadata"])


def test_the_stream_is_cumulative_and_ends_like_the_plain_reply(models: Any) -> None:
    ask = {"model": PRO, "contents": "What is a tide?"}
    plain = models.generate_content(**ask)
    chunks = list(models.generate_content_stream(**ask))
    assert "".join(chunk.text or "" for chunk in chunks) == plain.text
    assert chunks[-1].usage_metadata == plain.usage_metadata
    counts = [chunk.usage_metadata.candidates_token_count for chunk in chunks]
    assert counts == sorted(counts)
    assert [chunk.candidates[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].candidates[0].finish_reason == "STOP"


@pytest.mark.parametrize("stream", [False, True])
def test_a_virtual_clock_moves_by_the_modelled_total(http: Any, make_sim: Any, *, stream: bool) -> None:
    sim = make_sim(speed=1)
    before = sim.clock.now()
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    reply = http.post(f"{sim.url}/v1beta/models/{PRO}:{method}", json=body, headers={"x-goog-api-key": "any"})
    total = float(reply.headers["agentnb-sim-timing"].rpartition("=")[2])
    assert sim.clock.now() - before == pytest.approx(total, abs=2e-3)
    assert reply.headers["server-timing"].startswith("gfet4t7; dur=")


def test_a_tool_loop(models: Any) -> None:
    config = types.GenerateContentConfig(tools=[INSPECT])
    question = user("inspect `tides.omega` and `tides.phase`")
    first = models.generate_content(model=PRO, contents=[question], config=config)
    assert [call.args for call in first.function_calls] == [{"name": "tides.omega"}, {"name": "tides.phase"}]
    assert first.candidates[0].finish_reason == "STOP"
    results = [
        types.Part.from_function_response(name="inspect", response={"result": "def omega(): return 1"})
        for _ in first.function_calls
    ]
    history = [question, first.candidates[0].content, user(*results)]
    assert not models.generate_content(model=PRO, contents=history, config=config).function_calls
    with pytest.raises(errors.ClientError, match="number of function response parts"):
        models.generate_content(model=PRO, contents=[*history[:2], user(results[0])], config=config)


def test_gemini_3_wants_its_thought_signature_back(models: Any) -> None:
    call = types.Part(function_call=types.FunctionCall(name="inspect", args={"name": "x"}))
    result = types.Part.from_function_response(name="inspect", response={"result": "x"})
    history = [user("inspect `x`"), types.Content(role="model", parts=[call]), user(result)]
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        models.generate_content(model=PRO, contents=history)
    assert models.generate_content(model=OLDER, contents=history).text
    assert models.generate_content(model=PRO, contents=[*history, user("next question")]).text


@pytest.mark.parametrize(("model", "counts"), [(PRO, True), (OLDER, False)])
def test_a_thought_counts_again_with_its_signature_on_gemini_3(models: Any, model: str, counts: bool) -> None:
    """Recorded: 29 + 12 + 102 thought + a result made 161 on Gemini 3; 776 + 59 + a result 859 on 2.5, 184 thought."""
    first = models.generate_content(model=model, contents="inspect `x`", config={"tools": [INSPECT]})
    part = next(part for part in first.candidates[0].content.parts if part.function_call)
    bare = types.Part(function_call=part.function_call, thought_signature=b"a signature of another server")
    result = user(types.Part.from_function_response(name="inspect", response={"result": "x"}))
    prompts = [
        models.generate_content(
            model=model, contents=[user("inspect `x`"), types.Content(role="model", parts=[one]), result]
        ).usage_metadata.prompt_token_count
        for one in (part, bare)
    ]
    assert prompts[0] - prompts[1] == (first.usage_metadata.thoughts_token_count if counts else 0)


def test_a_prefix_of_whole_parts_is_cached_unasked(sim: Simulator, models: Any) -> None:
    first = models.generate_content(model=PRO, contents=[user(LONG), user("one")])
    second = models.generate_content(model=PRO, contents=[user(LONG), user("two")])
    assert cached(first) == 0
    assert 4096 < cached(second) < second.usage_metadata.prompt_token_count
    assert cached(models.generate_content(model=PRO, contents=[user("x" + LONG), user("two")])) == 0
    assert cached(models.generate_content(model=PRO, contents=[user("short"), user("two")])) == 0
    sim.clock.advance(301)
    assert cached(models.generate_content(model=PRO, contents=[user(LONG), user("two")])) == 0


def make_cache(client: genai.Client, **options: Any) -> Any:
    config = {"contents": [user(LONG)], "system_instruction": "Be brief.", "tools": [INSPECT], "display_name": "mine"}
    return client.caches.create(model=options.pop("model", PRO), config={**config, **options})


def test_an_explicit_cache_from_birth_to_death(sim: Simulator, gemini: Any, get: Callable[[str], Any]) -> None:
    client = gemini()
    made = make_cache(client, ttl="300s")
    assert (made.display_name, made.model) == ("mine", f"models/{PRO}")
    assert made.expire_time.timestamp() == sim.clock.now() + 300
    config = types.GenerateContentConfig(cached_content=made.name)
    reply = client.models.generate_content(model=PRO, contents="inspect `x`", config=config)
    assert cached(reply) == made.usage_metadata.total_token_count > 4096
    assert [call.args for call in reply.function_calls] == [{"name": "x"}]  # its tools work
    longer = client.caches.update(name=made.name, config={"ttl": "600s"})
    assert longer.expire_time.timestamp() == sim.clock.now() + 600
    assert [one.name for one in client.caches.list()] == [made.name]
    sim.clock.advance(301)
    assert client.caches.get(name=made.name).name == made.name
    client.caches.delete(name=made.name)
    assert not list(client.caches.list())
    with pytest.raises(errors.ClientError, match="403 PERMISSION_DENIED"):
        client.models.generate_content(model=PRO, contents="why?", config=config)
    hours = get(f"{sim.url}/sim/state")["cached_contents"]["token_hours"]
    assert hours == pytest.approx(made.usage_metadata.total_token_count * 301 / 3600, abs=1e-3)


def test_beyond_a_cache_what_is_cached_unasked_hits_too(sim: Simulator, gemini: Any) -> None:
    client = gemini()
    made = make_cache(client)
    config = types.GenerateContentConfig(cached_content=made.name)
    asked = [user("High water. " * 400), user("why?")]
    first = client.models.generate_content(model=PRO, contents=asked, config=config)
    again = client.models.generate_content(model=PRO, contents=asked, config=config)
    assert cached(first) == made.usage_metadata.total_token_count < cached(again)
    sim.clock.advance(301)
    assert cached(client.models.generate_content(model=PRO, contents=asked, config=config)) == cached(first)


def test_a_cache_expires_and_lives_an_hour_by_default(sim: Simulator, gemini: Any) -> None:
    client = gemini()
    made = make_cache(client)
    sim.clock.advance(3599)
    assert client.caches.get(name=made.name)
    sim.clock.advance(1)
    with pytest.raises(errors.ClientError, match="not found"):
        client.caches.get(name=made.name)


def test_a_cache_below_the_minimum_is_refused(gemini: Any) -> None:
    client = gemini()
    half = [user(LONG[: len(LONG) // 2])]
    with pytest.raises(errors.ClientError, match=r"too small\. total_token_count=\d+, min_total_token_count=4096"):
        make_cache(client, contents=half)
    assert make_cache(client, contents=half, model=OLDER).name


def test_a_cache_belongs_to_its_key_and_its_model(gemini: Any) -> None:
    made = make_cache(gemini())
    with pytest.raises(errors.ClientError, match="403"):
        gemini(api_key="other").caches.get(name=made.name)
    with pytest.raises(errors.ClientError, match="has to be the same"):
        gemini().models.generate_content(model=OLDER, contents="x", config={"cached_content": made.name})


@pytest.mark.parametrize("extra", [{"system_instruction": "x"}, {"tools": [INSPECT]}])
def test_what_the_cache_holds_may_not_be_sent_again(gemini: Any, extra: dict[str, Any]) -> None:
    client = gemini()
    made = make_cache(client)
    with pytest.raises(errors.ClientError, match="CachedContent can not be used with"):
        client.models.generate_content(model=PRO, contents="x", config={"cached_content": made.name, **extra})


def test_api_version_1_has_no_caches(gemini: Any) -> None:
    client = gemini(api_version="v1")
    assert client.models.generate_content(model=PRO, contents="x").text
    with pytest.raises(errors.ClientError, match="404"):
        make_cache(client)


def test_only_the_end_of_a_cache_can_be_changed(http: Any, sim: Simulator, gemini: Any) -> None:
    made = make_cache(gemini())
    address = f"{sim.url}/v1beta/{made.name}"
    headers = {"x-goog-api-key": "any"}
    for body in ({"displayName": "x"}, {"ttl": "soon"}, {}, {"ttl": "1s", "expireTime": "2030-01-01T00:00:00Z"}):
        assert http.patch(address, json=body, headers=headers).status_code == 400
    until = http.patch(address, json={"expireTime": "2030-01-01T00:00:00Z"}, headers=headers).json()["expireTime"]
    assert until == "2030-01-01T00:00:00Z"


def test_vertex_ai_speaks_the_same(sim: Simulator) -> None:
    from google.oauth2.credentials import Credentials

    client = genai.Client(
        vertexai=True,
        project="p",
        location="europe-west1",
        credentials=Credentials(token="any"),
        http_options=options_for(sim),
    )
    made = make_cache(client)
    assert made.name.startswith("projects/p/locations/europe-west1/cachedContents/")
    reply = client.models.generate_content(model=PRO, contents="x", config={"cached_content": made.name})
    assert cached(reply) == made.usage_metadata.total_token_count
    assert client.models.count_tokens(model=PRO, contents="hello").total_tokens > 0
    client.caches.delete(name=made.name)
    assert not list(client.caches.list())
    assert "/publishers/google/models/" in sim.requests[1].path
    client.close()


def test_max_tokens_include_thoughts_and_stop_sequences_cut(models: Any) -> None:
    cut = models.generate_content(model=PRO, contents="hello", config={"max_output_tokens": 20})
    assert cut.candidates[0].finish_reason == "MAX_TOKENS"
    assert cut.usage_metadata.candidates_token_count + cut.usage_metadata.thoughts_token_count == 20
    stopped = models.generate_content(model=PRO, contents="hello", config={"stop_sequences": ["reason"]})
    assert stopped.text.endswith("model does not ")


def test_thoughts_are_shown_when_asked_and_can_be_switched_off(models: Any) -> None:
    shown = models.generate_content(
        model=PRO, contents="hello", config={"thinking_config": types.ThinkingConfig(include_thoughts=True)}
    )
    assert shown.candidates[0].content.parts[0].thought
    off = models.generate_content(
        model=OLDER, contents="hello", config={"thinking_config": types.ThinkingConfig(thinking_budget=0)}
    )
    assert off.usage_metadata.thoughts_token_count is None


def test_counting_agrees_with_the_reply(models: Any) -> None:
    counted = models.count_tokens(model=PRO, contents=LONG).total_tokens
    assert counted == models.generate_content(model=PRO, contents=LONG).usage_metadata.prompt_token_count


def test_calling_modes(models: Any) -> None:
    def calls(**calling: Any) -> Any:
        config = types.GenerateContentConfig(
            tools=[INSPECT],
            tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(**calling)),
        )
        return models.generate_content(model=PRO, contents="inspect `x`", config=config).function_calls

    assert calls(mode="AUTO")
    assert calls(mode="ANY", allowed_function_names=["inspect"])
    assert not calls(mode="NONE")


def test_errors_have_the_recorded_shape(models: Any) -> None:
    recorded = json.loads((DATA / "google-error-404.json").read_text("utf-8"))["responses"][0]["body"]["error"]
    with pytest.raises(errors.ClientError) as caught:
        models.generate_content(model="gemini-3.6-flahs", contents="x")
    assert (caught.value.code, caught.value.status, caught.value.message) == (404, "NOT_FOUND", recorded["message"])


def test_a_missing_key_and_broken_json(http: Any, sim: Simulator) -> None:
    address = f"{sim.url}/v1beta/models/{PRO}:generateContent"
    assert http.post(address, json={}).json()["error"]["status"] == "PERMISSION_DENIED"
    broken = http.post(address, content=b"{", headers={"x-goog-api-key": "any"} | JSON)
    assert (broken.status_code, broken.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    nothing = http.post(address, json={}, headers={"x-goog-api-key": "any"})
    assert "contents is not specified" in nothing.json()["error"]["message"]


@pytest.mark.parametrize(("kind", "code"), [("429", 429), ("500", 500), ("503", 503), ("529", 503)])
def test_faults(sim: Simulator, models: Any, kind: str, code: int) -> None:
    sim.inject(kind)
    with pytest.raises(errors.APIError) as caught:
        models.generate_content(model=PRO, contents="x")
    assert caught.value.code == code
    assert models.generate_content(model=PRO, contents="x").text


def test_a_refusal(sim: Simulator, models: Any) -> None:
    sim.inject("refusal", times=2)
    assert models.generate_content(model=PRO, contents="x").candidates[0].finish_reason == "SAFETY"
    chunks = list(models.generate_content_stream(model=PRO, contents="x"))
    assert chunks[-1].candidates[0].finish_reason == "SAFETY"


def test_the_models_are_listed(models: Any) -> None:
    assert f"models/{PRO}" in [model.name for model in models.list()]
