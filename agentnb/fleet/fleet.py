"""Many runs as one: what is queued, what runs, what failed, and what came out, read from the journal alone.

A fleet is no more than runs that carry the same tag. So any kernel that can open the journal sees it, also when the one
that began it is gone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentnb.agent.run_document import state_of
from agentnb.canonical import Clock, JsonMapping, JsonObject, load
from agentnb.durable.journal import leases, records
from agentnb.durable.journal.open import open_journal
from agentnb.durable.journal.protocol import Journal
from agentnb.durable.journal.records import RunRow, RunSummary
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import BudgetExceeded, InputError, RunUnknown
from agentnb.fleet.worker import TAG
from agentnb.view.number_format import plural
from agentnb.view.tables import Code, table_bundle

QUEUED, RUNNING, LEFT = "queued", "running", "interrupted"
"""Standings of a run that has not ended: nobody has begun it, somebody is at work, or nobody any more."""
NOT_BEGUN, STOPPED = "not begun: budget", "stopped: budget"
"""Standings of a run whose budget did not pay for its first call, or for a later one."""
BEFORE_CALLS = 1  # steps that a run makes before its first call
ANSWERS = ("text", "answer", "result")
"""Keys of a completed run's context that hold what came out, in this order; else the whole context is."""
LOOK_EVERY = 0.2  # seconds between two looks at the journal while waiting
MOST_SHOWN = 100  # runs in the table, those with an error first
LONGEST_RESULT = 240  # characters of a result in the table


class Fleet:
    """The runs of one name in a journal. It shows itself in a notebook as it stands when the cell ends.

    `journal` is an open one, or a place as `open_journal` takes it, with the errors of that. Any process that can open
    the journal can look at a fleet; an executor begins one.

    >>> machine = agentnb.AgentStateMachine(home / "runs")
    >>> machine.register_state("COUNTING", lambda context: ("COMPLETED", {"answer": context["n"] + 1}))
    >>> for n in (1, 2):
    ...     _ = machine.initialize_run(f"counts/{n}", "COUNTING", {"n": n}, tags={"fleet": "counts"})
    ...     _ = machine.run_to_end(f"counts/{n}")
    >>> fleet = agentnb.Fleet(home / "runs", "counts")
    >>> fleet.counts, [row["result"] for row in fleet.results()]
    ({'completed': 2}, [2, 3])
    """

    def __init__(self, journal: str | Path | Journal, name: str) -> None:
        self._opened = isinstance(journal, str | Path)
        self.journal: Journal = open_journal(journal) if isinstance(journal, str | Path) else journal
        self.name = name
        self._machine = AgentStateMachine(self.journal)
        self._stalled: Callable[[], object] = lambda: None

    def on_wait(self, look: Callable[[], object]) -> None:
        """Look at what else there is while waiting: whoever carries the runs notes here which were lost."""
        self._stalled = look

    @property
    def rows(self) -> list[RunRow]:
        """Return the runs as the journal's rows tell them, in the order of their creation. Raises RunUnknown."""
        found = self.journal.rows(**{TAG: self.name})
        if not found:
            raise RunUnknown("no run belongs to this fleet", about=self.name, todo="%agent_runs list shows the runs.")
        return found

    def _summaries(self) -> list[RunSummary]:
        return [row.summary for row in self.rows]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many runs stand where: one word for each, as `standing` gives it.

        That is queued, running, interrupted (nobody is at work), completed, failed, paused, waiting or cancelled. A run
        that waits does so for an event or its wake-up time. One that a budget refused is "not begun: budget", or
        "stopped: budget".
        """
        return dict(Counter(standing(row, self.journal.clock) for row in self.rows))

    def wait(self, timeout: float | None = None) -> Fleet:
        """Wait until every run has ended, is paused or waits for an event, or until `timeout` seconds are over.

        An interrupt ends the waiting and not the runs.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while any(goes_on(summary) for summary in self._summaries()):
            if until is not None and time.monotonic() > until:
                break
            self._stalled()
            time.sleep(LOOK_EVERY)
        return self

    def pause(self) -> None:
        """Ask every run that has not ended to stop after its present step."""
        for summary in self._summaries():
            if goes_on(summary):
                self._machine.pause(summary.run_id)

    def cancel(self) -> None:
        """End every run that has not ended for good, after its present step."""
        for summary in self._summaries():
            if summary.status not in records.FINISHED:
                self._machine.cancel(summary.run_id)

    def resume(self) -> int:
        """Make every paused run ready to go on, and return how many; an executor's `go_on` sends them to workers."""
        return self._ready(records.PAUSED)

    def retry(self) -> int:
        """Make every failed run ready to make its failed step again, and return how many. `go_on` sends them."""
        return self._ready(records.FAILED)

    def _ready(self, status: str) -> int:
        chosen = [summary.run_id for summary in self._summaries() if summary.status == status]
        for run_id in chosen:
            self._machine.resume(run_id)
        return len(chosen)

    @property
    def errors(self) -> dict[str, int]:
        """Return how many runs failed with which error, the most frequent first."""
        failed = [row for row in self.rows if standing(row, self.journal.clock) == records.FAILED]
        return dict(Counter(map(_error_of, failed)).most_common())

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
                "standing": standing(row, self.journal.clock),
                "step": 0,
                "seconds": 0.0,
            }
            return began | {"result": None, "cost": None, "error": ""}
        run = self._machine.get(row.summary.run_id)
        context = run.context if isinstance(run.context, dict) else {"context": run.context}
        return {
            "run": run.run_id,
            "standing": standing(row, self.journal.clock),
            "step": run.step,
            "seconds": round(run.updated - run.created, 3),
            "result": _answer(context) if run.status == records.COMPLETED else None,
            "cost": cost.total if (cost := state_of(context).spending.cost) else None,
            "error": run.error.message if run.error else "",
        }

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> JsonObject:
        every = self.results()
        results = sorted(every, key=lambda result: bool(result["standing"] != records.FAILED))[:MOST_SHOWN]
        runs = [Code(result["run"].removeprefix(self.name)) for result in results]
        shown = [(run, r["standing"], r["step"], r["seconds"], _short(r)) for run, r in zip(runs, results, strict=True)]
        columns = ("run", "standing", "steps", "last step after s", "result")
        failures = [f"{count} failed: {error}" for error, count in self.errors.items()]
        counts = dict(Counter(result["standing"] for result in every))
        left = [f"{len(every) - len(shown)} more runs: results() has all"] if len(every) > len(shown) else []
        return table_bundle(f"Fleet {self.name}", columns, shown, [summary_of(counts, every), *failures, *left])

    def __repr__(self) -> str:
        return f"<Fleet {self.name}: {', '.join(f'{count} {name}' for name, count in self.counts.items())}>"


