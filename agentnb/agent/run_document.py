"""A run as people and programs read it: the run document (agentnb.run.v1) and AgentRun over it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentnb.agent import approvals
from agentnb.agent.attachments import with_data
from agentnb.agent.money.costs import LOST, with_lost
from agentnb.models.layers import Layer
from agentnb.models.messages import Usage

SCHEMA = "agentnb.run.v1"
DRY_RUN, WAITING = "DRY_RUN", "WAITING"


class Fields(dict[str, Any]):
    """A dict whose keys are attributes too, so that `_agent.usage.output` and `_agent.usage["output"]` both work."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r} here; known: {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self})


def fields(value: Any) -> Any:
    """`value` with every dict inside it turned into Fields."""
    if isinstance(value, Mapping):
        return Fields({str(key): fields(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [fields(item) for item in value]
    return value


def _fields(value: Mapping[str, Any]) -> Fields:
    found = fields(value)
    assert isinstance(found, Fields), "a mapping gives Fields"
    return found


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


class AgentRun:
    """A finished run, or one that failed, is paused, waits or was dry. Every attribute is read from `receipt`, the
    JSON-able run document.

    `usage` and `cost` (US dollars) sum over the run's calls; `latency` (seconds) and `cache` are the last call's.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.receipt: dict[str, Any] = dict(document)

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
        return _number(self.receipt["cost"]["total"])

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


EMPTY_LATENCY: dict[str, Any] = {
    "connect": None,
    "headers": None,
    "first_event": None,
    "ttft": None,
    "tpot": None,
    "total": None,
    "queue_estimate": {"seconds": None, "samples": 0},
    "modelled": False,
}

EMPTY_CACHE: dict[str, Any] = {
    "expected": 0,
    "read": 0,
    "written": 0,
    "prefix": 0,
    "minimum": 0,
    "reason": "nothing was sent",
    "warm_until": None,
}


def empty_layers() -> list[dict[str, Any]]:
    return [{"name": layer.value, "tokens": 0, "cached_tokens": 0, "digest": "", "estimated": True} for layer in Layer]


def run_document(
    *, run_id: str, state: str, context: Mapping[str, Any], steps: Iterable[Mapping[str, Any]], error: Any = None
) -> dict[str, Any]:
    """The run document: everything that is shown of a run, as JSON. `context` is the agent's journaled context."""
    last = context.get("last") or {}
    budget = context.get("budget") or {}
    listed = list(steps)
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "thread": context.get("thread", ""),
        "turn": context.get("turn", 1),
        "branch": bool(context.get("branch")),
        "state": state,
        "model": context.get("model", ""),
        "label": context.get("label", ""),
        "simulated": bool(context.get("simulated")),
        "recorded": context.get("recorded"),
        "task": context.get("task", ""),
        "text": context.get("text", ""),
        "error": error,
        "notes": list(context.get("notes", ())),
        "live": None,
        "steps": listed,
        "layers": last.get("layers") or empty_layers(),
        "token_error": last.get("token_error"),
        "usage": dict(context.get("usage") or Usage().to_json()) | {"calls": context.get("calls", 0)},
        "cost": dict(context.get("cost") or {"total": 0.0, "uncached": 0.0, "known": True})
        | {"simulated": bool(context.get("simulated"))},
        "latency": last.get("latency") or dict(EMPTY_LATENCY),
        "cache": last.get("cache") or dict(EMPTY_CACHE),
        "budget": None if budget.get("limit") is None else dict(budget),
        "definitions": list(context.get("definitions", ())),
        "left_out": list(context.get("left_out", ())),
        "redactions": list(context.get("redactions", ())),
        "approvals": approvals.listed(context, run_id),
        "images": with_data(context.get("images") or (), context.get("blocks") or ()),
    }


def step_record(event: Any) -> dict[str, Any] | None:
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


def error_record(error: Any) -> dict[str, Any] | None:
    """The journal's RunError as the document shows it."""
    if error is None:
        return None
    code = error.code or ""
    return {"type": error.type, "code": code, "message": error.message.removesuffix(f" [{code}]"), "todo": ""}


def document_of(run: Any, events: Iterable[Any]) -> dict[str, Any]:
    """The document of a journaled run and its history."""
    listed = list(events)
    steps = [record for record in map(step_record, listed) if record is not None]
    state = {"paused": "PAUSED", "cancelled": "CANCELLED", "waiting": WAITING}.get(run.status, run.state)
    context = with_lost(run.context, run.run_id, listed)
    return run_document(run_id=run.run_id, state=state, context=context, steps=steps, error=error_record(run.error))


class LiveDocument:
    """The run document while the run goes on: a fold over the bus's events. Feed it from one thread at a time."""

    def __init__(
        self,
        run_id: str,
        context: Mapping[str, Any],
        started: float,
        *,
        state: str = "HYDRATING",
        steps: Iterable[dict[str, Any]] = (),
    ) -> None:
        self._context = dict(context)
        self._run_id = run_id
        self._started = started
        self._state = state
        self._steps = list(steps)
        self._text: list[str] = []
        self._phase = ""

    @property
    def run_id(self) -> str:
        return self._run_id

    def feed(self, event: Any) -> None:
        """Take one event of this run."""
        handler = {"view": self._view, "phase": self._set_phase, "delta": self._delta}.get(event.kind)
        if handler is not None:
            handler(event.data)
        record = step_record(event)
        if record is not None:
            self._steps.append(record)
            self._state = event.next_state
            self._text.clear()

    def document(self, now: float) -> dict[str, Any]:
        """The document as it stands; `now` in seconds of the clock that `started` came from."""
        begun = self._context.get("text", "") if self._context.get("paused") else ""
        context = self._context | ({"text": begun + "".join(self._text)} if self._text else {})
        document = run_document(run_id=self._run_id, state=self._state, context=context, steps=self._steps)
        return document | {"live": {"phase": self._phase, "elapsed": max(0.0, now - self._started)}}

    def _view(self, data: Mapping[str, Any]) -> None:
        self._context |= {name: value for name, value in data["context"].items() if value is not None}

    def _set_phase(self, data: Mapping[str, Any]) -> None:
        self._phase = str(data["text"])

    def _delta(self, data: Mapping[str, Any]) -> None:
        if data["channel"] == "restart":  # the reply broke off and begins anew
            self._text.clear()
            self._phase = "asking again: the reply broke off"
        elif data["channel"] == "text":
            self._text.append(data["text"])
            self._phase = "answering"
        else:
            self._phase = "thinking" if data["channel"] == "thinking" else "asking for a tool"
