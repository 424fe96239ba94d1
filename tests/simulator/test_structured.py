"""Structured outputs on every wire, by the official SDKs: the answer fits the schema, and a wrong schema is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agentnb.simulator import Simulator

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "label": {"type": "string"}, "kind": {"enum": ["a", "b"]}},
    "required": ["x", "label", "kind"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {"value": {"type": "array", "items": {"$ref": "#/$defs/Point"}}},
    "required": ["value"],
    "additionalProperties": False,
    "$defs": {"Point": POINT},
}
TASK = 'The points are "low" 3 and "high" 12'
VALUE = {"value": [{"x": 3, "label": "low", "kind": "a"}, {"x": 12, "label": "high", "kind": "a"}]}
Ask = Callable[..., Any]


def messages(http: Any, sim: Simulator, schema: Any, **more: Any) -> Any:
    import anthropic

    client = anthropic.Anthropic(api_key="any", base_url=sim.url, max_retries=0, http_client=http)
    wanted = {"format": {"type": "json_schema", "schema": schema} | more}
    said = [{"role": "user", "content": TASK}]
    reply = client.messages.create(model="claude-sonnet-4-6", max_tokens=400, messages=said, output_config=wanted)
    return reply.content[0].text, reply.usage.input_tokens


def openai_client(http: Any, sim: Simulator) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(api_key="any", base_url=f"{sim.url}/v1", max_retries=0, http_client=http)


def responses(http: Any, sim: Simulator, schema: Any, **more: Any) -> Any:
    wanted = {"format": {"type": "json_schema", "name": "answer", "strict": True, "schema": schema} | more}
    reply = openai_client(http, sim).responses.create(model="gpt-4.1", input=TASK, text=wanted)
    return reply.output_text, reply.usage.input_tokens


def chat(http: Any, sim: Simulator, schema: Any, **more: Any) -> Any:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema} | more}
    said = [{"role": "user", "content": TASK}]
    reply = openai_client(http, sim).chat.completions.create(model="gpt-4.1", messages=said, response_format=wanted)
    return reply.choices[0].message.content, reply.usage.prompt_tokens


def google(http: Any, sim: Simulator, schema: Any, **more: Any) -> Any:
    from google import genai

    client = genai.Client(api_key="any", http_options={"base_url": sim.url})
    wanted = {"response_mime_type": "application/json", "response_json_schema": schema} | more
    reply = client.models.generate_content(model="gemini-3.8-flash", contents=TASK, config=wanted)
    return reply.text, reply.usage_metadata.prompt_token_count


WIRES = (messages, responses, chat, google)


@pytest.mark.parametrize("ask", WIRES)
def test_the_answer_fits_the_schema(http: Any, sim: Simulator, ask: Ask) -> None:
    text, tokens = ask(http, sim, SCHEMA)
    assert json.loads(text) == VALUE
    _, fewer = ask(http, sim, {"type": "object", "properties": {}, "required": [], "additionalProperties": False})
    assert tokens > fewer, "the schema counts as input"


@pytest.mark.parametrize("ask", [messages, responses, chat])
def test_an_object_that_is_open_is_refused(http: Any, sim: Simulator, ask: Ask) -> None:
    schema = SCHEMA | {"$defs": {"Point": {**POINT, "additionalProperties": True}}}
    with pytest.raises(Exception, match=r"'additionalProperties' (must|is required)") as refused:
        ask(http, sim, schema)
    assert getattr(refused.value, "status_code", 0) == 400


@pytest.mark.parametrize("ask", [responses, chat])
def test_strict_schemas_require_every_property(http: Any, sim: Simulator, ask: Ask) -> None:
    schema = SCHEMA | {"$defs": {"Point": {**POINT, "required": ["x"]}}}
    with pytest.raises(Exception, match=r"every key in properties\. Missing 'label'"):
        ask(http, sim, schema)
    assert ask(http, sim, schema, strict=False)


def test_what_else_is_refused(http: Any, sim: Simulator) -> None:
    limited = SCHEMA | {"$defs": {"Point": {**POINT, "properties": {"x": {"type": "integer", "minimum": 1}}}}}
    with pytest.raises(Exception, match="property 'minimum' is not supported"):
        messages(http, sim, limited)
    with pytest.raises(Exception, match="Input should be 'json_schema'"):
        messages(http, sim, SCHEMA, type="json")
    with pytest.raises(Exception, match=r"text\.format\.name"):
        responses(http, sim, SCHEMA, name="no name")
    with pytest.raises(Exception, match="response_mime_type"):
        google(http, sim, SCHEMA, response_mime_type="text/plain")
