"""Send each request to its wire, and serve the admin pages under /sim: the simulator without its sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from agentnb.errors import InputError, RequestRefused
from agentnb.models.catalog import Model
from agentnb.simulator.anthropic.wire import AnthropicWire
from agentnb.simulator.clock import Pacer
from agentnb.simulator.engine import Engine
from agentnb.simulator.faults import Fault, fault_from_json
from agentnb.simulator.google.wire import GoogleWire
from agentnb.simulator.http_messages import HttpAnswer, Incoming, Recorded, WireMapping, WireObject
from agentnb.simulator.judging import Judged
from agentnb.simulator.openai.wire import OpenAIWire

_SECRET_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie")


class ServedWire(Protocol):
    """Holds one provider's HTTP interface."""

    name: str

    def owns(self, incoming: Incoming) -> bool: ...

    def generates(self, incoming: Incoming) -> bool: ...

    def answer(self, incoming: Incoming) -> HttpAnswer: ...

    def judged(self, incoming: Incoming, row: Model) -> Judged: ...

    def error(self, error: RequestRefused, request_id: str) -> HttpAnswer: ...

    def fault(self, status: int, request_id: str, wait: float | None) -> HttpAnswer: ...


class Service:
    """Requests in, outcomes out."""

    def __init__(self, engine: Engine, pacer: Pacer) -> None:
        self.engine = engine
        self.pacer = pacer
        google = GoogleWire(engine)
        self._cached_contents = google.caches
        self._wires: tuple[ServedWire, ...] = (google, OpenAIWire(engine), AnthropicWire(engine))
        self._pages: dict[str, Callable[[Any], Any]] = {
            "GET /": self._welcome,
            "GET /sim/state": self._state,
            "POST /sim/faults": self._add_fault,
            "DELETE /sim/faults": self._clear_faults,
            "POST /sim/limits": self._limit,
            "POST /sim/clock": self._advance,
        }

    def take_fault(self, incoming: Incoming) -> Fault | None:
        """Return the fault that this request meets, if one waits."""
        wire = self._wire(incoming)
        return self.engine.faults.take() if wire.generates(incoming) else None

    def outcome(self, incoming: Incoming, fault: Fault | None) -> HttpAnswer:
        if incoming.path == "/" or incoming.path == "/sim" or incoming.path.startswith("/sim/"):
            return self._admin(incoming)
        wire = self._wire(incoming)
        if fault is not None and fault.status is not None:
            return wire.fault(fault.status, incoming.request_id, fault.retry_after)
        try:
            kind = fault.kind if fault is not None else ""
            return wire.answer(replace(incoming, declined=kind == "refusal", paused=kind == "pause"))
        except RequestRefused as error:
            return wire.error(error, incoming.request_id)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
            # The checks let it through and the reading stumbled: a field of another type than the API's.
            message = f"The request has a field of an unexpected shape ({type(error).__name__}: {error})"
            return wire.error(RequestRefused(message, status=400), incoming.request_id)

    def judge(self, incoming: Incoming, row: Model) -> Judged:
        """Apply the rules to a request that another server answered: nothing is refused, and nothing written yet.

        Raises what reading a body of another shape raises.
        """
        return self._wire(incoming).judged(incoming, row)

    def remember(self, judged: Judged) -> None:
        """Keep warm what a judged request wrote."""
        self.engine.caches.write(judged.scope, judged.writes, judged.at)

    def note(self, incoming: Incoming, outcome: HttpAnswer) -> None:
        """Keep what came in, without its keys; the admin pages are not kept."""
        if incoming.path.startswith("/sim/"):
            return
        self.engine.note(
            Recorded(
                method=incoming.method,
                path=incoming.path,
                body=incoming.body,
                raw=incoming.raw,
                status=outcome.status,
                usage=outcome.usage,
                headers={name: value for name, value in incoming.headers.items() if name not in _SECRET_HEADERS},
                judged=outcome.judged,
            )
        )

    def _wire(self, incoming: Incoming) -> ServedWire:
        return next((wire for wire in self._wires if wire.owns(incoming)), self._wires[-1])

    def _admin(self, incoming: Incoming) -> HttpAnswer:
        page = self._pages.get(f"{incoming.method} {incoming.path}")
        if page is None:
            return HttpAnswer(status=404, body={"error": "no such page", "pages": list(self._pages)})
        try:
            return HttpAnswer(body=page(incoming.body if isinstance(incoming.body, dict) else {}))
        except InputError as error:
            return HttpAnswer(status=400, body={"error": str(error)})

    def _welcome(self, _: object) -> WireMapping:
        return {
            "what": "agentnb's simulated model provider: no model is behind it",
            "instance": self.engine.instance,
            "wires": [wire.name for wire in self._wires],
            "admin": list(self._pages),
        }

    def _state(self, _: object) -> WireMapping:
        engine = self.engine
        now = engine.clock.now()
        return {
            "instance": engine.instance,
            "now": now,
            "speed": self.pacer.speed,
            "requests": dict(engine.counts),
            "faults": engine.faults.pending(),
            "limits": engine.limits.state(),
            "cached_contents": self._cached_contents.state(),
            "entries": [
                {
                    "digest": entry.digest,
                    "model": model,
                    "tokens": entry.tokens,
                    "ttl": entry.ttl,
                    "expires": entry.expires,
                    "seconds_left": round(entry.expires - now, 3),
                }
                for model, entry in engine.caches.all(now)
            ],
        }

    def _add_fault(self, body: WireObject) -> WireMapping:
        fault, times = fault_from_json(body)
        self.engine.faults.inject(fault, times)
        return {"faults": self.engine.faults.pending()}

    def _clear_faults(self, _: object) -> WireMapping:
        self.engine.faults.clear()
        return {"faults": []}

    def _limit(self, body: WireObject) -> WireMapping:
        self.engine.limits.set(body)
        return {"limits": self.engine.limits.state()}

    def _advance(self, body: WireObject) -> WireMapping:
        seconds = body.get("advance", 0)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise InputError("`advance` is not a number of seconds", about=repr(seconds))
        self.engine.clock.advance(seconds)
        return {"now": self.engine.clock.now()}
