"""A run of hundreds of calls: its cost beside append-only and other policies, prefix reuse, and CPU a call.

    python tests/benchmarks/bench_long.py [--calls 500] [--model sim:…]

One real run, with a user's settings: real SDK over loopback to the simulator, which keeps the provider's rules of
prompt caching; behind it a script speaks (tests/shared/scripted_model.py). Each call brings some 120 tokens of output
and 460 of a tool's result. The figures of agentnb are computed from the usage that the simulator reported, summaries
included.

The other rows are the same stream under another policy, by the simulator's own rules of caching: each request is the
frame, what the policy keeps, and what is new. Marks stand behind the frame, where the last request ended, and at the
end. Providers condense by two of them: Anthropic clears tool results (3 kept, at 100 k tokens by default) and sums up
(from 50 k on, at 150 k by default). A summary has as many tokens as the script's, and is asked for behind the prompt as
it stands. Append-only by these rules is set beside a real run without any condensing, of a fifth of the calls.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from scripted_model import ScriptedModel

from agentnb.agent import request_planner
from agentnb.agent.run_document import AgentRun
from agentnb.agent.tools.tool import tool
from agentnb.durable.step_runner import Stepper
from agentnb.models import catalog
from agentnb.models.messages import Usage
from agentnb.models.prices import cost_of
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator
from agentnb.simulator import promptcache_rules as rules

MODEL = "sim:claude-sonnet-4-6"
GOALS = {300: 0.45, 500: 0.35}
REUSE = 0.99
KEPT = 3
"""Steps that the other policies keep word for word."""
BYTES_A_STEP = 2_500
TEXT = " ".join(topics.values()).split()
SUMMARY_WORDS = 400


def words(seed: object, count: int) -> str:
    """So many words of real text: it deflates as such does."""
    begin = random.Random(str(seed)).randrange(len(TEXT) - count)
    return " ".join(TEXT[begin : begin + count])


@tool(safe=True)
def page(number: int) -> str:
    """Read a page of the log."""
    return words(number, 250)


@dataclass
class Measured:
    """A real run: the usage of each call and of each summary, in order, and the CPU seconds of the agent's thread."""

    run: AgentRun = field(default_factory=lambda: AgentRun({}))
    calls: list[Usage] = field(default_factory=list)
    all_calls: list[Usage] = field(default_factory=list)
    first_after: set[int] = field(default_factory=set)
    cpu: list[float] = field(default_factory=list)
    sdk: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    """CPU seconds of each step's encoding and commit."""
    memory: list[int] = field(default_factory=list)
    """Bytes of the process after each call, the simulator's own among them; empty where that is not told."""
    journal: int = 0
    """Bytes of the run's steps in the journal."""
    new: int = 0
    """Bytes of what was said and found: replies, calls and results."""


def real(calls: int, address: str, **changes: Any) -> Measured:
    """Run it, and take down what it used."""
    script = ScriptedModel(
        lambda n: (words(-n, 55), [("page", {"number": n})]) if n <= calls - 1 else ("Done.", []),
        summary=lambda _: words("summary", SUMMARY_WORDS),
    )
    with tempfile.TemporaryDirectory() as home, Simulator(speed=0) as simulator, script.installed():
        settings = Settings(model=address, home=Path(home), sim_speed=0, max_steps=10_000, context="none")
        session = Session(settings=settings, simulated=simulator, environment={})
        session.extra_tools["page"] = page
        agent, run_id = session.agent(), session.new_run_id()
        clock, sdk, out = [time.thread_time()], [0.0], Measured()
        provider = session.provider(address)
        ask = provider.ask

        def timed(*given: Any) -> Any:
            began = time.thread_time()
            try:
                return ask(*given)
            finally:
                sdk[-1] += time.thread_time() - began

        def heard(event: Any) -> None:
            if event.kind == "step" and event.state == "THINKING" and event.next_state != "CONDENSING":
                clock.append(time.thread_time())
                sdk.append(0.0)
                script.seen.clear()
                out.memory += resident()

        commit = Stepper._commit

        def counted(*given: Any) -> Any:
            began = time.thread_time()
            try:
                return commit(*given)
            finally:
                out.commits.append(time.thread_time() - began)

        agent.machine.events.subscribe(heard)
        with mock.patch.object(provider, "ask", timed), mock.patch.object(Stepper, "_commit", counted):
            agent.begin(session.request("Read the log.", **changes), run_id)
            run = agent.drive(run_id)
        out.run, out.sdk, out.cpu = run, sdk[:-1], [b - a for a, b in itertools.pairwise(clock)]
        stored = "SELECT sum(length(frame) + coalesce(length(data), 0)) FROM agentnb_history"
        out.journal = agent.machine.journal._connection.execute(stored).fetchone()[0]
        out.new = sum(len(words(-n, 55)) + len(words(n, 250)) for n in range(1, calls))
        session.close()
    assert run.state == "COMPLETED", run.error
    for step in run.steps:
        if step.usage:
            usage = Usage.from_json(step.usage)
            out.all_calls.append(usage)
            if step.state == "THINKING":
                out.calls.append(usage)
        if step.state == "CONDENSING":
            out.first_after.add(len(out.calls))
    return out


