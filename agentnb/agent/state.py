"""Hold the agent's state: one frozen record of a run between two steps, and its journaled JSON.

A handler gets the record and gives another one; nothing is changed in place. The record is read from JSON when a run is
claimed, and written at each step's end. Its JSON keeps the keys from before it had a type, so either code reads
journals of either time. What is there from the first step on is always written. What a later state finds out is written
from that state on.

- HYDRATING replaces `inherited` by the turn's `blocks`, and lists the definitions, pictures and secrets it found.
- THINKING adds the reply's blocks and text, the spending, and the account of the last call.
- ACTING adds results, and what a person is asked and has said.

An older journal lacks the options that came later: those have their declared defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias, TypedDict

from agentnb.agent.approvals import Approvals, Question
from agentnb.agent.money.budget import Budget
from agentnb.agent.money.costs import Lost, Spending
from agentnb.agent.request import Limits
from agentnb.agent.tools.plan import PlanItem
from agentnb.agent.tools.proposals import Proposal
from agentnb.canonical import JsonMapping, JsonObject, PartlyDumped
from agentnb.models.layers import Block
from agentnb.models.messages import Role, ToolResult
from agentnb.settings import RunOptions

FORMAT = 1
EARLIER = "(earlier turn)"
"""Ends the reason of something that is held but that the turn did not touch."""


class StepEvent(StrEnum):
    """Names what happened in a step, as its handler tells it; table.py says where it leads."""

    HYDRATED = "the turn's blocks are laid out"
    ASKED_FOR_TOOLS = "the reply asks for tools"
    BROKE_OFF = "the provider broke off, to go on"
    ANSWERED = "the reply is the answer"
    DOES_NOT_FIT = "the value does not fit, to mend it"
    CARRIED_OUT = "every call has its result"
    MUST_ASK = "a call needs a person's word"
    HEARD = "another call still waits"
    ALL_SAID = "nothing is left to ask"
    OUTGROWN = "the conversation has grown too large"
    CONDENSED = "old steps are condensed"


class HeldDefinition(TypedDict, total=False):
    """Holds a definition that the conversation holds: where it stands, in which form, and why. `new`: since this
    turn."""

    name: str
    file: str
    cell: str | None
    lines: list[int]
    form: Literal["full", "signature", "removed"]
    digest: str
    tokens: int
    reason: str
    shown: str
    new: bool


class LeftOut(TypedDict):
    """Holds a definition that the task touches and that was not sent, and why."""

    name: str
    reason: str


class SentPicture(TypedDict):
    """Holds a picture that the conversation holds, as the receipt lists it. `new`: since this turn; `seconds` to draw
    it."""

    name: str
    text: str
    media_type: str
    width: int
    height: int
    bytes: int
    tokens: int
    seconds: float
    digest: str
    new: bool


class LastCall(TypedDict, total=False):
    """Holds the run's last call, or the one about to be made: its layers, prompt cache and latency, as shown."""

    layers: list[dict[str, object]]
    cache: dict[str, object]
    latency: dict[str, object] | None
    token_error: dict[str, object]


