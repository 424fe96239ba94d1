"""Hold approvals: which calls of a run wait for a person's word, and what was said of each. Pure.

A call is known by the run, the step that asked about it, and its number in the reply. A model's own id says nothing. A
word holds for what was shown alone: it names that call's digest, and no other call runs on it. A fork is another run,
and asks again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agentnb import canonical
from agentnb.agent.scrubber import scrubbed_value
from agentnb.agent.tools.policy import allows
from agentnb.agent.tools.tool import NO_ANSWER, Outcome, ToolBox
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.durable.journal.records import AWAITING
from agentnb.models.framing import unframed
from agentnb.models.messages import ToolCall

EVENT = "APPROVAL"
AWAITING_APPROVAL = f"{AWAITING}{EVENT}"
BUTTON, COMMAND, TERMINAL, PROGRAM = "button", "command", "terminal", "program"
"""Ways by which a person's word comes."""

SHOWN = 16
"""Digits of the digest that a command names."""

Scrub = Callable[[str], str]


def call_digest(tool: str, arguments: JsonMapping) -> str:
    """Return the SHA-256 of a call as it runs: the tool's name and its arguments, in their order."""
    return hashlib.sha256(canonical.dump_exact({"tool": tool, "arguments": dict(arguments)})).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """Holds a call of the last reply; `number` is its place among that reply's calls, from 1 on."""

    number: int
    call: ToolCall
    rehearsal: str = ""
    """Words on what it would do, where that was tried first."""

    @property
    def digest(self) -> str:
        return call_digest(self.call.name, self.call.arguments)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Holds one call that waits. `number` is its place in the reply; `arguments` are exactly what runs if it is
    approved.

    Where it `asks`, nothing runs: the person's words are the result. `rehearsal` tells what it would do.
    """

    number: int
    step: int
    tool: str
    arguments: JsonMapping
    asks: bool = False
    rehearsal: str = ""

    @property
    def key(self) -> str:
        return f"approval/{self.step}/{self.number}"

    @property
    def digest(self) -> str:
        """Return what an approval names. It is taken from the arguments that are shown, never kept beside them."""
        return call_digest(self.tool, self.arguments)

    def to_json(self) -> JsonObject:
        values = {"number": self.number, "step": self.step, "tool": self.tool, "arguments": self.arguments}
        tried = {"rehearsal": self.rehearsal} if self.rehearsal else {}
        return values | ({"asks": True} if self.asks else {}) | tried


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Holds what a person said of one call.

    `rest` approves the tool for the rest of the run. `reason` is for the model: why not, or the answer to a question.
    """

    question: Question
    approved: bool
    by: str
    rest: bool = False
    reason: str = ""
    edited: JsonMapping | None = None
    """The arguments as the person changed them before they let the call run."""

    def to_json(self, scrub: Scrub = str) -> JsonObject:
        return {
            "step": self.question.step,
            "number": self.question.number,
            "digest": self.question.digest,
            "approved": self.approved,
            "rest": self.rest and self.approved,
            "reason": scrub(self.reason.strip()) if self.question.asks or not self.approved else "",
            "by": self.by,
            **({"edited": dict(self.edited)} if self.edited is not None and self.approved else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Holds a person's word as the run keeps it: on which call (without secrets), what, how it came, and when.

    The question has the arguments that run: those that the person wrote, where they changed the call. `digest` is that
    of the call that was shown. A journal older than digests has none, and its words hold no more.
    """

    run: str
    question: Question
    digest: str
    approved: bool
    rest: bool
    reason: str
    by: str
    at: float
    edited: JsonMapping | None = None

    def to_json(self) -> JsonObject:
        shown = {"digest": self.digest} if self.digest else {}
        edited = {"edited": dict(self.edited)} if self.edited is not None else {}
        return {"run": self.run, **self.question.to_json(), **shown, **self.said, **edited}

    def call(self, call: ToolCall) -> ToolCall:
        """Return the call as it runs: as it was shown, or as the person changed it."""
        return call if self.edited is None else replace(call, arguments=self.edited)

    @property
    def said(self) -> JsonObject:
        """Return the word alone."""
        return {name: getattr(self, name) for name in ("approved", "rest", "reason", "by", "at")}

    @classmethod
    def from_json(cls, value: JsonMapping) -> Decision:
        word = {name: value[name] for name in ("run", "approved", "rest", "reason", "by", "at")}
        return cls(question=_question(value), digest=value.get("digest", ""), edited=value.get("edited"), **word)

    @property
    def outcome(self) -> Outcome | None:
        """Return what the word alone makes of the call, in words for the model; None where it may run."""
        if self.question.asks:
            said = f"The person answers: {self.reason}" if self.approved and self.reason else f"No answer. {NO_ANSWER}"
            return Outcome(text=unframed(said))
        if self.approved:
            return None
        why = f" They say: {unframed(self.reason)}" if self.reason else ""
        return Outcome(
            text=f"Denied: the person was shown this call of {self.question.tool} and did not approve it; nothing of "
            f"it ran.{why}\nGo on without it; do not ask for the same again.",
            is_error=True,
            refused=True,
        )


def _question(value: JsonMapping) -> Question:
    """Return a question from JSON that may say more."""
    names = ("number", "step", "tool", "arguments")
    plain = {name: value[name] for name in names}
    return Question(**plain, asks=bool(value.get("asks")), rehearsal=str(value.get("rehearsal") or ""))


@dataclass(frozen=True, kw_only=True)
class Approvals:
    """Record which calls of a run a person is asked about, and what was said.

    `asking` are calls of the last reply; None before the first reply with calls. `decisions` are the words said so far,
    those to an earlier run too where this one is its fork.
    """

    asking: tuple[Question, ...] | None = None
    decisions: tuple[Decision, ...] = ()

    def to_json(self) -> JsonObject:
        """Return what is journaled: nothing before the first reply with calls."""
        values: JsonObject = {}
        if self.asking is not None:
            values["asking"] = [question.to_json() for question in self.asking] or None
        if self.decisions:
            values["decisions"] = [word.to_json() for word in self.decisions]
        return values

    @classmethod
    def from_json(cls, context: JsonMapping) -> Approvals:
        asking = tuple(_question(item) for item in context.get("asking") or ())
        return cls(
            asking=asking if "asking" in context else None,
            decisions=tuple(Decision.from_json(item) for item in context.get("decisions") or ()),
        )

    def to_ask(self, run_id: str, box: ToolBox, calls: Iterable[Proposed]) -> list[Proposed]:
        """Return those of the calls that a person is to be asked about before they are carried out."""
        return [item for item in calls if box.asks(item.call) and self.said_of(run_id, item) is None]

    def asked(self, calls: Sequence[Proposed], step: int, *, asking: Iterable[str] = ()) -> Approvals:
        """Return the same with these calls asked about from this step on, beside the earlier ones. `asking` are the
        tools that only ask.

        Nothing is taken out of a call: what is shown of it is what runs.
        """
        numbers = {item.number for item in calls}
        before = [item for item in self.asking or () if item.number not in numbers]
        added = (
            Question(
                number=item.number,
                step=step,
                tool=item.call.name,
                arguments=dict(item.call.arguments),
                asks=item.call.name in asking,
                rehearsal=item.rehearsal,
            )
            for item in calls
        )
        return replace(self, asking=tuple(sorted([*before, *added], key=lambda item: item.number)))

    def waiting(self, run_id: str, *, allow: Iterable[str]) -> list[Question]:
        """Return the calls that nothing was said of yet, in the reply's order, without tools that need no question."""
        free = {*allow, *self.approved_tools(run_id)}
        return [item for item in self._unanswered(run_id) if item.asks or not allows(free, item.tool, item.arguments)]

    def _unanswered(self, run_id: str) -> list[Question]:
        return [question for question in self.asking or () if self._word_on(run_id, question) is None]

    def _word_on(self, run_id: str, question: Question) -> Decision | None:
        about = (question.step, question.number, question.digest)
        said = ((word, (word.question.step, word.question.number, word.digest)) for word in self._of_run(run_id))
        return next((word for word, of in said if of == about), None)

    def said_of(self, run_id: str, proposed: Proposed) -> Decision | None:
        """Return what was said of a call that is about to run. None where nothing was said, or only of another text."""
        asked = (question for question in self.asking or () if question.number == proposed.number)
        same = [question for question in asked if question.digest == proposed.digest]
        return self._word_on(run_id, same[0]) if same else None

    def approved_tools(self, run_id: str) -> frozenset[str]:
        """Return the tools that were approved for the rest of this run."""
        return frozenset(word.question.tool for word in self._of_run(run_id) if word.approved and word.rest)

    def _of_run(self, run_id: str) -> list[Decision]:
        return [word for word in self.decisions if word.run == run_id]

    def decision(self, run_id: str, data: object, *, at: float, scrub: Scrub = str) -> Decision | None:
        """Return the delivered word as the run keeps it, without secrets. None where no call waits that it is about, or
        another text waits."""
        given = data if isinstance(data, Mapping) else {}
        about = (given.get("step"), given.get("number"), given.get("digest"))
        for question in self._unanswered(run_id):
            if (question.step, question.number, question.digest) == about:
                edited = given["edited"] if isinstance(given.get("edited"), Mapping) else None
                kept = scrubbed_value(question.arguments if edited is None else edited, scrub)
                return Decision(
                    run=run_id,
                    question=replace(question, arguments=kept, rehearsal=""),
                    digest=question.digest,
                    approved=bool(given.get("approved")),
                    rest=bool(given.get("rest")) and not question.asks,
                    reason=str(given.get("reason") or ""),
                    by=str(given.get("by") or ""),
                    at=at,
                    edited=edited,
                )
        return None

    def listed(self, run_id: str, *, allow: Iterable[str]) -> JsonObject:
        """List what waits and what was said, for the run document."""
        waiting = self.waiting(run_id, allow=allow)
        shown = {"digest": shown_digest(waiting)} if waiting else {}
        said = [(word.to_json(), word.edited is not None) for word in self._of_run(run_id)]
        decided = [word | ({"edited": True} if edited else {}) for word, edited in said]  # as it runs, it has secrets
        return {"waiting": [question.to_json() for question in waiting], "decided": decided, **shown}


def shown_digest(questions: Iterable[Question]) -> str:
    """Return what a command names to say that these calls were shown: the beginning of their SHA-256."""
    return hashlib.sha256("".join(item.digest for item in questions).encode()).hexdigest()[:SHOWN]


def questions_of(document: JsonMapping) -> list[Question]:
    """Return the calls that wait, from a run document."""
    return [_question(item) for item in document["approvals"]["waiting"]]