def goes_on(summary: RunSummary) -> bool:
    """Tell whether the run goes on by itself: at once, or at its wake-up time."""
    return summary.status == records.RUNNING or summary.delayed


def standing(row: RunRow, clock: Clock) -> str:
    """Return where a run stands, in one word. Pure but for a look at a process of this machine."""
    if row.summary.status == records.FAILED and row.error and load(row.error).get("code") == BudgetExceeded.code:
        return NOT_BEGUN if row.summary.step <= BEFORE_CALLS else STOPPED
    if row.summary.status != records.RUNNING:
        return row.summary.status
    held = leases.seconds_left(
        row.owner, me="", until=row.lease_until, tick=row.lease_tick, now=clock.now(), monotonic=clock.monotonic()
    )
    if held:
        return RUNNING
    return LEFT if row.fence else QUEUED


def summary_of(counts: Mapping[str, int], results: Sequence[JsonMapping]) -> str:
    """Return one line on all runs."""
    said = [f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1])]
    costs = [result["cost"] for result in results if result["cost"] is not None]
    money = f"; ${sum(costs):.4f} in all" if costs else ""
    return (
        f"{plural(len(results), 'run')}: {', '.join(said)}; {plural(sum(r['step'] for r in results), 'step')}{money}."
    )


def _error_of(row: RunRow) -> str:
    error = load(row.error or b"{}")
    return f"{error.get('type')}: {error.get('message')}"[:LONGEST_RESULT]


def _answer(context: JsonMapping) -> Any:
    return next((context[key] for key in ANSWERS if key in context), context)


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
