"""Hold what all wires share: the clock, the seeded queue, token counts, what is warm, faults, and what was received."""

from __future__ import annotations

import hashlib
import math
import random
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentnb.models.catalog import Model
from agentnb.simulator.clock import SimulatorClock
from agentnb.simulator.faults import Faults
from agentnb.simulator.http_messages import Recorded, Timing
from agentnb.simulator.images import tokens_of
from agentnb.simulator.limits import RateLimits
from agentnb.simulator.promptcache_rules import PromptCaches
from agentnb.simulator.tokenizer import count

_PATHS = 1_000
_REMEMBERED = 20_000
"""The number of token counts, and of requests, that are remembered; the oldest are forgotten."""


@dataclass(frozen=True, kw_only=True)
class Print:
    """Hold what is remembered of a request, to say later why the next one's prefix missed.

    `parts` are digests or settings by name, in the order in which a change of them is named. Then come the `items` of
    the conversation, to which the next request may only append. `tokens` could be read again; `settings` are compared
    by the wire.
    """

    owner: str
    parts: Mapping[str, object]
    items: tuple[bytes, ...]
    tokens: int
    settings: object = None

    def change(self, now: Print, items: str) -> str:
        """Name the first part that differs in `now`, or `items` where those do; empty where nothing does."""
        changed = (name for name, value in self.parts.items() if now.parts.get(name) != value)
        return next(changed, "" if now.items[: len(self.items)] == self.items else items)


def digest(data: bytes) -> bytes:
    """Return a short digest, to compare prints by."""
    return hashlib.sha256(data).digest()[:12]


class Engine:
    """Holds one simulated provider behind its doors. `instance` names it: what is warm lives and dies with it."""

    def __init__(self, *, clock: SimulatorClock, seed: int, record: bool) -> None:
        self.clock = clock
        self.instance = secrets.token_hex(8)
        self.caches = PromptCaches()
        self.faults = Faults()
        self.limits = RateLimits(clock.now)
        self.requests: list[Recorded] = []
        self.heard: Callable[[Recorded], object] = lambda recorded: None
        self.counts: dict[str, int] = {}
        self._record = record
        self._seed = seed
        self._queues: dict[str, random.Random] = {}
        self._serial = 0
        self._known_counts: OrderedDict[tuple[str, bytes], int] = OrderedDict()
        self._prints: OrderedDict[str, Print] = OrderedDict()
        self._lock = threading.Lock()

    def timing(self, row: Model, *, tokens: int, uncached: int, output: int) -> Timing:
        """Return the modelled latency of one call; the queue's part is drawn anew, in a sequence that the seed
        fixes."""
        with self._lock:
            if row.name not in self._queues:
                self._queues[row.name] = random.Random(f"{self._seed}:{row.name}")  # noqa: S311 - modelling, no secret
            draw = self._queues[row.name].gauss(0.0, 1.0)
        profile = row.latency
        return Timing(
            queue=profile.queue_median * math.exp(profile.queue_sigma * draw),
            ttft=profile.ttft(tokens=tokens, uncached=uncached),
            tpot=profile.tpot,
            tokens=output,
        )

    def counter(self, row: Model) -> TextCounter:
        return TextCounter(self, row)

    def remembered_count(self, text: str, family: str) -> int:
        """Return the tokens of `text`; long texts are remembered by digest, since every step of an agent sends them
        again."""
        if len(text) < 200:
            return count(text, family)
        key = (family, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        with self._lock:
            known = self._known_counts.get(key)
        if known is None:
            known = count(text, family)
            self._keep(self._known_counts, key, known)
        return known

    def remember(self, reply_id: str, made: Print) -> None:
        """Keep a request's print under its reply's id."""
        self._keep(self._prints, reply_id, made)

    def remembered(self, reply_id: str, owner: str) -> Print | None:
        """Return what this owner's reply left, or None."""
        found = self._prints.get(reply_id)
        return found if found is not None and found.owner == owner else None

    def _keep(self, memory: OrderedDict[Any, Any], key: object, value: object) -> None:
        with self._lock:
            memory[key] = value
            if len(memory) > _REMEMBERED:
                memory.popitem(last=False)

    def new_id(self, prefix: str) -> str:
        """Return an id that no other simulator gives out."""
        with self._lock:
            self._serial += 1
            serial = self._serial
        return prefix + hashlib.sha256(f"{self.instance}:{serial}".encode()).hexdigest()[:24]

    def note(self, recorded: Recorded) -> None:
        with self._lock:
            if recorded.path in self.counts or len(self.counts) < _PATHS:
                self.counts[recorded.path] = self.counts.get(recorded.path, 0) + 1
            if self._record:
                self.requests.append(recorded)
        self.heard(recorded)


class TextCounter:
    """Counts texts, and base64 pictures, as one model's row says."""

    def __init__(self, engine: Engine, row: Model) -> None:
        self._engine = engine
        self._row = row

    def __call__(self, text: str, /) -> int:
        return self._engine.remembered_count(text, self._row.tokenizer)

    def picture(self, data: object) -> int:
        return tokens_of(self._row, data)
