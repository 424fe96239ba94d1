"""Show many runs as one: queued, running, failed, and what came out, read from the journal alone.

A fleet is no more than runs that carry the same tag. So any kernel that can open the journal sees it, also when the one
that began it is gone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from agentnb.agent.money.shared_budget import Purse, purse_of
from agentnb.agent.run_document import state_of
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.durable.journal import records
from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.protocol import Journal
from agentnb.durable.journal.records import RunRow, RunSummary, Tally
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import InputError, RunUnknown
from agentnb.fleet.changing import changing
from agentnb.fleet.progress import FleetProgress, Spent, counts_of, errors_of, standing, tally_of
from agentnb.fleet.worker import TAG
from agentnb.view.number_format import plural, short_seconds
from agentnb.view.tables import Code, Figure, table_bundle

ANSWERS = ("text", "answer", "result")
"""Keys of a completed run's context that hold what came out, in this order; else the whole context is."""
LOOK_EVERY = 0.2  # seconds between two looks at the journal while waiting, or more:
LOOKING = 0.01  # a look takes at most this part of the time
MOST_SHOWN = 100  # runs in the table, those with an error first
LONGEST_RESULT = 240  # characters of a result in the table


class Fleet:
    """Holds the runs of one name in a journal. It shows itself in a notebook as it stands when the cell ends.

    `journal` is an open one, or a place as `open_journal` takes it, with the errors of that. Any process that can open
    the journal can look at a fleet; an executor begins one. Where no run belongs to it, looking raises RunUnknown.

    >>> machine = agentnb.AgentStateMachine(home / "runs")
    >>> machine.register_state("COUNTING", lambda context: ("COMPLETED", {"answer": context["n"] + 1}))
    >>> for n in (1, 2):
    ...     _ = machine.initialize_run(f"counts/{n}", "COUNTING", {"n": n}, tags={"fleet": "counts"})
    ...     _ = machine.run_to_end(f"counts/{n}")
    >>> fleet = agentnb.Fleet(home / "runs", "counts")
    >>> fleet.counts, [row["result"] for row in fleet.results()]
    ({'completed': 2}, [2, 3])
    >>> fleet.on_wait(lambda: None)
    >>> fleet.wait(60).errors, fleet.progress().steps, [row.summary.run_id for row in fleet.rows]
    ({}, 2, ['counts/1', 'counts/2'])
    >>> fleet.pause(), fleet.cancel(), fleet.resume(), fleet.retry()  # all have ended: none is left to stop or to go on
    (None, None, 0, 0)
    >>> fleet.close()
    """

    def __init__(self, journal: str | Path | Journal, name: str) -> None:
        self._opened = isinstance(journal, str | Path)
        self.journal: Journal = open_journal(journal) if isinstance(journal, str | Path) else journal
        self.name = name
        self._machine = AgentStateMachine(self.journal)
        self._stalled: Callable[[], object] = lambda: None
        self._spent = Spent()

    def on_wait(self, look: Callable[[], object]) -> None:
        """Look at what else there is while waiting: whoever carries the runs notes here which were lost."""
        self._stalled = look

    @property
    def rows(self) -> list[RunRow]:
        """Return the runs as the journal's rows tell them, in the order of their creation. Raises RunUnknown."""
        return self.journal.rows(**{TAG: self.name}) or self._refuse()

    def _tally(self) -> list[Tally]:
        return self.journal.tally(**{TAG: self.name}) or self._refuse()

    def _refuse(self) -> NoReturn:
        raise RunUnknown("no run belongs to this fleet", about=self.name, todo="%agent_runs list shows the runs.")

    @property
    def counts(self) -> dict[str, int]:
        """Return how many runs stand where: one word for each, as `standing` gives it.

        That is queued, running, interrupted (nobody is at work), completed, failed, paused, waiting or cancelled. A run
        that waits does so for an event or its wake-up time. One that a budget refused is "not begun: budget", or
        "stopped: budget".
        """
        return counts_of(self._tally(), self.journal.clock)

    def progress(self) -> FleetProgress:
        """Return how far the fleet has come by now: counts, errors, steps, cost. Reads only what is new of its
        events."""
        tally, clock = self._tally(), self.journal.clock
        if any(each.begun for each in tally):
            self._read_events()
        return FleetProgress(
            counts=counts_of(tally, clock),
            errors=errors_of(tally, clock),
            going=sum(each.runs for each in tally if each.goes_on),
            steps=sum(each.steps for each in tally),
            spent=self._spent,
            budget=self._budget(),
        )

    def _read_events(self) -> None:
        if not self._spent.seq:  # a journal may hold much that is older
            self._spent = Spent(self.journal.history(self.rows[0].summary.run_id)[0].seq - 1)
        while events := self.journal.follow(self._spent.seq, tags={TAG: self.name}):
            self._spent = self._spent.after(events)

    def _budget(self) -> float | None:
        try:
            return float(Purse(self.journal, purse_of(self.name)).state["limit"])
        except RunUnknown:
            return None

    def wait(self, timeout: float | None = None) -> Fleet:
        """Wait until every run has ended, is paused or waits for an event, or until `timeout` seconds are over.

        A notebook or a terminal shows meanwhile how far the runs have come. An interrupt ends the waiting and not the
        runs.
        """
        began = looked = time.monotonic()
        until = math.inf if timeout is None else began + timeout
        first = now = self.progress()
        with changing() as show:
            while now.going and looked <= until:
                self._stalled()
                took = time.monotonic() - looked
                time.sleep(min(max(LOOK_EVERY, took / LOOKING), max(until - time.monotonic(), 0.0) + LOOK_EVERY))
                looked = time.monotonic()
                now = self.progress()
                show(now.since(first, looked - began).bundle())
        return self

    def pause(self) -> None:
        """Ask every run that has not ended to stop after its present step."""
        for row in self.rows:
            if goes_on(row.summary):
                self._machine.pause(row.summary.run_id)

    def cancel(self) -> None:
        """End every run that has not ended for good, after its present step."""
        for row in self.rows:
            if row.summary.status not in records.FINISHED:
                self._machine.cancel(row.summary.run_id)

    def resume(self) -> int:
        """Make every paused run ready to go on, and return how many; an executor's `go_on` sends them to workers."""
        return self._ready(records.PAUSED)

    def retry(self) -> int:
        """Make every failed run ready to make its failed step again, and return how many. `go_on` sends them."""
        return self._ready(records.FAILED)

    def _ready(self, status: str) -> int:
        chosen = [row.summary.run_id for row in self.rows if row.summary.status == status]
        for run_id in chosen:
            self._machine.resume(run_id)
        return len(chosen)

    @property
    def errors(self) -> dict[str, int]:
        """Return how many runs failed with which error, the most frequent first."""
        return errors_of(self._tally(), self.journal.clock)

    def close(self) -> None:
        """Close the journal, where this fleet has opened it; the runs go on."""
        if self._opened:
            self.journal.close()

    def results(self) -> list[JsonObject]:
        """Return one dict a run, all with the same keys: what a table library takes as it is."""
        return [self._result(row) for row in self.rows]

    def _result(self, row: RunRow) -> JsonObject:
        if not row.fence:  # nobody has begun it: there is nothing to read
            began = {
                "run": row.summary.run_id,
                "standing": standing(tally_of(row), self.journal.clock),
                "step": 0,
                "seconds": 0.0,
            }
            return began | {"result": None, "cost": None, "error": ""}
        run = self._machine.get(row.summary.run_id)
        context = run.context if isinstance(run.context, dict) else {"context": run.context}
        return {
            "run": run.run_id,
            "standing": standing(tally_of(row), self.journal.clock),
            "step": run.step,
            "seconds": round(run.updated - run.created, 3),
            "result": _answer(context) if run.status == records.COMPLETED else None,
            "cost": cost.total if (cost := state_of(context).spending.cost) else None,
            "error": run.error.message if run.error else "",
        }

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> JsonObject:
        now, rows = self.progress(), self.rows
        first = sorted(rows, key=lambda row: row.summary.status != records.FAILED)[:MOST_SHOWN]
        results = [self._result(row) for row in first]
        runs = [Code(result["run"].removeprefix(self.name)) for result in results]
        shown = [(run, r["standing"], r["step"], _took(r), _short(r)) for run, r in zip(runs, results, strict=True)]
        columns = ("run", "standing", "steps", "until its last step", "result")
        failures = [f"{count} failed: {error}" for error, count in now.errors.items()]
        again = ["fleet.retry() makes the failed runs ready to go on."] if failures else []
        left = [f"{plural(len(rows) - len(shown), 'run')} more: results() has all."] if len(rows) > len(shown) else []
        return table_bundle(f"Fleet {self.name}: {now.line()}", columns, shown, [*failures, *again, *left])

    def __repr__(self) -> str:
        return f"<Fleet {self.name}: {', '.join(f'{count} {name}' for name, count in self.counts.items())}>"


def goes_on(summary: RunSummary) -> bool:
    """Tell whether the run goes on by itself: at once, or at its wake-up time."""
    return summary.status == records.RUNNING or summary.delayed


def _answer(context: JsonMapping) -> Any:
    return next((context[key] for key in ANSWERS if key in context), context)


def _took(result: JsonMapping) -> Figure:
    return Figure(short_seconds(result["seconds"]) if result["step"] else "")


def _short(result: JsonMapping) -> str:
    text = str(result["error"] or ("" if result["result"] is None else result["result"]))
    return text if len(text) <= LONGEST_RESULT else f"{text[: LONGEST_RESULT - 1]}…"


def checked_journal(journal: str | Path) -> str:
    """Return the journal's address as every process reads it. Raises InputError for one that no other process can
    open."""
    address = str(journal)
    if address == ":memory:":
        todo = "Name a directory that all workers share, or postgresql://…"
        raise InputError("a journal in memory cannot be seen by workers", about=address, todo=todo)
    return address if "://" in address else str(Path(address).expanduser().resolve())
