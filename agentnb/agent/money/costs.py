"""Sum what a run has spent: over its calls, and over calls that brought no reply. US dollars. Pure.

A call that fails after its reply began is billed all the same, though its step is not committed. An event says what it
had used, and the run's sum and budget count it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.durable.events import NOTED, Event
from agentnb.models.messages import Usage
from agentnb.models.prices import Cost
from agentnb.models.tokens import TokenCounter
from agentnb.providers.promptcache import Call

LOST = "lost_usage"
"""Under this name an event holds what a call had used: usage, cost, whether estimated."""
NOTHING = Cost(total=0.0, uncached=0.0)


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Holds the sum over a run's calls so far.

    `spent` counts against the run's budget. `usage` and `cost` are None until a call is settled. `cost` also holds what
    was paid beside the calls, for cache objects. `settled` is (run, number): so many of that run's lost calls are in.
    """

    spent: float = 0.0
    usage: Usage | None = None
    calls: int = 0
    cost: Cost | None = None
    settled: tuple[str, int] | None = None

    def with_call(self, usage: Usage, cost: Cost) -> Spending:
        """Return the sums with one call more."""
        return replace(
            self,
            usage=self.usage + usage if self.usage else usage,
            calls=self.calls + 1,
            cost=_sum(self.cost or NOTHING, cost),
            spent=self.spent + (cost.total or 0.0),
        )

    def with_child(self, child: Spending) -> Spending:
        """Return the sums with those of a child's run."""
        if child.usage is None and child.cost is None:
            return self
        usage = child.usage or Usage()
        return replace(
            self,
            usage=self.usage + usage if self.usage else usage,
            calls=self.calls + child.calls,
            cost=_sum(self.cost or NOTHING, child.cost or NOTHING),
            spent=self.spent + child.spent,
        )

    def paid(self, dollars: float) -> Spending:
        """Return the sums with what was paid beside the calls, for a cache object."""
        before = self.cost or NOTHING
        total = None if before.total is None else before.total + dollars
        return replace(self, cost=replace(before, total=total), spent=self.spent + dollars)

    def to_json(self) -> JsonObject:
        """Return what is journaled beside the budget: nothing before the first call."""
        sums: JsonObject = {}
        if self.usage is not None:
            sums |= {"usage": self.usage.to_json(), "calls": self.calls}
        if self.cost is not None:
            sums["cost"] = {"total": self.cost.total, "uncached": self.cost.uncached, "known": self.cost.known}
        if self.settled is not None:
            sums["settled"] = {"run": self.settled[0], "count": self.settled[1]}
        return sums

    @classmethod
    def from_json(cls, context: JsonMapping) -> Spending:
        usage, cost, settled = context.get("usage"), context.get("cost"), context.get("settled")
        return cls(
            spent=context["budget"]["spent"],
            usage=Usage.from_json(usage) if usage else None,
            calls=context.get("calls", 0),
            cost=Cost(total=cost["total"], uncached=cost["uncached"]) if cost else None,
            settled=(settled["run"], settled["count"]) if settled else None,
        )


def _sum(one: Cost, other: Cost) -> Cost:
    def add(a: float | None, b: float | None) -> float | None:
        return a + b if one.known and other.known and a is not None and b is not None else None

    return Cost(total=add(one.total, other.total), uncached=add(one.uncached, other.uncached))


class Heard:
    """Gathers what one call's replies gave as they streamed, each up to where it broke off. `answer` is the last one's
    text."""

    def __init__(self) -> None:
        self._texts = [""]
        self.answer = ""

    def take(self, kind: str, delta: str) -> None:
        if kind == "restart":
            self._texts.append("")
            self.answer = ""
        elif kind != "wait":
            self._texts[-1] += delta
            self.answer += delta if kind == "text" else ""

    @property
    def texts(self) -> list[str]:
        """Return the text of every reply that began, the last one too."""
        return [text for text in self._texts if text]

    @property
    def broken(self) -> list[str]:
        """Return the texts of those before the last."""
        return [text for text in self._texts[:-1] if text]


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Holds what a call had used that brought no reply, and whether that is an estimate."""

    usage: Usage
    cost: Cost
    estimated: bool

    def to_json(self) -> JsonObject:
        """Return what the failed step's event holds."""
        cost = {"total": self.cost.total, "uncached": self.cost.uncached}
        return {"usage": self.usage.to_json(), "cost": cost, "estimated": self.estimated}

    @classmethod
    def from_json(cls, value: JsonMapping) -> Lost:
        return cls(usage=Usage.from_json(value["usage"]), cost=Cost(**value["cost"]), estimated=value["estimated"])

    @property
    def note(self) -> str:
        """Tell people of it."""
        about = "≈ " if self.estimated else ""
        price = "" if self.cost.total is None else f", {about}${self.cost.total:.4f}"
        used = f"{about}{self.usage.input_total:,} input and {about}{self.usage.output:,} output tokens"
        return f"A call without a whole reply used {used}{price}. The sums include it."


def lost_call(call: Call, reported: Usage, texts: Sequence[str], counter: TokenCounter) -> Lost:
    """Return what replies that broke off had used.

    Providers count at the end only, or name a first output token when a reply begins. What had streamed counts, as an
    estimate.
    """
    streamed = sum(map(counter.count, texts))
    usage = reported if reported.input_total else Usage(input=call.total * len(texts))
    estimated = streamed > usage.output
    usage = replace(usage, output=max(streamed, usage.output))
    return Lost(usage=usage, cost=call.price(usage), estimated=estimated)


def lost_calls(events: Iterable[Event]) -> list[Lost]:
    """Return what calls had used that no step holds, oldest first.

    A reply is noted when it has come. The step that holds it follows, unless that failed or its process died.
    """
    found: list[JsonMapping] = []
    noted: JsonMapping | None = None
    for event in events:
        said = event.data.get(LOST)
        if event.kind == NOTED and said:
            found += [noted] if noted else []
            noted = said
        elif event.kind == "step":
            found += [noted] if noted and "usage" not in event.data else []  # gone on with, but not from that reply
            noted = None
        elif event.kind in ("failed", "paused"):
            found += [used] if (used := noted or said) else []
            noted = None
    return [Lost.from_json(said) for said in [*found, *([noted] if noted else [])]]
