"""A run as people and programs read it: the run document (agentnb.run.v1) and AgentRun over it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from agentnb.agent.conversation.attachments import with_data
from agentnb.agent.money.costs import LOST, NOTHING, lost_calls
from agentnb.agent.state import AgentState, Segment, is_agents
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.durable.events import Event
from agentnb.durable.journal.records import Run, RunError
from agentnb.models.layers import Layer
from agentnb.models.messages import Usage
from agentnb.settings import RunOptions

SCHEMA = "agentnb.run.v1"
DRY_RUN, WAITING = "DRY_RUN", "WAITING"


class Fields(JsonObject):
    """A dict whose keys are attributes too, so that `_agent.usage.output` and `_agent.usage["output"]` both work."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r} here; known: {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self})


def fields(value: object) -> Any:
    """`value` with every dict inside it turned into Fields."""
    if isinstance(value, Mapping):
        return Fields({str(key): fields(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [fields(item) for item in value]
    return value


def _fields(value: JsonMapping) -> Fields:
    found = fields(value)
    assert isinstance(found, Fields), "a mapping gives Fields"
    return found


class AgentRun:
    """A finished run, or one that failed, is paused, waits or was dry. Every attribute is read from `receipt`, the
    JSON-able run document.

    `usage` and `cost` (US dollars) sum over the run's calls; `latency` (seconds) and `cache` are the last call's.
    """

    def __init__(self, document: JsonMapping) -> None:
        self.receipt: JsonObject = dict(document)

    @property
    def run_id(self) -> str:
        return str(self.receipt["run_id"])

    @property
    def state(self) -> str:
        return str(self.receipt["state"])

    @property
    def text(self) -> str:
        return str(self.receipt["text"])

    @property
    def model(self) -> str:
        return str(self.receipt["model"])

    @property
    def thread(self) -> str:
        return str(self.receipt["thread"])

    @property
    def simulated(self) -> bool:
        return bool(self.receipt["simulated"])

    @property
    def error(self) -> Any:
        return fields(self.receipt["error"])

    @property
    def steps(self) -> list[Fields]:
        return list(fields(self.receipt["steps"]))

    @property
    def layers(self) -> list[Fields]:
        return list(fields(self.receipt["layers"]))

    @property
    def usage(self) -> Fields:
        return Fields(self.receipt["usage"])

    @property
    def cost(self) -> float | None:
        total = self.receipt["cost"]["total"]
        return None if total is None else float(total)

    @property
    def latency(self) -> Fields:
        return _fields(self.receipt["latency"])

    @property
    def cache(self) -> Fields:
        return _fields(self.receipt["cache"])

    def __repr__(self) -> str:
        return f"<AgentRun {self.run_id} {self.state} {self.model}>"

    def __str__(self) -> str:
        return self.text


EMPTY_LATENCY: JsonObject = {
    "connect": None,
    "headers": None,
    "first_event": None,
    "ttft": None,
    "tpot": None,
    "total": None,
    "queue_estimate": {"seconds": None, "samples": 0},
    "modelled": False,
}

EMPTY_CACHE: JsonObject = {
    "expected": 0,
    "read": 0,
    "written": 0,
    "prefix": 0,
    "minimum": 0,
    "reason": "nothing was sent",
    "warm_until": None,
}


def empty_layers() -> list[JsonObject]:
    return [{"name": layer.value, "tokens": 0, "cached_tokens": 0, "digest": "", "estimated": True} for layer in Layer]


def run_document(
    *,
    run_id: str,
    standing: str,
    state: AgentState,
    steps: Iterable[JsonMapping],
    error: JsonMapping | None = None,
) -> JsonObject:
    """The run document: everything that is shown of a run, as JSON. `standing` is the state's name or what the run is
    instead: PAUSED, CANCELLED, WAITING, DRY_RUN."""
    last, spending = state.last or {}, state.spending
    cost, budget = spending.cost or NOTHING, state.budget
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "thread": state.thread,
        "turn": state.turn,
        "branch": state.branch,
        "state": standing,
        "model": state.address,
        "label": state.label,
        "simulated": state.simulated,
        "recorded": state.recorded,
        "task": state.task,
        "text": state.text,
        "stopped": None,
        "error": error,
        "notes": list(state.notes),
        "live": None,
        "steps": list(steps),
        "layers": last.get("layers") or empty_layers(),
        "token_error": last.get("token_error"),
        "usage": (spending.usage or Usage()).to_json() | {"calls": spending.calls},
        "cost": {"total": cost.total, "uncached": cost.uncached, "known": cost.known, "simulated": state.simulated},
        "latency": last.get("latency") or dict(EMPTY_LATENCY),
        "cache": last.get("cache") or dict(EMPTY_CACHE),
        "budget": None if budget.limit is None else {"limit": budget.limit, "spent": budget.spent},
        "cells": list(state.cells),
        "definitions": list(state.definitions),
        "left_out": list(state.left_out),
        "redactions": list(state.redactions),
        "approvals": state.approvals.listed(run_id, allow=state.options.allow),
        "proposals": [item.to_json() for item in state.proposals],
        "images": with_data(state.images, state.blocks),
    }


def state_of(context: object) -> AgentState:
    """The state of a journaled context. One of another machine than the agent's has a task and a text at most."""
    if is_agents(context):
        return AgentState.from_json(cast(JsonMapping, context))
    found = context if isinstance(context, Mapping) else {}
    return AgentState(
        task=str(found.get("task", "")),
        text=str(found.get("text", "")),
        thread="",
        options=RunOptions(),
        segment=Segment(root=""),
    )


def step_record(event: Event) -> JsonObject | None:
    """One journaled event as a step of the document, or None when it is not a step."""
    if event.kind not in ("step", "failed"):
        return None
    data = event.data
    lost = data.get(LOST) or {}
    return {
        "n": event.step,
        "state": event.state,
        "next": event.next_state,
        "failed": event.kind == "failed",
        "at": event.at,
        "seconds": data.get("seconds"),
        "what": data.get("what", ""),
        "latency": data.get("latency"),
        "usage": data.get("usage") or lost.get("usage"),
        "cost": data.get("cost") if not lost else lost["cost"]["total"],
        "cache": data.get("cache"),
        "tools": list(data.get("tools", ())),
    }


def error_record(error: RunError | None) -> JsonObject | None:
    """The journal's RunError as the document shows it."""
    if error is None:
        return None
    code = error.code or ""
    return {"type": error.type, "code": code, "message": error.message.removesuffix(f" [{code}]"), "todo": ""}


def document_of(run: Run, events: Iterable[Event]) -> JsonObject:
    """The document of a journaled run and its history."""
    listed = list(events)
    steps = [record for record in map(step_record, listed) if record is not None]
    standing = {"paused": "PAUSED", "cancelled": "CANCELLED", "waiting": WAITING}.get(run.status, run.state)
    state = state_of(run.context).with_lost(run.run_id, lost_calls(listed))
    error = error_record(run.error)
    document = run_document(run_id=run.run_id, standing=standing, state=state, steps=steps, error=error)
    return document | {"stopped": stopped_record(listed[-1]) if listed and standing == "PAUSED" else None}


def stopped_record(event: Event) -> dict[str, Any] | None:
    """Where a person stopped the run: the seconds of the step that was cut off, and the text that had streamed."""
    data = event.data or {}
    if event.kind != "paused" or "stopped" not in data:
        return None
    return {"seconds": data["stopped"], "text": data.get("streamed", "")}
