"""Approvals: which calls of a run wait for a person's word, and what was said of each. Pure.

A call is known by the run, the step at which it was asked about, and its number in the reply; a model's own id says
nothing. A word holds for what was shown alone: it names the digest of that call, and no other call runs on it. A fork
is another run, and asks again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnb import canonical
from agentnb.agent.conversation.turn_blocks import scrubbed_value
from agentnb.agent.tools.tool import Outcome, ToolBox
from agentnb.durable.journal.records import AWAITING
from agentnb.models.messages import ToolCall

EVENT = "APPROVAL"
AWAITING_APPROVAL = f"{AWAITING}{EVENT}"
BUTTON, COMMAND, TERMINAL, PROGRAM = "button", "command", "terminal", "program"
"""How a person's word came."""

Context = Mapping[str, Any]
Scrub = Callable[[str], str]


def call_digest(tool: str, arguments: Mapping[str, Any]) -> str:
    """The SHA-256 of a call as it runs: the tool's name and its arguments, in their order."""
    return hashlib.sha256(canonical.dump_exact({"tool": tool, "arguments": dict(arguments)})).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A call of the last reply; `number` is its place among that reply's calls, from 1 on."""

    number: int
    call: ToolCall

    @property
    def digest(self) -> str:
        return call_digest(self.call.name, self.call.arguments)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One call that waits. `number` is its place in the reply; `arguments` are exactly what runs if it is approved."""

    number: int
    step: int
    tool: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"approval/{self.step}/{self.number}"

    @property
    def digest(self) -> str:
        """What an approval names. It is taken from the arguments that are shown, never kept beside them."""
        return call_digest(self.tool, self.arguments)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person said of one call: `rest` approves the tool for the rest of the run, `reason` is for the model."""

    question: Question
    approved: bool
    by: str
    rest: bool = False
    reason: str = ""

    def to_json(self, scrub: Scrub = str) -> dict[str, Any]:
        return {
            "step": self.question.step,
            "number": self.question.number,
            "digest": self.question.digest,
            "approved": self.approved,
            "rest": self.rest and self.approved,
            "reason": "" if self.approved else scrub(self.reason.strip()),
            "by": self.by,
        }


def to_ask(context: Context, run_id: str, box: ToolBox, calls: Iterable[Proposed]) -> list[Proposed]:
    """Those of the calls that a person is to be asked about before they are carried out."""
    if context.get("approval") != "ask":
        return []
    return [item for item in calls if box.asks(item.call) and said_of(context, run_id, item) is None]


def asking(context: Context, calls: Sequence[Proposed], step: int) -> list[dict[str, Any]]:
    """What the context keeps of the calls that are asked about: those of before, and these from this step on.

    Nothing is taken out of a call: what is shown of it is what runs.
    """
    numbers = {item.number for item in calls}
    before = [item for item in context.get("asking") or () if item["number"] not in numbers]
    added = [
        {"number": item.number, "step": step, "tool": item.call.name, "arguments": dict(item.call.arguments)}
        for item in calls
    ]
    return sorted([*before, *added], key=lambda item: item["number"])


def waiting(context: Context, run_id: str) -> list[Question]:
    """The calls that nothing was said of yet, in the order of the reply."""
    free = {*context.get("allow", ()), *approved_tools(context, run_id)}
    return [question for question in _unanswered(context, run_id) if question.tool not in free]


def _unanswered(context: Context, run_id: str) -> list[Question]:
    return [question for question in _questions(context.get("asking")) if _word_on(context, run_id, question) is None]


def _questions(items: Iterable[Mapping[str, Any]] | None) -> list[Question]:
    names = ("number", "step", "tool", "arguments")
    return [Question(**{name: item[name] for name in names}) for item in items or ()]


def _word_on(context: Context, run_id: str, question: Question) -> Mapping[str, Any] | None:
    about = (question.step, question.number, question.digest)
    said = _of_run(context, run_id)
    return next((item for item in said if (item["step"], item.get("number"), item.get("digest")) == about), None)


def said_of(context: Context, run_id: str, proposed: Proposed) -> Mapping[str, Any] | None:
    """What was said of a call that is about to run; None where nothing was, or of another text than this."""
    asked = (question for question in _questions(context.get("asking")) if question.number == proposed.number)
    same = [question for question in asked if question.digest == proposed.digest]
    return _word_on(context, run_id, same[0]) if same else None


def approved_tools(context: Context, run_id: str) -> frozenset[str]:
    """The tools that were approved for the rest of this run."""
    return frozenset(item["tool"] for item in _of_run(context, run_id) if item["approved"] and item["rest"])


def _of_run(context: Context, run_id: str) -> Iterable[Mapping[str, Any]]:
    return (item for item in context.get("decisions") or () if item["run"] == run_id)


def decision(context: Context, run_id: str, data: Any, *, at: float, scrub: Scrub = str) -> dict[str, Any] | None:
    """The delivered word as the context keeps it, without secrets; None where it is about no call that is asked about,
    or about another text than the one that waits."""
    given = data if isinstance(data, Mapping) else {}
    about = (given.get("step"), given.get("number"), given.get("digest"))
    for question in _unanswered(context, run_id):
        if (question.step, question.number, question.digest) == about:
            word: dict[str, Any] = {name: bool(given.get(name)) for name in ("approved", "rest")}
            word |= {name: str(given.get(name) or "") for name in ("reason", "by")}
            told = vars(question) | {"arguments": scrubbed_value(question.arguments, scrub)}
            return {"run": run_id, **told, "digest": question.digest, **word, "at": at}
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
    return _questions(document["approvals"]["waiting"])
