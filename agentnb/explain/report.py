"""Tell people what became of each call's prefix: of a log, or live of what the simulator is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from agentnb.explain.judge import JudgedCall, Unjudged, judged_log, of_recorded
from agentnb.explain.logs import read_log
from agentnb.explain.verdict import Comparison, Verdict
from agentnb.explain.wires import wire_of
from agentnb.simulator.http_messages import Recorded


def explain(log: Path) -> Iterator[str]:
    """Yield what is to be said of a log's calls, line by line. Raises InputError where it is no log."""
    yield from told(verdicts(log))


def verdicts(log: Path) -> Iterator[Verdict | Unjudged]:
    """Yield the verdict on each call of a log, oldest first. Raises InputError where it is no log."""
    comparison = Comparison()
    for call in judged_log(read_log(log)):
        yield comparison.verdict(call) if isinstance(call, JudgedCall) else call


def listener(say: Callable[[str], object]) -> Callable[[Recorded], None]:
    """Return what tells of each request that a simulator receives, as it comes."""
    comparison, lock = Comparison(), threading.Lock()

    def heard(recorded: Recorded) -> None:
        wire = wire_of(recorded.path, recorded.body or {})
        call = of_recorded(recorded, wire) if wire is not None else None
        if call is not None:
            with lock:
                for line in lines_of(comparison.verdict(call)):
                    say(line)

    return heard


def told(verdicts: Iterable[Verdict | Unjudged]) -> Iterator[str]:
    """Yield the lines for people: two or three for each call, then the sum."""
    seen: list[Verdict] = []
    for verdict in verdicts:
        if isinstance(verdict, Unjudged):
            yield _printable(f"not judged: {verdict.why}")
        else:
            seen.append(verdict)
            yield from lines_of(verdict)
    yield from _sum(seen)


def _printable(line: str) -> str:
    """Return the line with what a terminal would obey, or not show, as its number."""
    return "".join(c if c.isprintable() else f"⟨U+{ord(c):04X}⟩" for c in line)


def lines_of(verdict: Verdict) -> Iterator[str]:
    """Yield what is said of one call."""
    read = "not reported" if verdict.read is None else f"{verdict.read:,}"
    head = f"call {verdict.number}  {verdict.model}  input {verdict.total:,}"
    if not verdict.goes_on_from:
        yield f"{head}  read {read}: nothing like it was sent before"
        return
    yield (
        f"{head}  could read {verdict.could:,} (sent by call {verdict.goes_on_from}), "
        f"by the rules {verdict.by_rules:,}, read {read}"
    )
    if verdict.missed:
        yield f"    {verdict.cause}"
        yield f"    price: {_dollars(verdict.dollars)}"


def _sum(seen: Sequence[Verdict]) -> Iterator[str]:
    missed = [verdict for verdict in seen if verdict.missed]
    tokens = sum(verdict.could - (verdict.read or 0) for verdict in missed)
    prices = [verdict.dollars for verdict in missed if verdict.dollars is not None]
    if missed:
        lost = f"{tokens:,} tokens, {_dollars(sum(prices))} in all"
        yield f"{len(missed)} of {len(seen)} calls read less than they could: {lost}"
    elif seen:
        yield "Each call read what it could."


def _dollars(amount: float | None) -> str:
    return "unknown" if amount is None else f"${amount:.4f}"
