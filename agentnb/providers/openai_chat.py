"""Speak the Chat Completions wire, for servers that speak only that. Pure. Source: openai 3.54.0 and its API docs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentnb import canonical
from agentnb.canonical import JsonMapping, JsonObject, storable
from agentnb.models.layers import Block, Prompt
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
    Usage,
    inside,
    tokens_of,
)
from agentnb.providers.openai_responses import data_url, encode_content, failure, named_schema, split_usage
from agentnb.providers.reading import cut_off, read_arguments

_STOPS = {
    "stop": StopReason.END,
    "eos": StopReason.END,  # other servers' names for the same
    "eos_token": StopReason.END,
    "end_turn": StopReason.END,
    "tool_calls": StopReason.TOOLS,
    "function_call": StopReason.TOOLS,
    "length": StopReason.MAX_TOKENS,
    "content_filter": StopReason.REFUSAL,
}


def encode(prompt: Prompt) -> JsonObject:
    """Return the request body. `max_tokens` is the name that every such server knows."""
    body: JsonObject = {
        "model": prompt.model,
        "messages": _messages(prompt.blocks),
        "max_tokens": prompt.max_tokens,
    }
    if prompt.effort:
        body["reasoning_effort"] = prompt.effort
    tools = [encode_content(block.content) for block in prompt.of_role(Role.TOOLS)]
    if (wanted := prompt.answer_format) is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": named_schema(wanted)}
    if tools:
        body["tools"] = [
            {"type": "function", "function": {name: tool[name] for name in ("name", "description", "parameters")}}
            for tool in tools
        ]
    return body


def _messages(blocks: Iterable[Block]) -> list[JsonObject]:
    messages: list[JsonObject] = []
    for block in blocks:
        content = block.content
        if block.role in (Role.FORMAT, Role.TOOLS) or isinstance(content, Opaque):
            continue
        if isinstance(content, ToolResult):
            said = f"Error: {content.text}" if content.is_error else content.text
            messages.append({"role": "tool", "tool_call_id": content.call_id, "content": said})
            continue
        role = block.role.value
        if not messages or messages[-1]["role"] != role:
            messages.append({"role": role, "content": None if role == "assistant" else []})
        _add(messages[-1], content)
    return [_in_words(message) for message in messages]


def _in_words(message: JsonObject) -> JsonObject:
    """Return the message with its texts as one, where it has nothing else: many servers take no list of parts."""
    parts = message["content"]
    if not isinstance(parts, list) or any(part["type"] != "text" for part in parts):
        return message
    return {**message, "content": "\n\n".join(part["text"] for part in parts)}


def _add(message: JsonObject, content: Content) -> None:
    if isinstance(content, ToolCall):
        function = {"name": content.name, "arguments": canonical.dump(dict(content.arguments)).decode()}
        call = {"id": content.call_id, "type": "function", "function": function}
        message.setdefault("tool_calls", []).append(call)
    elif isinstance(content, Text):
        message["content"] = [*(message["content"] or []), {"type": "text", "text": content.text}]
    elif isinstance(content, Image):
        picture = {"type": "image_url", "image_url": {"url": data_url(content), "detail": "high"}}
        message["content"] = [*(message["content"] or []), picture]


def decode_usage(wire: JsonMapping) -> Usage:
    """Return Chat's usage in our words: its prompt includes what was read from and written to the prompt cache."""
    return split_usage(
        tokens_of(wire, "prompt_tokens"),
        inside(wire, "prompt_tokens_details"),
        output=tokens_of(wire, "completion_tokens"),
        reasoning=tokens_of(inside(wire, "completion_tokens_details"), "reasoning_tokens"),
    )


def decode_completion(completion: JsonMapping, *, request_id: str | None = None) -> Reply:
    """Return a whole completion, plain or folded from a stream. Raises StreamBroken when it never came to an end."""
    completion = storable(completion)
    if completion.get("error"):
        raise failure(completion["error"], request_id=request_id)
    choice = (completion.get("choices") or [{}])[0]
    finish = choice.get("finish_reason")
    if not finish or finish == "error":
        raise cut_off(request_id=request_id)
    name = str(completion.get("id") or "")
    content = tuple(_decode_message(choice.get("message") or {}, complete=finish in _WHOLE))
    # Some servers end a reply that calls tools with "stop".
    called = finish in _WHOLE and any(isinstance(part, ToolCall) for part in content)
    return Reply(
        content=content,
        stop=StopReason.TOOLS if called else _STOPS.get(finish, StopReason.END),
        usage=decode_usage(inside(completion, "usage")),
        model=str(completion.get("model") or ""),
        message_id=name,
        request_id=request_id,
        stop_detail="" if finish in _WHOLE else str(finish),
    )


