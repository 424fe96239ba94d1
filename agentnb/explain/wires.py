"""Tell the providers' four wires apart by a request's path and body, and read what a reply used. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.models.messages import Usage, inside
from agentnb.providers import anthropic, google, openai_chat, openai_responses


class WireKind(StrEnum):
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    CHAT = "openai chat"
    RESPONSES = "openai responses"

    @property
    def provider(self) -> str:
        return self.value.partition(" ")[0]


@dataclass(frozen=True, kw_only=True)
class LoggedCall:
    """Holds one call to a model as a log has it. `reply`: the events of its reply, a whole one being one event; ()
    where the log has none. `path` is where its wire serves such a call, `at` in seconds since the epoch."""

    wire: WireKind
    model: str
    path: str
    headers: JsonMapping
    body: JsonMapping
    reply: tuple[JsonMapping, ...] = field(default=())
    at: float | None = None

    def placed(self, at: float) -> LoggedCall:
        return replace(self, at=at)

    @property
    def owner(self) -> str:
        """Return a digest of the key that the call was sent with, since prompt caches are kept apart by it."""
        names = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
        key = next((str(self.headers[name]) for name in names if name in self.headers), "")
        return hashlib.sha256(key.encode()).hexdigest()[:12]

    @property
    def betas(self) -> str:
        """Return the beta features that the call named in its header or its body."""
        named = self.headers.get("anthropic-beta") or ",".join(map(str, self.body.get("betas") or ()))
        return ", ".join(sorted(part.strip() for part in str(named).split(",") if part.strip()))

    @property
    def refusal(self) -> str:
        """Return the provider's words where it refused the call; empty where it answered."""
        error = next((event["error"] for event in self.reply if event.get("error")), "")
        return str(error.get("message") if isinstance(error, Mapping) else error)

    @property
    def usage(self) -> Usage | None:
        """Return what the reply says it used; None where there is no reply, or an error instead of one."""
        found: JsonObject = {}
        holders = (
            part for event in self.reply for part in (event, inside(event, "message"), inside(event, "response"))
        )
        for holder in holders:
            used = inside(holder, "usageMetadata" if self.wire is WireKind.GOOGLE else "usage")
            found |= {name: value for name, value in used.items() if value is not None}
        decoded = _DECODED[self.wire](found)
        return decoded if decoded.input_total else None


_DECODED = {
    WireKind.ANTHROPIC: anthropic.decode_usage,
    WireKind.GOOGLE: google.decode_usage,
    WireKind.CHAT: openai_chat.decode_usage,
    WireKind.RESPONSES: openai_responses.decode_usage,
}


def wire_of(path: str, body: JsonMapping) -> WireKind | None:
    """Return the wire of a request; None where it is none of them."""
    by_path = next((wire for end, wire in _PATHS if end in path), None)
    if by_path is not None:
        return None if path.endswith(("count_tokens", "input_tokens", ":countTokens")) else by_path
    if "cachedContents" in path:
        return None
    if "contents" in body:
        return WireKind.GOOGLE
    if "messages" not in body:
        return WireKind.RESPONSES if "input" in body and "model" in body else None
    tools = [tool for tool in body.get("tools") or [] if isinstance(tool, Mapping)]
    is_claude = "claude" in str(body.get("model")) and not any(inside(tool, "function") for tool in tools)
    return WireKind.ANTHROPIC if is_claude or "system" in body else WireKind.CHAT


_PATHS = (
    ("/chat/completions", WireKind.CHAT),
    ("/responses", WireKind.RESPONSES),
    ("/messages", WireKind.ANTHROPIC),
    (":generateContent", WireKind.GOOGLE),
    (":streamGenerateContent", WireKind.GOOGLE),
)