def resident() -> list[int]:
    """Bytes of memory that the process holds, in a list; empty where the system does not say."""
    try:
        return [int(Path("/proc/self/statm").read_text().split()[1]) * 4096]
    except OSError:
        return []


def dollars(model: catalog.Model, usages: Sequence[Usage]) -> float:
    return sum(cost_of(model, usage).total or 0.0 for usage in usages)


def until(measured: Measured, calls: int) -> list[Usage]:
    """The usage up to and with so many calls, summaries between them included."""
    seen = 0
    out = []
    steps = [step for step in measured.run.steps if step.usage]
    for step in steps:
        seen += step.state == "THINKING"
        if seen > calls:
            break
        out.append(Usage.from_json(step.usage))
    return out


# --- the same stream under other policies ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """One block of the stream: its tokens, and whether it is a tool's result."""

    name: str
    tokens: int
    result: bool = False


@dataclass(frozen=True)
class Stream:
    """What every policy is given: the frame with the task, and of each call its output and its result."""

    frame: int
    output: int
    replied: int
    result: int
    summary: int


Policy = Callable[[list[Piece], int], tuple[list[Piece], bool]]
"""(the conversation, the tokens of the prompt) -> (the conversation to send, whether a summary was made)."""


def kept(pieces: list[Piece], tokens: int) -> tuple[list[Piece], bool]:
    return pieces, False


def summed_at(limit: int, summary: int) -> Policy:
    def policy(pieces: list[Piece], tokens: int) -> tuple[list[Piece], bool]:
        if tokens <= limit:
            return pieces, False
        return [Piece(f"summary {len(pieces)} {pieces[-1].name}", summary), *pieces[-2 * KEPT :]], True

    return policy


def cleared_at(limit: int) -> Policy:
    def policy(pieces: list[Piece], tokens: int) -> tuple[list[Piece], bool]:
        if tokens <= limit:
            return pieces, False
        old = pieces[: -2 * KEPT]
        gone = [Piece(f"{p.name} cleared", 10, False) if p.result else p for p in old]
        return [*gone, *pieces[-2 * KEPT :]], False

    return policy


def under(policy: Policy, stream: Stream, calls: int, model: catalog.Model) -> list[float]:
    """What the stream costs after each call, by the simulator's rules of caching."""
    caches = rules.PromptCaches()
    pieces: list[Piece] = []
    spent: list[float] = []
    previous: tuple[str, ...] = ()
    total = 0.0

    def ask(conversation: list[Piece], output: int) -> float:
        nonlocal previous
        sent = [Piece("frame", stream.frame), *conversation]
        names = tuple(piece.name for piece in sent)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(previous, names, strict=False)))
        marks = {0, same - 1, len(names) - 1}
        blocks = [
            rules.PromptPiece(
                section="messages", data=one.name.encode(), tokens=one.tokens, ttl="5m" if n in marks else None
            )
            for n, one in enumerate(sent)
        ]
        live, cache = caches.live(("", model.name), 0.0), model.cache
        plan = rules.plan(blocks, rules.chain(blocks, {}), live, minimum=cache.minimum, lookback=cache.lookback)
        caches.write(("", model.name), plan.writes, 0.0)
        previous = names
        usage = Usage(input=plan.plain, cache_read=plan.read, cache_write_5m=plan.write_5m, output=output)
        return cost_of(model, usage).total or 0.0

    for number in range(calls):
        size = stream.frame + sum(piece.tokens for piece in pieces)
        after, summed = policy(pieces, size)
        if summed:
            total += ask(pieces, stream.summary)
        pieces = after
        total += ask(pieces, stream.output)
        spent.append(total)
        reply = Piece(f"reply {number}", stream.replied)
        pieces = [*pieces, reply, Piece(f"result {number}", stream.result, result=True)]
    return spent


