"""What all wires share: the clock, the seeded queue, token counts, what is warm, the faults, and what was received."""

from __future__ import annotations

import hashlib
import math
import random
import secrets
import threading
from collections import OrderedDict

from agentnb.models.catalog import Model
from agentnb.simulator.clock import Clock
from agentnb.simulator.exchange import Recorded, Timing
from agentnb.simulator.faults import Faults
from agentnb.simulator.images import tokens_of
from agentnb.simulator.limits import RateLimits
from agentnb.simulator.promptcache_rules import PromptCaches
from agentnb.simulator.tokenizer import count

_REMEMBERED_COUNTS = 20_000


class Engine:
    """One simulated provider behind its doors. `instance` names it: what is warm lives and dies with it."""

    def __init__(self, *, clock: Clock, seed: int, record: bool) -> None:
        self.clock = clock
        self.instance = secrets.token_hex(8)
        self.caches = PromptCaches()
        self.faults = Faults()
        self.limits = RateLimits(clock.now)
        self.requests: list[Recorded] = []
        self.counts: dict[str, int] = {}
        self._record = record
        self._seed = seed
        self._queues: dict[str, random.Random] = {}
        self._serial = 0
        self._known_counts: OrderedDict[tuple[str, bytes], int] = OrderedDict()
        self._lock = threading.Lock()

    def timing(self, row: Model, *, tokens: int, uncached: int, output: int) -> Timing:
        """The modelled latency of one call; the queue's part is drawn anew, in a sequence that the seed fixes."""
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
        """The tokens of `text`; long texts are remembered by digest, since every step of an agent sends them again."""
        if len(text) < 200:
            return count(text, family)
        key = (family, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        with self._lock:
            known = self._known_counts.get(key)
        if known is None:
            known = count(text, family)
            with self._lock:
                self._known_counts[key] = known
                if len(self._known_counts) > _REMEMBERED_COUNTS:
                    self._known_counts.popitem(last=False)
        return known

    def new_id(self, prefix: str) -> str:
        """An id that no other simulator gives out."""
        with self._lock:
            self._serial += 1
            serial = self._serial
        return prefix + hashlib.sha256(f"{self.instance}:{serial}".encode()).hexdigest()[:24]

    def note(self, recorded: Recorded) -> None:
        with self._lock:
            self.counts[recorded.path] = self.counts.get(recorded.path, 0) + 1
            if self._record:
                self.requests.append(recorded)


class TextCounter:
    """Counts texts, and base64 pictures, as one model's row says."""

    def __init__(self, engine: Engine, row: Model) -> None:
        self._engine = engine
        self._row = row

    def __call__(self, text: str, /) -> int:
        return self._engine.remembered_count(text, self._row.tokenizer)

    def picture(self, data: object) -> int:
        return tokens_of(self._row, data)
