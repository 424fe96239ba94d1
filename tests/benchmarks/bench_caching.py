"""What a session's input costs: agentnb's prompt against the blueprint's, and against a lower bound.

    python tests/benchmarks/bench_caching.py [--turns 12] [--steps 8] [--model sim:…]

A session of notebook turns with tool steps each, definitions edited between turns, pauses of 1 to 25 minutes on a
virtual clock. The requests go through the real adapters and SDKs to the simulator, which keeps the providers' published
rules; what is printed is computed from the usage that it reports. Cost is in multiples of the plain input price
(token equivalents), storage and keep-alive calls included. The lower bound: each new token written once and read at the
cached price ever after.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from agentnb.prompt.layers import Block, Layer, Prompt
from agentnb.providers import catalog
from agentnb.providers.anthropic import AnthropicProvider
from agentnb.providers.base import Wire
from agentnb.providers.calling import Calling
from agentnb.providers.google import GoogleProvider
from agentnb.providers.messages import Content, Opaque, Role, Text, ToolCall, ToolResult, ToolSpec, Usage
from agentnb.providers.openai import OpenAIProvider
from agentnb.providers.prices import cost_of
from agentnb.providers.promptcache import CacheObjects, Call, Ledger, place_marks, plan_for, rates_of
from agentnb.simulator import SimClock, Simulator

ADAPTERS: dict[str, type[Calling]] = {
    "anthropic": AnthropicProvider,
    "google": GoogleProvider,
    "openai": OpenAIProvider,
}
STATIC, SKELETON, DEFINITIONS, RESULT, QUESTION = 2400, 4000, 1500, 400, 60  # tokens, about
STEP_SECONDS = 12.0
PING = 270.0
WORDS = [
    a + b for a, b in itertools.product(("ta", "ri", "mo", "ke", "lu", "sa", "pe", "vo"), ("n", "r", "st", "l", "k"))
]
SIGNATURE = Opaque("google", {"next": {"thoughtSignature": "c2lnbmF0dXJl"}})
TOOL = ToolSpec("inspect", "Look a definition up.", {"type": "object", "properties": {"name": {"type": "string"}}})


@dataclass(frozen=True)
class Step:
    """One call of the session: the blocks it sends, how many of them the call before sent, and the pause before."""

    blocks: tuple[Block, ...]
    previous_end: int
    pause: float
    plain: str  # the same as one text in the blueprint's order


def text(rng: random.Random, tokens: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(max(1, round(tokens * 0.87))))


def block(layer: Layer, role: Role, content: Content) -> Block:
    return Block(layer=layer, role=role, content=content)


def session(turns: int, steps: int, parallel: int, *, signed: bool) -> list[Step]:
    """The calls in order; `signed` ones carry what Gemini wants back with them.

    Of a turn's definitions 60 % are as before, 25 % changed, 15 % new.
    """
    rng = random.Random(7)
    system, skeleton = text(rng, STATIC), text(rng, SKELETON)
    blocks = [
        block(Layer.STATIC, Role.TOOLS, TOOL),
        block(Layer.STATIC, Role.SYSTEM, Text(system)),
        block(Layer.SEMI_STATIC, Role.SYSTEM, Text(skeleton)),
    ]
    held = [text(rng, DEFINITIONS // 10) for _ in range(10)]
    said: list[str] = []
    out: list[Step] = []
    for turn in range(turns):
        fresh = held if turn == 0 else [text(rng, DEFINITIONS // 10) for _ in range(4)]
        held = fresh if turn == 0 else [*held[:6], *fresh]
        rng.shuffle(held)
        question = text(rng, QUESTION)
        blocks.append(block(Layer.HYDRATION, Role.USER, Text("\n\n".join(fresh))))
        blocks.append(block(Layer.DYNAMIC, Role.USER, Text(question)))
        said.append(question)
        pause = rng.uniform(60, 1500) if turn else 0.0
        for step in range(steps + 1):
            ended = len(out[-1].blocks) if out else 0
            plain = "\n\n".join([system, skeleton, *held, *said])
            out.append(Step(tuple(blocks), ended, pause if step == 0 else STEP_SECONDS, plain))
            if step == steps:
                answer = text(rng, 200)
                blocks.append(block(Layer.DYNAMIC, Role.ASSISTANT, Text(answer)))
                said.append(answer)
                break
            calls = [f"toolu_{turn}_{step}_{i}" for i in range(parallel)]
            results = [text(rng, RESULT // parallel) for _ in calls]
            blocks += [block(Layer.DYNAMIC, Role.ASSISTANT, SIGNATURE)] if signed else []
            blocks += [block(Layer.DYNAMIC, Role.ASSISTANT, ToolCall(c, "inspect", {"name": c})) for c in calls]
            blocks += [
                block(Layer.DYNAMIC, Role.USER, ToolResult(c, "inspect", r))
                for c, r in zip(calls, results, strict=True)
            ]
            said += results
    return out


@dataclass
class Bill:
    """Usage of a way of asking, call by call; `extra` is storage in token equivalents, `pings` the keep-alive calls."""

    usages: list[Usage]
    pings: int = 0
    extra: float = 0.0

    def cost(self, model: catalog.Model) -> float:
        short, long = rates_of(model, "5m"), rates_of(model, "1h")
        return self.extra + sum(
            u.input + short.write * u.cache_write_5m + long.write * u.cache_write_1h + short.read * u.cache_read
            for u in self.usages
        )

    @property
    def share(self) -> float:
        return sum(u.cache_read for u in self.usages) / max(1, sum(u.input_total for u in self.usages))


class Memory(dict[str, bytes]):
    """A ledger's storage in this process."""

    def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)

    def keys(self, prefix: str = "") -> list[str]:  # type: ignore[override]
        return sorted(key for key in dict.keys(self) if key.startswith(prefix))