def stream_of(plain: Measured) -> Stream:
    """The stream's sizes, from the real run without condensing."""
    totals = [usage.input_total for usage in plain.calls]
    step = statistics.mean(b - a for a, b in itertools.pairwise(totals))
    output = statistics.mean(usage.output for usage in plain.calls[:-1])
    return Stream(frame=totals[0], output=round(output), replied=round(output), result=round(step - output), summary=0)


# --- telling --------------------------------------------------------------------------------------------------------


def reuse(measured: Measured) -> float:
    """The share of each request's predecessor that was read from the cache, but for those right after a compaction."""
    pairs = [
        (before.input_total, after.cache_read)
        for number, (before, after) in enumerate(itertools.pairwise(measured.calls), 1)
        if number not in measured.first_after
    ]
    return sum(min(read, sent) for sent, read in pairs) / sum(sent for sent, _ in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--model", default=MODEL)
    given = parser.parse_args()
    model = catalog.lookup(given.model)
    print(f"{time.strftime('%Y-%m-%d')}; one run of {given.calls} calls, {given.model}", flush=True)
    with mock.patch.object(request_planner, "due", return_value=None):
        plain = real(max(20, given.calls // 5), given.model)
    ours = real(given.calls, given.model)
    summaries = [u for u in ours.all_calls if u not in ours.calls]
    size = round(statistics.mean(u.output for u in summaries)) if summaries else 900
    stream = Stream(**(vars(stream_of(plain)) | {"summary": size}))
    print(f"  a call: {stream.output} tokens of output, {stream.result} of a result; frame {stream.frame:,}")
    base = under(kept, stream, given.calls, model)
    checked = dollars(model, plain.calls) / base[len(plain.calls) - 1]
    print(f"  append-only, real against these rules, {len(plain.calls)} calls: {checked:.3f}")
    policies = [
        ("a provider's: summary at 150 k", summed_at(150_000, size)),
        ("the same at 50 k, its least", summed_at(50_000, size)),
        ("a provider's: results cleared at 100 k", cleared_at(100_000)),
        ("the same at 25 k, where it is cheapest", cleared_at(25_000)),
        *((f"summary at {limit // 1000} k", summed_at(limit, size)) for limit in (60_000, 40_000, 25_000)),
    ]
    marks = [mark for mark in (300, 500) if mark <= given.calls] or [given.calls]
    print(f"  {'policy':40}" + "".join(f"{mark:>10} calls" for mark in marks) + "   of append-only")
    for name, policy in policies:
        spent = under(policy, stream, given.calls, model)
        print(f"  {name:40}" + "".join(f"{spent[mark - 1] / base[mark - 1]:16.3f}" for mark in marks), flush=True)
    shares = {mark: dollars(model, until(ours, mark)) / base[mark - 1] for mark in marks}
    print(f"  {'agentnb, as it comes':40}" + "".join(f"{share:16.3f}" for share in shares.values()))
    told = [step.what for step in ours.run.steps if step.state == "CONDENSING"]
    print(f"  {len(told)} compactions, {len(summaries)} of them summaries; the last: {told[-1] if told else '-'}")
    shared = reuse(ours)
    print(f"  prefix reuse between compactions: {shared:.2%}")
    own = [cpu - sdk for cpu, sdk in zip(ours.cpu, ours.sdk, strict=False)]
    for place in [n for n in (10, 100, 300, 500) if n <= given.calls]:
        near = slice(max(0, place - 10), place)
        print(
            f"  CPU a call around {place}: {statistics.median(own[near]) * 1000:.1f} ms of our own, "
            f"{statistics.median(ours.sdk[near]) * 1000:.1f} in the SDK"
        )
        if ours.memory:
            print(f"    memory: {ours.memory[place - 1] / 1e6:.0f} MB, the simulator's in it")
    stored, new = ours.journal / len(ours.run.steps), ours.new / len(ours.run.steps)
    print(f"  journal: {stored:,.0f} bytes a step, for {new:,.0f} of replies and results")
    tenth = len(ours.commits) // 10
    first, last = (statistics.median(part) * 1000 for part in (ours.commits[:tenth], ours.commits[-tenth:]))
    print(f"  journal's CPU a step: {first:.2f} ms in the first tenth, {last:.2f} ms in the last")
    missed = [f"{mark} calls: {share:.3f}" for mark, share in shares.items() if share > GOALS.get(mark, 1.0)]
    missed += [f"reuse {shared:.2%}"] if shared < REUSE else []
    missed += [f"{stored:,.0f} bytes a step"] if stored > BYTES_A_STEP * max(1.0, new / 1000) else []
    missed += [f"{last:.2f} ms of journal a step"] if last > 1 else []
    print(f"  goals: {'MISSED: ' + ', '.join(missed) if missed else 'met'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
