"""Keep a prompt warm through a pause: the last request again with nothing to generate, while that pays.

It spends only from the cache budget that the user set. The policy must find pings cheaper than a longer TTL or a fresh
write. It ends at the break-even of one pause, or with a new call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from agentnb.canonical import Clock
from agentnb.errors import AgentnbError
from agentnb.models.messages import Usage
from agentnb.providers.base import Provider
from agentnb.providers.promptcache import SLACK, TTL_SECONDS, CacheObjects, Call, Ledger, warm_entries

Wait = Callable[[threading.Event, float], bool]
"""Waits for so many seconds, or until the event is set: True when it was."""


def really_wait(stopped: threading.Event, seconds: float) -> bool:
    return stopped.wait(seconds)


class KeepAlive:
    """Holds the pings of one session. `connect` gives a connection of their own, so that a call need not wait for them.

    `sent` counts the session's pings; of the present pause at most `planned` are worth it, and `done` have gone out.
    """

    def __init__(
        self,
        *,
        connect: Callable[[str], Provider],
        ledger: Ledger,
        clock: Clock,
        money: CacheObjects,
        wait: Wait = really_wait,
    ) -> None:
        self._connect = connect
        self._ledger = ledger
        self._clock = clock
        self._money = money
        self._wait = wait
        self._stopped = threading.Event()
        self._worker: threading.Thread | None = None
        self.sent = 0
        self.planned = 0
        self.done = 0

    @property
    def allowed(self) -> bool:
        """Tell whether there is anything of the budget left."""
        return self._money.spent < self._money.budget

    def begin(self, address: str, call: Call, most: int) -> None:
        """Ping through the pause that begins now, at most so often."""
        self.stop()
        self.planned = self.done = 0
        if most <= 0 or not self.allowed or not call.marks or call.total < call.model.cache.minimum:
            return
        self._stopped, self.planned = threading.Event(), most
        work = threading.Thread(
            target=self._ping, args=(address, call, most, self._stopped), name="agentnb-keepalive", daemon=True
        )
        self._worker = work
        work.start()

    def stop(self) -> None:
        """Send no more pings; one that is on its way is not waited for."""
        self._stopped.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the pings of this pause are over."""
        if self._worker is not None:
            self._worker.join(timeout)

    def _ping(self, address: str, call: Call, most: int, stopped: threading.Event) -> None:
        period = min(TTL_SECONDS[mark.ttl] for mark in call.marks) - SLACK
        provider = self._connect(address)
        try:
            wire = provider.encode(call.prompt, call.marks, previous_message=None)
            for _ in range(most):
                if self._wait(stopped, period) or not self._affordable(call):
                    return
                self._pay(call, provider.prewarm(wire))
        except AgentnbError:
            return  # keeping warm is a convenience: what fails here shows in the next call's prediction
        finally:
            provider.close()

    def _affordable(self, call: Call) -> bool:
        """Tell whether one more fits, if everything hits as it should."""
        cost = replace(call, at=self._clock.now()).price(Usage(cache_read=call.total)).total
        return cost is not None and self._money.spent + cost <= self._money.budget

    def _pay(self, call: Call, usage: Usage) -> None:
        self.sent += 1
        self.done += 1
        call = replace(call, at=self._clock.now())
        self._money.spent += call.price(usage).total or 0.0
        self._ledger.record(warm_entries(call, usage), call.at)
