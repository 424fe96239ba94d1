"""Tell how far a fleet has come: counts, speed, cost, cached share and time left. Pure.

The counts come from the journal's tally, the rest from the runs' events. A fleet's cost stands in the steps that called
a model. So each such event is read once, and added to what was known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agentnb.canonical import Clock, load
from agentnb.durable.events import Event
from agentnb.durable.journal import leases, records
from agentnb.durable.journal.records import RunRow, Tally
from agentnb.errors import BudgetExceeded
from agentnb.models.messages import Usage
from agentnb.view.number_format import count, share, short_dollars, short_seconds
from agentnb.view.style import BLUE, HATCH, TEAL, esc

QUEUED, RUNNING, LEFT = "queued", "running", "interrupted"
"""Standings of a run that has not ended: nobody has begun it, somebody is at work, or nobody any more."""
NOT_BEGUN, STOPPED = "not begun: budget", "stopped: budget"
"""Standings of a run whose budget did not pay for its first call, or for a later one."""
BEFORE_CALLS = 1  # steps that a run makes before its first call
ENDED = (records.COMPLETED, records.FAILED, records.CANCELLED, NOT_BEGUN, STOPPED)
AMBER = "#b45309"
BLOCKS = 30  # of a bar in a terminal


@dataclass(frozen=True, slots=True)
class Spent:
    """Holds what a fleet's calls have cost so far, in US dollars, and their tokens. `seq` is the last event read."""

    seq: int = 0
    dollars: float | None = None
    usage: Usage = field(default_factory=Usage)

    def after(self, events: Sequence[Event]) -> Spent:
        """Return what has been spent after these events too, which are in the order of their commits."""
        costs = [float(event.data["cost"]) for event in events if event.data.get("cost") is not None]
        used = [Usage(**event.data["usage"]) for event in events if "usage" in event.data]
        dollars = sum(costs, self.dollars or 0.0) if costs else self.dollars
        return Spent(events[-1].seq if events else self.seq, dollars, sum(used, self.usage))


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetProgress:
    """Tells how far a fleet has come at one moment. `going` counts the runs that go on by themselves.

    Since the waiting began, `seconds` have gone by; so many runs had ended, and so many steps were made, before.
    """

    counts: Mapping[str, int]
    errors: Mapping[str, int] = field(default_factory=dict)
    going: int = 0
    steps: int = 0
    spent: Spent = Spent()
    budget: float | None = None
    ended_before: int = 0
    steps_before: int = 0
    seconds: float = 0.0

    def since(self, first: FleetProgress, seconds: float) -> FleetProgress:
        """Return the same with what there was at first, `seconds` ago: so the speed can be told."""
        return replace(self, ended_before=first.ended, steps_before=first.steps, seconds=seconds)

    @property
    def runs(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return sum(self.counts.get(standing, 0) for standing in ENDED)

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds until the last run ends, at the pace so far; None while none has ended."""
        ended = self.ended - self.ended_before
        return (
            (self.runs - self.ended) * self.seconds / ended
            if ended and self.seconds and self.runs > self.ended
            else None
        )

    def line(self) -> str:
        """Return one line: what has ended, what failed, the speed, the cost, and the time left."""
        left = (RUNNING, QUEUED)
        standings = [*(name for name in self.counts if name not in (records.COMPLETED, *left)), *left]
        others = [f"{count(self.counts[name])} {name}" for name in standings if self.counts.get(name)]
        made = self.steps - self.steps_before
        speed = f"{made / self.seconds:.1f} steps/s" if made and self.seconds else ""
        budget = f" of {short_dollars(self.budget)}" if self.budget else ""
        cost = "" if self.spent.dollars is None else f"{short_dollars(self.spent.dollars)}{budget}"
        usage = self.spent.usage
        read = f"{share(usage.cache_read, usage.input_total)} read from the cache" if usage.input_total else ""
        done = f"{count(self.counts.get(records.COMPLETED, 0))} of {count(self.runs)} completed"
        time = "" if self.seconds_left is None else f"≈ {short_seconds(self.seconds_left)} left"
        parts = [done, *others, speed, cost, read, time]
        return " · ".join(part for part in parts if part)

    def bundle(self) -> dict[str, str]:
        """Return a bar and the line, as html and for a terminal."""
        return {"text/html": self._html(), "text/plain": self._text()}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.bundle()

    def _text(self) -> str:
        solid = BLOCKS * self._part(records.COMPLETED)
        bad = BLOCKS * self._ended_badly
        bar = "█" * round(solid) + "▒" * round(bad)
        return f"[{bar:░<{BLOCKS}.{BLOCKS}}] {self.line()}"

    def _html(self) -> str:
        """Completed is solid, ended otherwise hatched: told apart without colours."""
        parts = (
            (self._part(records.COMPLETED), f"background:{TEAL}"),
            (self._ended_badly, f"background-color:{AMBER};background-image:{HATCH};background-size:6px 6px"),
            (self._part(RUNNING), f"background:{BLUE};opacity:.5"),
        )
        spans = "".join(
            f'<span style="display:block;height:8px;width:{100 * part:.2f}%;{look}"></span>' for part, look in parts
        )
        failures = "".join(f"<div>{count(number)} failed: {esc(error)}</div>" for error, number in self.errors.items())
        return (
            f'<div role="progressbar" aria-valuemax="{self.runs}" aria-valuenow="{self.ended}" style="display:flex;'
            f'max-width:44em;background:#80808033;border-radius:4px;overflow:hidden">{spans}</div>'
            f'<div style="font-size:.9em">{esc(self.line())}{failures}</div>'
        )

    @property
    def _ended_badly(self) -> float:
        return (self.ended - self.counts.get(records.COMPLETED, 0)) / max(self.runs, 1)

    def _part(self, standing: str) -> float:
        return self.counts.get(standing, 0) / max(self.runs, 1)


def standing(tally: Tally, clock: Clock) -> str:
    """Return where these runs stand, in one word. Pure but for a look at a process of this machine."""
    if tally.status == records.FAILED and tally.error and load(tally.error).get("code") == BudgetExceeded.code:
        return NOT_BEGUN if (tally.failed_at or 0) <= BEFORE_CALLS else STOPPED
    if tally.status != records.RUNNING:
        return tally.status
    held = leases.seconds_left(
        tally.owner,
        me="",
        until=tally.lease_until,
        tick=tally.lease_tick,
        now=clock.now(),
        monotonic=clock.monotonic(),
    )
    if held:
        return RUNNING
    return LEFT if tally.begun else QUEUED


def tally_of(row: RunRow) -> Tally:
    """Return one run's row as a tally of one."""
    run = row.summary
    return Tally(
        run.status, run.state.startswith(records.AWAITING), row.owner, row.fence > 0, row.lease_until, row.lease_tick,
        run.step if run.status == records.FAILED else None, row.error, 1, run.step, run.created, run.updated,
    )  # fmt: skip


def counts_of(tallies: Iterable[Tally], clock: Clock) -> dict[str, int]:
    """Return how many runs stand where, the most first."""
    counts: Counter[str] = Counter()
    for tally in tallies:
        counts[standing(tally, clock)] += tally.runs
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def errors_of(tallies: Iterable[Tally], clock: Clock) -> dict[str, int]:
    """Return how many runs failed with which error, the most frequent first. A refused budget is no error."""
    errors: Counter[str] = Counter()
    for tally in tallies:
        if standing(tally, clock) == records.FAILED:
            error = load(tally.error or b"{}")
            errors[f"{error.get('type')}: {error.get('message')}"] += tally.runs
    return dict(errors.most_common())
