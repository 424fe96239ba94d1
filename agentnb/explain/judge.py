"""Judge the calls of a log by the simulator's rules, at the times at which they were made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agentnb.errors import ModelUnknown
from agentnb.explain.wires import LoggedCall, WireKind
from agentnb.models.catalog import lookup
from agentnb.models.messages import Usage
from agentnb.providers.reading import MISREAD
from agentnb.simulator.clock import Pacer, SimClock
from agentnb.simulator.engine import Engine
from agentnb.simulator.http_messages import Incoming, Recorded
from agentnb.simulator.judging import Judged
from agentnb.simulator.service import Service


@dataclass(frozen=True, kw_only=True)
class JudgedCall:
    """Holds a call with the rules' word on it. `betas` are the beta features that it named. `used` is what its reply
    reports, None where it reports nothing. `scale` are reported tokens for each that the simulator counts."""

    wire: WireKind
    judged: Judged
    used: Usage | None
    betas: str = ""
    scale: float = 1.0

    @property
    def total(self) -> int:
        """Return the tokens of the input, as reported where that is known."""
        return self.used.input_total if self.used is not None else round(self.judged.total * self.scale)

    @property
    def by_rules(self) -> int:
        """Return the tokens that hit by the rules."""
        return round(self.judged.read * self.scale)

    @property
    def read(self) -> int:
        """Return the tokens that hit, by the rules where the reply does not say."""
        return self.used.cache_read if self.used is not None else self.by_rules

    def tokens_to(self, index: int) -> int:
        """Return the tokens of so many pieces from the beginning."""
        return round(sum(piece.tokens for piece in self.judged.pieces[:index]) * self.scale)


@dataclass(frozen=True, kw_only=True)
class Unjudged:
    """Holds a call that could not be read, and why."""

    why: str


def judged_log(calls: Sequence[LoggedCall]) -> Iterator[JudgedCall | Unjudged]:
    """Yield each call, oldest first, with what the simulator's rules say of it."""
    clock = SimClock(calls[0].at or 0.0)
    service = Service(Engine(clock=clock, seed=0, record=False), Pacer(clock, 0))
    for call in calls:
        clock.advance(min(max((call.at or 0.0) - clock.now(), 0.0), _LONG))
        try:
            yield Unjudged(why=f"refused: {call.refusal}") if call.refusal else _judged(service, call)
        except ModelUnknown as error:
            yield Unjudged(why=str(error))
        except MISREAD as error:
            yield Unjudged(why=f"the request has another shape than its wire's ({type(error).__name__}: {error})")


_LONG = 30 * 86_400.0  # seconds: longer than anything stays warm


def _judged(service: Service, call: LoggedCall) -> JudgedCall:
    """Judge one call. Its minimum is the provider's, in tokens as the reply counts them: it is scaled to our count."""
    used, row = call.usage, lookup(f"{call.wire.provider}:{call.model}")
    incoming, scale = _incoming(call), 1.0
    if used is not None:
        scale = used.input_total / max(service.judge(incoming, row).total, 1)
    minimum = round(row.cache.minimum / scale)
    judged = service.judge(incoming, replace(row, cache=replace(row.cache, minimum=minimum)))
    service.remember(judged)
    return JudgedCall(wire=call.wire, judged=replace(judged, row=row), used=used, betas=call.betas, scale=scale)


def _incoming(call: LoggedCall) -> Incoming:
    return Incoming(
        method="POST",
        path=call.path,
        query={},
        headers={"authorization": f"Bearer {call.owner}"},
        raw=b"",
        body=call.body,
        request_id="",
    )


def of_recorded(recorded: Recorded, wire: WireKind) -> JudgedCall | None:
    """Return a request that the simulator itself received and judged; None where it was none for a reply."""
    if recorded.judged is None:
        return None
    call = LoggedCall(
        wire=wire,
        model=recorded.judged.row.name,
        path=recorded.path,
        headers=recorded.headers,
        body={},
        reply=({"usage": recorded.usage, "usageMetadata": recorded.usage},),
    )
    return JudgedCall(wire=wire, judged=recorded.judged, used=call.usage, betas=call.betas)
