"""Spell a Messages reply as the event stream that the real API sends. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from agentnb.simulator.http_messages import StreamEvent, WireMapping, small_groups
from agentnb.simulator.model.dialogue import CALL_OVERHEAD, Spoken


def stream(message: WireMapping, said: Spoken) -> Iterator[StreamEvent]:
    """Yield the events of a streamed reply. Each goes out when its last token is made; the first token comes with
    TTFT."""
    head = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    head["usage"] = {**message["usage"], "output_tokens": min(1, said.tokens)}
    yield StreamEvent(data=event_bytes("message_start", {"type": "message_start", "message": head}))
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            yield from _text_events(index, said.pieces)
        elif block["type"] == "thinking":
            yield from _thinking_events(index, block, said.thinking)
        else:
            yield from _call_events(index, block, said.call_pieces[index - (len(message["content"]) - len(said.calls))])
    usage = {key: value for key, value in message["usage"].items() if key.endswith(("_tokens", "_tokens_details"))}
    delta = {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")}
    yield StreamEvent(
        data=event_bytes("message_delta", {"type": "message_delta", "delta": delta, "usage": usage}),
        tokens=min(1, said.tokens),
    )
    yield StreamEvent(data=event_bytes("message_stop", {"type": "message_stop"}))


def _text_events(index: int, tokens: tuple[str, ...]) -> Iterator[StreamEvent]:
    yield from _start(index, {"type": "text", "text": ""})
    for i, group in enumerate(small_groups(tokens)):
        delta = {"type": "text_delta", "text": "".join(group)}
        # The first token of all has been paid with the time to first token; message_delta waits one token for it.
        yield _delta(index, delta, len(group) - (1 if index == 0 and i == 0 else 0))
    yield _stop(index)


def _thinking_events(index: int, block: WireMapping, tokens: tuple[str, ...]) -> Iterator[StreamEvent]:
    yield from _start(index, {"type": "thinking", "thinking": "", "signature": ""})
    for i, group in enumerate(small_groups(tokens)):
        yield _delta(index, {"type": "thinking_delta", "thinking": "".join(group)}, len(group) - (0 if i else 1))
    yield _delta(index, {"type": "signature_delta", "signature": block["signature"]}, 0)
    yield _stop(index)


def _call_events(index: int, block: WireMapping, tokens: tuple[str, ...]) -> Iterator[StreamEvent]:
    yield from _start(index, {**block, "input": {}}, CALL_OVERHEAD - (1 if index == 0 else 0))
    yield _delta(index, {"type": "input_json_delta", "partial_json": ""}, 0)
    for group in small_groups(tokens):
        yield _delta(index, {"type": "input_json_delta", "partial_json": "".join(group)}, len(group))
    yield _stop(index)


def _start(index: int, block: WireMapping, tokens: int = 0) -> Iterator[StreamEvent]:
    value = {"type": "content_block_start", "index": index, "content_block": block}
    yield StreamEvent(data=event_bytes("content_block_start", value), tokens=tokens)
    if index == 0:
        yield StreamEvent(data=event_bytes("ping", {"type": "ping"}))


def _delta(index: int, delta: WireMapping, tokens: int) -> StreamEvent:
    value = {"type": "content_block_delta", "index": index, "delta": delta}
    return StreamEvent(data=event_bytes("content_block_delta", value), tokens=tokens)


def _stop(index: int) -> StreamEvent:
    return StreamEvent(data=event_bytes("content_block_stop", {"type": "content_block_stop", "index": index}))


def event_bytes(name: str, value: WireMapping) -> bytes:
    """Return one server-sent event."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\ndata: {text}\n\n".encode("utf-8", "replace")
