"""Serve OpenAI's two wires, Responses and Chat Completions, with their prompt caching. `/v1` may be left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from agentnb.errors import RequestRefused
from agentnb.models.catalog import Model, rows
from agentnb.simulator.engine import Engine
from agentnb.simulator.http_messages import HttpAnswer, Incoming, WireMapping, WireObject
from agentnb.simulator.judging import Judged
from agentnb.simulator.limits import Left, OverLimit, RefusedForNow, retry_headers
from agentnb.simulator.model.dialogue import Spoken
from agentnb.simulator.model.reply_text import answer
from agentnb.simulator.openai import chat, prompt, responses
from agentnb.simulator.openai.cache import UnderstoodRequest, check_marks, check_options, diagnosis, print_of, use_of
from agentnb.simulator.openai.checks import (
    check_chat,
    check_reasoning,
    check_responses,
    check_window,
    code_of,
    model_of,
    refuse,
)
from agentnb.simulator.prefixes import Use

_FAULT_MESSAGES = {
    429: "Rate limit reached. Please try again later.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The engine is currently overloaded, please try again later.",
}
_TYPES = {429: "requests", 500: "server_error", 503: "server_error"}
_SERVER_TIME = ("openai-processing-ms", "{:.0f}")


@dataclass(frozen=True, kw_only=True)
class _OpenAIRequest:
    """Holds one request and what of it is cached. `started` in seconds since the epoch."""

    asked: UnderstoodRequest
    use: Use
    started: float
    left: tuple[Left, ...]

    @property
    def total(self) -> int:
        return self.asked.tokens + prompt.REPLY_START


class OpenAIWire:
    """Answers `/v1/responses`, `/v1/responses/input_tokens`, `/v1/chat/completions` and `/v1/models`."""

    name = "openai"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def owns(self, incoming: Incoming) -> bool:
        """Tell whether the request is for this wire; a bare list of models is, when no other wire claims it."""
        path = _short(incoming.path)
        return path.startswith(("/responses", "/chat/completions")) or (
            path.startswith("/models") and "anthropic-version" not in incoming.headers
        )

    def generates(self, incoming: Incoming) -> bool:
        """Tell whether the request asks for a reply: faults hit only these."""
        return incoming.method == "POST" and _short(incoming.path) in ("/responses", "/chat/completions")

    def answer(self, incoming: Incoming) -> HttpAnswer:
        """Return the outcome of one request; raises RequestRefused."""
        routes: dict[tuple[str, str], Callable[[Incoming, str], HttpAnswer]] = {
            ("POST", "/responses"): self._responses,
            ("POST", "/responses/input_tokens"): self._count,
            ("POST", "/chat/completions"): self._chat,
            ("GET", "/models"): self._models,
        }
        route = routes.get((incoming.method, _short(incoming.path)))
        if route is None:
            raise refuse(f"Invalid URL ({incoming.method} {incoming.path})", status=404)
        return route(incoming, _owner(incoming))

    def error(self, error: RequestRefused, request_id: str) -> HttpAnswer:
        """Return a refusal in this wire's shape."""
        status = error.status or 400
        message = _over(error) if isinstance(error, OverLimit) else error.what
        kind = error.kind if isinstance(error, OverLimit) else _TYPES.get(status, "invalid_request_error")
        body = {"message": message, "type": kind, "param": error.about or None, "code": code_of(message)}
        headers = retry_headers(error)
        return HttpAnswer(status=status, body={"error": body}, headers=headers, server_time=_SERVER_TIME)

    def fault(self, status: int, request_id: str, wait: float | None) -> HttpAnswer:
        """Answer as the provider does when it cannot serve; it has no 529, so that is a 503."""
        code = 503 if status == 529 else status
        return self.error(RefusedForNow(_FAULT_MESSAGES[code], status=code, wait=wait), request_id)

    def _models(self, incoming: Incoming, owner: str) -> HttpAnswer:
        found = [
            {"id": row.name, "object": "model", "created": 0, "owned_by": "agentnb-simulator"}
            for row in rows()
            if row.provider == "openai"
        ]
        return HttpAnswer(body={"object": "list", "data": found}, server_time=_SERVER_TIME)

    def _count(self, incoming: Incoming, owner: str) -> HttpAnswer:
        row = model_of(incoming.body)
        talk = prompt.responses_talk(incoming.body, reasons=False)
        total = sum(block.tokens for block in prompt.blocks(talk, self._engine.counter(row))) + prompt.REPLY_START
        return HttpAnswer(body={"object": "response.input_tokens", "input_tokens": total}, server_time=_SERVER_TIME)

    def _chat(self, incoming: Incoming, owner: str) -> HttpAnswer:
        body = incoming.body
        row = model_of(body)
        check_chat(body)
        check_reasoning(body.get("reasoning_effort"), row, param="reasoning_effort")
        work = self._work(body, prompt.chat_talk(body, reasons=bool(row.cache.breakpoints)), row, owner)
        said = answer(prompt.ask_of(work.asked.talk, row), declined=incoming.declined)
        written = sum(work.use.written.values()) if row.cache.breakpoints else None
        reply = chat.Chat(
            reply_id=self._engine.new_id("chatcmpl-"),
            created=int(work.started),
            model=body["model"],
            said=said,
            call_ids=tuple(self._engine.new_id("call_") for _ in said.calls),
            usage=chat.usage_of(work.total, work.use.read, written, said),
        )
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = tuple(reply.events(with_usage=with_usage)) if body.get("stream") else None
        return self._outcome(work, said, reply.whole(), events, chat.ERROR_EVENT)

    def _responses(self, incoming: Incoming, owner: str) -> HttpAnswer:
        body = incoming.body
        row = model_of(body)
        check_responses(body, prompt.input_items(body))
        check_reasoning(body.get("reasoning"), row, param="reasoning.effort")
        work = self._work(body, prompt.responses_talk(body, reasons=bool(row.cache.breakpoints)), row, owner)
        prewarm = bool((body.get("prompt_cache_options") or {}).get("prewarm"))
        said = Spoken() if prewarm else answer(prompt.ask_of(work.asked.talk, row), declined=incoming.declined)
        reply = self._response(work, said)
        events = tuple(reply.events()) if body.get("stream") else None
        return self._outcome(work, said, reply.whole(), events, responses.ERROR_EVENT)

    def _response(self, work: _OpenAIRequest, said: Spoken) -> responses.Response:
        response_id = self._engine.new_id("resp_")
        needed = len(said.calls) * 2 + bool(said.pieces) + bool(said.thinking)
        return responses.Response(
            response_id=response_id,
            created=int(work.started),
            body=work.asked.body,
            said=said,
            ids=tuple(self._engine.new_id("") for _ in range(needed)),
            usage=responses.usage_of(work.total, work.use.read, work.use.written, said),
            extra=self._caching_fields(work, response_id),
        )

    def _caching_fields(self, work: _OpenAIRequest, response_id: str) -> WireObject:
        """Return `prompt_cache_options` as applied, and the diagnosis where one was asked for."""
        now = print_of(work.asked)
        self._engine.remember(response_id, now)
        if not work.asked.row.cache.breakpoints:
            return {}
        asked = work.asked.body.get("prompt_cache_options") or {}
        fields: WireObject = {"prompt_cache_options": {"mode": "implicit", "ttl": "30m", **asked}}
        if comparison := asked.get("comparison_response_id"):
            fields["prompt_cache_diagnostics"] = diagnosis(
                self._engine.remembered(comparison, now.owner), now, work.use.read
            )
        return fields

    def _work(self, body: WireMapping, talk: prompt.Talk, row: Model, owner: str) -> _OpenAIRequest:
        check_options(body, row)
        blocks = prompt.blocks(talk, self._engine.counter(row))
        asked = UnderstoodRequest(owner=owner, row=row, body=body, talk=talk, blocks=blocks)
        check_marks(asked)
        check_window(asked.tokens, row, param="input" if "input" in body else "messages")
        started = self._engine.clock.now()
        # Everything counts here, what is cached too; a refused request renews nothing.
        left = self._engine.limits.admit((owner, row.name), asked.tokens + prompt.REPLY_START)
        return _OpenAIRequest(asked=asked, use=use_of(asked, self._engine), started=started, left=left)

    def _outcome(
        self, work: _OpenAIRequest, said: Spoken, whole: WireObject, events: Any, error_event: bytes
    ) -> HttpAnswer:
        engine, use, asked = self._engine, work.use, work.asked
        engine.limits.spend((asked.owner, asked.row.name), said.tokens)
        return HttpAnswer(
            body=whole,
            headers=_limit_headers(work.left),
            events=events,
            timing=engine.timing(asked.row, tokens=work.total, uncached=work.total - use.read, output=said.tokens),
            usage=whole["usage"],
            error_event=error_event,
            server_time=_SERVER_TIME,
            on_first_token=lambda: engine.caches.write(asked.scope, use.writes, work.started),
            judged=_judged(asked, use, work.started),
        )

    def judged(self, incoming: Incoming, row: Model) -> Judged:
        """Apply the caching rules to a request that nobody checked; what it reads is refreshed."""
        body, reasons = incoming.body, bool(row.cache.breakpoints)
        spoken = prompt.chat_talk if "messages" in body else prompt.responses_talk
        talk = spoken(body, reasons=reasons)
        blocks = prompt.blocks(talk, self._engine.counter(row))
        asked = UnderstoodRequest(owner=_owner(incoming), row=row, body=body, talk=talk, blocks=blocks)
        return _judged(asked, use_of(asked, self._engine), self._engine.clock.now())


