"""Hold what the parts of the built-in agent need of the outside: machine, notebook, providers, clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentnb.agent.conversation.threads import Threads
from agentnb.agent.keepalive import KeepAlive
from agentnb.agent.kernel_context import Hydrator
from agentnb.agent.request import Limits
from agentnb.agent.samples import Samples
from agentnb.agent.scrubber import Scrubber
from agentnb.agent.tools.tool import Outcome, Tool
from agentnb.canonical import Clock, JsonObject
from agentnb.durable.machine import AgentStateMachine
from agentnb.models import catalog
from agentnb.models.catalog import Model
from agentnb.models.tokens import TokenCounter
from agentnb.providers.base import Provider
from agentnb.providers.cassettes import Cassette
from agentnb.providers.promptcache import CacheObjects, Ledger

if TYPE_CHECKING:
    from agentnb.agent.state import AgentState

OnMain = Callable[[Callable[[], Outcome]], Outcome]


class ChildAgent(Protocol):
    """Holds one more agent of the same session, with connections of its own: it carries one child at a time."""

    @property
    def machine(self) -> AgentStateMachine: ...

    def begin_with(self, state: AgentState, run_id: str, tags: Mapping[str, str]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Services:
    """Holds what the agent needs of the outside. `cancelled` is set, from any thread, to stop the run in flight."""

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
    beside: Callable[[], AbstractContextManager[ChildAgent]]
    """Lends one more agent, for the children of a run."""
    faults_of: Callable[[str], str] | None = None
    """Takes a structured answer: what does not fit, for the model; empty where it fits."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    limits: dict[str, Limits] = field(default_factory=dict)
    """New limits by run: whichever agent of the session takes the run up next applies them."""
    resumed_at: dict[str, int] = field(default_factory=dict)
    """Replies that a run had when it was resumed: what it repeats is counted from there."""
    unwritten: dict[str, list[JsonObject]] = field(default_factory=dict)
    """Usage of replies, by run, that the journal had no room for: it is written when the run goes on."""
    may_wait: bool = False
    """True where a run may be let go until its wake-up time: a worker takes it up then. A person waits beside it."""
    models: dict[str, Model] = field(default_factory=dict)
    """Rows of the catalogue by the addresses that name them, each looked up once."""

    def model(self, address: str) -> Model:
        """Return the row of the catalogue that an address names. Raises ModelUnknown."""
        if address not in self.models:
            self.models[address] = catalog.lookup(address)
        return self.models[address]

    def counter(self, address: str) -> TokenCounter:
        """Return the model's estimator of tokens, as it is calibrated by now."""
        return self.samples.counter(self.model(address), simulated=catalog.is_simulated(address))
