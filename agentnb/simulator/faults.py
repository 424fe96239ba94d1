"""Let the next generation requests go wrong as asked, once or several times."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from agentnb.errors import InputError, nearest
from agentnb.simulator.http_messages import WireObject

STATUS_KINDS = {"429": 429, "500": 500, "503": 503, "529": 529}
KINDS = (*STATUS_KINDS, "refusal", "pause", "refuse", "stall", "drop", "error_event", "garbage", "slow_headers")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Holds one fault.

    `kind` is an HTTP status ("429" "500" "503" "529") or a word. "refusal": the model declines, in a well-formed reply.
    "pause": on Anthropic's wire the model pauses its turn in the middle of its text. "refuse": the connection is reset
    before any answer. "slow_headers": nothing comes for `seconds`. The others strike in mid-reply: after `after_events`
    stream events, or before the last one where there are fewer. "stall" is silence for `seconds`, then it goes on;
    "drop" resets the connection; "error_event" and "garbage" are sent. `seconds` are real ones at any speed, since they
    are for testing timeouts. `retry_after` (seconds) is sent as the header of that name, or in the body where the
    provider does so (Google).
    """

    kind: str
    after_events: int = 0
    retry_after: float | None = None
    seconds: float = 30.0

    @property
    def status(self) -> int | None:
        return STATUS_KINDS.get(self.kind)


class Faults:
    """Holds the faults still to come, in order. Each generation request takes one."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._lock = threading.Lock()

    def inject(self, fault: Fault, times: int = 1) -> None:
        """Queue `fault` for the next `times` requests. Raises InputError on an unknown kind or too large a figure."""
        if fault.kind not in KINDS:
            raise InputError(
                f"no fault is called {fault.kind!r}",
                todo=nearest(fault.kind, KINDS) or f"Known: {', '.join(KINDS)}.",
            )
        ranges = {
            "times": (times, 1_000),
            "after_events": (fault.after_events, 10_000),
            "seconds": (fault.seconds, 3_600),
        }
        for name, (value, most) in (ranges | {"retry_after": (fault.retry_after or 0, 86_400)}).items():
            if not 0 <= value <= most:
                raise InputError(f"`{name}` is not between 0 and {most:,}", about=repr(value))
        with self._lock:
            if len(self._waiting) + times > 1_000:
                raise InputError("over 1,000 faults would wait", todo="Clear them: DELETE /sim/faults.")
            self._waiting.extend([fault] * times)

    def take(self) -> Fault | None:
        with self._lock:
            return self._waiting.pop(0) if self._waiting else None

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def pending(self) -> list[str]:
        with self._lock:
            return [fault.kind for fault in self._waiting]


def fault_from_json(value: WireObject) -> tuple[Fault, int]:
    """Return (fault, times) of `{"kind", "after_events", "times", "retry_after", "seconds"}`; raises InputError."""
    try:
        fault = Fault(
            kind=str(value["kind"]),
            after_events=int(value.get("after_events", 0)),
            retry_after=None if value.get("retry_after") is None else float(value["retry_after"]),
            seconds=float(value.get("seconds", 30.0)),
        )
        return fault, int(value.get("times", 1))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"a fault needs a kind and numbers: {error!r}", todo=f"Known kinds: {', '.join(KINDS)}."
        ) from None
