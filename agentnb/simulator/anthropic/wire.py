"""Serve the Anthropic Messages wire: routes, reply shapes and the event stream, as the real API was recorded."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from agentnb.errors import RequestRefused
from agentnb.models.catalog import Model, rows
from agentnb.simulator import promptcache_rules as rules
from agentnb.simulator.anthropic import prompt
from agentnb.simulator.anthropic.checks import check, refuse
from agentnb.simulator.anthropic.stream import event_bytes, stream
from agentnb.simulator.clock import utc
from agentnb.simulator.engine import Engine, Print, digest
from agentnb.simulator.http_messages import HttpAnswer, Incoming, WireMapping, WireObject
from agentnb.simulator.judging import Judged
from agentnb.simulator.limits import Left, OverLimit, RefusedForNow, retry_headers
from agentnb.simulator.model.dialogue import Spoken
from agentnb.simulator.model.reply_text import answer

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    529: "overloaded_error",
}
_FAULT_MESSAGES = {
    429: "This request would exceed your organization's rate limit. Please try again later.",
    500: "Internal server error",
    503: "Service unavailable",
    529: "Overloaded",
}
_STOPS = {
    "end": "end_turn",
    "tools": "tool_use",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
    "pause": "pause_turn",
}
_OVERLOADED = event_bytes("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
_DECLINED = {"type": "refusal", "category": None, "explanation": "Declined on request: a simulated refusal."}
_BOUND_THINKING = ("claude-5",)
"""Tokenizer families whose models tie thinking blocks to the conversation before them."""


@dataclass(frozen=True, kw_only=True)
class _AnthropicRequest:
    """Holds one request and what the rules make of it. `end` is the digest of the whole prompt, `started` epoch
    seconds."""

    body: WireMapping
    row: Model
    scope: tuple[str, str]
    pieces: list[rules.PromptPiece]
    plan: rules.CachePlan
    end: str
    started: float

    @property
    def total(self) -> int:
        return self.plan.total + prompt.REPLY_START

    def judged(self) -> Judged:
        return Judged(
            row=self.row,
            scope=self.scope,
            pieces=tuple(self.pieces),
            read=self.plan.read,
            writes=self.plan.writes,
            at=self.started,
            settings=prompt.settings(self.body),
        )


class AnthropicWire:
    """Answers `/v1/messages`, `/v1/messages/count_tokens` and `/v1/models`."""

    name = "anthropic"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._paused: set[str] = set()

    def owns(self, incoming: Incoming) -> bool:
        """Tell whether the request is for this wire. `/v1/models` is, when it comes with Anthropic's version header."""
        return incoming.path.startswith("/v1/messages") or (
            incoming.path.startswith("/v1/models") and "anthropic-version" in incoming.headers
        )

    def generates(self, incoming: Incoming) -> bool:
        """Tell whether the request asks for a reply: faults hit only these."""
        return incoming.method == "POST" and incoming.path == "/v1/messages"

    def answer(self, incoming: Incoming) -> HttpAnswer:
        """Return the outcome of one request; raises RequestRefused."""
        routes: dict[tuple[str, str], Callable[[Incoming], HttpAnswer]] = {
            ("POST", "/v1/messages"): self._messages,
            ("POST", "/v1/messages/count_tokens"): self._count,
            ("GET", "/v1/models"): self._models,
        }
        route = routes.get((incoming.method, incoming.path))
        if route is None:
            raise refuse("Not Found", 404)
        _key(incoming)
        if incoming.method == "POST" and incoming.body is None:
            raise refuse("The request body is not valid JSON: unexpected character")
        return route(incoming)

    def error(self, error: RequestRefused, request_id: str) -> HttpAnswer:
        """Return a refusal in this wire's shape."""
        status = error.status or 400
        said = {"type": _ERROR_TYPES.get(status, "api_error"), "message": _words(error)}
        body = {"type": "error", "error": said, "request_id": request_id}
        return HttpAnswer(status=status, body=body, headers=retry_headers(error))

    def fault(self, status: int, request_id: str, wait: float | None) -> HttpAnswer:
        """Answer as the provider does when it cannot serve, asking to wait so many seconds."""
        return self.error(RefusedForNow(_FAULT_MESSAGES[status], status=status, wait=wait), request_id)

    def _models(self, incoming: Incoming) -> HttpAnswer:
        data = [_model_info(row) for row in rows() if row.provider == "anthropic"]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return HttpAnswer(body={"data": data, "has_more": False, "first_id": first, "last_id": last})

    def _count(self, incoming: Incoming) -> HttpAnswer:
        row = check(incoming.body, counting=True)
        parts = prompt.pieces(incoming.body, self._engine.counter(row))
        return HttpAnswer(body={"input_tokens": sum(piece.tokens for piece in parts) + prompt.REPLY_START})

    def _messages(self, incoming: Incoming) -> HttpAnswer:
        body = incoming.body
        row = check(body, goes_on=_ends_with(body, self._paused))
        work = self._work(incoming, row)
        if row.tokenizer in _BOUND_THINKING:
            _check_signatures(body, rules.chain(work.pieces, {}))
        if work.total > row.window:
            raise refuse(f"prompt is too long: {work.total} tokens > {row.window} maximum")
        plan, engine = work.plan, self._engine
        left = engine.limits.admit(work.scope, work.total - plan.read)  # what was read from the prompt cache is free
        prewarm = body["max_tokens"] == 0
        said = Spoken(stop="max_tokens")
        if not prewarm:
            said = answer(prompt.ask_of(body, row), declined=incoming.declined, paused=incoming.paused)
        engine.caches.refresh(work.scope, plan.hits, work.started)
        message = self._message(work, said)
        if said.stop == "pause":
            self._paused.add(_last_words(message))
        return HttpAnswer(
            body=message,
            events=tuple(stream(message, said)) if body.get("stream") else None,
            timing=engine.timing(row, tokens=work.total, uncached=work.total - plan.read, output=said.tokens),
            usage=message["usage"],
            headers=_limit_headers(left, work.started),
            error_event=_OVERLOADED,
            on_first_token=lambda: engine.caches.write(work.scope, plan.writes, work.started),
            judged=work.judged(),
        )

    def judged(self, incoming: Incoming, row: Model) -> Judged:
        """Apply the caching rules to a request that nobody checked; what it reads is refreshed."""
        work = self._work(incoming, row)
        self._engine.caches.refresh(work.scope, work.plan.hits, work.started)
        return work.judged()

    def _work(self, incoming: Incoming, row: Model) -> _AnthropicRequest:
        """Apply the caching rules to a request, without changing what is warm."""
        engine, owner, body = self._engine, _key(incoming), incoming.body
        started = engine.clock.now()
        scope = (owner, row.name)
        pieces = prompt.pieces(body, engine.counter(row))
        bare = rules.chain(pieces, {})
        plan = rules.plan(
            pieces,
            rules.chain(pieces, prompt.salts(body)),
            engine.caches.live(scope, started),
            minimum=row.cache.minimum,
            lookback=row.cache.lookback,
        )
        return _AnthropicRequest(
            body=body, row=row, scope=scope, pieces=pieces, plan=plan, end=bare[-1], started=started
        )

    def _message(self, work: _AnthropicRequest, said: Spoken) -> WireObject:
        message_id = self._engine.new_id("msg_01")
        return {
            "model": work.body["model"],
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "content": self._content(said, work.end),
            "stop_reason": _STOPS[said.stop],
            "stop_sequence": said.sequence,
            "stop_details": _DECLINED if said.stop == "refusal" else None,
            "usage": _usage(work.plan, said),
            **self._diagnostics(work, message_id),
        }

    def _content(self, said: Spoken, end: str) -> list[WireObject]:
        thought = "".join(said.thinking)
        spoken = [
            *([{"type": "thinking", "thinking": thought, "signature": _signature(end, thought)}] if thought else []),
            *([{"type": "text", "text": said.text}] if said.pieces else []),
        ]
        return spoken + [
            {
                "type": "tool_use",
                "id": self._engine.new_id("toolu_01"),
                "name": call.name,
                "input": dict(call.arguments),
                "caller": {"type": "direct"},
            }
            for call in said.calls
        ]

    def _diagnostics(self, work: _AnthropicRequest, message_id: str) -> WireObject:
        """Return `diagnostics` where the request asked for them; remembers this request for the next one to compare."""
        now = _print(work)
        self._engine.remember(message_id, now)
        asked = work.body.get("diagnostics")
        if not isinstance(asked, Mapping):
            return {}
        previous_id = asked.get("previous_message_id")
        if previous_id is None:
            return {"diagnostics": None}
        reason = _miss_reason(self._engine.remembered(previous_id, now.owner), now, work)
        return {"diagnostics": {"cache_miss_reason": reason} if reason else None}


