"""Show a run as people and programs read it: the run document (agentnb.run.v1) and AgentRun over it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from agentnb.agent.conversation.attachments import with_data
from agentnb.agent.conversation.turn_blocks import shown_thoughts
from agentnb.agent.money.costs import LOST, NOTHING, Spending, lost_calls
from agentnb.agent.receipt.values import RunCache, RunFailure, RunLatency, RunLayer, RunStep, RunUsage, parts_of
from agentnb.agent.state import AgentState, Segment, is_agents
from agentnb.agent.way_on import RESUME, way_on
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.durable.events import Event
from agentnb.durable.journal.records import Run, RunError
from agentnb.models.layers import Layer
from agentnb.models.messages import Usage
from agentnb.settings import RunOptions

SCHEMA = "agentnb.run.v1"
DRY_RUN, WAITING = "DRY_RUN", "WAITING"


class AgentRun:
    """Holds a run of the agent: finished, failed, paused, waiting, or a dry run. Everything is read from `receipt`.

    `usage` and `cost` sum over the run's calls; `latency` and `cache` are the last call's. Nothing here asks anybody:
    a run that goes on later is another AgentRun.

    >>> run.state, run.cost > 0
    ('COMPLETED', True)
    >>> print(run.text[:15])
    **Simulated rep
    >>> run.model, run.simulated, run.error, run.run_id == run.receipt["run_id"], run.thread == run.receipt["thread"]
    ('sim:claude-sonnet-4-6', True, None, True, True)
    >>> len(run.steps), len(run.layers), run.usage.calls, run.cache.read, run.latency.attempts
    (2, 4, 1, 0, 1)
    """

    def __init__(self, document: JsonMapping) -> None:
        self._receipt: JsonObject = dict(document)

    @property
    def receipt(self) -> JsonObject:
        """Return the run document (`agentnb.run.v1`, see `run_schema`) as plain JSON: all that is known of the run."""
        return self._receipt

    @property
    def run_id(self) -> str:
        """Return the run's name in the journal: `%agent_runs show RUN` takes it, or its last letters."""
        return str(self.receipt["run_id"])

    @property
    def state(self) -> str:
        """Return COMPLETED, FAILED, PAUSED, CANCELLED, WAITING or DRY_RUN; else the state that the run stands in."""
        return str(self.receipt["state"])

    @property
    def text(self) -> str:
        """Return the answer, as Markdown; empty where there is none yet."""
        return str(self.receipt["text"])

    @property
    def model(self) -> str:
        """Return the model that was asked, as `provider:model`."""
        return str(self.receipt["model"])

    @property
    def thread(self) -> str:
        """Return the conversation that the run belongs to."""
        return str(self.receipt["thread"])

    @property
    def simulated(self) -> bool:
        """Tell whether the simulator answered, so that times and prices are modelled."""
        return bool(self.receipt["simulated"])

    @property
    def error(self) -> RunFailure | None:
        """Return why the run failed; None where it did not."""
        error = self.receipt["error"]
        return RunFailure(error) if error else None

    @property
    def steps(self) -> list[RunStep]:
        """Return the committed steps, in order."""
        return parts_of(self.receipt["steps"], RunStep)

    @property
    def layers(self) -> list[RunLayer]:
        """Return the four layers of the last request, in the order in which they were sent."""
        return parts_of(self.receipt["layers"], RunLayer)

    @property
    def usage(self) -> RunUsage:
        """Return the tokens of all calls of the run."""
        return RunUsage(self.receipt["usage"])

    @property
    def cost(self) -> float | None:
        """Return the US dollars of all calls of the run; None where the model's price is not known."""
        total = self.receipt["cost"]["total"]
        return None if total is None else float(total)

    @property
    def latency(self) -> RunLatency:
        """Return the seconds of the last call."""
        return RunLatency(self.receipt["latency"])

    @property
    def cache(self) -> RunCache:
        """Return the prompt cache of the last call: what was expected, what was read and written, and why."""
        return RunCache(self.receipt["cache"])

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
    """Return the run document: everything that is shown of a run, as JSON. `standing` is the state's name or what the
    run is instead: PAUSED, CANCELLED, WAITING, DRY_RUN."""
    last, spending, listed = state.last or {}, state.spending, list(steps)
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
        "steps": listed,
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
        "plan": [item.to_json() for item in state.plan],
        "child_of": state.child_of or None,
        "children": [tool["child"] for step in listed for tool in step.get("tools", ()) if "child" in tool],
        "images": with_data(state.images, state.blocks),
        "thinking": list(shown_thoughts(state)),
    }


def state_of(context: object) -> AgentState:
    """Return the state of a journaled context. One of another machine than the agent's has a task and a text at
    most."""
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
    """Return one journaled event as a step of the document, or None when it is not a step."""
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


def error_record(error: RunError | None, run_id: str) -> JsonObject | None:
    """Return the journal's RunError as the document shows it, with the command that goes on."""
    if error is None:
        return None
    code = error.code or ""
    todo = "" if RESUME in error.message else way_on(code, run_id)
    return {"type": error.type, "code": code, "message": error.message.removesuffix(f" [{code}]"), "todo": todo}


def document_of(run: Run, events: Iterable[Event]) -> JsonObject:
    """Return the document of a journaled run and its history."""
    listed = list(events)
    steps = [record for record in map(step_record, listed) if record is not None]
    standing = {"paused": "PAUSED", "cancelled": "CANCELLED", "waiting": WAITING}.get(run.status, run.state)
    state = state_of(run.context).with_lost(run.run_id, lost_calls(listed))
    stop = listed[-1] if listed and standing == "PAUSED" else None
    used = (stop.data or {}).get("children_spent") if stop else None
    if used:  # what children had used when the person stopped the step that runs them
        state = replace(state, spending=state.spending.with_child(Spending.from_json(used)))
    error = error_record(run.error, run.run_id)
    document = run_document(run_id=run.run_id, standing=standing, state=state, steps=steps, error=error)
    if stop is not None:
        document["stopped"] = stopped_record(stop)
        document["children"] += (stop.data or {}).get("children", [])
    return document


def with_note(run: AgentRun, note: str) -> AgentRun:
    """Return the run with one more note for its view; an empty one adds none."""
    return AgentRun(run.receipt | {"notes": [*run.receipt["notes"], note]}) if note else run


def stopped_record(event: Event) -> dict[str, Any] | None:
    """Return where a person stopped the run: the seconds of the step that was cut off, and the streamed text."""
    data = event.data or {}
    if event.kind != "paused" or "stopped" not in data:
        return None
    return {"seconds": data["stopped"], "text": data.get("streamed", "")}
