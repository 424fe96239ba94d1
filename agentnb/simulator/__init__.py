"""Stand in for model providers on loopback and keep their published rules: wire, prompt cache, TTLs, latency, faults.

It is a judge, so it shares no code with what it judges. It imports only the standard library, `agentnb.errors` and the
catalogue. No model is behind it, and every reply says so. Importing this package is light; the HTTP server is imported
when a simulator starts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from agentnb.simulator.clock import Pacer, RealClock, SimClock, SimulatorClock

if TYPE_CHECKING:
    from types import TracebackType

    from agentnb.simulator.engine import Engine
    from agentnb.simulator.http_messages import Recorded
    from agentnb.simulator.server import SimulatorServer

__all__ = ["SimClock", "Simulator", "serve"]


class Simulator:
    """Holds a simulated provider at `url`, from `start` to `stop` (or as a context manager).

    `speed`: 1 is real time, 10 ten times as fast, 0 never waits. At any speed the modelled seconds stand in each
    reply's header `agentnb-sim-timing`. With a virtual `clock` waiting advances it (unless speed is 0). TTLs are judged
    by the clock. `seed` fixes the queue's delays. `port` 0 takes a free one. With `record`, `requests` keeps what was
    received. `limits` are the rate limits, `{"requests": n, "tokens": n}` a minute for each key and model. Raises
    InputError on a negative speed or another limit, and OSError where the port is taken.

    >>> with agentnb.Simulator(speed=0) as simulator:
    ...     simulator.url.startswith("http://127.0.0.1:"), simulator.requests
    (True, [])
    >>> simulator = agentnb.Simulator(speed=0).start()
    >>> simulator.speed, len(simulator.instance) > 0
    (0, True)
    >>> simulator.inject("529", times=2)  # the next two calls are told that it is overloaded
    >>> simulator.stop()
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        clock: SimulatorClock | None = None,
        seed: int = 0,
        port: int = 0,
        record: bool = False,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        from agentnb.simulator.engine import Engine

        self.clock: SimulatorClock = clock if clock is not None else RealClock()
        self._pacer = Pacer(self.clock, speed)
        self._engine: Engine = Engine(clock=self.clock, seed=seed, record=record)
        self._engine.limits.set(limits or {})
        self._port = port
        self._server: SimulatorServer | None = None

    def start(self) -> Simulator:
        """Listen on 127.0.0.1. Starting twice is harmless; a stopped simulator does not start again."""
        if self._server is None:
            from agentnb.simulator.server import SimulatorServer
            from agentnb.simulator.service import Service

            self._server = SimulatorServer(Service(self._engine, self._pacer), self._port)
            self._server.start()
        return self

    def stop(self) -> None:
        """End streams in flight and close; no thread or socket is left. Stopping twice is harmless."""
        if self._server is not None and not self._pacer.stopping.is_set():
            self._server.stop()

    @property
    def url(self) -> str:
        """Return `http://127.0.0.1:PORT`: the base URL for Anthropic's and Google's SDK; OpenAI's takes it with `/v1`.

        Empty before `start`.
        """
        return self._server.address if self._server is not None else ""

    @property
    def instance(self) -> str:
        """Return a random id: what is warm in this simulator lives and dies with it."""
        return self._engine.instance

    @property
    def speed(self) -> float:
        """Return how fast replies come: 1 is real time, 0 never waits."""
        return self._pacer.speed

    @property
    def requests(self) -> list[Recorded]:
        """Return what was received, in order, when made with `record=True`."""
        return self._engine.requests

    def inject(
        self,
        kind: str,
        *,
        after_events: int = 0,
        times: int = 1,
        retry_after: float | None = None,
        seconds: float = 30.0,
    ) -> None:
        """Let the next `times` generation requests meet a fault: a status such as "429", "stall" or "drop".

        `after_events` events of a stream come before it. `retry_after` is told with a status, `seconds` is how long a
        stall lasts. Raises InputError on another kind, with all that there are.
        """
        from agentnb.simulator.faults import Fault

        fault = Fault(kind=kind, after_events=after_events, retry_after=retry_after, seconds=seconds)
        self._engine.faults.inject(fault, times)

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    *,
    port: int = 0,
    speed: float = 1.0,
    limits: Mapping[str, int] | None = None,
    say: Callable[[str], object] = print,
    heard: Callable[[Recorded], object] | None = None,
) -> None:
    """Run a simulator until interrupted; `say` is given the lines for people, `heard` each request."""
    with Simulator(port=port, speed=speed, limits=limits) as simulator:
        if heard is not None:
            simulator._engine.heard = heard
        try:
            say(_WELCOME.format(url=simulator.url, speed=speed))
            threading.Event().wait()
        except KeyboardInterrupt:
            say("stopped")


_WELCOME = """\
simulated model provider at {url} (speed {speed:g}; interrupt to stop)
Point a client at it, with any key:
  export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=any
  export GOOGLE_GEMINI_BASE_URL={url} GEMINI_API_KEY=any
  export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY=any
What is warm, what was asked, what goes wrong next:
  curl {url}/sim/state
  curl {url}/sim/faults --json '{{"kind": "529", "times": 2, "retry_after": 3}}'
  curl {url}/sim/limits --json '{{"requests": 5, "tokens": 20000}}'
  curl {url}/sim/clock --json '{{"advance": 300}}'"""