class Base(NamedTuple):
    """Tells what a segment keeps of another: its turns up to `kept`, as the segment with this `root` sent them."""

    root: str
    kept: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Holds the segment that a turn goes on with, by the run that began it.

    `begins` says that this run does. Only then are the others set: `base`, `first`, `replaced` and the frozen `blocks`.
    `first` is the first turn that is sent; None: all of the path. `replaced` says that no turn goes on with the old
    project section. `blocks` is None where they are not made yet, or where the base's are used.
    """

    root: str
    begins: bool = False
    base: Base | None = None
    first: str | None = None
    replaced: bool = False
    blocks: tuple[Block, ...] | None = None

    def to_json(self) -> JsonObject:
        values: JsonObject = {"segment_root": self.root}
        if self.begins:
            values["segment_base"] = self.base._asdict() if self.base else None
            values |= {"frame_replaced": self.replaced, "segment_first": self.first}
        if self.blocks is not None:
            values["segment_blocks"] = blocks_to_json(self.blocks)
        return values

    @classmethod
    def from_json(cls, context: JsonMapping) -> Segment:
        base, blocks = context.get("segment_base"), context.get("segment_blocks")
        return cls(
            root=context["segment_root"],
            begins="segment_base" in context or blocks is not None,
            base=Base(base["root"], base["kept"]) if base else None,
            first=context.get("segment_first"),
            replaced=bool(context.get("frame_replaced")),
            blocks=None if blocks is None else blocks_from_json(blocks),
        )


@dataclass(frozen=True, kw_only=True)
class AgentState:
    """Holds one run of the agent between two steps.

    What was asked: `task` without secrets, in `thread`, under `options` (as new limits left them), out of `purse`.
    `schema` is that of a structured answer.
    `notebook` says that a cell asked, `waits` how many steps only asked, listened or condensed: `max_steps`
    does not count them.

    Whom: `label` is the model's name for people, `simulated` says that the simulator answers. `token_factor` is the
    estimator's calibration when the run began: a replay must count as the run did.

    `child_of` is the run that delegated this one (states/children.py).

    Where the turn hangs: `parent` is the run of the turn before, `turn` its number on the path. `branch` says that it
    goes another way than a turn before it. `kind` is the digest of what a segment freezes by its own.

    What was said: `blocks` are the turn's own, as sent and answered. Of the whole request, `previous_end` leading
    blocks were sent before. `previous_message` is the id of the reply to that. `inherited` are the blocks taken along
    from the run that it follows; None once HYDRATING has used them. `text` is the answer so far; `paused` says that the
    next reply goes on with it, None before the first. `recorded` is the day and model of a recorded reply. `proposals`
    are the cells that it would put into the notebook, exactly as it wrote them. `plan` is the model's list of steps,
    without secrets.

    Its memory: `replies` counts those of the whole conversation, by which its steps are numbered for the model.
    `refused` is the size, in tokens, of a prompt that the provider found too long; 0: none. `source` is the run and
    step, as RUN:STEP, that this one takes up. `thoughts` are the newest texts of thinking from before its blocks were
    last rewritten, for people to read. The blocks from step `thoughts_since` on hold the later ones.
    """

    task: str
    thread: str
    options: RunOptions
    segment: Segment
    purse: str = ""
    child_of: str = ""
    schema: JsonMapping | None = None
    notebook: bool = False
    label: str = ""
    simulated: bool = False
    token_factor: float = 1.0
    parent: str | None = None
    turn: int = 1
    branch: bool = False
    kind: str = ""
    blocks: tuple[Block, ...] = ()
    inherited: tuple[Block, ...] | None = ()
    previous_end: int = 0
    previous_message: str | None = None
    notes: tuple[str, ...] = ()
    text: str = ""
    paused: bool | None = None
    recorded: str | None = None
    cells: tuple[JsonMapping, ...] = ()
    definitions: tuple[HeldDefinition, ...] = ()
    values: tuple[JsonMapping, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    images: tuple[SentPicture, ...] = ()
    redactions: tuple[Mapping[str, str], ...] = ()
    spending: Spending = field(default_factory=Spending)
    last: LastCall | None = None
    approvals: Approvals = field(default_factory=Approvals)
    proposals: tuple[Proposal, ...] = ()
    plan: tuple[PlanItem, ...] = ()
    waits: int = 0
    replies: int = 0
    refused: int = 0
    source: str = ""
    thoughts: tuple[str, ...] = ()
    thoughts_since: int = 0

    @property
    def address(self) -> str:
        """Return the model's address: `provider:model` or `sim:model`."""
        return self.options.model

    @property
    def budget(self) -> Budget:
        return Budget(limit=self.options.budget, spent=self.spending.spent)

    @property
    def touched(self) -> frozenset[str]:
        """Return the names of what the conversation holds and the present task touches: definitions and cells."""
        of_code = (item["name"] for item in self.definitions if not item["reason"].endswith(EARLIER))
        cells = (item for item in self.cells if item["involved"] or not str(item["reason"]).endswith(EARLIER))
        return frozenset((*of_code, *(f"cell:{item['cell']}" for item in cells)))

    def waiting(self, run_id: str) -> list[Question]:
        """Return the calls that wait for a person's word."""
        return self.approvals.waiting(run_id, allow=self.options.allow)

    def noted(self, *notes: str) -> AgentState:
        """Return the state with notes for people, each once; empty ones are none."""
        new = [text for text in dict.fromkeys(notes) if text and text not in self.notes]
        return replace(self, notes=(*self.notes, *new)) if new else self

    def limited(self, limits: Limits) -> AgentState:
        """Return the state under new limits, where they are given. Another model takes over at the next call."""
        given = {name: value for name, value in vars(limits).items() if value is not None and name != "model"}
        if "allow" in given:
            given["allow"] = tuple(sorted(given["allow"]))
        return replace(self, options=replace(self.options, **given)) if given else self

    def with_lost(self, run_id: str, lost: Iterable[Lost]) -> AgentState:
        """Return the state with what failed calls had used, as far as its sums do not hold that yet."""
        all_of_them, spending = list(lost), self.spending
        # A fork has a history of its own.
        done = spending.settled[1] if spending.settled and spending.settled[0] == run_id else 0
        new = all_of_them[done:]
        if not new:
            return self
        for one in new:
            spending = spending.with_call(one.usage, one.cost)
        spending = replace(spending, settled=(run_id, len(all_of_them)))
        return replace(self, spending=spending).noted(*(one.note for one in new))

    def numbered(self, before: int) -> AgentState:
        """Return the state of an older journal with its replies numbered, on from those `before` this turn."""
        if self.replies:
            return self
        step, after, blocks = before, Role.USER, []
        for block in self.blocks:
            said = block.role is Role.ASSISTANT
            step += said and after is not Role.ASSISTANT
            blocks.append(replace(block, step=step) if said or isinstance(block.content, ToolResult) else block)
            after = block.role
        return replace(self, blocks=tuple(blocks), replies=step) if step else self

    def shown(self) -> JsonObject:
        """Return what a live view needs: the money so far, the last call or the next one, and the plan."""
        return {"cost": self.spending.to_json().get("cost"), "last": self.last} | self._planned()

    def to_json(self) -> JsonObject:
        """Return the JSON that is journaled, keys in the order in which a run comes to have them."""
        dumped = {"blocks": dumped_blocks(self.blocks)}
        if self.segment.blocks is not None:
            dumped["segment_blocks"] = dumped_blocks(self.segment.blocks)
        return PartlyDumped(self._asked() | self._turn() | self._hydrated() | self._thought(), dumped)

    def _asked(self) -> JsonObject:
        return {
            "format": FORMAT,
            "task": self.task,
            "thread": self.thread,
            "notebook": self.notebook,
            **{_JSON_NAMES.get(name, name): getattr(self.options, name) for name in _KEPT_OPTIONS},
            "tools": list(self.options.tools),
            "allow": list(self.options.allow),
            "budget": {"limit": self.options.budget, "spent": self.spending.spent},
            **({"purse": self.purse} if self.purse else {}),
            **({"child_of": self.child_of} if self.child_of else {}),
            **({"schema": self.schema} if self.schema is not None else {}),
            "label": self.label,
            "simulated": self.simulated,
            "token_factor": self.token_factor,
        }

    def _turn(self) -> JsonObject:
        return {
            "parent": self.parent,
            "turn": self.turn,
            "branch": self.branch,
            "kind": self.kind,
            **({} if self.inherited is None else {"inherited": blocks_to_json(self.inherited)}),
            "previous_end": self.previous_end,
            "previous_message": self.previous_message,
            **self.segment.to_json(),
            "blocks": blocks_to_json(self.blocks),
            "notes": list(self.notes),
            "text": self.text,
        }

    def _hydrated(self) -> JsonObject:
        if self.inherited is not None:
            return {}
        return {
            **({"cells": [dict(item) for item in self.cells]} if self.cells else {}),
            "definitions": [dict(item) for item in self.definitions],
            **({"values": [dict(item) for item in self.values]} if self.values else {}),
            "left_out": [dict(item) for item in self.left_out],
            "images": [dict(item) for item in self.images],
            "redactions": [dict(item) for item in self.redactions],
        }

    def _thought(self) -> JsonObject:
        optional = {"last": self.last, "paused": self.paused, "recorded": self.recorded, "waits": self.waits or None}
        optional |= {
            name: getattr(self, name) or None for name in ("replies", "refused", "source", "thoughts", "thoughts_since")
        }
        known = {name: value for name, value in optional.items() if value is not None}
        proposed = {"proposals": [item.to_json() for item in self.proposals]} if self.proposals else {}
        return self.spending.to_json() | known | self.approvals.to_json() | proposed | self._planned()

    def _planned(self) -> JsonObject:
        return {"plan": [item.to_json() for item in self.plan]} if self.plan else {}

    @classmethod
    def from_json(cls, context: JsonMapping) -> AgentState:
        """Return the record of a journaled context."""
        values: JsonObject = {name: context[name] for name in _PLAIN if name in context}
        values |= {name: tuple(context[name]) for name in _LISTS if name in context}
        inherited = context.get("inherited")
        return cls(
            **values,
            options=_options_from(context),
            segment=Segment.from_json(context),
            blocks=blocks_from_json(context["blocks"]),
            inherited=None if inherited is None else blocks_from_json(inherited),
            spending=Spending.from_json(context),
            approvals=Approvals.from_json(context),
            proposals=tuple(Proposal.from_json(item) for item in context.get("proposals") or ()),
            plan=tuple(PlanItem.from_json(item) for item in context.get("plan") or ()),
        )


