"""Choose the runs that may be deleted from a journal. Pure.

A run goes once it and all its kin have ended and not moved for a given time. Kin share a thread or a fleet. A parent, a
child, a fork and its origin are kin too. So no run loses what it may still go on from.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from agentnb.durable.journal import records
from agentnb.durable.journal.protocol import Journal
from agentnb.durable.journal.records import Freed, RunSummary
from agentnb.errors import InputError

COMMON, NAMED = ("thread", "fleet"), ("parent", records.CHILD_OF)
"""Tags whose value kin have in common, and tags whose value is the name of one of them."""
SECONDS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def prune(journal: Journal, *, age: float, dry_run: bool = False) -> Freed:
    """Delete the runs that the rule chooses after `age` seconds without a move; with `dry_run` only count them."""
    before = journal.clock.now() - age
    return journal.prune(expired(journal.runs(limit=None), before), before=before, dry_run=dry_run)


def expired(runs: Sequence[RunSummary], before: float) -> list[str]:
    """Return the names of the runs whose kin have all ended, and none of them moved since `before`."""
    groups: defaultdict[str, list[RunSummary]] = defaultdict(list)
    leaders: dict[str, str] = {}
    for run in runs:
        first, *others = _kin(run)
        for other in others:
            leaders[_leader(leaders, other)] = _leader(leaders, first)
    for run in runs:
        groups[_leader(leaders, run.run_id)].append(run)
    return [run.run_id for group in groups.values() if all(_is_over(run, before) for run in group) for run in group]


def seconds_of(age: str) -> float:
    """Return the seconds of an age like 12h, 30d or 8w. Raises InputError."""
    found = re.fullmatch(r"(\d{1,5})([hdw])", age.strip())
    if not found:
        raise InputError("this is no age", about=age, todo="Write hours, days or weeks: 12h, 30d, 8w.")
    return float(found[1]) * SECONDS[found[2]]


def _is_over(run: RunSummary, before: float) -> bool:
    return run.updated < before and (run.status in records.FINISHED or records.SHARED in run.tags)


def _kin(run: RunSummary) -> Iterator[str]:
    yield run.run_id
    yield from (f"{name} {run.tags[name]}" for name in COMMON if run.tags.get(name))
    yield from (run.tags[name] for name in NAMED if run.tags.get(name))
    if records.SHARED in run.tags:  # a fleet's budget is named fleet/purse
        yield f"fleet {run.run_id.rpartition('/')[0]}"
    if run.origin:
        yield run.origin[0]


def _leader(leaders: dict[str, str], name: str) -> str:
    """Return who stands for the group, and shorten the way to it."""
    path = list(_way(leaders, name))
    leaders.update(dict.fromkeys(path[:-1], path[-1]))
    return path[-1]


def _way(leaders: dict[str, str], name: str) -> Iterable[str]:
    yield name
    while (above := leaders.get(name, name)) != name:
        name = above
        yield name
