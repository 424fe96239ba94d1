"""The account of a notebook: its questions with time, cost and what the prompt cache saved; then earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agentnb.agent.run_document import WAITING
from agentnb.durable.journal.records import RunSummary
from agentnb.errors import InputError
from agentnb.notebook.commands.subcommands import show_table
from agentnb.notebook.kernel import Notebook
from agentnb.view.number_format import number, plural, share, short_dollars, short_seconds
from agentnb.view.tables import Bar, Code, Figure, Stacked
from agentnb.view.view_text import Doc, input_tokens, part, run_seconds, state_words

ROWS = 20
COLUMNS = ("when", "question and run", "prompt", "cached", "cost", "time in steps")
"""`time in steps` is the sum of the steps: waiting for a person, or for a worker, is no part of it."""


def list_runs(notebook: Notebook, rest: str) -> None:
    """Show the runs of this kernel first, newest first; then those before them. `rest` is how many in all."""
    if rest and not rest.isdigit():
        raise InputError(
            f"%agent_runs list wants a whole number from 1 on, not {rest!r}", todo="Write e.g. %agent_runs list 50"
        )
    wanted = int(rest or ROWS)
    found = notebook.session.runs(wanted + 1)
    more = [f"More: %agent_runs list {max(50, 2 * wanted)}"] if len(found) > wanted else []
    ours = [run for run in found[:wanted] if run.tags.get("execution", "").startswith(f"{notebook.nonce}:")]
    others = [run for run in found[:wanted] if run not in ours]
    documents = {run.run_id: notebook.session.find_run(run.run_id).receipt for run in found[:wanted]}
    widest = max((input_tokens(part(doc, "usage")) for doc in documents.values()), default=0.0)
    if ours:
        rows = [_row(run, documents[run.run_id], widest) for run in ours]
        account = _account([documents[run.run_id] for run in ours])
        show_table("This notebook, since its kernel began", COLUMNS, rows, [account, _LEGEND])
    if others or not ours:
        rows = [_row(run, documents[run.run_id], widest) for run in others]
        show_table("Earlier runs" if ours else "Runs, newest first", COLUMNS, rows, more if rows else ["No run yet."])


_LEGEND = "Prompt: solid was read from the prompt cache, hatched was new, dotted was stored for the next question."


def _row(run: RunSummary, doc: Doc, widest: float) -> tuple[object, ...]:
    usage, cost = part(doc, "usage"), number(part(doc, "cost").get("total"))
    tokens, taken = input_tokens(usage), run_seconds(doc)
    cached = number(usage.get("cache_read")) or 0.0
    written = sum(number(usage.get(name)) or 0.0 for name in ("cache_write_5m", "cache_write_1h"))
    mark, word, _ = state_words({"state": _standing(run)})
    facts = (Code(run.run_id), word if mark != "✓" else "", run.tags.get("model", ""))
    return (
        _when(run.created),
        Stacked(f"{mark} {run.tags.get('task', '')}", facts),
        Bar(cached, max(0.0, tokens - cached - written), written, widest) if tokens else "",
        Figure(share(cached, tokens) if tokens else ""),
        Figure(short_dollars(cost) if cost else ""),
        Figure(short_seconds(taken) if taken else ""),
    )


def _standing(run: RunSummary) -> str:
    """Return how a run stands; a paused or failed one is in a state, but that it stopped comes first."""
    stopped = {"paused": "PAUSED", "cancelled": "CANCELLED", "waiting": WAITING}.get(run.status)
    return "FAILED" if run.failed_in else stopped or run.state


def _when(created: float) -> str:
    """`14:03` today, else `11-30 14:03`."""
    at, today = datetime.fromtimestamp(created), datetime.now()
    return at.strftime("%H:%M" if at.date() == today.date() else "%m-%d %H:%M")


def _account(documents: Sequence[Doc]) -> str:
    """`12 questions, $0.31, saved $0.22.`"""
    totals: list[tuple[float, float]] = [_money(doc) for doc in documents]
    total = sum(spent for spent, _ in totals)
    saved = sum(without - spent for spent, without in totals)
    said = f", saved {short_dollars(saved)}" if saved > 0 else f", {short_dollars(-saved)} of it to store prompts"
    simulated = " Simulated: nothing was charged." if any(doc.get("simulated") for doc in documents) else ""
    return f"{plural(len(documents), 'question')}, {short_dollars(total)}{said if saved else ''}.{simulated}"


def _money(doc: Doc) -> tuple[float, float]:
    """Return what a run cost, and would have cost without a prompt cache."""
    cost: Any = part(doc, "cost")
    spent = number(cost.get("total")) or 0.0
    return spent, number(cost.get("uncached")) or spent
