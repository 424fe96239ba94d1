"""Tell a run in one line: how it ended, how long it took, what it cost, saved and saw. Pure."""

from __future__ import annotations

from agentnb.view.number_format import number, plural, short_dollars, short_seconds
from agentnb.view.words import run_doc, run_words
from agentnb.view.words.run_doc import Doc


def outcome_line(doc: Doc) -> str:
    """Return `✓ 10 s · $0.012 (saved 33 %) · 4 cells, 3 definitions · simulated`"""
    return " · ".join([*outcome_items(doc), *run_doc.labels(doc)])


def outcome_items(doc: Doc) -> list[str]:
    """Return the pieces of the line without the labels. A run that ended well needs no word for it."""
    mark, word, _ = run_doc.state_words(doc)
    work = [item for item in (_context(doc), run_words.plan_words(doc), run_words.child_words(doc)) if item]
    if stopped := run_words.stopped_line(doc):
        return [f"{mark} {stopped}", *work]
    if doc.get("kept"):  # what it took and cost then is in the details: now it took and cost nothing
        return [f"{mark} kept, nothing was paid", *work]
    rest = [*filter(None, (_time(doc), _cost(doc))), *work]
    if doc.get("state") != "COMPLETED" or not rest:
        return [f"{mark} {word}", *rest]
    return [f"{mark} {rest[0]}", *rest[1:]]


def _time(doc: Doc) -> str:
    taken = run_doc.run_seconds(doc) or number(run_doc.part(doc, "latency").get("total"))
    return short_seconds(taken) if taken else ""


def _cost(doc: Doc) -> str:
    cost = run_doc.part(doc, "cost")
    total = number(cost.get("total"))
    if cost.get("known") is False:
        return "cost unknown"
    if not total:
        return ""
    if doc.get("state") == "DRY_RUN":
        return f"would cost ≈ {short_dollars(total)}"
    return f"{short_dollars(total)}{saved_words(total, number(cost.get('uncached')))}"


def saved_words(total: float, uncached: float | None) -> str:
    """Return ` (saved 33 %)`: against the same calls without a prompt cache; nothing where that changes nothing."""
    change = round(100 * (uncached - total) / uncached) if uncached else 0
    if change == 0:
        return ""
    return f" (saved {change} %)" if change > 0 else f" ({-change} % more, stored for the next)"


def _context(doc: Doc) -> str:
    """Tell how much of the notebook the model had before it: `4 cells, 3 definitions`."""
    counted = ((len(run_doc.items(doc, name)), one) for name, one in (("cells", "cell"), ("definitions", "definition")))
    return ", ".join(plural(number_of, one) for number_of, one in counted if number_of)
