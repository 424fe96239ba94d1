"""Spell a Responses reply in its fields, whole or as events. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agentnb.simulator.http_messages import StreamEvent, WireMapping, WireObject, small_groups
from agentnb.simulator.model.dialogue import CALL_OVERHEAD, Spoken

_CUT = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}


@dataclass(frozen=True, kw_only=True)
class Response:
    """Holds one reply and what is needed to spell it; `body` is the request's.

    `ids` go with the output items, in order. Behind them stand as many again as there are calls, for the call ids.
    """

    response_id: str
    created: int
    body: WireMapping
    said: Spoken
    ids: tuple[str, ...]
    usage: WireMapping
    extra: WireMapping

    def whole(self) -> WireObject:
        """Return the plain reply, finished."""
        reason = _CUT.get(self.said.stop)
        return {
            **self._base("incomplete" if reason else "completed"),
            "incomplete_details": {"reason": reason} if reason else None,
            "output": self.items(),
            "usage": self.usage,
        }

    def _base(self, status: str) -> WireObject:
        asked = self.body
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.get("instructions"),
            "max_output_tokens": asked.get("max_output_tokens"),
            "max_tool_calls": None,
            "metadata": asked.get("metadata") or {},
            "model": asked["model"],
            "output": [],
            "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
            "previous_response_id": asked.get("previous_response_id"),
            "prompt_cache_key": asked.get("prompt_cache_key"),
            "reasoning": {"effort": None, "summary": None, **(asked.get("reasoning") or {})},
            "safety_identifier": None,
            "service_tier": "default",
            "store": asked.get("store") is not False,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium", **(asked.get("text") or {})},
            "tool_choice": asked.get("tool_choice") or "auto",
            "tools": asked.get("tools") or [],
            "top_logprobs": 0,
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None,
            "user": None,
            **self.extra,
        }

    def items(self) -> list[WireObject]:
        """Return the output items: reasoning, message, calls, as far as there are such."""
        spoken = [self._message(self.said.text, "completed")] if self.said.pieces else []
        calls = ["".join(cut) for cut in self.said.call_pieces]
        found = [
            *([self._reasoning()] if self.said.thinking else []),
            *spoken,
            *(self._call(i, arguments, "completed") for i, arguments in enumerate(calls)),
        ]
        return [{**item, "id": f"{item['id']}{made}"} for item, made in zip(found, self.ids, strict=False)]

    def _reasoning(self) -> WireObject:
        told = "".join(self.said.thinking) if (self.body.get("reasoning") or {}).get("summary") else ""
        item: WireObject = {"id": "rs_", "type": "reasoning", "summary": []}
        if told:
            item["summary"] = [{"type": "summary_text", "text": told}]
        if "reasoning.encrypted_content" in (self.body.get("include") or []):
            sealed = base64.b64encode("".join(self.said.thinking).encode("utf-8", "replace")).decode()
            item["encrypted_content"] = sealed
        return item

    def _message(self, text: str, status: str) -> WireObject:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        content = [part] if text else []
        return {"id": "msg_", "type": "message", "status": status, "role": "assistant", "content": content}

    def _call(self, i: int, arguments: str, status: str) -> WireObject:
        return {
            "id": "fc_",
            "type": "function_call",
            "call_id": f"call_{self.ids[-1 - i]}",
            "name": self.said.calls[i].name,
            "arguments": arguments,
            "status": status,
        }

    def events(self) -> Iterator[StreamEvent]:
        """Yield the stream, numbered. The first token comes with TTFT."""
        for number, (value, tokens) in enumerate(self._values()):
            value["sequence_number"] = number
            yield StreamEvent(data=event_bytes(value), tokens=tokens)

    def _values(self) -> Iterator[tuple[WireObject, int]]:
        yield {"type": "response.created", "response": self._base("in_progress")}, 0
        yield {"type": "response.in_progress", "response": self._base("in_progress")}, 0
        early = 1
        for index, item in enumerate(self.items()):
            for value, tokens in self._item_values(index, item):
                wait = max(0, tokens - early)
                early = max(0, early - tokens)
                yield {**value, "output_index": index}, wait
        end = "response.incomplete" if self.said.stop in _CUT else "response.completed"
        yield {"type": end, "response": self.whole()}, 1 - early

    def _item_values(self, index: int, item: WireObject) -> Iterator[tuple[WireObject, int]]:
        kinds = {"message": self._message_values, "function_call": self._call_values}
        spell = kinds.get(item["type"])
        if spell is None:
            yield from self._reasoning_values(item)
        else:
            yield from spell(item)

    def _reasoning_values(self, item: WireObject) -> Iterator[tuple[WireObject, int]]:
        """Reasoning comes sealed; a summary that was asked for comes whole, when the reasoning is over."""
        yield {"type": "response.output_item.added", "item": {**item, "summary": []}}, 0
        where, made = {"item_id": item["id"], "summary_index": 0}, len(self.said.thinking)
        for part in item["summary"]:
            begun = {"type": "response.reasoning_summary_part.added", **where, "part": {**part, "text": ""}}
            yield begun, made
            yield {"type": "response.reasoning_summary_text.delta", **where, "delta": part["text"]}, 0
            yield {"type": "response.reasoning_summary_text.done", **where, "text": part["text"]}, 0
            yield {"type": "response.reasoning_summary_part.done", **where, "part": part}, 0
            made = 0
        yield {"type": "response.output_item.done", "item": item}, made

    def _message_values(self, item: WireObject) -> Iterator[tuple[WireObject, int]]:
        where = {"item_id": item["id"], "content_index": 0}
        part = item["content"][0]
        yield {"type": "response.output_item.added", "item": {**item, "status": "in_progress", "content": []}}, 0
        yield {"type": "response.content_part.added", **where, "part": {**part, "text": ""}}, 0
        for group in small_groups(self.said.pieces):
            delta = {"type": "response.output_text.delta", **where, "delta": "".join(group), "logprobs": []}
            yield delta, len(group)
        yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []}, 0
        yield {"type": "response.content_part.done", **where, "part": part}, 0
        yield {"type": "response.output_item.done", "item": item}, 0

    def _call_values(self, item: WireObject) -> Iterator[tuple[WireObject, int]]:
        where = {"item_id": item["id"]}
        started = {**item, "arguments": "", "status": "in_progress"}
        yield {"type": "response.output_item.added", "item": started}, CALL_OVERHEAD
        place = [call["id"] for call in self.items() if call["type"] == "function_call"].index(item["id"])
        for group in small_groups(self.said.call_pieces[place]):
            yield {"type": "response.function_call_arguments.delta", **where, "delta": "".join(group)}, len(group)
        done = {"type": "response.function_call_arguments.done", **where, "arguments": item["arguments"]}
        yield {**done, "name": item["name"]}, 0
        yield {"type": "response.output_item.done", "item": item}, 0


def usage_of(total: int, read: int, written: Mapping[str, int], said: Spoken) -> WireObject:
    """Responses usage: input tokens include what was read and written."""
    details: WireObject = {"cached_tokens": read, "cache_write_tokens": sum(written.values())}
    if written.get("12h"):
        details["cache_write_tokens_details"] = {
            "ttl_12h_tokens": written["12h"],
            "ttl_30m_tokens": written.get("30m", 0),
        }
    return {
        "input_tokens": total,
        "input_tokens_details": details,
        "output_tokens": said.tokens,
        "output_tokens_details": {"reasoning_tokens": len(said.thinking)},
        "total_tokens": total + said.tokens,
    }


def event_bytes(value: WireMapping) -> bytes:
    """Return one server-sent event, named by its type."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"event: {value['type']}\ndata: {text}\n\n".encode("utf-8", "replace")


ERROR_EVENT = event_bytes(
    {
        "type": "error",
        "code": "server_error",
        "message": "The server had an error while processing your request.",
        "param": None,
        "sequence_number": 999,
    }
)
