"""Open what one session holds: its stores, its connections to models and to tool servers, and its simulator.

Everything is opened on first use, so that loading the extension costs nothing and writes nothing. A provider's cache
object costs money while it is held. So it is let go when the process ends, if `close` was not called.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agentnb.agent.hydration.project import own_root
from agentnb.agent.keepalive import KeepAlive
from agentnb.agent.samples import Samples
from agentnb.agent.tools.servers.mcp import McpServers
from agentnb.canonical import Clock, JsonMapping, SystemClock
from agentnb.durable import ownership
from agentnb.durable.bus_redis import RedisBus
from agentnb.durable.journal import leases
from agentnb.durable.journal.follow import Follower
from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.protocol import Journal
from agentnb.errors import AgentnbError
from agentnb.models import catalog
from agentnb.providers.anthropic import AnthropicProvider
from agentnb.providers.base import Provider
from agentnb.providers.calling import Calling
from agentnb.providers.cassettes import FILE, Cassette
from agentnb.providers.google import GoogleProvider
from agentnb.providers.local.adapter import LocalProvider
from agentnb.providers.openai import OpenAIProvider
from agentnb.providers.promptcache import CacheObjects, HeldObject, Ledger, ObjectProvider, address_of, kept_at
from agentnb.settings import Settings, data_directory, journal_place
from agentnb.simulator import Simulator
from agentnb.storage import Storage, open_storage

ADAPTERS: Mapping[str, type[Calling]] = {
    "anthropic": AnthropicProvider,
    "google": GoogleProvider,
    "openai": OpenAIProvider,
}
"""The adapter of each provider that has one."""
_SIMULATED_PATHS = {"openai": "/v1"}


@dataclass
class Opened:
    """Holds what a session has opened. `close` closes it all; what is asked for afterwards is opened anew."""

    settings: Settings = field(default_factory=Settings)
    clock: Clock = field(default_factory=SystemClock)
    project: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)  # it has keys and passwords
    tool_servers: Mapping[str, JsonMapping] = field(default_factory=dict, repr=False)  # MCP servers of the client's
    simulated: Simulator | None = None  # a simulator of the caller's own; by default one is started on first use

    def __post_init__(self) -> None:
        self.cancelled = threading.Event()
        self._storage: Storage | None = None
        self._journal: Journal | None = None
        self._journal_place: str | Path = ""
        self._bus: tuple[str, RedisBus] | None = None
        self._objects: CacheObjects | None = None
        self._cassette: Cassette | None = None
        self._keepalive: KeepAlive | None = None
        self._servers: McpServers | None = None
        self._providers: dict[str, Calling] = {}
        self._helping: list[dict[str, Calling]] = []
        """The connections of agents that carry children of the run in flight: `cancel` stops them too."""
        self._apart: list[dict[str, Calling]] = []
        """The connections of agents that work on their own."""

    # --- stores -----------------------------------------------------------------------------------------------

    @property
    def home(self) -> Path:
        return data_directory(self.settings)

    @property
    def storage(self) -> Storage:
        if self._storage is None:
            self._storage = open_storage(self.home)
        return self._storage

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.storage)

    @property
    def samples(self) -> Samples:
        return Samples(self.storage)

    @property
    def journal(self) -> Journal:
        """Return the journal, opened on first use and kept open until `close`: in the data directory, or as set.

        Where the setting changes in mid-session, the next use opens the other one.
        """
        place = journal_place(self.settings)
        if self._journal is not None and place != self._journal_place:
            self._journal.close()
            self._journal = None
        if self._journal is None:
            self._journal, self._journal_place = open_journal(place, clock=self.clock), place
        return self._journal

    @property
    def bus(self) -> RedisBus | None:
        """Return what tells other processes of this session's runs; None where none is set.

        Raises SettingsError on a bad address, and PackageMissing. Whether a server answers is not asked.
        """
        address = self.settings.bus
        if self._bus is not None and self._bus[0] != address:
            self._bus[1].close()
            self._bus = None
        if address and self._bus is None:
            self._bus = (address, RedisBus(address))
        return self._bus[1] if self._bus else None

    def follow(self, *, after: int | None = None) -> Follower:
        """Follow what happens to the runs of this session's journal, in any process: told by the bus, or looked for."""
        return self.bus.follow(self.journal, after=after) if self.bus else Follower(self.journal, after=after)

    @property
    def cassette(self) -> Cassette:
        """Return the recorded replies beside the notebook: in the directory that the kernel works in."""
        path = (working_directory() or self.home) / FILE
        if self._cassette is None or self._cassette.path != path:
            self._cassette = Cassette(path)
        return self._cassette

    # --- connections to models --------------------------------------------------------------------------------

    def simulator(self) -> Simulator:
        """Return this session's simulator, started on first use. Its prompt caches live as long as it does."""
        if self.simulated is None:
            self.simulated = Simulator(speed=self.settings.sim_speed).start()
        return self.simulated

    def provider(self, address: str) -> Provider:
        """Return the connection to a model. Opening it sends nothing."""
        return self._connection(self._providers, address)

    def connections_apart(self) -> Callable[[str], Provider]:
        """Return connections that only one agent uses: a call on a connection must not meet another."""
        made: dict[str, Calling] = {}
        self._apart.append(made)
        return partial(self._connection, made)

    @contextlib.contextmanager
    def connections_lent(self, *, helping: bool) -> Iterator[Callable[[str], Provider]]:
        """Lend an agent connections of its own until it is done. It is `helping` where it carries the run in flight."""
        made: dict[str, Calling] = {}
        users = self._helping if helping else self._apart
        users.append(made)
        try:
            yield partial(self._connection, made)
        finally:
            users[:] = [each for each in users if each is not made]
            for connection in made.values():
                connection.close()

    def _connection(self, made: dict[str, Calling], address: str) -> Calling:
        """Return the connection among those made; a new one where its provider is at another place by now."""
        if address not in made:
            made[address] = self._connect(address)
        elif not catalog.is_simulated(address) and made[address].is_elsewhere(self.environment):
            made[address].close()
            made[address] = self._connect(address)
        return made[address]

    def _connect(self, address: str) -> Calling:
        model = catalog.lookup(address)
        if model.provider == catalog.LOCAL:
            local = LocalProvider(model, clock=self.clock, home=self.home)
            local.is_elsewhere(self.environment)
            return local
        adapter = ADAPTERS[model.provider]
        if not catalog.is_simulated(address):
            return adapter(model, clock=self.clock, scope=adapter.place(self.environment))
        simulator = self.simulator()
        return adapter(
            model,
            clock=self.clock,
            key="simulated",
            base_url=simulator.url + _SIMULATED_PATHS.get(model.provider, ""),
            scope=f"sim:{simulator.instance}",
        )

    def reaches(self, scope: str) -> bool:
        """Tell whether what is warm in a scope can be hit. A simulator and a local server take their memory along."""
        if scope.startswith(f"{catalog.LOCAL}:"):
            return any(made.scope == scope for made in self._providers.values())
        mine = f"sim:{self.simulated.instance}" if self.simulated is not None else ""
        return not scope.startswith("sim:") or scope == mine

    def cancel(self) -> None:
        """Stop the run in flight, from any thread: a wait for the provider ends at once."""
        self.cancelled.set()
        for provider in [each for made in (self._providers, *self._helping) for each in list(made.values())]:
            provider.cancel()

    # --- what is kept warm, and costs -------------------------------------------------------------------------

    @property
    def objects(self) -> CacheObjects:
        """Return the cache objects of this session, within its cache budget."""
        if self._objects is None:
            self._objects = CacheObjects(
                self.ledger, clock=self.clock, owner=leases.new_owner(), budget=0.0, is_gone=leases.is_dead
            )
            atexit.register(self.close_objects)
        self._objects.budget = self.settings.cache_budget
        return self._objects

    @property
    def keepalive(self) -> KeepAlive:
        """Return what keeps this session's last prompt warm through a pause, within the cache budget."""
        if self._keepalive is None:
            self._keepalive = KeepAlive(connect=self._connect, ledger=self.ledger, clock=self.clock, money=self.objects)
        return self._keepalive

    def holder_of(self, held: HeldObject) -> ObjectProvider | None:
        """Return the connection to where an object is kept. None where this session cannot reach that: another kernel's
        simulator, or an address no longer set."""
        simulated = catalog.is_simulated(held.scope)
        if simulated and (self.simulated is None or held.scope != f"sim:{self.simulated.instance}"):
            return None
        provider = self.provider(f"sim:{held.model}" if simulated else address_of(held))
        return provider if isinstance(provider, ObjectProvider) and kept_at(provider.scope) == held.scope else None

    def close_objects(self, *, cleared: bool = False) -> int:
        """Delete the cache objects of this session at the providers, but for those that another kernel uses; the
        number deleted. What cannot be deleted now ends by itself within the hour."""
        deleted = 0
        mine: list[HeldObject] = []
        with contextlib.suppress(AgentnbError):  # at the end the data directory may be gone
            mine = self._objects.mine() if self._objects else []
        for held in mine:
            with contextlib.suppress(AgentnbError):
                provider = self.holder_of(held)
                deleted += bool(provider and self.objects.leave(provider, held, cleared=cleared))
        return deleted

    # --- the rest ---------------------------------------------------------------------------------------------

    @property
    def servers(self) -> McpServers:
        """Return the MCP servers of the project's `.mcp.json` and of the one in the person's home. None is started by
        this."""
        if self._servers is None:
            root = own_root(self.project) if self.project else None
            self._servers = McpServers(root, self.environment, stopped=self.cancelled.is_set, given=self.tool_servers)
        return self._servers

    def close(self) -> None:
        """Close connections and stop the simulator. What is committed stays; cache objects, which cost, do not."""
        if self._keepalive is not None:
            self._keepalive.stop()
        self.close_objects()
        atexit.unregister(self.close_objects)
        self._objects = None
        for made in (self._providers, *self._helping, *self._apart):
            for provider in list(made.values()):
                provider.close()
            made.clear()
        if self.simulated is not None:
            self.simulated.stop()
            self.simulated = None
        if self._servers is not None:
            self._servers.close()
            self._servers = None
        if self._bus is not None:
            self._bus[1].close()
            self._bus = None
        if self._journal is not None:
            ownership.close(self._journal)
            self._journal = None
        if self._storage is not None:
            self._storage.close()
            self._storage = None


def working_directory() -> Path | None:
    """Return the directory that this process works in; None where it has been deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
