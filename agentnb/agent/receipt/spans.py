"""Tell runs, calls and tools as OpenTelemetry spans by the GenAI semantic conventions, without their content.
[home of opentelemetry-api]

Spans are made from a run's journaled events, so their times are those of the journal. Nobody's words are read: no task,
answer, argument, result or error message. Source of the names: opentelemetry-semantic-conventions 0.66b2.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from agentnb._version import __version__
from agentnb.canonical import JsonMapping
from agentnb.durable.events import COMPLETED, Event
from agentnb.errors import PackageMissing
from agentnb.models.catalog import lookup, split_address

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from agentnb.agent.state import AgentState

NAMES = {
    "operation": "gen_ai.operation.name",
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "conversation": "gen_ai.conversation.id",
    "finish": "gen_ai.response.finish_reasons",
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
    "reasoning": "gen_ai.usage.reasoning.output_tokens",
    "cache_read": "gen_ai.usage.cache_read.input_tokens",
    "cache_write": "gen_ai.usage.cache_creation.input_tokens",
    "tool": "gen_ai.tool.name",
    "error": "error.type",
    "run": "agentnb.run_id",
    "step": "agentnb.step",
    "simulated": "agentnb.simulated",
    "cost": "agentnb.cost_usd",
}
"""Our words and the attributes' names: the conventions' own, and ours under `agentnb.`."""
PROVIDERS = {"anthropic": "anthropic", "google": "gcp.gemini", "openai": "openai", "local": "llama.cpp"}
TOOL_ERROR = "tool_error"
_ENDS = ("failed", "paused", "cancelled")
_Attribute = str | int | float | bool | list[str]


class RunSpans:
    """Makes spans of events: one for a run, and below it one for each call and tool. Safe from several threads.

    A child's run lies below the tool that delegated it. `context_of` gives a run's journaled context. Raises
    PackageMissing.
    """

    def __init__(self, state_of: Callable[[str], AgentState]) -> None:
        self._state_of = state_of
        self._tracer = _tracer()
        self._runs: dict[str, Span] = {}
        self._since: dict[str, float] = {}
        self._delegated: dict[str, Span] = {}  # by the child's run: the tool's span, also when it has ended
        self._lock = threading.RLock()

    def feed(self, event: Event) -> None:
        """Take one event; those that the journal does not keep are none of its business."""
        if event.seq:
            with self._lock:
                self._feed(event)

    def _feed(self, event: Event) -> None:
        took = float(event.data.get("seconds") or 0.0)
        run = self._runs.get(event.run_id) or self._begin(event.run_id, event.at - took)
        if event.kind == "step":
            # A simulated call's seconds are modelled: it begins no earlier than the step before it ended.
            self._step(event, run, max(event.at - took, self._since[event.run_id]))
        self._since[event.run_id] = event.at
        if event.kind in _ENDS or event.next_state == COMPLETED:
            self._end(event, run)

    def _begin(self, run_id: str, at: float) -> Span:
        state = self._state_of(run_id)
        about, parent = _about(state.address), state.child_of
        named = {"operation": "invoke_agent", "run": run_id, "conversation": state.thread}
        above = self._runs.get(parent)
        if above is not None:
            step = int(run_id.removeprefix(f"{parent}/").partition("/")[0])
            above = self._delegated[run_id] = self._tool("delegate", step, above, at)
        span = self._runs[run_id] = self._span("invoke_agent agentnb", about | named, above, at)
        self._since[run_id] = at
        return span

    def _step(self, event: Event, run: Span, begun: float) -> None:
        data = event.data
        if usage := data.get("usage"):
            about = _about(self._state_of(event.run_id).address)
            known = about | {"operation": "chat", "step": event.step} | _counted(usage)
            known |= {"cost": float(data["cost"])} if data.get("cost") is not None else {}
            known |= {"finish": [str(data["stop"])]} if data.get("stop") else {}
            self._span(f"chat {about.get('model', '')}".strip(), known, run, begun).end(_nanoseconds(event.at))
        for tool in data.get("tools") or ():
            if self._delegated.pop(str((tool.get("child") or {}).get("run_id")), None):
                continue
            ended = min(begun + float(tool.get("seconds") or 0.0), event.at)
            span = self._tool(str(tool["name"]), event.step, run, begun)
            if tool.get("is_error"):
                span.set_attribute(NAMES["error"], TOOL_ERROR)
            span.end(_nanoseconds(ended))
            begun = ended

    def _tool(self, name: str, step: int, run: Span, at: float) -> Span:
        return self._span(f"execute_tool {name}", {"operation": "execute_tool", "tool": name, "step": step}, run, at)

    def _span(self, name: str, known: dict[str, _Attribute], above: Span | None, at: float) -> Span:
        from opentelemetry.trace import set_span_in_context

        context = None if above is None else set_span_in_context(above)
        return self._tracer.start_span(name, context=context, start_time=_nanoseconds(at), attributes=_named(known))

    def _end(self, event: Event, run: Span) -> None:
        from opentelemetry.trace import Status, StatusCode

        tool = self._delegated.get(event.run_id)
        if tool is not None and event.next_state != COMPLETED:
            tool.set_attribute(NAMES["error"], TOOL_ERROR)
        if event.kind == "failed":
            error = event.data.get("error") or {}
            run.set_attribute(NAMES["error"], str(error.get("code") or error.get("type") or "failed"))
            run.set_status(Status(StatusCode.ERROR))
        for span in (run, tool):
            if span is not None:
                span.end(_nanoseconds(event.at))
        del self._runs[event.run_id], self._since[event.run_id]


def _tracer() -> Tracer:
    try:
        from opentelemetry import trace
    except ImportError as error:
        raise PackageMissing(
            "opentelemetry-api is not installed",
            about="AgentNB.otel",
            todo='Install it: pip install "agentnb-jupyter[otel]".',
        ) from error
    return trace.get_tracer("agentnb", __version__)


def _about(address: str) -> dict[str, _Attribute]:
    if not address:
        return {}
    row, (simulated, *_) = lookup(address), split_address(address)
    return {"provider": PROVIDERS[row.provider], "model": row.name, "simulated": simulated}


def _counted(usage: JsonMapping) -> dict[str, _Attribute]:
    """Return a call's tokens; by the conventions the input includes what was read from and written to the cache."""
    count = {name: int(value) for name, value in usage.items() if isinstance(value, int)}
    read = count.get("cache_read", 0)
    written = sum(value for name, value in count.items() if name.startswith("cache_write"))
    return {
        "input": count.get("input", 0) + read + written,
        "output": count.get("output", 0),
        "reasoning": count.get("reasoning", 0),
        "cache_read": read,
        "cache_write": written,
    }


def _named(known: dict[str, _Attribute]) -> dict[str, _Attribute]:
    return {NAMES[name]: value for name, value in known.items()}


def _nanoseconds(at: float) -> int:
    return int(at * 1_000_000_000)
