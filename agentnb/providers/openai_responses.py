"""Speak OpenAI's Responses wire. Pure: no SDK is needed here. Source: openai 3.54.0 and its API docs.

Nothing is kept on the server (`store` false): reasoning comes back encrypted and is sent again as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from agentnb import canonical
from agentnb.canonical import JsonMapping, JsonObject, storable
from agentnb.errors import (
    AccessRefused,
    Overloaded,
    PromptTooLong,
    ProviderError,
    RateLimited,
    RequestRefused,
    ServerFault,
)
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import (
    Content,
    Image,
    Opaque,
    Reply,
    Role,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    inside,
    tokens_of,
)
from agentnb.providers.base import Mark
from agentnb.providers.reading import cut_off, read_arguments
from agentnb.providers.vendor import TODO_TOO_LONG, words_of

NAME = "openai"
TTLS = ("30m", "12h")  # of breakpoints, shortest first
MIN_OUTPUT = 16  # the API refuses less
REASONING = re.compile(r"(gpt-([5-9]|\d\d)|o\d|codex)")
"""Models that think; the others refuse to be asked for encrypted reasoning."""

_ROLES = {Role.SYSTEM: "system", Role.USER: "user", Role.ASSISTANT: "assistant"}


# --- encode: pure -----------------------------------------------------------------------------------------------


def encode(
    prompt: Prompt, marks: tuple[Mark, ...], *, breakpoints: bool, previous_message: str | None = None
) -> JsonObject:
    """Return the request body. With `breakpoints` the marks are explicit and the implicit one at the tail is switched
    off. Behind a changing tail it would write everything anew."""
    ttl = max((mark.ttl for mark in marks if mark.ttl in TTLS), key=TTLS.index, default=TTLS[0])
    points = {mark.index: _breakpoint(mark.ttl, ttl) for mark in marks} if breakpoints else {}
    items = list(_items(prompt.blocks, points))
    body: JsonObject = {
        "model": prompt.model,
        "input": items,
        "max_output_tokens": max(prompt.max_tokens, MIN_OUTPUT),
        "store": False,
        "prompt_cache_key": cache_key(prompt),
    }
    tools = [encode_content(block.content) for block in prompt.of_role(Role.TOOLS)]
    if tools:
        body["tools"] = tools
    if (wanted := prompt.answer_format) is not None:
        body["text"] = {"format": {"type": "json_schema", **named_schema(wanted)}}
    asked = {"effort": prompt.effort} if prompt.effort else {}
    asked |= {"summary": "auto"} if prompt.show_thinking else {}
    if asked:
        body["reasoning"] = asked
    if REASONING.match(prompt.model):
        body["include"] = ["reasoning.encrypted_content"]
    if breakpoints:
        compared = {"comparison_response_id": previous_message} if previous_message else {}
        body["prompt_cache_options"] = {"mode": "explicit", "ttl": ttl, **compared}
    elif any(mark.ttl == "24h" for mark in marks):
        body["prompt_cache_retention"] = "24h"
    return body


def named_schema(wanted: ToolSpec) -> JsonObject:
    """Return the answer's schema as both of OpenAI's wires have it."""
    return {"name": wanted.name, "schema": dict(wanted.parameters), "strict": True}


def cache_key(prompt: Prompt) -> str:
    """Requests of one key go to the same machines. All calls on one static prefix have one key, at most 64 letters.

    The project's part of the frame is not in it: that changes, while tools and instructions are to hit.
    """
    static = max((i for i, block in enumerate(prompt.blocks) if block.layer is Layer.STATIC), default=-1)
    return f"agentnb-{prompt.chain[static]}" if static >= 0 else f"agentnb-{canonical.digest(prompt.model)}"


def _items(blocks: Sequence[Block], points: Mapping[int, JsonObject]) -> Iterator[JsonObject]:
    """Input items: neighbouring texts of one role share a message; calls, results and reasoning are items of their
    own."""
    message: JsonObject | None = None
    following: JsonObject = {}
    for i, block in enumerate(blocks):
        if block.role in (Role.FORMAT, Role.TOOLS):
            continue
        item = encode_content(block.content)
        if "next" in item:
            following = dict(item["next"])
            continue
        role = _ROLES[block.role]
        if not isinstance(block.content, Text | Image):
            yield from (message,) if message else ()
            message = None
            yield from (_marked(item, points.get(i)),) if item else ()
            continue
        if message is None or message["role"] != role or following:
            yield from (message,) if message else ()
            message = {"type": "message", "role": role, "content": [], **following}
            following = {}
        point = points.get(i) if block.role is not Role.ASSISTANT else None
        message["content"].append(_pointed(item | _kind_of(block), point))
    yield from (message,) if message else ()


def _kind_of(block: Block) -> dict[str, str]:
    if isinstance(block.content, Image):
        return {}
    return {"type": "output_text" if block.role is Role.ASSISTANT else "input_text"}


def _marked(item: JsonObject, point: JsonObject | None) -> JsonObject:
    if item.get("type") == "function_call_output":
        _pointed(item["output"][-1], point)
    return item


def _pointed(part: JsonObject, point: JsonObject | None) -> JsonObject:
    if point:
        part["prompt_cache_breakpoint"] = point
    return part


def _breakpoint(ttl: str, usual: str) -> JsonObject:
    """Return a breakpoint of this TTL. It says so where the request as a whole has another one."""
    return {"mode": "explicit", **({"ttl": ttl} if ttl in TTLS and ttl != usual else {})}


def encode_content(content: Content) -> JsonObject:
    """Return one item or text of the wire; empty for what only another provider understands."""
    match content:
        case Text(text):
            return {"type": "text", "text": text}
        case ToolSpec(name, description, parameters):
            wire = {"type": "function", "name": name, "description": description, "parameters": dict(parameters)}
            return wire | {"strict": False}
        case ToolCall(call_id, name, arguments):
            text = canonical.dump(dict(arguments)).decode()
            return {"type": "function_call", "call_id": call_id, "name": name, "arguments": text}
        case ToolResult(call_id, _, text, is_error):
            said = f"Error: {text}" if is_error else text
            return {
                "type": "function_call_output",
                "call_id": call_id,
                "output": [{"type": "input_text", "text": said}],
            }
        case Opaque(provider, as_it_came):
            return dict(as_it_came) if provider == NAME else {}
        case Image():
            return {"type": "input_image", "detail": "high", "image_url": data_url(content)}
        case _:
            assert_never(content)


def data_url(image: Image) -> str:
    """Return the picture as both of OpenAI's wires take it."""
    return f"data:{image.media_type};base64,{image.data}"


