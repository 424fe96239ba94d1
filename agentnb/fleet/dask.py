"""Carry runs on the workers of a Dask cluster. A task is only `drive(run_id)`; all state is in the journal. [home of
dask]

What goes through Dask is text: names of runs, and an order that says where the journal is. Dask packs that, and the
name of the function to call. agentnb itself sends and reads no pickle. Workers have no notebook: what `inspect` and
`run_code` look at in a kernel is not there, so neither is offered.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentnb.agent.money.shared_budget import Purse, purse_of
from agentnb.agent.tools.registry import NAMES
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.durable.journal import records
from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.records import RunRow
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import (
    FleetUnreachable,
    HandlerNotFound,
    InputError,
    PackageMissing,
    VersionsDiffer,
    WorkerLost,
    WorkersMissing,
)
from agentnb.fleet.fleet import Fleet, checked_journal, goes_on
from agentnb.fleet.worker import TAG, Order, drive, fail, register, settings_of, tool_named
from agentnb.session import Session
from agentnb.settings import from_environment, journal_place, without_password

CONNECT_SECONDS = 10.0
WORKER_SECONDS = 10.0  # for the first worker to come, where the cluster has none yet
TOOL_TAG, HANDLER_TAG = "tools", "handlers"
"""Tags that keep with each run what makes it go on. So any kernel can send it to workers again."""
COMPARED = ("distributed", "agentnb-jupyter")
"""Packages whose versions must be the same here and on the workers."""


class DaskExecutor:
    """Carries runs on with the workers of a Dask cluster.

    `client` is a `distributed.Client`, a cluster, or a scheduler's address. `journal` is a directory that all workers
    share (on one machine) or `postgresql://…`, and `bus` a Redis server's address. By default they are what the
    environment says: AGENTNB_JOURNAL, AGENTNB_BUS, the data directory. `retries` is how often a task is tried again
    that could not reach its journal. Dask repeats a task whose worker died in any case.

    >>> executor = agentnb.DaskExecutor.local(1, journal=home / "runs")
    >>> fleet = executor.ask(["How deep is Dover?", "How deep is Brest?"], name="ports")
    >>> fleet.wait(60).counts
    {'completed': 2}
    >>> executor.go_on("ports").counts  # whichever kernel began it
    {'completed': 2}
    >>> executor.start("nowhere:states", "COUNTING", [{"n": 1}])
    Traceback (most recent call last):
    agentnb.errors.HandlerNotFound: ...
    >>> executor.close()
    """

    def __init__(self, client: object, *, journal: str | Path = "", bus: str = "", retries: int = 3) -> None:
        settings = from_environment(os.environ)
        self._address = checked_journal(journal or journal_place(settings))
        self._bus, self._retries = bus or settings.bus, retries
        self.journal = open_journal(self._address)
        self.client = connected(client)
        self._own: list[Any] = [] if self.client is client else [self.client]
        self._check_workers()

    @classmethod
    def local(cls, workers: int, *, threads: int = 2, **options: Any) -> DaskExecutor:
        """Begin with worker processes on this machine, each with so many threads; `close` ends them. `options` as
        above."""
        cluster = _distributed().LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it warns where another has its usual port
            silence_logs=logging.ERROR,  # a worker that is killed and begun anew is no news in a notebook
        )
        try:
            executor = cls(cluster, **options)
        except BaseException:
            cluster.close()
            raise
        executor._own.append(cluster)
        return executor

    def close(self) -> None:
        """Let go of the cluster, and end it where it is this executor's own. Runs that are sent elsewhere go on."""
        for part in self._own:
            part.close()
        self._own.clear()
        self.journal.close()

    def __enter__(self) -> DaskExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The work

    def start(
        self,
        handlers: str,
        state: str,
        contexts: Iterable[Any],
        *,
        name: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Fleet:
        """Begin one run a context, in `state`, and send them to the workers.

        `handlers` names a function `module:attribute` that registers the states on the machine that it is given. With
        the `name` of an earlier fleet, its runs go on: none is begun a second time.
        """
        _refuse_notebook_names(handlers)
        name = name or new_name()
        kept = {**(tags or {}), TAG: name, HANDLER_TAG: handlers}
        machine = AgentStateMachine(self.journal)
        register(machine, handlers)
        machine.initialize_runs(state, ((f"{name}/{n:04d}", context, kept) for n, context in enumerate(contexts)))
        return self.go_on(name)

    def ask(
        self,
        tasks: Iterable[str],
        *,
        model: str | None = None,
        tools: Sequence[str] = (),
        allow: Sequence[str] = (),
        budget: float | None = None,
        name: str = "",
        **changes: object,
    ) -> Fleet:
        """Have the agent carry out each task on a worker, in a conversation of its own, without a notebook's context.

        `tools` are names `module:attribute` of functions made with `@agentnb.tool`, `allow` those of them that may act.
        `budget` is in US dollars for all tasks together; `changes` are settings of each, e.g. `max_steps`. Keys are
        those of the workers' environment; `sim:…` needs none. With the `name` of an earlier fleet, its runs go on, and
        `budget` is its whole sum from now on.
        """
        _refuse_kernel_tools(tools)
        name = name or new_name()
        session = Session(settings=settings_of(Order(journal=self._address, bus=self._bus)))
        session.extra_tools = {tool.name: tool for tool in map(tool_named, tools)}
        if budget is not None:
            Purse(self.journal, purse_of(name)).make(budget)
        shared = {
            "model": model,
            "tools": tuple(session.extra_tools),
            "allow": tuple(allow),
            "context": "none",
            "purse": purse_of(name) if budget is not None else "",
            "tags": {TAG: name, TOOL_TAG: ",".join(tools)},
        }
        with contextlib.closing(session):
            agent = session.agent()
            named = ((f"{name}/{number:04d}", task) for number, task in enumerate(tasks))
            agent.begin_many((session.request(task, thread=run, **shared, **changes), run) for run, task in named)
        return self.go_on(name)

    def go_on(self, name: str, *, resume: bool = False) -> Fleet:
        """Send every run of a fleet that has not ended to the workers, also one that another kernel began.

        With `resume`, those that failed or are paused are made ready first. Sending a run twice does no harm.
        """
        fleet = Fleet(self._address, name)  # its own share of the journal: it is looked at after `close`, too
        if resume:
            self._make_ready(fleet)
        tasks = {row.summary.run_id: self._send(row) for row in fleet.rows if goes_on(row.summary)}
        fleet.on_wait(lambda: self._note_lost(tasks))
        return fleet

    def _make_ready(self, fleet: Fleet) -> None:
        machine = AgentStateMachine(self.journal)
        for row in fleet.rows:
            if row.summary.status in (records.FAILED, records.PAUSED):
                machine.resume(row.summary.run_id)

    def _send(self, row: RunRow) -> Any:
        summary = row.summary
        order = Order(
            journal=without_password(self._address),
            handlers=summary.tags.get(HANDLER_TAG, ""),
            tools=tuple(filter(None, summary.tags.get(TOOL_TAG, "").split(","))),
            bus=without_password(self._bus),
        )
        # Each place that the run may stand at has its own key: Dask answers known keys from memory.
        key = f"agentnb {summary.run_id} {summary.step} {row.fence}"
        task = self.client.submit(drive, summary.run_id, order.to_text(), key=key, retries=self._retries, pure=False)
        _distributed().fire_and_forget(task)  # it goes on when this kernel has gone
        return task

    def _note_lost(self, tasks: JsonObject) -> None:
        """Have runs fail whose task Dask has given up, so that the journal says why they do not go on."""
        for run_id, task in list(tasks.items()):
            if task.status == "pending":
                continue
            del tasks[run_id]  # else Dask would keep what it gave, and make it anew where that worker is lost
            if task.status == "error":  # not where it is cancelled or out of sight: others may carry the run on
                fail(AgentStateMachine(self.journal), run_id, _lost(run_id, task))

    # The cluster

    def _check_workers(self) -> None:
        place = str(self.client.scheduler.address) if self.client.scheduler else ""
        with _reached(place):
            try:
                self.client.wait_for_workers(1, timeout=WORKER_SECONDS)
            except TimeoutError:
                todo = f"Start one: dask worker {place}"
                raise WorkersMissing("the Dask cluster has no worker", about=place, todo=todo) from None
            found = self.client.get_versions(packages=["agentnb-jupyter"])
        if said := differences(found):
            raise VersionsDiffer(said, about=place, todo="Install the same versions here and on the workers.")


def connected(client: object) -> Any:
    """Return a `distributed.Client`. Raises FleetUnreachable, PackageMissing, and InputError for something else."""
    distributed = _distributed()
    if isinstance(client, distributed.Client):
        return client
    if not isinstance(client, str | distributed.deploy.Cluster):
        raise InputError("it is no Dask client, cluster or address", about=repr(client), todo="e.g. tcp://HOST:8786")
    with _reached(str(client) if isinstance(client, str) else ""):
        return distributed.Client(client, timeout=CONNECT_SECONDS, set_as_default=False)


def differences(found: JsonMapping) -> str:
    """Return what is not the same on the workers as here, of what `Client.get_versions` found; empty where all is
    well."""
    here = found["client"]["packages"]
    said = []
    for place, there in sorted(found["workers"].items()):
        for package in COMPARED:
            version = there["packages"].get(package)
            if version != here.get(package):
                said.append(f"{place} has {package} {version or 'not at all'}, here it is {here.get(package)}")
    return "; ".join(said[:3]) + (f"; and {len(said) - 3} more" if len(said) > 3 else "")


def new_name() -> str:
    """Return a readable, sortable, unique name for a fleet."""
    return time.strftime("fleet-%Y%m%d-%H%M%S-") + secrets.token_hex(2)


def _refuse_notebook_names(name: str) -> None:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise InputError("handlers are named module:attribute", about=name, todo='e.g. "flows:register"')
    if module == "__main__":
        raise HandlerNotFound(
            "what a notebook defines cannot be imported by a worker",
            about=name,
            todo="Write it into a file beside the notebook (%%writefile flows.py) and name it flows:register.",
        )


def _refuse_kernel_tools(tools: Sequence[str]) -> None:
    for tool in tools:
        if tool in NAMES:
            raise InputError(
                f"{tool} works on a notebook's kernel, and a worker has none",
                todo="Leave it out, or name tools of your own: module:attribute.",
            )


def _lost(run_id: str, task: Any) -> WorkerLost:
    error = task.exception()
    return WorkerLost(
        f"Dask has given its task up: {type(error).__name__}: {error}",
        about=run_id,
        todo="Look into the workers' logs; go_on(name, resume=True) sends it again.",
    )


@contextlib.contextmanager
def _reached(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise FleetUnreachable(
            f"no Dask scheduler answers ({type(error).__name__})", about=place, todo="Start one: dask scheduler"
        ) from error


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise PackageMissing(
            "Dask is not installed", todo="Run: pip install 'agentnb-jupyter[dask]', here and on the workers."
        ) from error
    return distributed
