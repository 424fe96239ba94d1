"""Show the account of a notebook: its questions with time, cost and what the prompt cache saved; then earlier runs."""

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
from agentnb.view.plots.cost_plot import Bar, cost_svg
from agentnb.view.plots.latency_plot import picture_html
from agentnb.view.tables import Code, Figure, Stacked
from agentnb.view.words.cost_words import input_tokens
from agentnb.view.words.run_doc import Doc, part, run_seconds, state_words

ROWS, FOLDED = 20, 30
"""Runs that are listed, and that stand in a fold below them."""
COLUMNS = ("when", "question and run", "cost", "cached", "worked")
"""`worked` is the sum of the steps: waiting for a person, or for a worker, is no part of it."""


def list_runs(notebook: Notebook, rest: str) -> None:
    """Show the runs of this kernel first, newest first; then those before them. `rest` is how many stand in no fold."""
    if rest and not rest.isdigit():
        raise InputError(
            f"%agent_runs list wants a whole number from 1 on, not {rest!r}", todo="Write e.g. %agent_runs list 50"
        )
    wanted = int(rest or ROWS)
    found = notebook.session.runs(wanted + FOLDED + 1)
    shown = found[: wanted + FOLDED]
    more = [f"More: %agent_runs list {len(shown) + FOLDED}"] if len(found) > len(shown) else []
    told = [f"More: %agent_runs list {wanted + FOLDED}"] if len(found) > wanted and not more else []
    ours = [run for run in shown if run.tags.get("execution", "").startswith(f"{notebook.nonce}:")]
    others = [run for run in shown if run not in ours]
    documents = {run.run_id: notebook.session.find_run(run.run_id).receipt for run in shown}
    models = {run.tags.get("model", "") for run in shown}

    def show(title: str, runs: list[RunSummary], notes: list[str], *, last: bool) -> None:
        rows = [_row(run, documents[run.run_id], named=len(models) > 1) for run in runs]
        first = sum(run in found[:wanted] for run in runs)
        asked = [documents[run.run_id] for run in runs] if runs is ours else []
        notes = notes + [f"Model: {model}." for model in models if model and len(models) == 1] * last
        notes, told_too = [*notes, *(more if last else [])], told if last else []
        show_table(title, COLUMNS, rows, notes, figure=_figure(asked), told=told_too, first=first)

    if ours:
        account = _account([documents[run.run_id] for run in ours if not _is_only_forked(run)])
        show("This notebook, since its kernel began", ours, [account], last=not others)
    if others or not ours:
        title = "Earlier runs" if ours else "Runs, newest first"
        show(title, others, [] if others else ["No run yet."], last=True)


def _figure(documents: Sequence[Doc]) -> str:
    """Return a bar for each question that was asked, and its cost as a line. One alone needs no figure."""
    asked = [_asked(doc) for doc in reversed(documents) if input_tokens(part(doc, "usage"))]
    title = f"Tokens and cost of {len(asked)} questions"
    return picture_html(cost_svg(title, asked), title) if len(asked) > 1 else ""


def _asked(doc: Doc) -> Bar:
    usage = part(doc, "usage")
    cached = number(usage.get("cache_read")) or 0.0
    stored = sum(number(usage.get(name)) or 0.0 for name in ("cache_write_5m", "cache_write_1h"))
    new = max(0.0, input_tokens(usage) - cached - stored)
    return Bar(cached=cached, new=new, stored=stored, cost=number(part(doc, "cost").get("total")) or 0.0)


def _row(run: RunSummary, doc: Doc, *, named: bool) -> tuple[object, ...]:
    usage, cost = part(doc, "usage"), number(part(doc, "cost").get("total"))
    tokens, taken = input_tokens(usage), run_seconds(doc)
    mark, word, _ = state_words({"state": _standing(run)})
    word = "Forked, not begun" if _is_only_forked(run) else word if mark != "✓" else ""
    facts = (Code(run.run_id), word, run.tags.get("model", "") if named else "")
    return (
        _when(run.created),
        Stacked(f"{mark} {run.tags.get('task', '')}", facts),
        Figure(short_dollars(cost) if cost else ""),
        Figure(share(usage.get("cache_read") or 0, tokens) if tokens else ""),
        Figure(short_seconds(taken) if taken else ""),
    )


def _standing(run: RunSummary) -> str:
    """Return how a run stands; a paused or failed one is in a state, but that it stopped comes first."""
    stopped = {"paused": "PAUSED", "cancelled": "CANCELLED", "waiting": WAITING}.get(run.status)
    return "FAILED" if run.failed_in else stopped or run.state


def _is_only_forked(run: RunSummary) -> bool:
    return run.origin is not None and run.step == 0


def _when(created: float) -> str:
    """Return `14:03` today, else `11-30 14:03`."""
    at, today = datetime.fromtimestamp(created), datetime.now()
    return at.strftime("%H:%M" if at.date() == today.date() else "%m-%d %H:%M")


def _account(documents: Sequence[Doc]) -> str:
    """Return `12 questions, $0.31, saved $0.22.`"""
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
