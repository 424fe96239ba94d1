"""Keep the timeline of one call, and what a client can honestly say about it.

Measured: earlier attempts, connect, headers, first event, TTFT (first thinking, text or tool delta) and total. TPOT is
(last - first token) / (tokens that came - 1). Thinking that a provider bills and does not send lies before the first
token. The pace of the tokens that came tells how long it took. Put together, L = retries + connect + T_queue +
T_prefill + thinking + N x T_tpot. No field of any API separates queue time from prefill. So the queue is an estimate
with its sample count, or unknown. The simulator sends the figures that it modelled; they are shown as modelled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentnb.canonical import JsonObject
from agentnb.models.catalog import LatencyProfile
from agentnb.providers.transport import CallTrace

SIM_TIMING = "agentnb-sim-timing"
MIN_SAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Holds seconds. `queue` is an estimate over `queue_samples` calls (None: not enough data), or modelled.

    All but `total` count from the start of the attempt that was answered. `retry_wait` is what went before it, and
    `total` holds both. `thinking` is the part of `ttft` in which the model wrote `hidden` tokens for itself. It is an
    estimate at the pace of the tokens that came, 0 where there were none. `expected` is what was predicted of TTFT less
    connect before the call was made. `on_server` is what a server on this machine measured. If a reply was not
    `streamed`, its first token cannot be told: `ttft` is when the whole of it came.
    """

    connect: float
    headers: float
    first_event: float
    ttft: float
    tpot: float | None
    total: float
    queue: float | None = None
    queue_samples: int = 0
    server: float | None = None
    attempts: int = 1
    retry_wait: float = 0.0
    modelled: bool = False
    streamed: bool = True
    thinking: float = 0.0
    hidden: int = 0
    expected: Expected | None = None
    on_server: OnServer | None = None

    @property
    def reading(self) -> float:
        """Return the seconds from the open connection to the model's first token, shown or not: queue and prefill."""
        return max(0.0, self.ttft - self.connect - self.thinking)

    def to_json(self) -> JsonObject:
        return {
            "connect": round(self.connect, 6),
            "headers": round(self.headers, 6),
            "first_event": round(self.first_event, 6),
            "ttft": round(self.ttft, 6),
            "tpot": None if self.tpot is None else round(self.tpot, 6),
            "total": round(self.total, 6),
            "queue_estimate": {
                "seconds": None if self.queue is None else round(self.queue, 6),
                "samples": self.queue_samples,
            },
            "attempts": self.attempts,
            "retry_wait": round(self.retry_wait, 6),
            "modelled": self.modelled,
            "streamed": self.streamed,
            "server": self.server,
            "thinking": {"seconds": round(self.thinking, 6), "tokens": self.hidden} if self.hidden else None,
            "expected": None if self.expected is None else self.expected.to_json(),
            "on_server": None if self.on_server is None else self.on_server.to_json(),
        }


@dataclass(frozen=True, kw_only=True)
class OnServer:
    """Holds seconds that a server measured of one call: `prefill`, `decode`, and `queue` by the client's clock beside
    it."""

    prefill: float
    decode: float
    queue: float

    def to_json(self) -> JsonObject:
        return {"queue": round(self.queue, 6), "prefill": round(self.prefill, 6), "decode": round(self.decode, 6)}


def from_trace(trace: CallTrace, *, output_tokens: int, reasoning: int = 0) -> Latency:
    """Return the latency of a finished call; the simulator's modelled figures where it sent them.

    `reasoning` is the part of `output_tokens` that was spent on thinking.
    """
    hidden = 0 if trace.thought else reasoning
    modelled = parse_timing(trace.response_headers.get(SIM_TIMING, ""))
    if modelled:
        return _modelled(trace, modelled, output_tokens, hidden)
    started = trace.attempt_started or trace.started
    seen = trace.first_token or trace.first_event or trace.headers or trace.finished or started
    first = seen if trace.streamed else trace.finished or seen
    event = min(trace.first_event or first, first)
    last = trace.last_token or first
    came = output_tokens - hidden
    tpot = (last - first) / (came - 1) if came > 1 and last > first else None
    return Latency(
        connect=trace.connect_seconds,
        headers=(trace.headers or event) - started,
        first_event=event - started,
        ttft=first - started,
        tpot=tpot,
        thinking=min(hidden * (tpot or 0.0), max(0.0, first - started - trace.connect_seconds)),
        hidden=hidden,
        total=(trace.finished or last) - trace.started,
        server=server_seconds(trace.response_headers),
        attempts=max(trace.attempts, 1),
        retry_wait=_retry_wait(trace),
        streamed=trace.streamed,
        on_server=_on_server(trace, started),
    )


