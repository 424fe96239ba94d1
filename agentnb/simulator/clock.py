"""Keep the time: the machine's own, which can be pushed ahead, or one that moves only when told."""

from __future__ import annotations

import datetime
import threading
import time
from typing import Protocol

from agentnb.errors import InputError


class SimulatorClock(Protocol):
    """Tell and move the time: `now` in seconds since the epoch, `monotonic` of a clock that never goes back."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def advance(self, seconds: float) -> None: ...


class SimClock:
    """Virtual time, safe between threads: it stands still until someone advances it or the simulator would wait.

    >>> clock = agentnb.SimClock()
    >>> with agentnb.Agent(clock=clock) as agent:
    ...     first = agent.run("What does `predict` need?")
    ...     clock.advance(310)  # the prompt cache of five minutes has lapsed
    ...     second = agent.run("And what does it give back?")
    >>> second.cache.read, clock.now() == clock.monotonic() == 1_700_000_310
    (0, True)
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._ahead = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the seconds since the epoch."""
        return self._ahead

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back; here the same as `now`."""
        return self._ahead

    def advance(self, seconds: float) -> None:
        """Move ahead by `seconds`. Raises InputError on a step back, or of over ten years."""
        if not 0 <= seconds <= _DECADE:
            raise InputError(
                "time does not go back, nor on by more than ten years", about=f"advance {seconds}", todo="Give seconds."
            )
        with self._lock:
            self._ahead += seconds


class RealClock(SimClock):
    """Holds the machine's time, plus what it was pushed ahead: a lesson about expiry need not last five minutes."""

    def __init__(self) -> None:
        super().__init__(0.0)

    def now(self) -> float:
        return time.time() + self._ahead

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead


_DECADE = 315_360_000


def utc(seconds: float) -> str:
    """RFC 3339 in UTC of seconds since the epoch."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")


class Pacer:
    """Waits for modelled seconds: really (divided by `speed`), by moving a virtual clock, or not at all (speed 0)."""

    def __init__(self, clock: SimulatorClock, speed: float) -> None:
        if speed < 0:
            raise InputError("speed is below 0", about=f"speed {speed}", todo="0 never waits, 1 is real time.")
        self.clock = clock
        self.speed = speed
        self.stopping = threading.Event()

    def wait(self, seconds: float) -> None:
        """Let `seconds` of modelled time pass; returns at once when the simulator is stopping."""
        if self.speed == 0 or seconds <= 0 or self.stopping.is_set():
            return
        if isinstance(self.clock, RealClock):
            self.stopping.wait(seconds / self.speed)
        else:
            self.clock.advance(seconds)
