"""Speak the Anthropic Messages wire. The SDK is imported here, on first send. Source: anthropic 2.12.0 and its API
docs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

from agentnb.canonical import JsonMapping, JsonObject, storable
from agentnb.errors import (
    AgentnbError,
    CallTimeout,
    ConnectionFailed,
    Overloaded,
    ProviderError,
    RateLimited,
    ServerFault,
    StreamBroken,
)
from agentnb.models.catalog import ListedModel
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
    ToolSpec,
    Usage,
    inside,
    tokens_of,
)
from agentnb.providers.base import Mark, Wire
from agentnb.providers.calling import NO_KEY, Calling, whole_object
from agentnb.providers.reading import cut_off, read_arguments
from agentnb.providers.transport import ATTEMPTS, READ_TIMEOUT, Transport
from agentnb.providers.vendor import ANTHROPIC as VENDOR

NAME = "anthropic"

_STOPS = {
    "end_turn": StopReason.END,
    "tool_use": StopReason.TOOLS,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "refusal": StopReason.REFUSAL,
    "pause_turn": StopReason.PAUSED,
    "model_context_window_exceeded": StopReason.CONTEXT_FULL,
}


# --- encode: pure -----------------------------------------------------------------------------------------------


def encode(prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> JsonObject:
    """Return the request body: tools, system and messages, with cache_control where the marks stand.

    Content is always a list of blocks, never a bare string. So a block's bytes do not depend on its neighbours.
    """
    wires = [encode_content(block.content) for block in prompt.blocks]
    body: JsonObject = {"model": prompt.model, "max_tokens": prompt.max_tokens}
    for mark in marks:
        place = body if mark.automatic else wires[mark.index]
        place["cache_control"] = {"type": "ephemeral", "ttl": mark.ttl}
    for role, field in ((Role.TOOLS, "tools"), (Role.SYSTEM, "system")):
        items = [wire for block, wire in zip(prompt.blocks, wires, strict=True) if block.role is role]
        if items:
            body[field] = items
    body["messages"] = _messages(prompt.blocks, wires)
    output: JsonObject = {"effort": prompt.effort} if prompt.effort else {}
    if (wanted := prompt.answer_format) is not None:
        output["format"] = {"type": "json_schema", "schema": dict(wanted.parameters)}
    if output:
        body["output_config"] = output
    if prompt.show_thinking:  # such a model thinks in any case: this is its default, but for the display
        body["thinking"] = {"type": "adaptive", "display": "summarized"}
    # Asked on every request: null on the first opts in without anything to compare.
    body["diagnostics"] = {"previous_message_id": previous_message}
    return body


def _messages(blocks: tuple[Block, ...], wires: list[JsonObject]) -> list[JsonObject]:
    messages: list[JsonObject] = []
    for block, wire in zip(blocks, wires, strict=True):
        if block.role not in (Role.USER, Role.ASSISTANT):
            continue
        if not messages or messages[-1]["role"] != block.role.value:
            messages.append({"role": block.role.value, "content": []})
        messages[-1]["content"].append(wire)
    return messages


def encode_content(content: Content) -> JsonObject:
    """Return one content block of the wire."""
    match content:
        case Text(text):
            return {"type": "text", "text": text}
        case ToolSpec(name, description, parameters):
            return {"name": name, "description": description, "input_schema": dict(parameters)}
        case ToolCall(call_id, name, arguments):
            return {"type": "tool_use", "id": call_id, "name": name, "input": dict(arguments)}
        case ToolResult(call_id, _, text, is_error):
            wire: JsonObject = {
                "type": "tool_result",
                "tool_use_id": call_id,
                "content": [{"type": "text", "text": text}],
            }
            return wire | {"is_error": True} if is_error else wire
        case Opaque(_, as_it_came):
            return dict(as_it_came)
        case Image(media_type, data):
            return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
        case _:
            assert_never(content)


# --- decode: pure -----------------------------------------------------------------------------------------------


def decode_usage(wire: JsonMapping) -> Usage:
    """Return Anthropic's usage in our words: its input_tokens excludes what was read from and written to the cache.

    Where the reply says nothing of TTLs, all writes count as 5m, which is the default TTL.
    """
    by_ttl = inside(wire, "cache_creation")
    one_hour = tokens_of(by_ttl, "ephemeral_1h_input_tokens")
    written = max(tokens_of(wire, "cache_creation_input_tokens"), one_hour)
    details = inside(wire, "output_tokens_details")
    return Usage(
        input=tokens_of(wire, "input_tokens"),
        cache_read=tokens_of(wire, "cache_read_input_tokens"),
        cache_write_5m=max(written - one_hour, tokens_of(by_ttl, "ephemeral_5m_input_tokens")),
        cache_write_1h=one_hour,
        output=tokens_of(wire, "output_tokens"),
        reasoning=tokens_of(details, "thinking_tokens") or tokens_of(details, "reasoning_tokens"),
    )


def decode_content(wire: JsonMapping) -> Content:
    """Return one block of a reply. What is neither text nor a call of ours stays opaque and goes back as it came."""
    kind = wire.get("type")
    if kind == "text" and not wire.get("citations"):
        return Text(wire["text"])
    if kind == "tool_use":
        return ToolCall(wire.get("id") or "", wire["name"], wire["input"])
    return Opaque(NAME, dict(wire))


def decode_message(message: JsonMapping, *, request_id: str | None = None) -> Reply:
    """Return a whole message, plain or folded from a stream. Raises StreamBroken when it never came to an end."""
    message = storable(message)
    stop = message.get("stop_reason")
    if stop is None:
        raise cut_off(request_id=request_id)
    content = (decode_content(wire) for wire in message["content"])
    return Reply(
        content=tuple(part for part in content if not (isinstance(part, Text) and not part.text)),
        stop=_STOPS.get(stop, StopReason.END),
        usage=decode_usage(inside(message, "usage")),
        model=str(message.get("model") or ""),
        message_id=str(message.get("id") or ""),
        request_id=request_id,
        diagnosis=_diagnosis(message.get("diagnostics")),
        stop_detail=str(message.get("stop_sequence") or _why(inside(message, "stop_details"))),
    )


def _why(details: JsonMapping) -> str:
    """Return what the provider says of a refusal."""
    return str(details.get("explanation") or details.get("category") or "")


def _diagnosis(wire: JsonMapping | None) -> str | None:
    reason = (wire or {}).get("cache_miss_reason") or {}
    kind = reason.get("type")
    if not kind:
        return None
    missed = reason.get("cache_missed_input_tokens")
    return f"{kind} ({missed:,} tokens)" if missed and isinstance(missed, int) else str(kind)


class AnthropicDecoder:
    """Folds the events of a streamed reply into the message that the plain call would have given."""

    def __init__(self) -> None:
        self._message: JsonObject = {"content": []}
        self._json: dict[int, str] = {}
        self._arguments: list[str] = []

    def feed(self, event: JsonMapping) -> tuple[str, str] | None:
        """Take one event; give (kind, delta) when it carries something to show."""
        kind = event.get("type")
        if kind == "message_start":
            self._message = dict(event["message"]) | {"content": []}
        elif kind == "content_block_start":
            self._message["content"].append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            return self._delta(event["index"], event["delta"])
        elif kind == "content_block_stop":
            text = self._json.pop(event["index"], "")
            if text:  # only its end tells whether the reply was cut off here; see `reply`
                self._message["content"][event["index"]]["input"] = read_arguments(text, complete=False)
                self._arguments.append(text)
        elif kind == "message_delta":
            self._finish(event)
        return None

    def reply(self, *, request_id: str | None = None) -> Reply:
        reply = decode_message(self._message, request_id=request_id)
        for text in self._arguments if reply.stop is StopReason.TOOLS else ():
            read_arguments(text, complete=True)
        return reply

    def spent(self) -> Usage:
        """Return what the stream has reported so far."""
        return decode_usage(inside(self._message, "usage"))

    def _delta(self, index: int, delta: JsonMapping) -> tuple[str, str] | None:
        block = self._message["content"][index]
        kind = delta.get("type")
        if kind == "text_delta":
            block["text"] = block.get("text", "") + delta["text"]
            return "text", delta["text"]
        if kind == "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta["thinking"]
            return "thinking", delta["thinking"]
        if kind == "signature_delta":
            block["signature"] = delta["signature"]
        elif kind == "input_json_delta":
            self._json[index] = self._json.get(index, "") + delta["partial_json"]
            return "tool", delta["partial_json"]
        elif kind == "citations_delta":
            block.setdefault("citations", []).append(delta["citation"])
        return None

    def _finish(self, event: JsonMapping) -> None:
        self._message |= {name: value for name, value in event["delta"].items() if value is not None}
        if event.get("diagnostics"):
            self._message["diagnostics"] = event["diagnostics"]
        # The usage of message_delta is cumulative: overwrite, never add. What it leaves out keeps its first value.
        later = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
        self._message["usage"] = (self._message.get("usage") or {}) | later


# --- send: the edge ---------------------------------------------------------------------------------------------


class AnthropicProvider(Calling):
    """Holds a model behind the Anthropic SDK, or any server that speaks its wire."""

    vendor = VENDOR

    def encode(self, prompt: Prompt, marks: tuple[Mark, ...], *, previous_message: str | None) -> Wire:
        return Wire(body=encode(prompt, marks, previous_message=previous_message), marks=marks)

    def decoder(self, wire: Wire | None = None) -> AnthropicDecoder:
        return AnthropicDecoder()

    def _open(self, transport: Transport) -> Any:
        import anthropic

        def client(key: str | None) -> Any:
            return anthropic.Anthropic(
                api_key=key, base_url=self._base_url, http_client=transport.client, max_retries=ATTEMPTS - 1
            )

        try:
            made = client(self._plain_key())
        except anthropic.AnthropicError as error:
            raise VENDOR.missing_key() from error
        if made.api_key or made.auth_token or made.credentials:
            return made
        if self._own_address():
            return client(NO_KEY)
        raise VENDOR.missing_key()

    def _stream(self, client: Any, wire: Wire) -> Iterator[JsonMapping]:
        with client.messages.create(**wire.body, stream=True) as stream:
            for event in stream:
                yield event.to_dict(mode="json", warnings=False)

    def _listed(self, client: Any) -> Iterator[ListedModel]:
        for info in client.models.list():
            if info.lifecycle != "retired":
                yield ListedModel(
                    name=info.id,
                    window=info.max_input_tokens or 0,
                    max_output=info.max_tokens or 0,
                    retires=info.retires_at.date().isoformat() if info.retires_at else "",
                )

    @property
    def can_prewarm(self) -> bool:
        return self.model.cache.breakpoints > 0

    def _whole(self, client: Any, wire: Wire) -> JsonMapping:
        # A timeout of our own: the SDK's refuses to ask plainly for more than about 21,000 tokens.
        return whole_object(client.messages.create(**wire.body, timeout=READ_TIMEOUT))

    def decode(self, wire: Wire, whole: JsonMapping, *, request_id: str | None) -> Reply:
        return decode_message(whole, request_id=request_id)

    def used(self, wire: Wire, whole: JsonMapping) -> Usage:
        return decode_usage(inside(whole, "usage"))

    def _prewarm(self, client: Any, wire: Wire) -> Usage:
        message = client.messages.create(**(dict(wire.body) | {"max_tokens": 0}))
        return decode_usage(message.to_dict(mode="json", warnings=False).get("usage") or {})

    def marks_of_reply(self, wire: Wire) -> tuple[str, ...]:
        return "content", "stop_reason", "usage"

    def _sdk_errors(self) -> tuple[type[Exception], ...]:
        import anthropic
        import httpx2

        return (anthropic.AnthropicError, httpx2.HTTPError, ValueError)

    def _translate(self, error: Exception) -> Exception:
        return translate(error)


def translate(error: Exception) -> AgentnbError:
    """Return the one place where the SDK's errors become ours."""
    import anthropic

    if isinstance(error, anthropic.APIStatusError):
        return _translate_status(error)
    if isinstance(error, anthropic.APITimeoutError):
        return CallTimeout("Anthropic did not answer in time", todo="Resume the run to ask again.")
    if isinstance(error, anthropic.APIConnectionError):
        return ConnectionFailed(
            "Anthropic could not be reached",
            about=str(error.__cause__ or error)[:200],
            todo="Check the network and ANTHROPIC_BASE_URL.",
        )
    return StreamBroken("the reply broke off or could not be read", about=str(error)[:200], todo="Resume the run.")


def _translate_status(error: Any) -> ProviderError:
    status = error.status_code
    details = error.body if isinstance(error.body, dict) else {}
    named = details.get("error")  # a proxy may write a bare text here
    message = (named.get("message") if isinstance(named, dict) else named) or str(error)
    request_id = error.request_id or details.get("request_id")
    if status != 200:
        return VENDOR.refusal(status, message, request_id=request_id)
    # An error event in mid-stream arrives as a status error with the stream's own 200; the SDK never retries it.
    kind, todo = _MID_STREAM.get(error.type or "", (StreamBroken, "Resume the run to ask again."))
    return kind(f"Anthropic answered {status}: {message}"[:600], todo=todo, status=status, request_id=request_id)


_MID_STREAM: dict[str, tuple[type[ProviderError], str]] = {
    "overloaded_error": (Overloaded, "The provider is overloaded; resume the run in a minute."),
    "rate_limit_error": (RateLimited, "Wait, then resume the run."),
    "api_error": (ServerFault, "Resume the run to ask again."),
}