def _judged(asked: UnderstoodRequest, use: Use, at: float) -> Judged:
    return Judged(
        row=asked.row,
        scope=asked.scope,
        pieces=tuple(block.piece() for block in asked.blocks),
        read=use.read,
        writes=use.writes,
        at=at,
        settings={"tools": {"prompt_cache_key": asked.body.get("prompt_cache_key"), **asked.talk.settings}},
    )


def _over(error: OverLimit) -> str:
    """Return the words of a rate limit."""
    unit = {"tokens": "tokens per min (TPM)", "requests": "requests per min (RPM)"}[error.kind]
    if error.wait is None:
        return f"Rate limit: request too large on {unit}: Limit {error.limit}, Requested {error.asked}."
    sums = f"Limit {error.limit}, Used {error.used}, Requested {error.asked}."
    return f"Rate limit reached on {unit}: {sums} Please try again in {error.wait:.3f}s."


def _limit_headers(left: Iterable[Left]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for one in left:
        headers |= {
            f"x-ratelimit-limit-{one.kind}": str(one.limit),
            f"x-ratelimit-remaining-{one.kind}": str(one.left),
            f"x-ratelimit-reset-{one.kind}": f"{one.whole_in:.3f}s",
        }
    return headers


def _short(path: str) -> str:
    return path.removeprefix("/v1")


def _owner(incoming: Incoming) -> str:
    """Return a digest of the API key. Raises RequestRefused without one."""
    key = incoming.headers.get("authorization", "").removeprefix("Bearer").strip()
    if not key:
        raise refuse(
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY).",
            status=401,
        )
    return hashlib.sha256(key.encode()).hexdigest()[:12]
