"""Spell a Chat Completions reply in its fields, whole or as chunks. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from agentnb.simulator.http_messages import StreamEvent, WireMapping, WireObject, small_groups
from agentnb.simulator.model.dialogue import CALL_OVERHEAD, Spoken

_FINISH = {
    "end": "stop",
    "tools": "tool_calls",
    "max_tokens": "length",
    "stop_sequence": "stop",
    "refusal": "content_filter",
}


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Holds one reply and what is needed to spell it. `call_ids` go with the answer's calls."""

    reply_id: str
    created: int
    model: str
    said: Spoken
    call_ids: tuple[str, ...]
    usage: WireMapping

    def _base(self, kind: str) -> WireObject:
        return {
            "id": self.reply_id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulator",
        }

    def whole(self) -> WireObject:
        """Return the plain reply."""
        message: WireObject = {"role": "assistant", "content": self.said.text or None, "refusal": None}
        if self.said.calls:
            message["tool_calls"] = [self._call(i) for i in range(len(self.said.calls))]
        choice = {
            "index": 0,
            "message": {**message, "annotations": []},
            "logprobs": None,
            "finish_reason": _FINISH[self.said.stop],
        }
        return {**self._base("chat.completion"), "choices": [choice], "usage": self.usage}

    def _call(self, i: int) -> WireObject:
        arguments = "".join(self.said.call_pieces[i])
        function = {"name": self.said.calls[i].name, "arguments": arguments}
        return {"id": self.call_ids[i], "type": "function", "function": function}

    def events(self, *, with_usage: bool) -> Iterator[StreamEvent]:
        """Yield the stream; `with_usage` as `stream_options.include_usage` asks for. The first token comes with
        TTFT."""
        first = {"role": "assistant", "content": "", "refusal": None}
        yield self._chunk(first, None, max(0, len(self.said.thinking) - 1), with_usage=with_usage)
        early = 0 if self.said.thinking else 1
        for group in small_groups(self.said.pieces):
            yield self._chunk({"content": "".join(group)}, None, len(group) - early, with_usage=with_usage)
            early = 0
        for i, call in enumerate(self.said.calls):
            head = {"index": i, **self._call(i), "function": {"name": call.name, "arguments": ""}}
            yield self._chunk({"tool_calls": [head]}, None, CALL_OVERHEAD - early, with_usage=with_usage)
            early = 0
            for group in small_groups(self.said.call_pieces[i]):
                delta = {"tool_calls": [{"index": i, "function": {"arguments": "".join(group)}}]}
                yield self._chunk(delta, None, len(group), with_usage=with_usage)
        yield self._chunk({}, _FINISH[self.said.stop], min(1, self.said.tokens), with_usage=with_usage)
        if with_usage:
            yield StreamEvent(data=_data({**self._base("chat.completion.chunk"), "choices": [], "usage": self.usage}))
        yield StreamEvent(data=b"data: [DONE]\n\n")

    def _chunk(self, delta: WireMapping, finish: str | None, tokens: int, *, with_usage: bool) -> StreamEvent:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        extra = {"usage": None} if with_usage else {}
        return StreamEvent(
            data=_data({**self._base("chat.completion.chunk"), "choices": [choice], **extra}), tokens=tokens
        )


def usage_of(total: int, read: int, written: int | None, said: Spoken) -> WireObject:
    """Chat usage: prompt tokens include what was read and written. `written` None: the model has no such field."""
    writes = {} if written is None else {"cache_write_tokens": written}
    return {
        "prompt_tokens": total,
        "completion_tokens": said.tokens,
        "total_tokens": total + said.tokens,
        "prompt_tokens_details": {"cached_tokens": read, "audio_tokens": 0, **writes},
        "completion_tokens_details": {
            "reasoning_tokens": len(said.thinking),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _data(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode("utf-8", "replace")


_FAILED = "The server had an error while processing your request."
ERROR_EVENT = _data({"error": {"message": _FAILED, "type": "server_error", "code": None}})
