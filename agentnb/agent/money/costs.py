"""What a run has spent: the sum over its calls, and what calls had used that brought nothing. US dollars. Pure.

A call that fails after its reply began is billed all the same, though its step is not committed: the failed step's
event says what was lost, and the run's sum and budget take it in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agentnb.agent.money.budget import Budget
from agentnb.models import prices
from agentnb.models.messages import Usage
from agentnb.models.tokens import TokenCounter
from agentnb.providers.promptcache import Call

Context = dict[str, Any]
LOST = "lost_usage"
"""Under this name a failed or paused step's event holds what its call had used: usage, cost, whether estimated."""
_NOTHING = {"total": 0.0, "uncached": 0.0, "known": True}


class Heard:
    """The text of one call's replies as it streams, each up to where it broke off."""

    def __init__(self) -> None:
        self._texts = [""]

    def take(self, kind: str, delta: str) -> None:
        if kind == "restart":
            self._texts.append("")
        elif kind != "wait":
            self._texts[-1] += delta

    @property
    def texts(self) -> list[str]:
        """Of every reply that began, the last one too."""
        return [text for text in self._texts if text]

    @property
    def broken(self) -> list[str]:
        """Of those before the last."""
        return [text for text in self._texts[:-1] if text]


def lost_usage(call: Call, reported: Usage, texts: Sequence[str], counter: TokenCounter) -> tuple[Usage, bool]:
    """What replies that broke off had used, and whether that is an estimate: some providers count at the end only."""
    if reported.input_total or not texts:
        return reported, False
    return Usage(input=call.total * len(texts), output=sum(map(counter.count, texts))), True


def lost_record(call: Call, usage: Usage, *, estimated: bool) -> dict[str, Any]:
    """What the failed step's event holds."""
    cost = asdict(prices.cost_of(call.model, usage))
    priced = {name: cost[name] for name in ("total", "uncached")}
    return {"usage": usage.to_json(), "cost": priced, "estimated": estimated}


def budget_of(context: Mapping[str, Any]) -> Budget:
    return Budget(limit=context["budget"]["limit"], spent=context["budget"]["spent"])


def add_up(context: Context, usage: Usage, cost: prices.Cost) -> None:
    """Add one call to the run's sum."""
    total = Usage.from_json(context["usage"]) + usage if context.get("usage") else usage
    context["usage"] = total.to_json()
    context["calls"] = context.get("calls", 0) + 1
    before = context.get("cost") or _NOTHING
    known = before["known"] and cost.known
    context["cost"] = {
        "total": before["total"] + cost.total if known and cost.total is not None else None,
        "uncached": before["uncached"] + cost.uncached if known and cost.uncached is not None else None,
        "known": known,
    }
    context["budget"] = context["budget"] | {"spent": context["budget"]["spent"] + (cost.total or 0.0)}


def pay(context: Context, dollars: float) -> None:
    """Add what was paid beside the calls, for a cache object, to the run's cost."""
    before = context.get("cost") or _NOTHING
    if before["total"] is not None:
        context["cost"] = before | {"total": before["total"] + dollars}
    context["budget"] = context["budget"] | {"spent": context["budget"]["spent"] + dollars}


def note(context: Context, text: str) -> None:
    """A note for people, once."""
    context["notes"] = [*context["notes"], *([] if text in context["notes"] else [text])]


def with_lost(context: Context, run_id: str, events: Iterable[Any]) -> Context:
    """The context with what failed steps' calls had used, as far as its sum does not hold that yet."""
    lost = [event.data[LOST] for event in events if event.kind in ("failed", "paused") and LOST in (event.data or {})]
    settled = context.get("settled") or {}
    done = settled.get("count", 0) if settled.get("run") == run_id else 0  # a fork has a history of its own
    if len(lost) <= done:
        return context
    context = dict(context)
    for one in lost[done:]:
        usage = Usage.from_json(one["usage"])
        add_up(context, usage, prices.Cost(**one["cost"]))
        note(context, _told(usage, one["cost"]["total"], "≈ " if one["estimated"] else ""))
    return context | {"settled": {"run": run_id, "count": len(lost)}}


def _told(usage: Usage, dollars: float | None, about: str) -> str:
    price = "" if dollars is None else f", {about}${dollars:.4f}"
    used = f"{about}{usage.input_total:,} input and {about}{usage.output:,} output tokens"
    return f"A call that brought no reply had used {used}{price}: the sums hold that."
