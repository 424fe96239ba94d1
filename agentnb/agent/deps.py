"""What the parts of the built-in agent share: a request, new limits, and what they need of the outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentnb.agent.conversation.threads import Threads
from agentnb.agent.keepalive import KeepAlive
from agentnb.agent.kernel_context import Hydrator
from agentnb.agent.samples import Samples
from agentnb.agent.scrubber import Scrubber
from agentnb.agent.tools.tool import Outcome, Tool
from agentnb.canonical import Clock
from agentnb.durable.machine import AgentStateMachine
from agentnb.providers.base import Provider
from agentnb.providers.cassettes import Cassette
from agentnb.providers.promptcache import CacheObjects, Ledger

Context = dict[str, Any]
"""A run's JSON context between two steps."""

OnMain = Callable[[Callable[[], Outcome]], Outcome]

SHOWN = (
    "task",
    "text",
    "paused",
    "notes",
    "usage",
    "cost",
    "calls",
    "last",
    "budget",
    "definitions",
    "redactions",
    "images",
    "asking",
    "decisions",
)
"""The parts of the context that a view needs while the run goes on."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One task and how to carry it out. `cell` and `execution` say who asked; `execution` tells re-runs apart.

    `marks` says who places the breakpoints: placed (we do) or automatic (the provider).
    `replay` says where replies come from: live, record, replay (recorded ones only) or auto.
    `stream` False asks for each reply in one piece; `replay_speed` is the pace of recorded ones, 0 at once.
    `retry_wait`: the most seconds to wait where a provider asks for it.
    `purse` names the sum that it shares with other runs (money/shared_budget.py); `tags` are added to the run's own.
    `approval`: what becomes of a call that acts and is not allowed: ask (the run waits for a person's word) or deny.
    `origin` is (run, step) to go on from: the task follows what that run had said by then.
    """

    task: str
    model: str
    thread: str
    tools: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    budget: float | None = None
    max_steps: int = 30
    max_tokens: int = 4096
    context: str = "auto"
    context_tokens: int = 4000
    stale_limit: float = 0.10
    thread_stale_limit: float = 0.25
    cell: str | None = None
    execution: str = ""
    origin: tuple[str, int] | None = None
    replay: str = "live"
    marks: str = "placed"
    cache_retention: str = ""
    stream: bool = True
    replay_speed: float = 0.0
    retry_wait: float = 60.0
    purse: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    approval: str = "deny"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """New limits of a resumed run, as whole sums, not additions; None leaves the old one."""

    max_steps: int | None = None
    budget: float | None = None
    allow: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the agent needs of the outside. `cancelled` is set, from any thread, to stop the run in flight."""

    machine: AgentStateMachine
    threads: Threads
    ledger: Ledger
    samples: Samples
    objects: CacheObjects
    cassette: Cassette
    keepalive: KeepAlive
    provider_for: Callable[[str], Provider]
    hydrator: Hydrator
    tools: Mapping[str, Tool]
    on_main: OnMain
    clock: Clock
    scrub: Scrubber
    cancelled: threading.Event = field(default_factory=threading.Event)
    limits: dict[str, Limits] = field(default_factory=dict)
    """New limits by run: whichever agent of the session takes the run up next applies them."""