# --- decode: pure -----------------------------------------------------------------------------------------------


def decode_usage(wire: JsonMapping) -> Usage:
    """Return the Responses usage in our words: its input includes what was read from and written to the prompt cache.

    Writes for 30 minutes count as 5m writes here.
    """
    reasoning = tokens_of(inside(wire, "output_tokens_details"), "reasoning_tokens")
    return split_usage(
        tokens_of(wire, "input_tokens"),
        inside(wire, "input_tokens_details"),
        output=tokens_of(wire, "output_tokens"),
        reasoning=reasoning,
    )


def split_usage(total: int, details: JsonMapping, *, output: int, reasoning: int) -> Usage:
    """Split `total` input tokens into new ones and the cached and written ones that `details` name."""
    read = min(tokens_of(details, "cached_tokens"), total)
    written = min(tokens_of(details, "cache_write_tokens"), total - read)
    half_a_day = min(tokens_of(inside(details, "cache_write_tokens_details"), "ttl_12h_tokens"), written)
    return Usage(
        input=total - read - written,
        cache_read=read,
        cache_write_5m=written - half_a_day,
        cache_write_12h=half_a_day,
        output=output,
        reasoning=reasoning,
    )


def decode_response(response: JsonMapping, *, request_id: str | None = None) -> Reply:
    """Return a whole response. Raises StreamBroken when it never came to an end, and what a failed one names."""
    response = storable(response)
    status = response.get("status")
    if status == "failed":
        raise failure(response.get("error") or {}, request_id=request_id)
    if status not in ("completed", "incomplete"):
        raise cut_off(request_id=request_id)
    items = response.get("output") or []
    content = tuple(part for item in items for part in _decode_item(item, complete=status == "completed"))
    reason = str(inside(response, "incomplete_details").get("reason") or "")
    return Reply(
        content=content,
        stop=_stop(status, reason, items),
        usage=decode_usage(inside(response, "usage")),
        model=response.get("model") or "",
        message_id=response.get("id") or "",
        request_id=request_id,
        diagnosis=_diagnosis(response.get("prompt_cache_diagnostics")),
        stop_detail=reason,
    )


