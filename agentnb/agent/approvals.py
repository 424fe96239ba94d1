"""Approvals: which calls of a run wait for a person's word, and what was said of each. Pure.

A call is known by the run, the step at which it was asked about, and its own id. What was said holds for that one call
alone: a fork is another run, and asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentnb.agent.tools.tool import Outcome, ToolBox
from agentnb.durable.journal.records import AWAITING
from agentnb.models.messages import ToolCall

EVENT = "APPROVAL"
AWAITING_APPROVAL = f"{AWAITING}{EVENT}"
BUTTON, COMMAND, TERMINAL, PROGRAM = "button", "command", "terminal", "program"
"""How a person's word came."""


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


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A person's word as the run keeps it: on which call, what, through what it came, and when."""

    run: str
    question: Question
    approved: bool
    rest: bool
    reason: str
    by: str
    at: float

    def to_json(self) -> dict[str, Any]:
        return {"run": self.run, **vars(self.question), **self.said}

    @property
    def said(self) -> dict[str, Any]:
        """The word alone."""
        return {
            "approved": self.approved, "rest": self.rest, "reason": self.reason, "by": self.by, "at": self.at
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Decision:
        word = {name: value[name] for name in ("run", "approved", "rest", "reason", "by", "at")}
        return cls(question=question_from(value), **word)

    @property
    def denial(self) -> Outcome | None:
        """The outcome of a call that was denied, in words for the model; None where it was approved."""
        if self.approved:
            return None
        why = f" They say: {self.reason}" if self.reason else ""
        return Outcome(
            text=f"Denied: the person was shown this call of {self.question.tool} and did not approve it; nothing of "
            f"it ran.{why}\nGo on without it; do not ask for the same again.",
            is_error=True,
            refused=True,
        )


def question_from(value: Mapping[str, Any]) -> Question:
    """A question from its JSON, which may say more."""
    return Question(**{name: value[name] for name in ("number", "step", "call", "tool", "arguments")})


@dataclass(frozen=True, kw_only=True)
class Approvals:
    """Which calls of a run a person is asked about, and what was said.

    `asking` are calls of the last reply; None before the first reply with calls. `decisions` are the words said so far,
    those to an earlier run too where this one is its fork.
    """

    asking: tuple[Question, ...] | None = None
    decisions: tuple[Decision, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What is journaled: nothing before the first reply with calls."""
        values: dict[str, Any] = {}
        if self.asking is not None:
            values["asking"] = [dict(vars(question)) for question in self.asking] or None
        if self.decisions:
            values["decisions"] = [word.to_json() for word in self.decisions]
        return values

    @classmethod
    def from_json(cls, context: Mapping[str, Any]) -> Approvals:
        asking = tuple(question_from(item) for item in context.get("asking") or ())
        return cls(
            asking=asking if "asking" in context else None,
            decisions=tuple(Decision.from_json(item) for item in context.get("decisions") or ()),
        )

    def to_ask(self, run_id: str, box: ToolBox, calls: Iterable[ToolCall]) -> list[ToolCall]:
        """Those of the calls that a person is to be asked about before they are carried out."""
        return [call for call in calls if box.asks(call) and self.said_of(run_id, call.call_id) is None]

    def asked(self, calls: Sequence[ToolCall], step: int, scrub: Callable[[str], str]) -> Approvals:
        """The same with these calls asked about from this step on, beside those of before."""
        ids = {call.call_id for call in calls}
        before = [item for item in self.asking or () if item.call not in ids]
        added = (
            Question(
                number=number,
                step=step,
                call=call.call_id,
                tool=call.name,
                arguments=_scrubbed(dict(call.arguments), scrub),
            )
            for number, call in enumerate(calls, len(before) + 1)
        )
        return replace(self, asking=(*before, *added))

    def waiting(self, run_id: str, *, allow: Iterable[str]) -> list[Question]:
        """The calls that nothing was said of yet, in the order of the reply, but for tools that need no question."""
        free = {*allow, *self.approved_tools(run_id)}
        return [question for question in self._unanswered(run_id) if question.tool not in free]

    def _unanswered(self, run_id: str) -> list[Question]:
        return [item for item in self.asking or () if self.said_of(run_id, item.call) is None]

    def said_of(self, run_id: str, call: str) -> Decision | None:
        """What was said of one of the calls that are asked about now; None before."""
        steps = [item.step for item in self.asking or () if item.call == call]
        said = (word for word in self._of_run(run_id) if word.question.call == call and word.question.step in steps)
        return next(said, None)

    def approved_tools(self, run_id: str) -> frozenset[str]:
        """The tools that were approved for the rest of this run."""
        return frozenset(word.question.tool for word in self._of_run(run_id) if word.approved and word.rest)

    def _of_run(self, run_id: str) -> list[Decision]:
        return [word for word in self.decisions if word.run == run_id]

    def decision(self, run_id: str, data: object, at: float) -> Decision | None:
        """The delivered word as the run keeps it; None where it is about no call that is asked about."""
        given = data if isinstance(data, Mapping) else {}
        for question in self._unanswered(run_id):
            if (question.step, question.call) == (given.get("step"), given.get("call")):
                return Decision(
                    run=run_id,
                    question=question,
                    approved=bool(given.get("approved")),
                    rest=bool(given.get("rest")),
                    reason=str(given.get("reason") or ""),
                    by=str(given.get("by") or ""),
                    at=at,
                )
        return None

    def listed(self, run_id: str, *, allow: Iterable[str]) -> dict[str, Any]:
        """What waits and what was said, for the run document."""
        waiting = [dict(vars(question)) for question in self.waiting(run_id, allow=allow)]
        return {"waiting": waiting, "decided": [word.to_json() for word in self._of_run(run_id)]}


def _scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {scrub(str(key)): _scrubbed(item, scrub) for key, item in value.items()}
    return [_scrubbed(item, scrub) for item in value] if isinstance(value, list | tuple) else value


def questions_of(document: Mapping[str, Any]) -> list[Question]:
    """The calls that wait, from a run document."""
    return [question_from(item) for item in document["approvals"]["waiting"]]
