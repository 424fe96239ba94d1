"""OpenAI's prompt caching applied to one request, and why the one before it was not reused."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnb.errors import RequestRefused
from agentnb.models.catalog import Model
from agentnb.simulator import promptcache_rules as rules
from agentnb.simulator.engine import Engine
from agentnb.simulator.openai_prompt import Talk
from agentnb.simulator.prefixes import Block, Use, automatic, breakpoints, step_digests

_REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, understood: who asks, of which model, and what."""

    owner: str
    row: Model
    body: Mapping[str, Any]
    talk: Talk
    blocks: Sequence[Block]

    @property
    def tokens(self) -> int:
        return sum(block.tokens for block in self.blocks)

    @property
    def scope(self) -> tuple[str, str]:
        """Requests are routed by key, model and `prompt_cache_key`: another one does not see the same prompt caches."""
        return f"{self.owner}:{self.body.get('prompt_cache_key') or ''}", self.row.name


@dataclass(frozen=True, kw_only=True)
class Print:
    """What is remembered of a request, to say later why its prefix was not reused."""

    owner: str
    model: str
    cache_key: str
    settings: Mapping[str, Any]
    tools: str
    items: tuple[str, ...]
    tokens: int


class OpenAICaching:
    """Prompt caching by the model's kind: automatic in steps, or by breakpoints."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._prints: OrderedDict[str, Print] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, asked: Asked) -> Use:
        """What this request reads (and thereby renews) and writes."""
        started = self._engine.clock.now()
        live = self._engine.caches.live(asked.scope, started)
        found = _by_breakpoints(asked, live) if asked.row.cache.breakpoints else _by_steps(asked, live)
        self._engine.caches.refresh(asked.scope, found.hits, started)
        return found

    def remember(self, response_id: str, made: Print) -> None:
        with self._lock:
            self._prints[response_id] = made
            if len(self._prints) > _REMEMBERED:
                self._prints.popitem(last=False)

    def diagnosis(self, comparison: str, now: Print, read: int) -> dict[str, Any]:
        """`prompt_cache_diagnostics`: how this request compares with an earlier response."""
        before = self._prints.get(comparison)
        if before is None or before.owner != now.owner:
            return {"type": "comparison_response_not_found"}
        reason = _first_change(before, now)
        if reason is None:
            return {"type": "cache_hit"} if read else {"type": "unavailable"}
        return {
            "type": "cache_miss",
            "reason": reason,
            "cache_missed_tokens": max(0, now.tokens - read),
            "comparison_reusable_tokens": before.tokens,
        }


def _by_breakpoints(asked: Asked, live: Mapping[str, rules.Entry]) -> Use:
    options = asked.body.get("prompt_cache_options") or {}
    implicit = options.get("ttl", "30m") if options.get("mode", "implicit") == "implicit" else None
    salts = dict.fromkeys(("tools", "input"), _bytes(asked.talk.settings))
    digests = rules.chain([block.piece() for block in asked.blocks], salts)
    return breakpoints(asked.blocks, digests, live, minimum=asked.row.cache.minimum, implicit=implicit)


def _by_steps(asked: Asked, live: Mapping[str, rules.Entry]) -> Use:
    row = asked.row
    ttl = "24h" if asked.body.get("prompt_cache_retention") == "24h" else row.cache.ttls[0]
    digests = step_digests(asked.blocks, row.tokenizer, _bytes(asked.talk.settings))
    return automatic(asked.tokens, digests, live, minimum=row.cache.minimum, ttl=ttl)


def print_of(asked: Asked) -> Print:
    """What to remember of a request."""
    return Print(
        owner=asked.owner,
        model=asked.body["model"],
        cache_key=asked.body.get("prompt_cache_key") or "",
        settings=asked.talk.settings,
        tools=_digest(b"".join(block.piece().data for block in asked.blocks if block.section == "tools")),
        items=tuple(_digest(block.piece().data) for block in asked.blocks if block.section == "input"),
        tokens=asked.tokens,
    )


def _first_change(before: Print, now: Print) -> str | None:
    if before.model != now.model:
        return "model_changed"
    if before.cache_key != now.cache_key:
        return "prompt_cache_key_changed"
    if before.tools != now.tools:
        return "tools_changed"
    changed = [name for name in before.settings if before.settings[name] != now.settings.get(name)]
    if changed:
        return f"{changed[0]}_changed"
    return "input_changed" if now.items[: len(before.items)] != before.items else None


def check_options(body: Mapping[str, Any], row: Model) -> None:
    """Breakpoints and their options exist on models that have them only. Raises RequestRefused."""
    options = body.get("prompt_cache_options")
    if options is not None and not row.cache.breakpoints:
        raise RequestRefused(
            "Unsupported parameter: 'prompt_cache_options' is not supported with this model.",
            about="prompt_cache_options",
            status=400,
        )
    mode = (options or {}).get("mode", "implicit")
    if mode not in ("implicit", "explicit"):
        raise RequestRefused(
            f"Invalid value: '{mode}'. Supported values are: 'implicit' and 'explicit'.",
            about="prompt_cache_options.mode",
            status=400,
        )


def check_marks(asked: Asked) -> None:
    """Raises RequestRefused for a marked breakpoint on a model without them."""
    if not asked.row.cache.breakpoints and any(block.ttl for block in asked.blocks):
        raise RequestRefused(
            "Unsupported parameter: 'prompt_cache_breakpoint' is not supported with this model.",
            about="prompt_cache_breakpoint",
            status=400,
        )


def _bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]
