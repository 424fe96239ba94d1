"""Describe a request: one task with its options; and new limits for a run that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from agentnb.canonical import JsonMapping
from agentnb.settings import RunOptions

TITLE = 80
"""Characters of a task in a list of runs."""


@dataclass(frozen=True, kw_only=True)
class Request(RunOptions):
    """Holds one task and the options it is carried out under. `cell` and `execution` say who asked, and tell re-runs
    apart.

    `purse` names the sum that it shares with other runs (money/shared_budget.py); `tags` are added to the run's own.
    `schema` is that of a structured answer. `origin` is (run, step) to go on from: the task follows what that run had
    said by then.
    """

    task: str
    thread: str
    cell: str | None = None
    execution: str = ""
    origin: tuple[str, int] | None = None
    purse: str = ""
    schema: JsonMapping | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> RunOptions:
        """Return the options alone."""
        return RunOptions(**{each.name: getattr(self, each.name) for each in fields(RunOptions)})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """New limits of a resumed run, as whole sums, not additions; None leaves the old one.

    `model` is the address of the one that goes on: from the next call on, in a new segment.
    """

    max_steps: int | None = None
    budget: float | None = None
    allow: tuple[str, ...] | None = None
    model: str | None = None


def title_of(task: str) -> str:
    """Return a task as lists of runs show it: on one line, cut where it is long."""
    line = " ".join(task.split())
    return line if len(line) <= TITLE else f"{line[: TITLE - 1]}…"
