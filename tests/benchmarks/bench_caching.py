"""What a session's input costs: agentnb, the blueprint and two other clients, against a lower bound.

    python tests/benchmarks/bench_caching.py [--turns 12] [--steps 8] [--model sim:…] [--parallel 1] [--result 170]

A session of notebook turns with tool steps each, definitions edited between turns, pauses of 1 to 25 minutes on a
virtual clock (caching_session.py). agentnb is the real agent with a user's settings but for those named in the row.
The requests go over real adapters and SDKs to the simulator, which keeps the providers' published rules; the figures
are computed from the usage that it reported. Cost is in multiples of the plain input price (token equivalents),
storage and keep-alive calls included.

The bound: each token written once (for 5 minutes, where that has a price) and read at the cached price by every later
call, for the requests of agentnb where it never drops anything. Only the few tokens behind the last block, where the
reply begins, are paid in full by each call, for no mark can cover them. What sends less can stay below it: out-of-date
text dropped, or edits of definitions that the task does not name left untold, as by the blueprint. So each row is also
set against the bound of its own requests. The peers are told the same system text and, before each task, the
definitions that agentnb chose for it. The floor is what the same session costs where each token is written once for an
hour: without pings no client can do better while nearly all pauses last more than five minutes, since a token that is
written for five minutes and once more costs 2.5, for an hour 2.

Peers run where `make bench-peers` has built their environments, with their own caching switched on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import caching_session as cs

from agentnb.agent.conversation import memory
from agentnb.models.catalog import Model, lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Role, Text, Usage
from agentnb.models.prices import cost_of
from agentnb.providers.anthropic import AnthropicProvider, decode_usage
from agentnb.providers.calling import Calling
from agentnb.providers.google import GoogleProvider
from agentnb.providers.openai import OpenAIProvider
from agentnb.providers.promptcache import rates_of
from agentnb.simulator import SimClock, Simulator
from agentnb.simulator.anthropic.prompt import REPLY_START

ADAPTERS: dict[str, type[Calling]] = {
    "anthropic": AnthropicProvider,
    "google": GoogleProvider,
    "openai": OpenAIProvider,
}
CASES = (
    ("sim:claude-sonnet-4-6", 1),
    ("sim:claude-sonnet-4-6", 12),
    ("sim:gemini-3.1-pro-preview", 1),
    ("sim:gpt-4.1", 1),
    ("sim:gpt-6.1-sol", 1),
)
GOALS = {1: 1.10, 12: 1.20}  # Anthropic: times the bound, by tool calls a step
TIGHT, NEVER = 0.10, 1.0  # of a prompt that may be out of date
BOUND, FLOOR = "lower bound", "floor: each token written once for an hour"
PLAIN = "agentnb, as it comes"
PEERS = Path(".bench-peers")
RUNNER = Path(__file__).with_name("caching_peers.py")


@dataclass(frozen=True)
class Row:
    """One way of asking. `own` is the bound of its own requests; `note` says what is worth knowing of it."""

    way: str
    cost: float
    usages: Sequence[Usage]
    own: float
    note: str = ""

    @property
    def share(self) -> float:
        return sum(u.cache_read for u in self.usages) / max(1, sum(u.input_total for u in self.usages))


def paid(model: Model, usages: Sequence[Usage], *, dollars: float = 0.0) -> float:
    """Token equivalents at the plain input price."""
    short, long = rates_of(model, "5m"), rates_of(model, "1h")
    plain = (cost_of(model, Usage(input=100_000)).total or 1.0) / 100_000
    return dollars / plain + sum(
        u.input + short.write * u.cache_write_5m + long.write * u.cache_write_1h + short.read * u.cache_read
        for u in usages
    )


def written_once(usages: Sequence[Usage], *, write: float, read: float, uncovered: int) -> float:
    totals = [0, *(usage.input_total - uncovered for usage in usages)]
    pairs = itertools.pairwise(totals)
    return len(usages) * uncovered + sum(
        write * max(0, total - before) + read * min(before, total) for before, total in pairs
    )


def uncovered(model: Model) -> int:
    """Input tokens of a call that stand behind the last place where a mark can be."""
    return REPLY_START if model.provider == "anthropic" else 0


def row(model: Model, way: str, usages: Sequence[Usage], *, dollars: float = 0.0, note: str = "") -> Row:
    return Row(way, paid(model, usages, dollars=dollars), usages, bound(model, usages), note)


def bound(model: Model, usages: Sequence[Usage], ttl: str = "5m") -> float:
    rates = rates_of(model, ttl)
    return written_once(usages, write=rates.write, read=rates.read, uncovered=uncovered(model))


def measure(address: str, given: cs.Story) -> Iterator[Row]:
    """The bound first, then one row per way."""
    model = lookup(address)
    with mock.patch.object(memory, "PATIENCE", math.inf):  # old results stay too
        whole = told(given, address, stale_limit=NEVER, thread_stale_limit=NEVER)
    least = bound(model, whole.usages)
    yield Row(BOUND, least, whole.usages, least)
    if model.cache.breakpoints and "1h" in model.cache.ttls:
        yield Row(FLOOR, bound(model, whole.usages, "1h"), whole.usages, least)
    yield from blueprint(model, given, whole)
    yield ours(model, PLAIN, told(given, address))
    yield ours(model, f"agentnb, thread_stale_limit {TIGHT:.0%}", told(given, address, thread_stale_limit=TIGHT))
    yield ours(model, "agentnb, stale text never dropped", whole)
    if model.provider == "anthropic":
        yield ours(model, "agentnb, keep-alive within $5", told(given, address, cache_budget=5.0))
        yield from peers(model, given, whole)
    if model.provider == "google":
        yield ours(model, "agentnb, cache objects within $5", told(given, address, cache_budget=5.0))
    if model.provider == "openai":
        yield ours(model, "agentnb, long retention asked for", told(given, address, cache_retention="long"))


def told(given: cs.Story, address: str, **settings: Any) -> cs.Told:
    with tempfile.TemporaryDirectory() as home:
        return cs.by_agentnb(given, address, Path(home), **settings)


def ours(model: Model, way: str, told: cs.Told) -> Row:
    pings = f", {told.pings} pings" if told.pings else ""
    again = f", {_paid_again(model, told):.3f} for text paid again" if model.provider == "google" else ""
    return row(model, way, told.usages, dollars=told.spent, note=f"{told.segments} new segments{pings}{again}")


def _paid_again(model: Model, told: cs.Told) -> float:
    """What of the cost, in times the bound of the same requests, is for text that the call before had sent too and that
    was read from no cache: here it comes after pauses alone, the rest being what is new."""
    rates, totals = rates_of(model, "5m"), [0, *(usage.input_total for usage in told.usages)]
    missed = (
        max(0, min(before, usage.input_total) - usage.cache_read)
        for before, usage in zip(totals, told.usages, strict=False)
    )
    return sum(missed) * (rates.write - rates.read) / bound(model, told.usages)


# --- the blueprint ------------------------------------------------------------------------------------------------


def blueprint(model: Model, given: cs.Story, whole: cs.Told) -> Iterator[Row]:
    """System, schemas, entities and query as one text, all of it sent again each time."""
    clock = SimClock()
    with Simulator(speed=0, clock=clock) as simulator:
        path = "/v1" if model.provider == "openai" else ""
        provider = ADAPTERS[model.provider](
            model, clock=clock, key="bench", base_url=simulator.url + path, scope="sim:bench"
        )
        usages = [_asked(provider, clock, pause, text) for pause, text in cs.one_text_each(given, whole)]
        provider.close()
    everything = [Usage(input=usage.input_total) for usage in usages]
    yield row(model, "blueprint, everything sent again", everything)
    yield row(model, "blueprint, provider's automatic caching", usages)


def _asked(provider: Calling, clock: SimClock, pause: float, text: str) -> Usage:
    clock.advance(pause)
    block = Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(text))
    prompt = Prompt(model=provider.model.name, blocks=(block,), max_tokens=16)
    wire = provider.encode(prompt, (), previous_message=None)
    if provider.model.provider == "anthropic":
        wire = replace(wire, body=dict(wire.body) | {"cache_control": {"type": "ephemeral"}})
    return provider.ask(replace(wire, fallback=None), lambda *_: None).reply.usage


# --- peers --------------------------------------------------------------------------------------------------------


def peers(model: Model, given: cs.Story, whole: cs.Told) -> Iterator[Row]:
    """pydantic-ai and langchain's agent, with five minutes and with an hour, where they are installed."""
    session = json.dumps(cs.for_peers(given, whole))
    for name, ttl in itertools.product(("pydantic-ai", "langchain"), ("5m", "1h")):
        python = PEERS / name / "bin" / "python"
        if not python.exists():
            print(f"  {name} is not installed: make bench-peers")
            return
        with Simulator(speed=0, record=True, clock=SimClock()) as simulator:
            done = subprocess.run(
                [python, RUNNER, name, ttl, simulator.url], input=session, capture_output=True, text=True, timeout=900
            )
            if done.returncode:
                print(f"  {name} failed: {done.stderr.strip()[-300:]}")
                continue
            usages = [decode_usage(item.usage) for item in simulator.requests if item.usage is not None]
        version = json.loads(done.stdout.splitlines()[-1])["version"]
        yield row(model, f"{name} {version}, its caching on, {ttl}", usages, note=f"{len(usages)} calls")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--model", action="append")
    parser.add_argument("--parallel", type=int, action="append")
    parser.add_argument("--result", type=int, default=cs.RESULT, help="tokens, about, that a step's tools bring")
    given = parser.parse_args()
    chosen = itertools.product(given.model or (), given.parallel or (1,)) if given.model else CASES
    print(f"{time.strftime('%Y-%m-%d')}; {given.turns} turns of {given.steps} tool steps and an answer each")
    stories = ((address, cs.story(given.turns, given.steps, calls, result=given.result)) for address, calls in chosen)
    return min(1, sum(_table(address, story) for address, story in stories))


