"""Apply OpenAI's prompt caching to one request, and tell why the one before it was not reused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentnb.errors import RequestRefused
from agentnb.models.catalog import Model
from agentnb.simulator import promptcache_rules as rules
from agentnb.simulator.engine import Engine, Print, digest
from agentnb.simulator.http_messages import WireMapping, WireObject
from agentnb.simulator.openai.prompt import Talk
from agentnb.simulator.prefixes import PrefixBlock, Use, automatic, breakpoints, step_digests


@dataclass(frozen=True, kw_only=True)
class UnderstoodRequest:
    """Holds one request, understood: who asks, which model is asked, and what is asked."""

    owner: str
    row: Model
    body: WireMapping
    talk: Talk
    blocks: Sequence[PrefixBlock]

    @property
    def tokens(self) -> int:
        return sum(block.tokens for block in self.blocks)

    @property
    def scope(self) -> tuple[str, str]:
        """Requests are routed by key, model and `prompt_cache_key`: another one does not see the same prompt caches."""
        return f"{self.owner}:{self.body.get('prompt_cache_key') or ''}", self.row.name


def use_of(asked: UnderstoodRequest, engine: Engine) -> Use:
    """Return what this request reads (and so renews) and writes: in steps or by breakpoints, as the model does."""
    started = engine.clock.now()
    live = engine.caches.live(asked.scope, started)
    found = _by_breakpoints(asked, live) if asked.row.cache.breakpoints else _by_steps(asked, live)
    engine.caches.refresh(asked.scope, found.hits, started)
    return found


def diagnosis(before: Print | None, now: Print, read: int) -> WireObject:
    """Return `prompt_cache_diagnostics`: how this request compares with an earlier response."""
    if before is None:
        return {"type": "comparison_response_not_found"}
    if changed := before.change(now, "input"):
        return {
            "type": "cache_miss",
            "reason": f"{changed}_changed",
            "cache_missed_tokens": max(0, now.tokens - read),
            "comparison_reusable_tokens": before.tokens,
        }
    return {"type": "cache_hit"} if read else {"type": "unavailable"}


def _by_breakpoints(asked: UnderstoodRequest, live: Mapping[str, rules.CachedPrefix]) -> Use:
    options = asked.body.get("prompt_cache_options") or {}
    implicit = options.get("ttl", "30m") if options.get("mode", "implicit") == "implicit" else None
    salts = dict.fromkeys(("tools", "input"), _bytes(asked.talk.settings))
    digests = rules.chain([block.piece() for block in asked.blocks], salts)
    return breakpoints(asked.blocks, digests, live, minimum=asked.row.cache.minimum, implicit=implicit)


def _by_steps(asked: UnderstoodRequest, live: Mapping[str, rules.CachedPrefix]) -> Use:
    row = asked.row
    ttl = "24h" if asked.body.get("prompt_cache_retention") == "24h" else row.cache.ttls[0]
    digests = step_digests(asked.blocks, row.tokenizer, _bytes(asked.talk.settings))
    return automatic(asked.tokens, digests, live, minimum=row.cache.minimum, ttl=ttl)


def print_of(asked: UnderstoodRequest) -> Print:
    """Make the print of a request."""
    digests = {
        name: [digest(block.piece().data) for block in asked.blocks if block.section == name]
        for name in ("tools", "input")
    }
    named = {"model": asked.body["model"], "prompt_cache_key": asked.body.get("prompt_cache_key") or ""}
    return Print(
        owner=asked.owner,
        parts={**named, "tools": digests["tools"], **asked.talk.settings},
        items=tuple(digests["input"]),
        tokens=asked.tokens,
    )


def check_options(body: WireMapping, row: Model) -> None:
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


def check_marks(asked: UnderstoodRequest) -> None:
    """Raises RequestRefused for a marked breakpoint on a model without them."""
    if not asked.row.cache.breakpoints and any(block.ttl for block in asked.blocks):
        raise RequestRefused(
            "Unsupported parameter: 'prompt_cache_breakpoint' is not supported with this model.",
            about="prompt_cache_breakpoint",
            status=400,
        )


def _bytes(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
