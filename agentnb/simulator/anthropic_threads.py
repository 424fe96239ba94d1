"""Conversations that Anthropic's server holds for a client, so that each request brings only its new messages.

Source: anthropic 2.12.0, whose tool runner asks so by default (BetaMessageThreadParam).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from agentnb.errors import RequestRefused

_REMEMBERED = 2_000
_OF_THE_THREAD = ("system", "tools")


class ThreadLost(RequestRefused):
    """A request continues a reply that is not held; the SDK then sends the whole conversation again."""


class Threads:
    """What is held, by owner and by the id of the reply that a conversation ended with."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def whole(self, body: Any, owner: str) -> Any:
        """The body with what is held put in front. Raises ThreadLost, and RequestRefused on a field of the thread."""
        asked = body.get("thread") if isinstance(body, Mapping) else None
        if not isinstance(asked, Mapping) or asked.get("type") != "continue":
            return body
        for name in _OF_THE_THREAD:
            if name in body:
                raise RequestRefused(f"{name}: not allowed when continuing a thread", status=400)
        held = self._held.get((owner, str(asked.get("previous_message_id"))))
        if held is None:
            raise ThreadLost("thread: the previous message was not found", status=404)
        return {**body, **held, "messages": [*held["messages"], *(body.get("messages") or [])]}

    def keep(self, body: Mapping[str, Any], owner: str, reply: Mapping[str, Any]) -> None:
        """Hold the conversation up to `reply` where the request asked for that. A refused turn is not held."""
        if not isinstance(body.get("thread"), Mapping) or reply["stop_reason"] == "refusal":
            return
        answer = {"role": "assistant", "content": reply["content"]}
        held: dict[str, Any] = {name: body[name] for name in _OF_THE_THREAD if name in body}
        with self._lock:
            self._held[owner, reply["id"]] = held | {"messages": [*map(_unmarked, body["messages"]), answer]}
            if len(self._held) > _REMEMBERED:
                self._held.popitem(last=False)


def _unmarked(message: Mapping[str, Any]) -> dict[str, Any]:
    """Breakpoints are those of one request; the next one brings its own."""
    content = message["content"]
    if isinstance(content, list):
        content = [{name: value for name, value in block.items() if name != "cache_control"} for block in content]
    return {**message, "content": content}