def _table(address: str, given: cs.Story) -> int:
    """Prints one table; 1 where a goal was missed."""
    print(f"\n{address}, {given.parallel} tool call(s) a step", flush=True)
    costs: dict[str, float] = {}
    for one in measure(address, given):
        costs[one.way] = one.cost
        least = costs[BOUND]
        total = sum(usage.input_total for usage in one.usages)
        print(
            f"  {one.way:50} {one.cost / least:6.3f} x the bound ({one.cost / one.own:5.3f} of its own requests'), "
            f"{one.share:4.0%} of {total:11,} tokens read{'; ' + one.note if one.note else ''}",
            flush=True,
        )
    return _judged({way: cost / costs[BOUND] for way, cost in costs.items()}, given) if "claude" in address else 0


def _judged(ratios: dict[str, float], given: cs.Story) -> int:
    """Says whether what users get meets the goal, as it stands and not rounded; 1 where it does not."""
    goal, ratio = GOALS[given.parallel], ratios[PLAIN]
    verdict = "met" if ratio <= goal else f"MISSED by {ratio - goal:.3f}"
    print(f"  goal: at most {goal:.2f}: {PLAIN}: {ratio:.3f}, {verdict}; the floor: {ratios[FLOOR]:.3f}")
    return int(ratio > goal)


if __name__ == "__main__":
    sys.exit(main())
