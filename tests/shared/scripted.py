"""A server that answers with the tool calls it is told to, whatever their ids, on the four wires; asked again, it ends.

The simulator gives each call an id of its own, as the providers do. Other servers, and proxies, do not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from loopback import Answer, Loopback

Call = tuple[str | None, str, dict[str, Any]]
"""(id, tool, arguments); the id None is left out."""

MODELS = {
    "anthropic": "anthropic:claude-sonnet-4-6",
    "responses": "openai:gpt-4.1",
    "chat": "openai:gpt-4.1",
    "google": "google:gemini-3.8-flash",
}
ADDRESSES = {"ANTHROPIC_BASE_URL": "", "OPENAI_BASE_URL": "/v1", "GOOGLE_GEMINI_BASE_URL": ""}
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY")


class Scripted(Loopback):
    """Every first request of a turn is answered with `calls`, one with results by a last word. Speaks one wire only."""

    def __init__(self, wire: str) -> None:
        self.calls: Sequence[Call] = ()
        self.words: list[str] = []
        """The last words of the replies to come, each once; then it says that it is done."""
        self.last_word = "Done."
        self.bodies: list[Any] = []
        self._say = {"anthropic": _anthropic, "responses": _responses, "chat": _chat, "google": _google}[wire]
        self._wire = wire
        self.serve()

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        known = self._wire != "chat" or path.endswith("/chat/completions")
        reply = self.reply(json.loads(body)) if known else {"error": {"message": "no such path"}}
        return 200 if known else 404, {"content-type": "application/json"}, json.dumps(reply).encode()

    def reply(self, body: Any) -> Any:
        self.bodies.append(body)
        calls = [] if results_in(body) else self.calls
        return self._say(calls, self.words.pop(0) if self.words and not calls else self.last_word)


def results_in(body: Any) -> list[tuple[str | None, str]]:
    """(id, text) of each tool result in a request, in its order."""
    found: list[tuple[str | None, str]] = []
    for item in _walk(body):
        if item.get("type") == "tool_result":
            found.append((item["tool_use_id"], item["content"][0]["text"]))
        elif item.get("type") == "function_call_output":
            found.append((item["call_id"], item["output"][0]["text"]))
        elif item.get("role") == "tool":
            found.append((item["tool_call_id"], item["content"]))
        elif "functionResponse" in item:
            response = item["functionResponse"]
            found.append((response.get("id"), next(iter(response["response"].values()))))
    return found


def _walk(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for item in value.values() for found in _walk(item))]
    return [found for item in value for found in _walk(item)] if isinstance(value, list) else []


def _id(name: str, call_id: str | None) -> dict[str, str]:
    return {} if call_id is None else {name: call_id}


def _anthropic(calls: Sequence[Call], word: str) -> Any:
    content = [{"type": "tool_use", **_id("id", i), "name": name, "input": arguments} for i, name, arguments in calls]
    usage = {"input_tokens": 9, "output_tokens": 5}
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "usage": usage}
    stop = "tool_use" if calls else "end_turn"
    return whole | {"content": content or [{"type": "text", "text": word}], "stop_reason": stop}


def _responses(calls: Sequence[Call], word: str) -> Any:
    output: list[Any] = [
        {
            "type": "function_call",
            "id": f"fc_{n}",
            **_id("call_id", i),
            "name": name,
            "arguments": json.dumps(arguments),
        }
        for n, (i, name, arguments) in enumerate(calls)
    ]
    said = {"type": "output_text", "text": word, "annotations": []}
    message = {"type": "message", "id": "m_1", "role": "assistant", "status": "completed", "content": [said]}
    usage = {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14}
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4.1", "usage": usage}
    return whole | {"status": "completed", "output": output or [message]}


def _chat(calls: Sequence[Call], word: str) -> Any:
    made = [
        {**_id("id", i), "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for i, name, arguments in calls
    ]
    message = {"role": "assistant"} | ({"content": None, "tool_calls": made} if made else {"content": word})
    choice = {"index": 0, "finish_reason": "tool_calls" if made else "stop", "message": message}
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4.1", "usage": usage}
    return whole | {"choices": [choice]}


def _google(calls: Sequence[Call], word: str) -> Any:
    parts = [{"functionCall": {**_id("id", i), "name": name, "args": arguments}} for i, name, arguments in calls]
    content = {"role": "model", "parts": parts or [{"text": word}]}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}
    whole = {"modelVersion": "gemini-3.8-flash", "responseId": "g-1", "usageMetadata": usage}
    return whole | {"candidates": [{"content": content, "finishReason": "STOP"}]}
