"""Ask for one kernel (or one script): put the agent, its tools and a request together, and find runs again."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agentnb import canonical
from agentnb.agent.built_in import BuiltInAgent
from agentnb.agent.conversation.recollection import Recollection
from agentnb.agent.conversation.threads import Threads
from agentnb.agent.deps import OnMain, Services
from agentnb.agent.hydration.notebook_context import CELL
from agentnb.agent.hydration.project import own_root
from agentnb.agent.hydration.project_context import Pins
from agentnb.agent.kernel_context import Hydrator, Observed
from agentnb.agent.request import Limits, Request
from agentnb.agent.run_document import AgentRun, document_of, state_of
from agentnb.agent.scrubber import Scrubber
from agentnb.agent.tools.files import ProjectFiles
from agentnb.agent.tools.notebook import NotebookTools
from agentnb.agent.tools.project_tests import ProjectTests
from agentnb.agent.tools.recall import Recall
from agentnb.agent.tools.registry import OnDemand, built_in
from agentnb.agent.tools.run_code import run_in
from agentnb.agent.tools.running.rehearsal import Rehearsal
from agentnb.agent.tools.running.undo import Undo
from agentnb.agent.tools.tool import Outcome, Tool, without_result
from agentnb.canonical import JsonObject
from agentnb.context.notebook.cell_runs import CellLog
from agentnb.context.notebook.cells import CellIndex
from agentnb.context.resolve.held import HeldNames
from agentnb.durable.journal.protocol import Journal
from agentnb.durable.journal.records import RunSummary
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import InputError, RunUnknown, nearest
from agentnb.models import catalog
from agentnb.options import options_of
from agentnb.providers.base import Provider
from agentnb.session.opened import ADAPTERS, Opened
from agentnb.settings import RunOptions, default_model

if TYPE_CHECKING:
    from agentnb.agent.receipt.spans import RunSpans
    from agentnb.agent.tools.typed_answer import TypedAnswer

SERVED = tuple(ADAPTERS)
"""The providers that have an adapter."""

SOLVES = ("propose_cell", "edit_file")
"""Tools that a tutor does not have: they would hand in the solution."""
LISTED = 1000
"""Newest runs among which one of a name like an unknown one is looked for."""


def on_this_thread(work: Callable[[], Outcome]) -> Outcome:
    """Run a tool where the agent runs, where there is no notebook."""
    return work()


@dataclass
class Session(Opened):
    """Holds one user's session. `namespace` and `cells` are what the agent may read; both are live."""

    namespace: MutableMapping[str, Any] = field(default_factory=dict)
    cells: CellIndex = field(default_factory=lambda: CellIndex(str))
    log: CellLog = field(default_factory=CellLog)
    transform: Callable[[str], str] = str
    cell_text: Callable[[int], str | None] = lambda number: None
    apart: Callable[[], None] = lambda: None  # called in a copy of the process in which code is only tried
    extra_tools: dict[str, Tool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.thread = f"session-{secrets.token_hex(4)}"
        self.observed = Observed()
        self.undo = Undo()
        self.answer: TypedAnswer | None = None
        """Takes the value which the last `--as` asked for."""
        self._seen: set[str] = set()
        self._always: dict[str, set[str]] = {}
        self._remembered = HeldNames()
        self._threads: tuple[Journal, Threads] | None = None
        self._limits: dict[str, Limits] = {}
        self._spans: RunSpans | None = None
        self._unwritten: dict[str, list[JsonObject]] = {}

    # --- the agent --------------------------------------------------------------------------------------------

    def machine(self, scrub: Scrubber | None = None) -> AgentStateMachine:
        """Return a machine over this session's journal; states are registered by whoever drives it."""
        redact = scrub or self.scrubber()
        machine = AgentStateMachine(self.journal, clock=self.clock, redact=redact)
        if self.bus is not None:
            machine.events.subscribe(self.bus.publish)
        if self.settings.otel:
            from agentnb.agent.receipt.spans import RunSpans

            if self._spans is None:
                self._spans = RunSpans(lambda run_id: state_of(machine.get(run_id).context))
            machine.events.subscribe(self._spans.feed)
        return machine

    def agent(
        self,
        *,
        on_main: OnMain = on_this_thread,
        alone: bool = False,
        may_wait: bool = False,
    ) -> BuiltInAgent:
        """Return the built-in agent over this session, with a redaction list of its own.

        `alone` gives it connections of its own, so that it can work beside another one. With `may_wait` a run that has
        to wait for its provider is let go meanwhile, as a worker wants it.
        """
        cancelled = threading.Event() if alone else self.cancelled
        cancelled.clear()
        connections = self.connections_apart() if alone else self.provider
        return self._agent(connections, on_main, cancelled, may_wait=may_wait)

    def _agent(
        self,
        connections: Callable[[str], Provider],
        on_main: OnMain,
        cancelled: threading.Event,
        *,
        may_wait: bool = False,
    ) -> BuiltInAgent:
        scrub = self.scrubber()
        hydrator = self.hydrator(scrub)
        machine = self.machine(scrub)
        if self._threads is None or self._threads[0] is not machine.journal:
            self._threads = (machine.journal, Threads(machine))
        threads = self._threads[1]
        recollection = Recollection(machine, threads)
        recall = Recall(
            step=lambda number: recollection.step(machine.current.run_id, number),
            steps=lambda: recollection.steps(machine.current.run_id),
        )
        return BuiltInAgent(
            Services(
                machine=machine,
                threads=threads,
                ledger=self.ledger,
                samples=self.samples,
                objects=self.objects,
                cassette=self.cassette,
                keepalive=self.keepalive,
                provider_for=connections,
                hydrator=hydrator,
                tools=self._tools(hydrator, recall),
                on_main=on_main,
                clock=self.clock,
                scrub=scrub,
                beside=partial(self._beside, on_main, cancelled),
                faults_of=self.answer.faults_of if self.answer is not None else None,
                cancelled=cancelled,
                limits=self._limits,
                unwritten=self._unwritten,
                may_wait=may_wait,
            )
        )

    @contextlib.contextmanager
    def _beside(self, on_main: OnMain, cancelled: threading.Event) -> Iterator[BuiltInAgent]:
        """Lend an agent for the children of another one's run. What stops that one stops it too."""
        with self.connections_lent(helping=cancelled is self.cancelled) as connections:
            yield self._agent(connections, on_main, cancelled)

    # --- what it may know and do ------------------------------------------------------------------------------

    def hydrator(self, scrub: Scrubber | None = None) -> Hydrator:
        """Return what this kernel can tell a model now."""
        pins = self.pins
        self.log.hidden = {name.removeprefix(CELL) for name in pins.hidden if name.startswith(CELL)}
        self.log.hidden_names = tuple(name for name in pins.hidden if not name.startswith(CELL))
        return Hydrator(
            cells=self.cells,
            namespace=self.namespace,
            scrub=scrub or self.scrubber(),
            project=self.project,
            pins=pins,
            observed=self.observed,
            seen=self._seen,
            log=self.log,
            schema_only=self.settings.values == "schema",
            remembered=self._remembered,
        )

    @property
    def pins(self) -> Pins:
        """Return what is pinned and added in this session's thread."""
        raw = self.storage.get(f"pins/{self.thread}")
        return Pins(**canonical.load(raw)) if raw else Pins()

    def begin_thread(self, name: str) -> None:
        """Go on in a conversation of this name. What a person keeps out stays out there too."""
        hidden = self.pins.hidden
        self.thread = name
        if hidden:
            self.keep_pins(replace(self.pins, hidden=hidden))

    def keep_pins(self, pins: Pins) -> None:
        self.storage.set(f"pins/{self.thread}", canonical.dump(vars(pins)))

    def scrubber(self) -> Scrubber:
        """Takes out secrets, but for what the user allowed in this session's thread."""

        def variables() -> list[tuple[object, object]]:
            return [*list(self.namespace.items()), *self.environment.items()]

        return Scrubber(allow=frozenset(self.pins.allow), variables=variables)

    def _tools(self, hydrator: Hydrator, recall: Recall) -> dict[str, Tool]:
        def look(name: str) -> Outcome:
            return hydrator.look(name, count=self.samples.counter_for(self.model_name()).count)

        def run(code: str) -> Outcome:
            return run_in(self.namespace, code, transform=self.transform)  # type: ignore[arg-type]

        def run_for_good(code: str) -> Outcome:
            return self.undo.noting(self.namespace, code, lambda: run(code))

        def read(number: int) -> Outcome:
            return hydrator.read_cell(number, count=self.samples.counter_for(self.model_name()).count)

        root = own_root(self.project) if self.project else None
        notebook = NotebookTools(
            look=look,
            run=run_for_good,
            read=read,
            names=hydrator.names_like,
            cell_text=self.cell_text,
            rehearse=Rehearsal(namespace=self.namespace, run=run, apart=self.apart),
        )
        tests = ProjectTests(root, cancelled=self.cancelled.is_set)
        # Tools that `@agentnb.tool` made in the user's namespace can be named with --tools; they are never default.
        of_the_user = {value.name: value for value in list(self.namespace.values()) if type(value) is Tool}
        made = built_in(notebook, ProjectFiles(root), tests, recall) | of_the_user | self.extra_tools
        made |= {self.answer.tool.name: self.answer.tool} if self.answer is not None else {}
        quiet = without_result if self.settings.values == "schema" else None

        def from_server(name: str) -> Tool | None:
            found = self.servers.tool(name)
            return quiet(found) if quiet and found else found

        return OnDemand({name: quiet(tool) if quiet else tool for name, tool in made.items()}, from_server)

    # --- a request --------------------------------------------------------------------------------------------

    def model_name(self, named: str | None = None) -> str:
        """Return the model's address: named, set, or the default for the keys that are set. Raises ModelUnknown."""
        address = named or self.settings.model
        if not address:
            defaults = {provider: catalog.default_for(provider).name for provider in SERVED}
            address = default_model(self.environment, SERVED, defaults)
        row = catalog.lookup(address)
        simulated, _, _ = catalog.split_address(address)
        return f"sim:{row.name}" if simulated else f"{row.provider}:{row.name}"

    def request(self, task: str, **changes: Any) -> Request:
        """Return a request from the settings with the changes that are not None. Raises InputError on half a
        character."""
        _refuse_half_characters(task)
        settings = self.settings
        values: JsonObject = {each.name: getattr(settings, each.name) for each in options_of(RunOptions)} | {
            "model": self.model_name(changes.pop("model", None)),
            "thread": self.thread,
            "tools": (*settings.tools, *self.extra_tools),
            "approval": settings.approval or "deny",
        }
        values |= {name: value for name, value in changes.items() if value is not None}
        values["allow"] = (*values["allow"], *sorted(self._always.get(values["thread"], set()) - {*values["allow"]}))
        values["tools"] = self.servers.expanded(values["tools"])
        values["compact_model"] = values["compact_model"] and self.model_name(values["compact_model"])
        if values["style"] == "tutor":  # whatever else is asked for: what solves an exercise is not at hand
            values["tools"] = tuple(name for name in values["tools"] if name not in SOLVES)
        if values["tools"]:  # a long run's results leave its requests: every run that has some can read them again
            values["tools"] = (*values["tools"], "recall")
        return Request(task=task, **values)

    def allow_always(self, thread: str, tools: Iterable[str]) -> None:
        """Let these tools act unasked in a conversation, until this session ends."""
        self._always.setdefault(thread, set()).update(tools)

    def new_run_id(self) -> str:
        """Return a readable, sortable, unique run id."""
        return time.strftime("r-%Y%m%d-%H%M%S-", time.localtime(self.clock.now())) + secrets.token_hex(3)

    # --- runs -------------------------------------------------------------------------------------------------

    def find_run(self, run_id: str) -> AgentRun:
        """Return a journaled run by its id or its unique beginning or end. Raises RunUnknown with the nearest id."""
        machine = self.machine()
        full = self.full_run_id(run_id)
        return AgentRun(document_of(machine.get(full), machine.history(full)))

    def origin(self, text: str) -> tuple[str, int]:
        """Return `RUN` or `RUN:STEP` -> (full run id, step). Raises RunUnknown, StepUnknown, InputError."""
        name, colon, step = text.partition(":")
        run = self.machine().get(self.full_run_id(name))
        if colon and not step.isdigit():
            raise InputError(f"{step!r} is not a step's number", about=text, todo="Write e.g. r-20260101-120000-ab12:3")
        return run.run_id, int(step) if colon else run.step

    def fork(self, run_id: str, step: int) -> str:
        """Return a new run that begins where `run_id` was after `step`; nothing of it has been executed."""
        new = self.new_run_id()
        self.machine().fork(self.full_run_id(run_id), step, new)
        return new

    def runs(self, limit: int) -> list[RunSummary]:
        """Return the newest runs, newest first, without those that nobody asked for."""
        journal, asked = self.journal, limit
        while True:
            found = journal.runs(limit=asked)
            own = [run for run in found if not run.inner]
            if len(own) >= limit or len(found) < asked:
                return own[:limit]
            asked *= 4

    def full_run_id(self, run_id: str) -> str:
        """Return the id that `run_id` is, or that of the only run, however old, whose id it begins or ends.

        Raises RunUnknown.
        """
        journal = self.journal
        with contextlib.suppress(RunUnknown):
            return str(journal.row(run_id).summary.run_id)
        known = [run.run_id for run in journal.runs(limit=None) if "/" in run_id or not run.inner]
        fitting = [name for name in known if name.startswith(run_id) or name.endswith(run_id)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise RunUnknown(f"{len(fitting)} runs fit {run_id!r}", todo="Write more of the run's id.")
        like = nearest(run_id, known[:LISTED])
        raise RunUnknown(f"no run is called {run_id!r}", todo=f"{like} See %agent_runs list.".strip())


_HALF = re.compile("[\ud800-\udfff]")


def _refuse_half_characters(task: str) -> None:
    """Refuse a lone surrogate. A lone surrogate is no character: it can be neither sent nor kept. It comes from text
    cut in mid-character."""
    found = _HALF.search(task)
    if found:
        raise InputError(
            f"the task holds half a character (U+{ord(found[0]):04X}, character {found.start() + 1} of the task)",
            todo="Delete it and type the character anew.",
        )
