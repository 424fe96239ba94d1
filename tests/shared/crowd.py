"""A virtual clock for many threads: it moves to the next wake-up time once every thread waits for one."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable

from agentnb.simulator.clock import SimClock


class Crowd:
    """Threads that share a clock. Time stands still while any of them works."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self._turn = threading.Condition()
        self._due: list[float] = []
        self._working = 0

    def run(self, work: Callable[[], object], count: int) -> list[BaseException]:
        """Do `work` in so many threads to its end; gives what they raised."""
        raised: list[BaseException] = []

        def go() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                raised.append(error)
            finally:
                with self._turn:
                    self._working -= 1
                    self._move()

        self._working = count
        threads = [threading.Thread(target=go, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return raised

    def wait(self, seconds: float) -> None:
        with self._turn:
            due = self.clock.now() + seconds
            heapq.heappush(self._due, due)
            self._working -= 1
            self._move()
            self._turn.wait_for(lambda: self.clock.now() >= due)

    def _move(self) -> None:
        """Let the time pass that all wait for. Those that wake work from then on."""
        if self._working or not self._due:
            return
        self.clock.advance(max(0.0, self._due[0] - self.clock.now()))
        while self._due and self._due[0] <= self.clock.now():
            heapq.heappop(self._due)
            self._working += 1
        self._turn.notify_all()