_WHOLE = [finish for finish, stop in _STOPS.items() if stop in (StopReason.END, StopReason.TOOLS)]
"""The ends of a reply whose calls are meant to be carried out."""


def _decode_message(message: JsonMapping, *, complete: bool) -> Iterator[Content]:
    if thought := _text_of(message.get("reasoning_content")) or _text_of(message.get("reasoning")):
        yield Opaque("chat", {"thought": True, "text": thought})
    text = _text_of(message.get("content")) or _text_of(message.get("refusal"))
    if text:
        yield Text(text)
    for call in message.get("tool_calls") or []:
        if function := call.get("function"):
            arguments = read_arguments(function.get("arguments"), complete=complete)
            yield ToolCall(str(call.get("id") or ""), function["name"], arguments)


def _text_of(content: Any) -> str:
    """Return a content's text: itself, or with some servers the texts in a list of parts."""
    if not isinstance(content, list):
        return content or ""
    return "".join(part["text"] for part in content if part.get("type", "text") == "text")


class ChatDecoder:
    """Folds the chunks of a streamed completion into the one that the plain call would have given."""

    def __init__(self) -> None:
        self._whole: JsonObject = {}
        self._message: JsonObject = {}
        self._calls: list[JsonObject] = []
        self._finish: str | None = None

    def feed(self, event: JsonMapping) -> tuple[str, str] | None:
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
        choice = {"message": self._message | {"tool_calls": self._calls}, "finish_reason": self._finish}
        return decode_completion(self._whole | {"choices": [choice]}, request_id=request_id)

    def spent(self) -> Usage:
        """Return what the stream has reported so far: nothing before its end."""
        return decode_usage(inside(self._whole, "usage"))

    def _delta(self, delta: JsonMapping) -> tuple[str, str] | None:
        """Take what a chunk adds. Of several things in one chunk the text is shown, else the first call's."""
        shown: tuple[str, str] | None = None
        for name, channel in _TEXTS:
            text = _text_of(delta.get(name))
            if text:
                self._message[name] = self._message.get(name, "") + text
                shown = (channel, text)
        pieces = [self._piece(piece) for piece in delta.get("tool_calls") or []]
        return shown if shown or not pieces else ("tool", pieces[0])

    def _piece(self, piece: JsonMapping) -> str:
        function = piece.get("function") or {}
        name, arguments = function.get("name") or "", function.get("arguments") or ""
        call = self._call_of(piece.get("index"), piece.get("id"), begins=bool(name))
        if isinstance(arguments, Mapping):
            arguments = canonical.dump(dict(arguments)).decode()
        if name != call["function"]["name"]:  # some servers say the whole name in each piece
            call["function"]["name"] += name
        call["function"]["arguments"] += arguments
        return str(arguments)

    def _call_of(self, index: object, call_id: object, *, begins: bool) -> JsonObject:
        """Return the call that a piece belongs to. Some servers send no index, or the same one for several calls."""
        mine = (one for one in reversed(self._calls) if _is_piece_of(one, index, call_id, begins=begins))
        call = next(mine, None)
        if call is None:
            call = {"index": index, "id": "", "function": {"name": "", "arguments": ""}}
            self._calls.append(call)
        call["id"] = call["id"] or call_id or ""
        return call


def _is_piece_of(call: JsonMapping, index: object, call_id: object, *, begins: bool) -> bool:
    if call_id and call["id"]:
        return bool(call_id == call["id"] and (index is None or index == call["index"]))
    if index is not None:
        return bool(index == call["index"])
    return not (begins and call["function"]["arguments"])


_TEXTS = (("reasoning_content", "thinking"), ("reasoning", "thinking"), ("refusal", "text"), ("content", "text"))
"""Shown fields of a chunk, and as what: servers differ in the name of their thinking."""
