"""How far the token estimates are from real counts: `make bench-context` runs it.

Three parts: texts whose counts are known (tests/models/data), the recorded exchanges' reported input (tests/providers/
data), and a session of 20 turns over library code and prose against the simulator, whose tokenizer is its own: the
whole prompt, what each turn adds to it, and (on Anthropic's wire, whose blocks it counts one by one) each layer.
"""

from __future__ import annotations

import inspect
import json
import random
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentnb.agent.run_document import AgentRun
from agentnb.models import catalog
from agentnb.models.tokens import BLOCK_OVERHEAD, TokenCounter
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator
from agentnb.simulator.anthropic.prompt import pieces
from agentnb.simulator.clock import RealClock
from agentnb.simulator.engine import Engine

TESTS = Path(__file__).resolve().parents[1]
FAMILIES = ("claude-4", "claude-5", "o200k")
MODELS = ("claude-sonnet-4-6", "claude-sonnet-5-5", "gpt-4.1", "gpt-6.1-sol", "gemini-2.5-flash")
FIXED = ("cache_control", "type", "role", "id", "tool_use_id", "call_id", "tool_call_id", "status", "annotations")
FUNCTIONS = (
    "pagerank", "shortest_path", "betweenness_centrality", "is_connected", "bfs_tree", "density", "diameter",
    "average_clustering", "minimum_spanning_tree", "topological_sort", "transitivity", "eccentricity", "center",
    "radius", "all_simple_paths", "has_path", "degree_centrality", "greedy_color", "triangles", "find_cliques",
)  # fmt: skip


def spread(errors: Sequence[float]) -> str:
    """Median and 95th percentile of the errors' size, in percent."""
    sizes = sorted(abs(error) for error in errors)
    high = sizes[min(len(sizes) - 1, round(0.95 * (len(sizes) - 1)))]
    return f"p50 {statistics.median(sizes):6.1%}  p95 {high:6.1%}"


def known_texts() -> None:
    print("Texts with known counts, before any calibration")
    texts = json.loads((TESTS / "models/data/token-counts.json").read_text())["texts"]
    for family in FAMILIES:
        for kind in ("code", "prose", "table"):
            known = [(item["text"], item["tokens"][family]) for item in texts if item["kind"] == kind]
            errors = [TokenCounter(family).count(text) / tokens - 1 for text, tokens in known]
            bias = statistics.median(errors)
            print(f"  {family:<9} {kind:<6} {len(known):>3} texts  median {bias:+6.1%}  {spread(errors)}")


def calibrated_texts() -> None:
    """Each round begins without calibration and asks 24 times; the error is of the texts that a call adds."""
    print("Prompts of eight such texts (2,000 tokens), all new, 20 rounds: the error before and after so many replies")
    texts = json.loads((TESTS / "models/data/token-counts.json").read_text())["texts"]
    for family in FAMILIES:
        rounds = [one_round(random.Random(seed), texts, family) for seed in range(20)]
        parts = ((0, 1), (1, 3), (3, 10), (10, 24))
        said = (f"{first:>2}+: {spread([e for one in rounds for e in one[first:last]])}" for first, last in parts)
        print(f"  {family:<9} {'   '.join(said)}")


def one_round(rng: random.Random, texts: list[dict[str, Any]], family: str) -> list[float]:
    counter, errors = TokenCounter(family), []
    for _ in range(24):
        chosen = rng.sample(texts, 8)
        real = sum(text["tokens"][family] for text in chosen)
        guess = sum(counter.count(text["text"]) for text in chosen)
        errors.append(guess / real - 1)
        counter = counter.calibrated(estimated=guess, reported=real)
    return errors


# --- the recordings ---------------------------------------------------------------------------------------------


