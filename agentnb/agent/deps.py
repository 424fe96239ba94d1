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
from agentnb.settings import RunOptions

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
class Request(RunOptions):
    """One task and the options it is carried out under. `cell` and `execution` say who asked, and tell re-runs apart.

    `purse` names the sum that it shares with other runs (money/shared_budget.py); `tags` are added to the run's own.
    `origin` is (run, step) to go on from: the task follows what that run had said by then.
    """

    task: str
    thread: str
    cell: str | None = None
    execution: str = ""
    origin: tuple[str, int] | None = None
    purse: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


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
