"""The Chat Completions wire, for servers that speak only that. Pure. Source: openai 3.54.0 and its API docs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentnb import canonical
from agentnb.prompt.layers import Block, Prompt
from agentnb.providers.calling import cut_off, read_arguments
from agentnb.providers.messages import (
    Content,
    Image,
    Opaque,
    Reply,
    Role,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from agentnb.providers.openai_responses import data_url, encode_content, failure, split_usage

_STOPS = {
    "stop": StopReason.END,
    "tool_calls": StopReason.TOOLS,
    "function_call": StopReason.TOOLS,
    "length": StopReason.MAX_TOKENS,
    "content_filter": StopReason.REFUSAL,
}


def encode(prompt: Prompt) -> dict[str, Any]:
    """The request body. `max_tokens` is the name that every such server knows."""
    body: dict[str, Any] = {
        "model": prompt.model,
        "messages": _messages(prompt.blocks),
        "max_tokens": prompt.max_tokens,
    }
    tools = [encode_content(block.content) for block in prompt.of_role(Role.TOOLS)]
    if tools:
        body["tools"] = [{"type": "function", "function": _bare(tool)} for tool in tools]
    return body


def _bare(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tool[name] for name in ("name", "description", "parameters")}


def _messages(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for block in blocks:
        content = block.content
        if block.role is Role.TOOLS or isinstance(content, Opaque):
            continue
        if isinstance(content, ToolResult):
            said = f"Error: {content.text}" if content.is_error else content.text
            messages.append({"role": "tool", "tool_call_id": content.call_id, "content": said})
            continue
        role = block.role.value
        if not messages or messages[-1]["role"] != role:
            messages.append({"role": role, "content": None if role == "assistant" else []})
        _add(messages[-1], content)
    return messages


def _add(message: dict[str, Any], content: Content) -> None:
    if isinstance(content, ToolCall):
        function = {"name": content.name, "arguments": canonical.dump(dict(content.arguments)).decode()}
        call = {"id": content.call_id, "type": "function", "function": function}
        message.setdefault("tool_calls", []).append(call)
    elif isinstance(content, Text):
        message["content"] = [*(message["content"] or []), {"type": "text", "text": content.text}]
    elif isinstance(content, Image):
        picture = {"type": "image_url", "image_url": {"url": data_url(content), "detail": "high"}}
        message["content"] = [*(message["content"] or []), picture]


def decode_usage(wire: Mapping[str, Any]) -> Usage:
    """Chat's usage in our words: its prompt includes what was read from and written to the prompt cache."""
    details = wire.get("prompt_tokens_details") or {}
    reasoning = (wire.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return split_usage(
        wire.get("prompt_tokens") or 0, details, output=wire.get("completion_tokens") or 0, reasoning=reasoning
    )


def decode_completion(completion: Mapping[str, Any], *, request_id: str | None = None) -> Reply:
    """A whole completion, plain or folded from a stream. Raises StreamBroken when it never came to an end."""
    choice = (completion.get("choices") or [{}])[0]
    finish = choice.get("finish_reason")
    if not finish:
        raise cut_off(request_id=request_id)
    content = tuple(_decode_message(choice.get("message") or {}, complete=finish in ("stop", "tool_calls")))
    # Some servers end a reply that calls tools with "stop".
    called = finish == "stop" and any(isinstance(part, ToolCall) for part in content)
    return Reply(
        content=content,
        stop=StopReason.TOOLS if called else _STOPS.get(finish, StopReason.END),
        usage=decode_usage(completion.get("usage") or {}),
        model=completion.get("model") or "",
        message_id=completion.get("id") or "",
        request_id=request_id,
        stop_detail="" if finish in ("stop", "tool_calls") else finish,
    )


def _decode_message(message: Mapping[str, Any], *, complete: bool) -> Iterator[Content]:
    text = message.get("content") or message.get("refusal")
    if text:
        yield Text(text)
    for call in message.get("tool_calls") or []:
        if call.get("function"):
            function = call["function"]
            arguments = read_arguments(function.get("arguments") or "", complete=complete)
            yield ToolCall(call["id"], function["name"], arguments)


class StreamDecoder:
    """Folds the chunks of a streamed completion into the one that the plain call would have given."""

    def __init__(self) -> None:
        self._whole: dict[str, Any] = {}
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._finish: str | None = None

    def feed(self, event: Mapping[str, Any]) -> tuple[str, str] | None:
        """Take one chunk; give (kind, delta) when it carries something to show. Raises on an error in mid-stream."""
        if event.get("error"):
            raise failure(event["error"])
        # usage is null in every chunk but one, and chunks may follow that one: keep the last that says something.
        self._whole |= {name: event[name] for name in ("id", "model", "usage") if event.get(name)}
        for choice in (event.get("choices") or [])[:1]:
            self._finish = choice.get("finish_reason") or self._finish
            return self._delta(choice.get("delta") or {})
        return None

    def reply(self, *, request_id: str | None = None) -> Reply:
        calls = [self._calls[i] for i in sorted(self._calls)]
        choice = {"message": self._message | {"tool_calls": calls}, "finish_reason": self._finish}
        return decode_completion(self._whole | {"choices": [choice]}, request_id=request_id)

    def spent(self) -> Usage:
        """What the stream has reported so far: nothing before its end."""
        return decode_usage(self._whole.get("usage") or {})

    def _delta(self, delta: Mapping[str, Any]) -> tuple[str, str] | None:
        shown: tuple[str, str] | None = None
        for name, channel in (("reasoning_content", "thinking"), ("refusal", "text"), ("content", "text")):
            if delta.get(name):
                self._message[name] = self._message.get(name, "") + delta[name]
                shown = (channel, delta[name])
        for piece in delta.get("tool_calls") or []:
            shown = ("tool", self._piece(piece)) if shown is None else shown
            # the text of a chunk goes before its calls: there is only one of them in practice
        return shown

    def _piece(self, piece: Mapping[str, Any]) -> str:
        call = self._calls.setdefault(piece.get("index") or 0, {"function": {"name": "", "arguments": ""}})
        if piece.get("id"):
            call["id"] = piece["id"]
        function = piece.get("function") or {}
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""
        return function.get("arguments") or ""