def strings(value: Any) -> Iterator[str]:
    """What of a request body reaches the tokenizer."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in ("args", "input", "response") and isinstance(item, dict):
                yield json.dumps(item, separators=(",", ":"))
            elif name not in FIXED and "ignature" not in name and "encrypted" not in name:
                yield from strings(item)


def tools_of(body: Mapping[str, Any]) -> list[str]:
    found = body.get("tools") or []
    found = [part for tool in found for part in tool.get("functionDeclarations", [tool.get("function") or tool])]
    return [json.dumps({k: v for k, v in one.items() if k not in FIXED}, separators=(",", ":")) for one in found]


def estimate(counter: TokenCounter, body: Mapping[str, Any]) -> int:
    fields = ("system", "systemInstruction", "instructions", "messages", "contents", "input")
    text = sum(counter.count(part) + BLOCK_OVERHEAD for field in fields for part in strings(body.get(field)))
    tools = tools_of(body)
    return text + sum(counter.tool(tool) + BLOCK_OVERHEAD for tool in tools) + (counter.tools_preamble if tools else 0)


def events_of(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "sse" not in response:
        return [response["body"]]
    lines = response["sse"].replace("\r", "").split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def reported(response: Mapping[str, Any]) -> int:
    """The input tokens that the provider says it read."""
    usage: dict[str, Any] = {}
    for event in events_of(response):
        holders = (event, event.get("message") or {}, event.get("response") or {})
        for found in (holder.get("usage") or holder.get("usageMetadata") for holder in holders):
            usage |= {name: value for name, value in (found or {}).items() if isinstance(value, int)}
    if "promptTokenCount" in usage or "prompt_tokens" in usage:
        return int(usage.get("promptTokenCount") or usage["prompt_tokens"])
    parts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(usage.get(name, 0) for name in parts)


def recordings() -> None:
    print("Recorded exchanges of at least 200 tokens: the first request of each, before any calibration")
    for file in sorted((TESTS / "providers/data").rglob("*.json")):
        exchange = json.loads(file.read_text())
        body, response = exchange["requests"][0]["body"], exchange["responses"][0]
        tokens = reported(response) if response["status"] == 200 else 0
        if tokens < 200:
            continue
        row = catalog.find(exchange["model"], exchange["provider"]) or catalog.default_for(exchange["provider"])
        family = row.tokenizer if row.name in exchange["model"] else OLDER.get(exchange["provider"], row.tokenizer)
        guess = estimate(TokenCounter(family), body)
        name, hidden = f"{exchange['provider']}/{file.stem}", HIDDEN.get(file.stem, "")
        said = f"reported {tokens:>5}  estimated {guess:>5}  {guess / tokens - 1:+6.1%}  {hidden}"
        print(f"  {name:<38} {family:<9} {said}".rstrip())


OLDER = {"anthropic": "claude-4"}
HIDDEN = {
    "tools-stream": "(with tools of the provider's own)",
    "cache-implicit": "(a schema of references, which Google writes out)",
    "responses-tools-stream": "(a tool of 40 tokens, 205 that nobody accounts for)",
}


# --- the simulator ----------------------------------------------------------------------------------------------


def turns() -> list[tuple[str, str]]:
    """(cell, task): a function of networkx with its whole source, or a page of its documentation to talk about."""
    import networkx as nx

    out = []
    for i, name in enumerate(FUNCTIONS):
        function = inspect.unwrap(getattr(nx, name))
        if i % 2:
            out.append(("", f"Explain this page, please:\n\n{inspect.cleandoc(function.__doc__ or '')}"))
        else:
            out.append((inspect.getsource(function).partition("\ndef ")[2].join(["def ", ""]), f"Explain `{name}`."))
    return out


def counted(session: Session, run: AgentRun) -> dict[str, int]:
    """The simulator's count of each layer of the run's last request; empty on the other wires."""
    call, provider = session.agent().last_call(run.run_id), session.provider(run.model)
    if call.model.provider != "anthropic":
        return {}
    wire = provider.encode(call.prompt, call.marks, previous_message=None)
    counter = Engine(clock=RealClock(), seed=0, record=False).counter(call.model)
    sums: dict[str, int] = {}
    for block, piece in zip(call.prompt.blocks, pieces(wire.body, counter), strict=True):
        sums[block.layer.value] = sums.get(block.layer.value, 0) + piece.tokens
    return sums


def session_errors(model: str, home: Path) -> tuple[list[float], list[float], list[float]]:
    """The error of the dry run's estimate before each of 20 turns of one conversation: of the prompt, of what the turn
    adds, and after ten turns of each layer of at least 200 tokens."""
    errors, added, layers, before = [], [], [], 0
    with Simulator(speed=0) as simulator:
        settings = Settings(model=f"sim:{model}", home=home, sim_speed=0, tools=("inspect",))
        session = Session(settings=settings, simulated=simulator, environment={})
        for i, (cell, task) in enumerate(turns()):
            if cell:
                session.cells.record(cell, cell_id=f"code-{i}", number=i)
            request = session.request(task, cell=f"ask-{i}", execution=f"e{i}")
            agent = session.agent()
            dry = agent.dry_run(request, f"dry-{i}")
            guess = sum(layer.tokens for layer in dry.layers)
            agent = session.agent()
            agent.begin(request, f"run-{i}")
            run = agent.drive(f"run-{i}")
            errors.append(guess / run.cache.prefix - 1)
            added.append((guess - run.cache.prefix) / (run.cache.prefix - before))
            before = run.cache.prefix
            real = counted(session, run) if i >= 10 else {}
            layers += [layer.tokens / real[layer.name] - 1 for layer in dry.layers if real.get(layer.name, 0) >= 200]
        session.close()
    return errors, added, layers


def simulated() -> None:
    print("A conversation of 20 turns against the simulator: the error of the whole prompt's estimate")
    for model in MODELS:
        with tempfile.TemporaryDirectory() as home:
            errors, added, layers = session_errors(model, Path(home))
        first = f"call 1 {errors[0]:+6.1%}   2-3 {spread(errors[1:3])}"
        print(f"  {model:<18} {first}   4-10 {spread(errors[3:10])}   after 10 {spread(errors[10:])}")
        print(f"  {'':<18} after 10, of what a turn adds {spread(added[10:])}", end="")
        print(f"   of each layer {spread(layers)}" if layers else "")


if __name__ == "__main__":
    known_texts()
    calibrated_texts()
    recordings()
    simulated()