class Bench:
    """One model on one simulator with a virtual clock."""

    def __init__(self, address: str) -> None:
        self.model = catalog.lookup(address)
        self.clock = SimClock()
        self.simulator = Simulator(speed=0, clock=self.clock).start()
        path = "/v1" if self.model.provider == "openai" else ""
        self.provider = ADAPTERS[self.model.provider](
            self.model, clock=self.clock, key="bench", base_url=self.simulator.url + path, scope="sim:bench"
        )

    def close(self) -> None:
        self.provider.close()
        self.simulator.stop()

    def ask(self, wire: Wire) -> Usage:
        return self.provider.ask(replace(wire, fallback=None), lambda *_: None).reply.usage

    def prompt(self, step: Step) -> Prompt:
        return Prompt(model=self.model.name, blocks=step.blocks, max_tokens=16, previous_end=step.previous_end)

    def agentnb(self, steps: list[Step], *, keep_alive: bool = False) -> Bill:
        """Marks and TTLs as the agent places them; with `keep_alive` within a budget that bridges what is worth it."""
        bill, pauses, pings = Bill([]), list[float](), 0
        last: Wire | None = None
        for i, step in enumerate(steps):
            if i:
                pauses.append(step.pause)
            left = step.pause
            if last is not None:
                left = self._bridge(bill, last, step.pause, pings)
            self.clock.advance(left)
            prompt = self.prompt(step)
            plan = plan_for(self.model, pauses[-64:], notebook=True, pings=keep_alive)
            pings = plan.pings
            last = self.provider.encode(prompt, place_marks(prompt, self.model, plan=plan), previous_message=None)
            bill.usages.append(self.ask(last))
        return bill

    def _bridge(self, bill: Bill, wire: Wire, pause: float, most: int) -> float:
        """Pings through a pause, as many as are worth it; the seconds that are left of it."""
        while pause > PING and most:
            self.clock.advance(PING)
            bill.usages.append(self.provider.prewarm(wire))
            bill.pings += 1
            pause, most = pause - PING, most - 1
        return pause

    def with_objects(self, steps: list[Step]) -> Bill:
        """As `agentnb`, with a cache object for what every call begins with, within a budget."""
        bill, pauses = Bill([]), list[float]()
        objects = CacheObjects(Ledger(Memory()), clock=self.clock, owner="bench", budget=100.0)
        for i, step in enumerate(steps):
            pauses += [step.pause] if i else []
            self.clock.advance(step.pause)
            prompt = self.prompt(step)
            marks = place_marks(prompt, self.model, pauses=pauses[-64:], notebook=True)
            tokens = tuple(len(b.canonical) // 4 for b in prompt.blocks)
            call = Call(
                prompt=prompt, marks=marks, tokens=tokens, model=self.model, scope="sim:bench", at=self.clock.now()
            )
            held = objects.ensure(self.provider, call, thread="t", pauses=pauses[-64:])
            bound = objects.bind(marks, prompt, held)
            bill.usages.append(self.ask(self.provider.encode(prompt, bound, previous_message=None)))
        plain = cost_of(self.model, Usage(input=100_000)).total or 1.0
        bill.extra = objects.spent / plain * 100_000
        return bill

    def blueprint(self, steps: list[Step], *, automatic: bool) -> Bill:
        """System, schemas, entities and query as one text, all of it sent again each time."""
        bill = Bill([])
        for step in steps:
            self.clock.advance(step.pause)
            whole = block(Layer.DYNAMIC, Role.USER, Text(step.plain))
            prompt = Prompt(model=self.model.name, blocks=(whole,), max_tokens=16)
            wire = self.provider.encode(prompt, (), previous_message=None)
            if automatic and self.model.provider == "anthropic":
                wire = replace(wire, body=dict(wire.body) | {"cache_control": {"type": "ephemeral"}})
            usage = self.ask(wire)
            bill.usages.append(usage if automatic else Usage(input=usage.input_total))
        return bill

    def bound(self, bill: Bill) -> float:
        """Each new token written once and read ever after, for the same requests."""
        rates = rates_of(self.model, "5m")
        totals = [usage.input_total for usage in bill.usages]
        return sum(
            rates.write * max(0, total - before) + rates.read * min(before, total)
            for before, total in itertools.pairwise([0, *totals])
        )


def ways(model: catalog.Model) -> Iterator[tuple[str, Callable[[Bench, list[Step]], Bill]]]:
    yield "blueprint, everything sent again", lambda bench, steps: bench.blueprint(steps, automatic=False)
    yield "blueprint, provider's automatic caching", lambda bench, steps: bench.blueprint(steps, automatic=True)
    yield "agentnb", lambda bench, steps: bench.agentnb(steps)
    if model.provider == "google":
        yield "agentnb, cache objects within a budget", lambda bench, steps: bench.with_objects(steps)
    if model.provider == "anthropic":
        yield "agentnb, keep-alive within a budget", lambda bench, steps: bench.agentnb(steps, keep_alive=True)


def measure(address: str, steps: list[Step]) -> list[dict[str, Any]]:
    """One row per way: cost over the lower bound, share read from the prompt cache, calls and pings."""
    rows = []
    model = catalog.lookup(address)
    base = 0.0
    for name, way in reversed(list(ways(model))):
        bench = Bench(address)
        bill = way(bench, steps)
        bench.close()
        if name == "agentnb":
            base = bench.bound(bill)
        rows.append((name, bill))
    return [
        {"way": name, "cost": bill.cost(model) / base, "share": bill.share, "pings": bill.pings}
        for name, bill in reversed(rows)
    ]


GOALS = {1: 1.10, 12: 1.20}  # Anthropic: times the lower bound, by tool calls a step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--model", action="append")
    given = parser.parse_args()
    models = given.model or ["sim:claude-sonnet-4-6", "sim:gemini-3.1-pro-preview", "sim:gpt-4.1", "sim:gpt-6.1-sol"]
    missed = 0
    for address, parallel in itertools.product(models, (1, 12)):
        steps = session(given.turns, given.steps, parallel, signed="gemini" in address)
        began = time.perf_counter()
        rows = measure(address, steps)
        print(f"\n{address}, {len(steps)} calls, {parallel} tool call(s) a step; {time.perf_counter() - began:.0f} s")
        for row in rows:
            pings = f", {row['pings']} pings" if row["pings"] else ""
            print(f"  {row['way']:42} {row['cost']:6.2f} x the bound, {row['share']:4.0%} read{pings}")
        ours = next(row["cost"] for row in rows if row["way"] == "agentnb")
        if "claude" in address:
            goal = GOALS[parallel]
            missed += ours > goal + 0.005
            print(f"  goal: at most {goal:.2f}: {'met' if ours <= goal + 0.005 else 'MISSED'}")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