def _key(incoming: Incoming) -> str:
    """Return a digest of the API key: prompt caches are kept apart by it. Raises RequestRefused without one."""
    bearer = incoming.headers.get("authorization", "")
    key = incoming.headers.get("x-api-key") or bearer.removeprefix("Bearer ").strip()
    if not key:
        raise refuse("x-api-key header is required", 401)
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _last_words(message: object) -> str:
    """Return a digest of the last block of an assistant's message, where that is text; empty elsewhere."""
    content = message.get("content") if isinstance(message, Mapping) and message.get("role") == "assistant" else None
    last = content[-1] if isinstance(content, list) and content else None
    text = last.get("text") if isinstance(last, Mapping) else None
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() if isinstance(text, str) else ""


def _ends_with(body: object, paused: set[str]) -> bool:
    messages = body.get("messages") if isinstance(body, Mapping) else None
    return isinstance(messages, list) and bool(messages) and _last_words(messages[-1]) in paused


def _words(error: RequestRefused) -> str:
    if not isinstance(error, OverLimit):
        return error.what
    kind = {"tokens": "input tokens"}.get(error.kind, error.kind)
    return f"This request would exceed your organization's rate limit of {error.limit:,} {kind} per minute."


def _limit_headers(left: Iterable[Left], now: float) -> dict[str, str]:
    headers: dict[str, str] = {}
    for one in left:
        name = f"anthropic-ratelimit-{'input-' if one.kind == 'tokens' else ''}{one.kind}"
        reset = utc(now + one.whole_in)
        headers |= {f"{name}-limit": str(one.limit), f"{name}-remaining": str(one.left), f"{name}-reset": reset}
    return headers