def _stop(status: str, reason: str, items: Sequence[JsonMapping]) -> StopReason:
    if status == "incomplete":
        return StopReason.REFUSAL if reason == "content_filter" else StopReason.MAX_TOKENS
    if any(part.get("type") == "refusal" for item in items for part in item.get("content") or []):
        return StopReason.REFUSAL
    return StopReason.TOOLS if any(item.get("type") == "function_call" for item in items) else StopReason.END


def _decode_item(item: JsonMapping, *, complete: bool) -> Iterator[Content]:
    kind = item.get("type")
    if kind == "message":
        yield from _decode_message(item)
    elif kind == "function_call":
        arguments = read_arguments(item.get("arguments") or "", complete=complete)
        yield ToolCall(item.get("call_id") or "", item["name"], arguments)
    else:
        yield Opaque(NAME, dict(item))


def _decode_message(item: JsonMapping) -> Iterator[Content]:
    if item.get("phase"):  # the docs ask for it back; it stands before the text that it came with
        yield Opaque(NAME, {"next": {"phase": item["phase"]}})
    for part in item.get("content") or []:
        if part.get("type") == "output_text" and part.get("text"):
            yield Text(part["text"])
        elif part.get("type") == "refusal":
            yield Text(part["refusal"])


def _diagnosis(wire: JsonMapping | None) -> str | None:
    kind = (wire or {}).get("type")
    if not kind or kind == "cache_hit":
        return None
    if kind != "cache_miss":
        return str(kind)
    assert wire is not None, "it has a type"
    missed = wire.get("cache_missed_tokens")
    return f"{wire['reason']} ({missed:,} tokens)" if missed and isinstance(missed, int) else str(wire["reason"])


_AGAIN: tuple[type[ProviderError], str] = (ServerFault, "Resume the run to ask again.")


def failure(wire: object, *, request_id: str | None = None) -> ProviderError:
    """Return what went wrong after the reply had begun; the SDK hands it on as an event and raises nothing."""
    error = wire if isinstance(wire, Mapping) else {"message": wire}
    code, message = (
        words_of(error.get("code") or error.get("type") or ""),
        words_of(error.get("message") or "no reason given"),
    )
    usual = (RequestRefused, "The request itself is wrong.") if _WRONG.search(code) else _AGAIN
    kind, todo = _FAILURES.get(code, usual)
    return kind(f"OpenAI broke off: {message}"[:600], about=code[:200], todo=todo, status=200, request_id=request_id)


_WRONG = re.compile(r"invalid|unsupported|policy|violation|image|string_above|residency")
"""Common part of the codes of a wrong request; asking again would give, and cost, the same."""
_FAILURES: dict[str, tuple[type[ProviderError], str]] = {
    "rate_limit_exceeded": (RateLimited, "Wait, then resume the run."),
    "429": (RateLimited, "Wait, then resume the run."),
    "503": (Overloaded, "The provider is overloaded; resume the run in a minute."),
    "server_overloaded": (Overloaded, "The provider is overloaded; resume the run in a minute."),
    "overloaded_error": (Overloaded, "The provider is overloaded; resume the run in a minute."),
    "context_length_exceeded": (PromptTooLong, TODO_TOO_LONG),
    "insufficient_quota": (AccessRefused, "Check the account's credit."),
}


class ResponsesDecoder:
    """Keeps the last whole response of a stream; its items where that one names none."""

    def __init__(self) -> None:
        self._response: JsonObject = {}
        self._items: list[JsonObject] = []

    def feed(self, event: JsonMapping) -> tuple[str, str] | None:
        """Take one event; give (kind, delta) when it carries something to show. Raises on an error event."""
        kind = str(event.get("type"))
        if kind == "error":
            raise failure(event.get("error") or event)
        if isinstance(event.get("response"), Mapping):
            self._response = dict(event["response"])
        elif kind == "response.output_item.done":
            self._items.append(dict(event["item"]))
        channel = _CHANNELS.get(kind)
        return (channel, str(event.get("delta") or "")) if channel else None

    def reply(self, *, request_id: str | None = None) -> Reply:
        folded = self._response if self._response.get("output") else self._response | {"output": self._items}
        return decode_response(folded, request_id=request_id)

    def spent(self) -> Usage:
        """Return what the stream has reported so far: nothing before its end."""
        return decode_usage(inside(self._response, "usage"))


_CHANNELS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_summary_text.delta": "thinking",
    "response.reasoning_text.delta": "thinking",
    "response.function_call_arguments.delta": "tool",
}
