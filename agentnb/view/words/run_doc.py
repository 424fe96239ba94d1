"""Read a run document and tell how the run stands. Pure.

Any field of the document may be missing or null while the run goes on. Any value is believed only to be what it is
checked to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentnb.canonical import JsonMapping
from agentnb.view.number_format import number, plural
from agentnb.view.style import AMBER, BLUE, GREY, RED, TEAL, clean

Doc = JsonMapping
# state -> (mark, word, colour). The mark differs for those who cannot tell the colours apart.
STATES = {
    "COMPLETED": ("✓", "Completed", TEAL),
    "FAILED": ("✗", "Failed", RED),
    "PAUSED": ("❚❚", "Paused", AMBER),
    "WAITING": ("◔", "Waiting for you", AMBER),
    "AWAITING_APPROVAL": ("◔", "Waiting for you", AMBER),
    "CANCELLED": ("✗", "Cancelled", GREY),
    "DRY_RUN": ("○", "Dry run", GREY),
    "HYDRATING": ("●", "Collecting context", BLUE),
    "THINKING": ("●", "Asking", BLUE),
    "ACTING": ("●", "Running a tool", BLUE),
    "CONDENSING": ("●", "Condensing", BLUE),
}
ENDED = frozenset({"COMPLETED", "FAILED", "PAUSED", "WAITING", "CANCELLED", "DRY_RUN"})
EXPECTED = "expected: "


def state_word(state: object) -> str:
    """Return `asking` of `THINKING`; a state of the user's own machine keeps its name."""
    name = clean(state or "")
    return STATES[name][1].lower() if name in STATES else name


def part(doc: Doc, name: str) -> Doc:
    value = doc.get(name)
    return value if isinstance(value, Mapping) else {}


def items(doc: Doc, name: str) -> list[Any]:
    value = doc.get(name)
    return list(value) if isinstance(value, list | tuple) else []


def dicts(doc: Doc, name: str) -> list[Doc]:
    return [item for item in items(doc, name) if isinstance(item, Mapping)]


def state_words(doc: Doc) -> tuple[str, str, str]:
    """Return (mark, word, colour). A failed run keeps the state it failed in; one nobody works on is said to be
    unfinished."""
    state = clean(doc.get("state") or "")
    if state not in ENDED and part(doc, "error"):
        return STATES["FAILED"]
    if state not in ENDED and ended(doc):
        return "◌", f"Not finished: it stopped while {state_word(state)}" if state else "Not started", GREY
    if part(doc, "stopped"):
        return "■", "Stopped by you", STATES["PAUSED"][2]
    if questions(doc):
        mark, _, colour = STATES[state]
        calls = [item for item in questions(doc) if not item.get("asks")]
        return mark, f"Waiting for your approval of {plural(len(calls), 'call')}" if calls else ANSWER, colour
    return STATES.get(state) or ("●", state or "Starting", BLUE)


def ended(doc: Doc) -> bool:
    """Tell whether nothing more is coming: what is unknown now stays unknown."""
    return doc.get("state") in tuple(ENDED) or bool(part(doc, "error")) or not isinstance(doc.get("live"), Mapping)


def is_forecast(doc: Doc) -> bool:
    """Tell whether the prompt cache's figures are what is expected, not what a reply reported."""
    reason = part(doc, "cache").get("reason")
    return doc.get("state") == "DRY_RUN" or (isinstance(reason, str) and reason.startswith(EXPECTED))


def simulated(doc: Doc) -> bool:
    return bool(doc.get("simulated") or part(doc, "cost").get("simulated"))


def recorded(doc: Doc) -> str:
    """Return `2026-11-27, claude-sonnet-4-6` of a run whose replies came from a recording; else nothing."""
    return clean(doc.get("recorded") or "")


def labels(doc: Doc) -> list[str]:
    """Return what the figures are not: those of a provider, those of now."""
    return [*(["simulated"] if simulated(doc) else []), *([f"recorded {recorded(doc)}"] if recorded(doc) else [])]


def run_seconds(doc: Doc) -> float | None:
    """Return the seconds from the question to the end, once the run is over. The clock that ran meanwhile tells them,
    where there was one. Its steps tell them where they say more: a simulated call counts with its modelled time."""
    if not ended(doc):
        return None
    known = [*map(_step_seconds, dicts(doc, "steps")), number(part(doc, "stopped").get("seconds"))]
    return max(sum_of_known(known) or 0.0, number(part(doc, "clock").get("seconds")) or 0.0) or None


def _step_seconds(step: Doc) -> float | None:
    latency = part(step, "latency")
    modelled = number(latency.get("total")) if latency.get("modelled") else None
    return number(step.get("seconds")) if modelled is None else modelled


def sum_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def is_failed_attempt(step: Doc) -> bool:
    """Tell whether nothing of it was committed but that it failed: the next attempt has the same number."""
    return step.get("failed") is True


def questions(doc: Doc) -> list[Doc]:
    """Return the calls that wait for a person's word; none where the run does not wait."""
    return dicts(part(doc, "approvals"), "waiting") if doc.get("state") == "WAITING" else []


ANSWER = "Waiting for your answer"