def _on_server(trace: CallTrace, started: float) -> OnServer | None:
    """Return the server's own figures. Time that is neither the connection nor its work was spent waiting for it."""
    if trace.on_server is None or trace.finished is None:
        return None
    prefill, decode = trace.on_server
    queue = trace.finished - started - trace.connect_seconds - prefill - decode
    return OnServer(prefill=prefill, decode=decode, queue=max(0.0, queue))


def _modelled(trace: CallTrace, timing: Mapping[str, float], output_tokens: int, hidden: int) -> Latency:
    queue = timing.get("queue", 0.0)
    tpot = timing.get("tpot", 0.0)
    first = trace.connect_seconds + queue + timing.get("ttft", 0.0) + hidden * tpot
    before = _retry_wait(trace)
    whole = timing.get("total", queue + timing.get("ttft", 0.0) + tpot * output_tokens)
    return Latency(
        connect=trace.connect_seconds,
        headers=first,
        first_event=first,
        ttft=first,
        tpot=tpot,
        total=before + trace.connect_seconds + whole,
        queue=queue,
        thinking=hidden * tpot,
        hidden=hidden,
        attempts=max(trace.attempts, 1),
        retry_wait=before,
        modelled=True,
    )


def _retry_wait(trace: CallTrace) -> float:
    """Return the seconds that went into attempts before the last one; 0 for a single attempt."""
    return (trace.attempt_started or trace.started) - trace.started if trace.attempts > 1 else 0.0


def parse_timing(header: str) -> dict[str, float]:
    """Return `queue=0.081;ttft=0.95` -> {"queue": 0.081, "ttft": 0.95}; what is not a number is left out."""
    out = {}
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        try:
            out[name] = float(value)
        except ValueError:
            continue
    return out


def server_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the server's own processing time, where it sends one: openai-processing-ms or server-timing."""
    if "openai-processing-ms" in headers:
        return parse_timing(f"ms={headers['openai-processing-ms']}").get("ms", 0.0) / 1000 or None
    for part in headers.get("server-timing", "").replace(",", ";").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "dur":
            return parse_timing(f"dur={value}").get("dur", 0.0) / 1000 or None
    return None


