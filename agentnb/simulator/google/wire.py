"""Serve the Gemini wire: generateContent, streamGenerateContent, countTokens and cachedContents, for the developer API
(`/v1beta/models/…`) and for Vertex AI (`/v1beta1/projects/…/locations/…/publishers/google/models/…`)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any, NamedTuple

from agentnb.errors import RequestRefused
from agentnb.models.catalog import Model, find, rows
from agentnb.simulator import promptcache_rules as rules
from agentnb.simulator.engine import Engine
from agentnb.simulator.google import prompt
from agentnb.simulator.google.caches import DEFAULT_TTL, CachedContent, CachedContents, end_of_life
from agentnb.simulator.google.checks import check, refuse
from agentnb.simulator.google.reply import ReplyShape, details, sse, usage_of
from agentnb.simulator.http_messages import HttpAnswer, Incoming, StreamEvent, WireMapping, WireObject
from agentnb.simulator.judging import Judged
from agentnb.simulator.limits import OverLimit, RefusedForNow
from agentnb.simulator.model.dialogue import Spoken
from agentnb.simulator.model.reply_text import answer
from agentnb.simulator.prefixes import PrefixBlock, implicit_parts

_ADDRESS = re.compile(
    r"/(?P<version>v1|v1beta|v1beta1|v1alpha)/(?P<project>projects/[^/]+/locations/[^/]+/)?(?:publishers/google/)?"
    r"(?:(?P<models>(?:models|tunedModels)(?:/(?P<model>[^/:]+))?)|(?P<caches>cachedContents(?:/(?P<cache>[^/:]+))?))"
    r"(?::(?P<method>\w+))?"
)
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_FAULT_MESSAGES = {
    429: "Resource has been exhausted (e.g. check quota).",
    500: "An internal error has occurred. Please retry.",
    503: "The model is overloaded. Please try again later.",
}
_SERVER_TIME = ("server-timing", "gfet4t7; dur={:.0f}")
_GENERATING = ("generateContent", "streamGenerateContent")


class _Address(NamedTuple):
    """Holds the path taken apart; empty where it has no such part. `models` and `caches` are what it is about."""

    version: str
    project: str
    models: str
    model: str
    caches: str
    cache: str
    method: str


class GoogleWire:
    """Answers Gemini's paths."""

    name = "google"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.caches = CachedContents(engine.clock.now)

    def owns(self, incoming: Incoming) -> bool:
        """Tell whether the request is for this wire; a list of models is where it comes with Google's key header."""
        address = _parse(incoming.path)
        if address is None:
            return False
        return bool(address.method or address.caches or "x-goog-api-key" in incoming.headers or address.project)

    def generates(self, incoming: Incoming) -> bool:
        """Tell whether the request asks for a reply: faults hit only these."""
        address = _parse(incoming.path)
        return address is not None and address.method in _GENERATING

    def answer(self, incoming: Incoming) -> HttpAnswer:
        """Return the outcome of one request; raises RequestRefused."""
        address = _parse(incoming.path)
        if address is None:
            raise refuse("Not found", 404)
        key = _key(incoming)
        if incoming.raw and not isinstance(incoming.body, Mapping):
            raise refuse("Invalid JSON payload received. Unexpected token.")
        incoming = replace(incoming, body=prompt.camel(incoming.body))
        if address.caches:
            return self._cached_contents(incoming, address, key)
        return self._models(incoming, address, key)

    def error(self, error: RequestRefused, request_id: str) -> HttpAnswer:
        """Return a refusal in this wire's shape."""
        code = error.status or 400
        message = _over(error) if isinstance(error, OverLimit) else error.what
        said: WireObject = {"code": code, "message": message, "status": _STATUS.get(code, "UNKNOWN")}
        if isinstance(error, RefusedForNow) and error.wait is not None:
            said["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{error.wait}s"}]
        return HttpAnswer(status=code, body={"error": said}, server_time=_SERVER_TIME)

    def fault(self, status: int, request_id: str, wait: float | None) -> HttpAnswer:
        """Answer as the provider does when it cannot serve; it has no 529, so that is a 503."""
        code = 503 if status == 529 else status
        return self.error(RefusedForNow(_FAULT_MESSAGES[code], status=code, wait=wait), request_id)

    def _models(self, incoming: Incoming, address: _Address, key: str) -> HttpAnswer:
        if not address.method:
            return _model_list(address)
        row = find(address.model, "google")
        if row is None or address.method not in (*_GENERATING, "countTokens"):
            raise refuse(
                f"models/{address.model} is not found for API version {address.version}, or is not supported for "
                f"{address.method}. Call ModelService.ListModels to see the list of available models and their "
                "supported methods.",
                404,
            )
        body = incoming.body or {}
        if address.method == "countTokens":
            return self._count(body.get("generateContentRequest") or body, row)
        return self._generate(incoming, address, row, key)

    def _count(self, body: WireMapping, row: Model) -> HttpAnswer:
        total = sum(block.tokens for block in prompt.blocks(body, self._engine.counter(row)))
        return HttpAnswer(body={"totalTokens": total, "promptTokensDetails": details(total)}, server_time=_SERVER_TIME)

    def _generate(self, incoming: Incoming, address: _Address, row: Model, key: str) -> HttpAnswer:
        engine, body = self._engine, incoming.body or {}
        check(body, row)
        whole, explicit = self._with_cached(body, address, row, key)
        parts = prompt.blocks(whole, engine.counter(row))
        total = sum(block.tokens for block in parts)
        if total > row.window:
            raise refuse(
                f"The input token count ({total}) exceeds the maximum number of tokens allowed ({row.window})."
            )
        engine.limits.admit((key, row.name), total)
        judged = self._judge(parts, row, key, explicit)
        said = answer(prompt.ask_of(whole, row), declined=incoming.declined)
        return self._outcome(incoming, judged, said, usage=usage_of(total, judged.read, said))

    def judged(self, incoming: Incoming, row: Model) -> Judged:
        """Apply the caching rules to a request that nobody checked; what it reads is refreshed. A cache object of
        another server is not known: of such a call only what it sends itself is judged."""
        parts = prompt.blocks(prompt.camel(incoming.body), self._engine.counter(row))
        return self._judge(parts, row, _key(incoming), 0)

    def _judge(self, parts: list[PrefixBlock], row: Model, key: str, explicit: int) -> Judged:
        scope, now = (key, row.name), self._engine.clock.now()
        pieces = tuple(block.piece() for block in parts)
        ends = list(accumulate(block.tokens for block in parts))
        live = self._engine.caches.live(scope, now)
        use = implicit_parts(ends, rules.chain(pieces, {}), live, minimum=row.cache.minimum)
        self._engine.caches.refresh(scope, use.hits, now)
        return Judged(row=row, scope=scope, pieces=pieces, read=max(use.read, explicit), writes=use.writes, at=now)

    def _with_cached(self, body: WireMapping, address: _Address, row: Model, key: str) -> tuple[Any, int]:
        """Return (the body with what its cache object holds put in front, the tokens of that object)."""
        name = body.get("cachedContent")
        if not name:
            return body, 0
        if address.version == "v1" and not address.project:
            raise refuse('Invalid JSON payload received. Unknown name "cachedContent": Cannot find field.')
        if prompt.system_of(body) or body.get("tools") or body.get("toolConfig"):
            raise refuse(
                "CachedContent can not be used with GenerateContent request setting system_instruction, tools or "
                "tool_config.\n\nProposed fix: move those values to CachedContent from GenerateContent request."
            )
        held = self.caches.get(f"cachedContents/{str(name).rpartition('/')[2]}", key)
        if held.model.rpartition("/")[2] != row.name:
            raise refuse(
                f"Model used by GenerateContent request (models/{row.name}) and CachedContent ({held.model}) has to be "
                "the same."
            )
        contents = [*prompt.contents_of(held.body.get("contents")), *prompt.contents_of(body.get("contents"))]
        return {**held.body, **body, "contents": contents}, held.tokens

    def _outcome(self, incoming: Incoming, judged: Judged, said: Spoken, *, usage: WireMapping) -> HttpAnswer:
        row, caches = judged.row, self._engine.caches
        shape = ReplyShape(
            row=row, said=said, usage=usage, response_id=self._engine.new_id("sim")[:23], body=incoming.body
        )
        address = _parse(incoming.path)
        streaming = address is not None and address.method == "streamGenerateContent"
        as_events = streaming and incoming.query.get("alt") == "sse"
        chunks = list(shape.chunks()) if streaming else []
        total, cached = usage["promptTokenCount"], usage.get("cachedContentTokenCount", 0)
        return HttpAnswer(
            body=[chunk for chunk, _ in chunks] if streaming else shape.whole(),
            events=tuple(StreamEvent(data=sse(chunk), tokens=tokens) for chunk, tokens in chunks)
            if as_events
            else None,
            timing=self._engine.timing(row, tokens=total, uncached=total - cached, output=said.tokens),
            usage=usage,
            error_event=sse({"error": {"code": 503, "message": _FAULT_MESSAGES[503], "status": "UNAVAILABLE"}}),
            server_time=_SERVER_TIME,
            on_first_token=lambda: caches.write(judged.scope, judged.writes, judged.at),
            judged=judged,
        )

    def _cached_contents(self, incoming: Incoming, address: _Address, key: str) -> HttpAnswer:
        if address.version == "v1" and not address.project:
            raise refuse("The requested URL was not found on this server.", 404)
        name = f"cachedContents/{address.cache}" if address.cache else ""
        body = self._act(incoming, address, name, key)
        if address.project and isinstance(body, dict) and "name" in body:
            body["name"] = address.project + body["name"]
        return HttpAnswer(body=body, server_time=_SERVER_TIME)

    def _act(self, incoming: Incoming, address: _Address, name: str, key: str) -> Any:
        if incoming.method == "POST" and not name:
            return self._create(incoming.body or {}, key).to_json()
        if incoming.method == "GET" and not name:
            return self._list(incoming, address, key)
        if incoming.method == "GET":
            return self.caches.get(name, key).to_json()
        if incoming.method == "PATCH" and name:
            return self._update(incoming, name, key).to_json()
        if incoming.method == "DELETE" and name:
            self.caches.delete(name, key)
            return {}
        raise refuse("Method not allowed", 404)

    def _create(self, body: WireMapping, key: str) -> CachedContent:
        short = str(body.get("model", "")).rpartition("/")[2]
        row = find(short, "google")
        if row is None:
            raise refuse(f"models/{short} is not found for API version v1beta, or is not supported.", 404)
        now = self._engine.clock.now()
        held = {name: value for name, value in body.items() if name not in _NOT_CONTENT}
        tokens = sum(block.tokens for block in prompt.blocks(held, self._engine.counter(row)))
        made = CachedContent(
            name=self._engine.new_id("cachedContents/"),
            owner=key,
            model=str(body["model"]),
            label=body.get("displayName") or "",
            body=held,
            tokens=tokens,
            created=now,
            updated=now,
            expires=end_of_life(body, now) or now + DEFAULT_TTL,
        )
        return self.caches.create(made, row)

    def _update(self, incoming: Incoming, name: str, key: str) -> CachedContent:
        body = incoming.body or {}
        if set(body) - {"ttl", "expireTime", "name"}:
            raise refuse(
                "Only expiration time is allowed to be updated. Use `update_mask` with `ttl` or `expire_time`."
            )
        until = end_of_life(body, self._engine.clock.now())
        if until is None:
            raise refuse("Either ttl or expire_time must be set.")
        return self.caches.update(name, key, until)

    def _list(self, incoming: Incoming, address: _Address, key: str) -> WireObject:
        found = self.caches.of(key)
        size = min(int(incoming.query.get("pageSize") or 100), 1000)
        start = int(incoming.query.get("pageToken") or 0)
        page = [one.to_json() for one in found[start : start + size]]
        for one in page:
            one["name"] = address.project + one["name"]
        more = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return {"cachedContents": page, **more} if page else {}


