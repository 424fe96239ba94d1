"""The timeline of one call and what a client can honestly say about it.

Measured: connect, headers, TTFT (first thinking, text or tool delta), TPOT = (last - first token) / (reported output
tokens - 1), total. No field of any API separates queue time from prefill, so the queue is an estimate with its sample
count, or unknown. The simulator sends the figures that it modelled; they are shown as modelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentnb.providers.transport import CallTrace

SIM_TIMING = "agentnb-sim-timing"
MIN_SAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds. `queue` is an estimate over `queue_samples` calls (None: not enough data), or modelled.

    All but `total` count from the start of the attempt that was answered; `retry_wait` is what went before it.
    """

    connect: float
    headers: float
    ttft: float
    tpot: float | None
    total: float
    queue: float | None = None
    queue_samples: int = 0
    server: float | None = None
    attempts: int = 1
    retry_wait: float = 0.0
    modelled: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "connect": round(self.connect, 6),
            "headers": round(self.headers, 6),
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
        }


def from_trace(trace: CallTrace, *, output_tokens: int) -> Latency:
    """The latency of a finished call; the simulator's modelled figures where it sent them."""
    modelled = parse_timing(trace.response_headers.get(SIM_TIMING, ""))
    if modelled:
        return _modelled(trace, modelled, output_tokens)
    started = trace.attempt_started or trace.started
    first = trace.first_token or trace.first_event or trace.headers or trace.finished or started
    last = trace.last_token or first
    return Latency(
        connect=trace.connect_seconds,
        headers=(trace.headers or first) - started,
        ttft=first - started,
        tpot=(last - first) / (output_tokens - 1) if output_tokens > 1 and last > first else None,
        total=(trace.finished or last) - trace.started,
        server=server_seconds(trace.response_headers),
        attempts=max(trace.attempts, 1),
        retry_wait=_retry_wait(trace),
    )


def _modelled(trace: CallTrace, timing: Mapping[str, float], output_tokens: int) -> Latency:
    queue = timing.get("queue", 0.0)
    tpot = timing.get("tpot", 0.0)
    first = trace.connect_seconds + queue + timing.get("ttft", 0.0)
    return Latency(
        connect=trace.connect_seconds,
        headers=first,
        ttft=first,
        tpot=tpot,
        total=trace.connect_seconds + timing.get("total", queue + timing.get("ttft", 0.0) + tpot * output_tokens),
        queue=queue,
        attempts=max(trace.attempts, 1),
        retry_wait=_retry_wait(trace),
        modelled=True,
    )


def _retry_wait(trace: CallTrace) -> float:
    """Seconds that went into attempts before the last one; 0 for a single attempt."""
    return (trace.attempt_started or trace.started) - trace.started if trace.attempts > 1 else 0.0


def parse_timing(header: str) -> dict[str, float]:
    """`queue=0.081;ttft=0.95` -> {"queue": 0.081, "ttft": 0.95}; what is not a number is left out."""
    out = {}
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        try:
            out[name] = float(value)
        except ValueError:
            continue
    return out


def server_seconds(headers: Mapping[str, str]) -> float | None:
    """The server's own processing time, where it sends one: openai-processing-ms or server-timing."""
    if "openai-processing-ms" in headers:
        return parse_timing(f"ms={headers['openai-processing-ms']}").get("ms", 0.0) / 1000 or None
    for part in headers.get("server-timing", "").replace(",", ";").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "dur":
            return parse_timing(f"dur={value}").get("dur", 0.0) / 1000 or None
    return None


def fit_prefill(samples: Sequence[tuple[int, float]]) -> tuple[float, float] | None:
    """(a, b) of p = a + b * uncached tokens, fitted on the faster half of (uncached tokens, TTFT in seconds).

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


def queue_estimate(latency: Latency, uncached: int, samples: Sequence[tuple[int, float]]) -> tuple[float | None, int]:
    """(seconds or None, sample count): TTFT less the connection and the fitted prefill. Never a measurement."""
    fit = fit_prefill(samples)
    if fit is None:
        return None, len(samples)
    rest = latency.ttft - latency.connect - (fit[0] + fit[1] * uncached)
    return max(0.0, rest), len(samples)