def fit_prefill(samples: Sequence[tuple[int, float]]) -> tuple[float, float] | None:
    """Return (a, b) of p = a + b * uncached tokens, fitted on the faster half of (uncached tokens, TTFT in seconds).

    The faster half, because a queue only ever adds. None with fewer than 5 samples, or when all have equal tokens.
    """
    if len(samples) < MIN_SAMPLES:
        return None
    middle = _line(samples)
    if middle is None:
        return None
    by_residual = sorted(samples, key=lambda s: s[1] - (middle[0] + middle[1] * s[0]))
    return _line(by_residual[: max(3, len(samples) // 2)]) or middle


def _line(samples: Sequence[tuple[int, float]]) -> tuple[float, float] | None:
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    if spread == 0:
        return None
    slope = max(0.0, sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread)
    return max(0.0, mean_y - slope * mean_x), slope


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Tells in seconds when a call's first token may be expected; 8 of 10 calls fall between `low` and `high`.

    `samples` is the number of calls that say so; 0 where it is the catalogue's curve. Where it is not `known`, neither
    says anything: the figures are another model's.
    """

    low: float
    middle: float
    high: float
    samples: int
    known: bool = True

    def __str__(self) -> str:
        if not self.known:
            return f"unknown time (the model has no row in the catalogue; {MIN_SAMPLES} calls will tell)"
        by = f"{self.samples} calls" if self.samples else "the catalogue's curve"
        return f"{self.span} (8 of 10 times; from {by})"

    @property
    def span(self) -> str:
        """Return `0.61 to 0.83 s`."""
        return f"{self.low:.2f} to {self.high:.2f} s"

    def to_json(self) -> dict[str, float | int] | None:
        """Return seconds; None where nothing is known."""
        if not self.known:
            return None
        bounds = {"low": self.low, "middle": self.middle, "high": self.high}
        return {name: round(value, 6) for name, value in bounds.items()} | {"samples": self.samples}


def expect_first_token(
    profile: LatencyProfile, samples: Sequence[tuple[int, float]], *, tokens: int, uncached: int, known: bool = True
) -> Expected:
    """Return the prediction interval of the next call's time to first token, connection left out.

    From the user's own calls, (uncached tokens, seconds) each, a line is fitted. The interval spans the tenth to the
    ninetieth percentile of the distances from it. It is wider the further the call is from those seen. With fewer than
    5 calls, the catalogue's curve and its log-normal queue count. They are this model's where it is `known`.
    """
    line = _line(samples) if len(samples) >= MIN_SAMPLES else None
    if line is None:
        base = profile.ttft(tokens=tokens, uncached=uncached)
        spread = math.exp(_Z_80 * profile.queue_sigma)
        queue = profile.queue_median
        low, high = base + queue / spread, base + queue * spread
        return Expected(low=low, middle=base + queue, high=high, samples=0, known=known)
    middle = line[0] + line[1] * uncached
    off = sorted(seconds - (line[0] + line[1] * count) for count, seconds in samples)
    wider = _wider(samples, uncached)
    low, high = (bound * wider for bound in _four_fifths(off))
    return Expected(low=max(0.0, middle + low), middle=middle, high=max(0.0, middle + high), samples=len(samples))


_Z_80 = 1.2816  # standard deviations within which 8 of 10 lie


def _four_fifths(off: Sequence[float]) -> tuple[float, float]:
    """Return the bounds within which the next one lies in 8 of 10 cases, from n ordered earlier ones.

    By the ranks of n + 1 (the next one is one of them).
    """
    n = len(off)
    return off[max(0, math.floor(0.1 * (n + 1)) - 1)], off[min(n - 1, math.ceil(0.9 * (n + 1)) - 1)]


def _wider(samples: Sequence[tuple[int, float]], at: int) -> float:
    """Return by what the residuals of a fitted line grow for a prediction at `at`: sqrt((1 + h) n / (n - 2)).

    h = 1 / n + (at - mean)^2 / sum((x - mean)^2), the leverage (any text on linear regression). Two parameters were
    fitted to the same n, and the line is less certain far from its calls.
    """
    n = len(samples)
    mean = sum(x for x, _ in samples) / n
    spread = sum((x - mean) ** 2 for x, _ in samples)
    leverage = 1 / n + (at - mean) ** 2 / spread
    return math.sqrt((1 + leverage) * n / (n - 2))


def plot_data(
    profile: LatencyProfile, calls: Sequence[tuple[int, int, float]], *, points: int = 40
) -> dict[str, list[tuple[int, float]]]:
    """Return time to first token against prompt tokens, as points. `cold` and `cached` (nine tenths read) are the
    catalogue's curve: (tokens, seconds). `measured_cold` and `measured_cached` are the `calls`: (tokens, uncached,
    seconds) each. From 5 calls on, add their `fit` for prompts with nothing cached, and the interval's `low` and
    `high`."""
    widest = max([round(1.15 * tokens) for tokens, _, _ in calls] + [5_000]) if calls else 20_000
    grid = [round(widest * i / points) for i in range(points + 1)]
    return _own_curve(profile, [(uncached, seconds) for _, uncached, seconds in calls], grid) | {
        "cold": [(n, profile.ttft(tokens=n, uncached=n)) for n in grid],
        "cached": [(n, profile.ttft(tokens=n, uncached=n // 10)) for n in grid],
        "measured_cold": [(n, s) for n, uncached, s in calls if uncached > n / 2],
        "measured_cached": [(n, s) for n, uncached, s in calls if uncached <= n / 2],
    }


def _own_curve(
    profile: LatencyProfile, samples: Sequence[tuple[int, float]], grid: Sequence[int]
) -> dict[str, list[tuple[int, float]]]:
    fit = fit_prefill(samples)
    if fit is None:
        return {}
    ahead = [(n, expect_first_token(profile, samples, tokens=n, uncached=n)) for n in grid]
    return {
        "fit": [(n, fit[0] + fit[1] * n) for n in grid],
        "low": [(n, expected.low) for n, expected in ahead],
        "high": [(n, expected.high) for n, expected in ahead],
    }


def queue_estimate(latency: Latency, uncached: int, samples: Sequence[tuple[int, float]]) -> tuple[float | None, int]:
    """Return (seconds or None, sample count): what TTFT has beyond connection, thinking, and the usual for so many
    tokens.

    The usual holds a queue that is always there. Never a measurement.
    """
    fit = fit_prefill(samples)
    if fit is None:
        return None, len(samples)
    rest = latency.reading - (fit[0] + fit[1] * uncached)
    return max(0.0, rest), len(samples)