_NOT_CONTENT = ("model", "displayName", "ttl", "expireTime", "name")


def _parse(path: str) -> _Address | None:
    match = _ADDRESS.fullmatch(path)
    if match is None:
        return None
    return _Address(*match.groups(default=""))


def _key(incoming: Incoming) -> str:
    bearer = incoming.headers.get("authorization", "").removeprefix("Bearer ").strip()
    key = incoming.headers.get("x-goog-api-key") or incoming.query.get("key") or bearer
    if not key:
        raise refuse(
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
            "other form of API consumer identity to call this API.",
            403,
        )
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _over(error: OverLimit) -> str:
    """Return the words of a rate limit."""
    metric = {"tokens": "generate_content_input_token_count", "requests": "generate_content_requests"}[error.kind]
    again = "" if error.wait is None else f"\nPlease retry in {error.wait}s."
    return (
        "You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded for metric: "
        f"generativelanguage.googleapis.com/{metric}, limit: {error.limit}{again}"
    )


def _model_list(address: _Address) -> HttpAnswer:
    found = [_model_info(row) for row in rows() if row.provider == "google"]
    if not address.model:
        return HttpAnswer(body={"models": found}, server_time=_SERVER_TIME)
    one = [info for info in found if info["name"] == f"models/{address.model}"]
    if not one:
        raise refuse(f"models/{address.model} is not found for API version {address.version}.", 404)
    return HttpAnswer(body=one[0], server_time=_SERVER_TIME)


def _model_info(row: Model) -> WireObject:
    return {
        "name": f"models/{row.name}",
        "displayName": row.label,
        "inputTokenLimit": row.window,
        "outputTokenLimit": row.max_output,
        "supportedGenerationMethods": ["generateContent", "countTokens", "createCachedContent"],
    }
