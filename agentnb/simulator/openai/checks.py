"""Refuse what OpenAI's APIs refuse, in their own words. Raises RequestRefused; its `about` is the error's `param`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agentnb.errors import RequestRefused
from agentnb.models.catalog import Model, find
from agentnb.simulator.http_messages import WireMapping
from agentnb.simulator.images import refusal_of_openai
from agentnb.simulator.model.structured import subschemas
from agentnb.simulator.openai.prompt import image_url


def refuse(message: str, *, param: str = "", status: int = 400) -> RequestRefused:
    """Return the refusal to raise; its `what` is the provider's message."""
    return RequestRefused(message, about=param, status=status)


def model_of(body: object) -> Model:
    """Return the row of the body's model."""
    if not isinstance(body, Mapping):
        raise refuse("We could not parse the JSON body of your request.")
    name = body.get("model")
    if not name:
        raise refuse("Missing required parameter: 'model'.", param="model")
    row = find(str(name), "openai")
    if row is None:
        raise refuse(f"The model `{name}` does not exist or you do not have access to it.", param="model", status=404)
    return row


def check_chat(body: WireMapping) -> None:
    """Check a Chat Completions body's messages."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise refuse("Missing required parameter: 'messages'.", param="messages")
    if not messages:
        raise refuse(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
        )
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
            raise refuse(f"Invalid value for 'messages[{i}].role'.", param=f"messages[{i}].role")
        _check_pictures(message.get("content"), f"messages[{i}].content")
    _check_chat_tools(messages)
    check_format(body.get("response_format"), "response_format")


def check_format(wanted: object, param: str) -> None:
    """Check the format of the answer: a strict schema names every property as required, and allows no other."""
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        return
    named = wanted.get("json_schema") or wanted
    if not _FORMAT_NAME.fullmatch(str(named.get("name", ""))):
        raise refuse(f"Missing required parameter: '{param}.name'.", param=f"{param}.name")
    for part in subschemas(named.get("schema")) if named.get("strict") else ():
        if part.get("type") != "object":
            continue
        said = f"Invalid schema for response_format '{named['name']}'"
        if part.get("additionalProperties") is not False:
            raise refuse(f"{said}: 'additionalProperties' is required to be supplied and to be false.", param=param)
        if missing := [name for name in part.get("properties") or {} if name not in (part.get("required") or [])]:
            raise refuse(
                f"{said}: 'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{missing[0]}'.",
                param=param,
            )


_FORMAT_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _check_pictures(content: object, where: str) -> None:
    for j, part in enumerate(content if isinstance(content, list) else []):
        if isinstance(part, Mapping) and part.get("type") in ("image_url", "input_image") and not part.get("file_id"):
            param = f"{where}[{j}].image_url"
            if said := refusal_of_openai(param, image_url(part)):
                raise refuse(said, param=param)


_ROLES = ("system", "developer", "user", "assistant", "tool")


def _check_chat_tools(messages: Sequence[WireMapping]) -> None:
    waiting: list[str] = []
    for i, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise refuse(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    param=f"messages.[{i}].role",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _refuse_waiting(waiting)
        waiting = [call["id"] for call in message.get("tool_calls") or []]
    _refuse_waiting(waiting)


def _refuse_waiting(waiting: Sequence[str]) -> None:
    if waiting:
        raise refuse(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}",
            param="messages",
        )


def check_responses(body: WireMapping, items: Sequence[WireMapping]) -> None:
    """Check a Responses body and its items. No response is kept here, so none can be continued."""
    if "input" not in body:
        raise refuse("Missing required parameter: 'input'.", param="input")
    if previous := body.get("previous_response_id"):
        raise refuse(f"Previous response with id '{previous}' not found.", param="previous_response_id")
    check_format((body.get("text") or {}).get("format"), "text.format")
    limit = body.get("max_output_tokens")
    if isinstance(limit, int) and limit < 16:
        raise refuse(
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got {limit} "
            "instead.",
            param="max_output_tokens",
        )
    for i, item in enumerate(items):
        _check_pictures(item.get("content") or item.get("output"), f"input[{i}].content")
    called = [item["call_id"] for item in items if item.get("type") == "function_call"]
    answered = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    for call_id in answered:
        if call_id not in called:
            raise refuse(f"No tool call found for function call output with call_id {call_id}.", param="input")
    for call_id in called:
        if call_id not in answered:
            raise refuse(f"No tool output found for function call {call_id}.", param="input")


def check_window(total: int, row: Model, *, param: str) -> None:
    """Refuse a prompt that does not fit into the model's window."""
    if total > row.window:
        raise refuse(
            f"This model's maximum context length is {row.window} tokens. However, your messages resulted in {total} "
            "tokens. Please reduce the length of the messages.",
            param=param,
        )


def check_reasoning(asked: object, row: Model, *, param: str) -> None:
    """Check that only reasoning models (here: those with breakpoints, which are the later ones) take a reasoning
    effort."""
    if asked and not row.cache.breakpoints:
        raise refuse(f"Unsupported parameter: '{param}' is not supported with this model.", param=param)


CODES = {
    "does not exist or you do not have access": "model_not_found",
    "maximum context length": "context_length_exceeded",
    "Unsupported parameter": "unsupported_parameter",
    "Missing required parameter": "missing_required_parameter",
    "integer below minimum": "integer_below_min_value",
    "Previous response with id": "previous_response_not_found",
    "Incorrect API key": "invalid_api_key",
    "Rate limit": "rate_limit_exceeded",
    "Expected a base64-encoded data URL": "invalid_value",
    "Invalid base64 image_url": "invalid_base64",
    "unsupported image": "invalid_image_format",
    "had an error": "server_error",
}


def code_of(message: str) -> str | None:
    """Return the error code that goes with a message, where there is one."""
    return next((code for words, code in CODES.items() if words in message), None)
