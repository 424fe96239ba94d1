"""Approvals: which calls of a run wait for a person's word, and what was said of each. Pure.

A call is known by the run, the step at which it was asked about, and its own id. What was said holds for that one call
alone: a fork is another run, and asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnb.agent.tools.tool import Outcome, ToolBox
from agentnb.durable.journal.records import AWAITING
from agentnb.models.messages import ToolCall

EVENT = "APPROVAL"
AWAITING_APPROVAL = f"{AWAITING}{EVENT}"
BUTTON, COMMAND, TERMINAL, PROGRAM = "button", "command", "terminal", "program"
"""How a person's word came."""

Context = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One call that waits. `number` is its place in the reply's list, which it keeps when others are answered;
    `arguments` are as they are shown: without secrets."""

    number: int
    step: int
    call: str
    tool: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"approval/{self.step}/{self.call}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person said of one call: `rest` approves the tool for the rest of the run, `reason` is for the model."""

    question: Question
    approved: bool
    by: str
    rest: bool = False
    reason: str = ""

    def to_json(self, scrub: Callable[[str], str] = str) -> dict[str, Any]:
        return {
            "step": self.question.step,
            "call": self.question.call,
            "approved": self.approved,
            "rest": self.rest and self.approved,
            "reason": "" if self.approved else scrub(self.reason.strip()),
            "by": self.by,
        }


def to_ask(context: Context, run_id: str, box: ToolBox, calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Those of the calls that a person is to be asked about before they are carried out."""
    if context.get("approval") != "ask":
        return []
    return [call for call in calls if box.asks(call) and said_of(context, run_id, call.call_id) is None]


def asking(context: Context, calls: Sequence[ToolCall], step: int, scrub: Callable[[str], str]) -> list[dict[str, Any]]:
    """What the context keeps of the calls that are asked about: those of before, and these from this step on."""
    asked = {call.call_id for call in calls}
    before = [item for item in context.get("asking") or () if item["call"] not in asked]
    shown = [
        {
            "number": number,
            "step": step,
            "call": call.call_id,
            "tool": call.name,
            "arguments": _scrubbed(dict(call.arguments), scrub),
        }
        for number, call in enumerate(calls, len(before) + 1)
    ]
    return [*before, *shown]


def _scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {scrub(str(key)): _scrubbed(item, scrub) for key, item in value.items()}
    return [_scrubbed(item, scrub) for item in value] if isinstance(value, list | tuple) else value


def waiting(context: Context, run_id: str) -> list[Question]:
    """The calls that nothing was said of yet, in the order of the reply."""
    free = {*context.get("allow", ()), *approved_tools(context, run_id)}
    return [question for question in _unanswered(context, run_id) if question.tool not in free]


def _unanswered(context: Context, run_id: str) -> list[Question]:
    asked = context.get("asking") or ()
    return [Question(**item) for item in asked if said_of(context, run_id, item["call"]) is None]


def said_of(context: Context, run_id: str, call: str) -> Mapping[str, Any] | None:
    """What was said of one of the calls that are asked about now; None before."""
    steps = [item["step"] for item in context.get("asking") or () if item["call"] == call]
    found = (item for item in _of_run(context, run_id) if item["call"] == call and item["step"] in steps)
    return next(found, None)


def approved_tools(context: Context, run_id: str) -> frozenset[str]:
    """The tools that were approved for the rest of this run."""
    return frozenset(item["tool"] for item in _of_run(context, run_id) if item["approved"] and item["rest"])


def _of_run(context: Context, run_id: str) -> Iterable[Mapping[str, Any]]:
    return (item for item in context.get("decisions") or () if item["run"] == run_id)


def decision(context: Context, run_id: str, data: Any, at: float) -> dict[str, Any] | None:
    """The delivered word as the context keeps it; None where it is about no call that is asked about."""
    given = data if isinstance(data, Mapping) else {}
    for question in _unanswered(context, run_id):
        if (question.step, question.call) == (given.get("step"), given.get("call")):
            word: dict[str, Any] = {name: bool(given.get(name)) for name in ("approved", "rest")}
            word |= {name: str(given.get(name) or "") for name in ("reason", "by")}
            return {"run": run_id, **vars(question), **word, "at": at}
    return None


def told(word: Mapping[str, Any]) -> Outcome | None:
    """The outcome of a call that was denied, in words for the model; None where it was approved."""
    if word["approved"]:
        return None
    why = f" They say: {word['reason']}" if word["reason"] else ""
    return Outcome(
        text=f"Denied: the person was shown this call of {word['tool']} and did not approve it; nothing of it ran.{why}"
        "\nGo on without it; do not ask for the same again.",
        is_error=True,
        refused=True,
    )


def listed(context: Context, run_id: str) -> dict[str, Any]:
    """What waits and what was said, for the run document."""
    open_now = [dict(vars(question)) for question in waiting(context, run_id)]
    return {"waiting": open_now, "decided": [dict(item) for item in _of_run(context, run_id)]}


def questions_of(document: Mapping[str, Any]) -> list[Question]:
    """The calls that wait, from a run document."""
    return [Question(**item) for item in document["approvals"]["waiting"]]