_PLAIN = (
    "task", "thread", "purse", "child_of", "schema", "notebook", "label", "simulated", "token_factor", "parent", "turn",
    "branch", "kind", "previous_end", "previous_message", "text", "paused", "recorded", "last", "waits", "replies",
    "refused", "source", "thoughts_since",
)  # fmt: skip
_LISTS = ("notes", "cells", "definitions", "values", "left_out", "images", "redactions", "thoughts")

_JSON_NAMES = {"context": "mode"}
"""Options that have another name in JSON."""
_BEFORE_THE_RUN = ("stale_limit", "thread_stale_limit")
"""Options that only choose the segment, which is done when the run begins."""
_OF_THEIR_OWN = ("tools", "allow", "budget")
_KEPT_OPTIONS = tuple(each.name for each in fields(RunOptions) if each.name not in (*_BEFORE_THE_RUN, *_OF_THEIR_OWN))


def _options_from(context: JsonMapping) -> RunOptions:
    names = {name: _JSON_NAMES.get(name, name) for name in _KEPT_OPTIONS}
    return RunOptions(
        **{name: context[stored] for name, stored in names.items() if stored in context},
        tools=tuple(context["tools"]),
        allow=tuple(context["allow"]),
        budget=context["budget"]["limit"],
    )


Step: TypeAlias = tuple[StepEvent, AgentState]
"""Holds what a handler gives back: what happened, and the record after it."""


def blocks_to_json(blocks: Iterable[Block]) -> list[JsonObject]:
    return [block.to_json() for block in blocks]


def dumped_blocks(blocks: Iterable[Block]) -> bytes:
    """Return `blocks_to_json` as bytes: each block is dumped once, however many steps hold it."""
    return b"[" + b",".join([block.dumped for block in blocks]) + b"]"


def blocks_from_json(items: Iterable[JsonMapping]) -> tuple[Block, ...]:
    return tuple(Block.from_json(item) for item in items)


def is_agents(context: object) -> bool:
    """Tell whether a journaled context is the agent's: runs of other machines lie in the same journal."""
    return isinstance(context, Mapping) and "blocks" in context and "segment_root" in context
