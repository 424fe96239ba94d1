"""Keep what earlier calls taught: token calibration, first-token times, pauses. In the data directory; may be lost.

Pauses are those between the calls that share a layer of the prompt, whatever thread they belonged to. All threads of
this user on a model with the same tools share STATIC. The calls of a segment share SEMI_STATIC. The rest belongs to the
thread. Which calls share a layer is told by the digest of the prefix that ends with it.
"""

from __future__ import annotations

import itertools
from typing import Any

from agentnb import canonical
from agentnb.models import catalog
from agentnb.models.catalog import Model
from agentnb.models.layers import Prompt
from agentnb.models.tokens import TokenCounter
from agentnb.providers.promptcache import LAYERS, BytesStorage, Call, Seen, frame_ends, layer_spans, seen

KEEP = 64
LATELY = 20
"""Calls whose estimates' errors are told: 19 of 20 are the usual bound."""

KEPT = 7 * 86400.0
"""Seconds for which the times of a prefix's calls are remembered: longer gaps decide nothing."""


class Samples:
    """Small series per model and thread, newest last, at most 64 each."""

    def __init__(self, storage: BytesStorage) -> None:
        self._storage = storage

    def counter(self, model: Model, *, simulated: bool) -> TokenCounter:
        """Return the estimator of this model's tokenizer family with its calibration so far.

        The simulator's tokenizer is its own: what it taught says nothing of the real model, and the other way round.
        """
        known = self._read(_tokens_key(model, simulated), [1.0, 0])
        factor, replies = known if isinstance(known, list) else (known, 1)  # earlier versions kept the factor only
        return TokenCounter(model.tokenizer, float(factor), int(replies))

    def counter_for(self, address: str) -> TokenCounter:
        """Return the same by a model's address."""
        return self.counter(catalog.lookup(address), simulated=catalog.is_simulated(address))

    def token_errors(self, model: Model, *, simulated: bool) -> list[float]:
        """Return by how much the last calls' estimates were off, as shares of the whole prompt, oldest first."""
        return [float(error) for error in self._read(f"{_tokens_key(model, simulated)}/errors", [])]

    def learn_token_error(self, model: Model, *, simulated: bool, error: float) -> None:
        series = [*self.token_errors(model, simulated=simulated), round(error, 5)][-LATELY:]
        self._write(f"{_tokens_key(model, simulated)}/errors", series)

    def learn_tokens(self, model: Model, *, simulated: bool, estimated: int, reported: int) -> None:
        counter = self.counter(model, simulated=simulated).calibrated(estimated=estimated, reported=reported)
        self._write(_tokens_key(model, simulated), [counter.factor, counter.replies])

    def first_tokens(self, address: str) -> list[tuple[int, int, float]]:
        """Return (prompt tokens, uncached ones, seconds from connection to first token) of the calls of one address,
        `sim:MODEL` or `PROVIDER:MODEL`."""
        return [(int(n), int(u), float(s)) for n, u, s in self._read(f"ttft/{address}", [])]

    def learn_first_token(self, address: str, tokens: int, uncached: int, seconds: float) -> None:
        series = [*self.first_tokens(address), (tokens, uncached, round(seconds, 6))][-KEEP:]
        self._write(f"ttft/{address}", [list(item) for item in series])

    def pauses(self, thread: str, now: float) -> tuple[float, ...]:
        """Return the seconds between this thread's calls, the pause that ends now included."""
        times = [float(at) for at in self._read(f"calls/{thread}", [])] + [now]
        return tuple(after - before for before, after in itertools.pairwise(times))

    def learn_call(self, thread: str, at: float, *, ttl: float | None = None) -> None:
        """Note a call of a thread, or of whatever else has that name, which is forgotten after `ttl` seconds."""
        times = [*self._read(f"calls/{thread}", []), at][-KEEP:]
        self._storage.set(f"calls/{thread}", canonical.dump(times), ttl=ttl)

    def hits(self, address: str) -> list[tuple[float, int]]:
        """Return (seconds since its prefix was last sent, 1 for a hit) of calls whose prefix is cached unasked."""
        return [(float(age), int(hit)) for age, hit in self._read(f"hits/{address}", [])]

    def learn_hit(self, address: str, age: float, hit: int) -> None:
        series = [*self.hits(address), (round(age, 3), hit)][-KEEP:]
        self._write(f"hits/{address}", [list(item) for item in series])

    def _read(self, key: str, default: object) -> Any:
        raw = self._storage.get(key)
        return default if raw is None else canonical.load(raw)

    def _write(self, key: str, value: object) -> None:
        self._storage.set(key, canonical.dump(value))


def _tokens_key(model: Model, simulated: bool) -> str:
    return f"tokens/{'sim/' if simulated else ''}{model.provider}/{model.name}"


def layers_seen(samples: Samples, call: Call, *, thread: str, now: float, notebook: bool) -> list[Seen]:
    """Return what the policy needs to know of each layer in LAYERS: tokens, and the pauses between its calls."""
    gaps = [samples.pauses(name, now) for name in _names(call.prompt, thread)]
    return [
        seen(layer, tokens, pauses, notebook=notebook)
        for layer, (tokens, _), pauses in zip(LAYERS, layer_spans(call), gaps, strict=True)
    ]


def learn_call(samples: Samples, prompt: Prompt, *, thread: str, at: float) -> None:
    """Note that a call was made: for its thread, and for the layers that it shares with others."""
    *frame, own = _names(prompt, thread)
    for name in dict.fromkeys(frame):
        samples.learn_call(name, at, ttl=KEPT)
    samples.learn_call(own, at)


def _names(prompt: Prompt, thread: str) -> tuple[str, str, str]:
    static, frame = (f"prefix/{prompt.model}/{prompt.chain[i] if i >= 0 else ''}" for i in frame_ends(prompt))
    return static, frame, thread