def _model_info(row: Model) -> WireObject:
    return {
        "type": "model",
        "id": row.name,
        "display_name": row.label,
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": row.window,
        "max_tokens": row.max_output,
    }


def _usage(plan: rules.CachePlan, said: Spoken) -> WireObject:
    return {
        "input_tokens": plan.plain + prompt.REPLY_START,
        "cache_creation_input_tokens": plan.write_5m + plan.write_1h,
        "cache_read_input_tokens": plan.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": plan.write_5m,
            "ephemeral_1h_input_tokens": plan.write_1h,
        },
        "output_tokens": said.tokens,
        **({"output_tokens_details": {"thinking_tokens": len(said.thinking)}} if said.thinking else {}),
        "service_tier": "standard",
        "inference_geo": "global",
    }


def _signature(end: str, thought: str) -> str:
    """Binds a thought to the prompt that ended with digest `end`."""
    return base64.b64encode(hashlib.sha256(f"{end}:{thought}".encode("utf-8", "replace")).digest()).decode()


def _check_signatures(body: WireMapping, bare: list[str]) -> None:
    """Newer models refuse a thought that comes back behind another prompt than the one it was thought behind."""
    for at, where, block in prompt.thoughts(body):
        if at == 0 or block["signature"] != _signature(bare[at - 1], block["thinking"]):
            raise refuse(f"{where}: Invalid `signature` in `thinking` block")


def _print(work: _AnthropicRequest) -> Print:
    sections = {
        name: [digest(piece.data) for piece in work.pieces if piece.section == name]
        for name in ("tools", "system", "messages")
    }
    return Print(
        owner=work.scope[0],
        parts={"model": work.body["model"], "tools": sections["tools"], "system": sections["system"]},
        items=tuple(sections["messages"]),
        tokens=work.plan.read + work.plan.write_5m + work.plan.write_1h,
        settings=prompt.salts(work.body),
    )


def _miss_reason(previous: Print | None, now: Print, work: _AnthropicRequest) -> WireObject | None:
    """Tell why this request could not reuse the previous one's prefix; None where it only appends to it."""
    if previous is None:
        return {"type": "previous_message_not_found"}
    if changed := previous.change(now, "messages"):
        return {"type": f"{changed}_changed", "cache_missed_input_tokens": max(0, previous.tokens - work.plan.read)}
    return {"type": "unavailable"} if previous.settings != now.settings else None
