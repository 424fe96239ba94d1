"""Time to first token of a real model: cold, with the prefix warm, and with the prefix restored from disk.

    python tests/benchmarks/bench_local_latency.py [--model smollm2] [--sizes 512,1024,2048,4096]

The server measures prefill itself, so the ratios hold on a busy machine too. Warm means that 50 tokens are new.
Restored means a fresh server process and a question of a dozen new tokens: of 512 tokens 50 alone are a tenth.
The last line is the time that agentnb's adapter takes beside a bare client of the same SDK, both without the server's
own work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from local_tasks import home_with_weights

from agentnb.canonical import SystemClock
from agentnb.models.catalog import lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Role, Text
from agentnb.providers.base import CallAnswer, Mark
from agentnb.providers.local.adapter import LocalProvider

WORDS = ("harbour", "water", "tide", "clerk", "table", "north", "figure", "seven", "lamp", "rope")
ROUNDS = 30


def text_of(tokens: int, seed: str) -> str:
    """About so many tokens that begin like no other text."""
    return f"Log of {seed}: " + " ".join(WORDS[(i * 7 + len(seed)) % 10] for i in range(tokens))


def ask(provider: LocalProvider, frame: str, question: str, *, holder: str = "") -> CallAnswer:
    blocks = (
        Block(layer=Layer.STATIC, role=Role.SYSTEM, content=Text(frame)),
        Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(question)),
    )
    prompt = Prompt(model=provider.model.name, blocks=blocks, max_tokens=2)
    marks = (Mark(index=0, ttl="1h", why="", holder=holder),) if holder else ()
    return provider.ask(provider.encode(prompt, marks, previous_message=None), lambda kind, text: None)


def prefill(answer: CallAnswer) -> float:
    assert answer.trace.on_server is not None
    return answer.trace.on_server[0]


def connect(model: str, home: Path) -> LocalProvider:
    return LocalProvider(lookup(f"local:{model}"), clock=SystemClock(), home=home)


def row(model: str, home: Path, size: int) -> str:
    seed, begun = f"{size}", connect(model, home)
    frame = text_of(size - 60, seed)
    cold = ask(begun, frame, text_of(40, "a question"))
    warm = [ask(begun, frame, text_of(40, f"question {number}")) for number in range(3)]
    prompt = Prompt(
        model=model, blocks=(Block(layer=Layer.STATIC, role=Role.SYSTEM, content=Text(frame)),), max_tokens=2
    )
    made = begun.make_object(prompt, 0, seconds=600, label="agentnb")
    end(begun)
    fresh = connect(model, home)
    fresh.connect()
    started = time.perf_counter()
    restored = ask(fresh, frame, "Which lamp is north?", holder=str(made["name"]))
    whole = time.perf_counter() - started - (restored.trace.on_server or (0.0, 0.0))[1]
    assert not restored.fell_back
    assert restored.reply.usage.cache_read > size * 0.8, "it was restored"
    end(fresh)
    first, again = prefill(cold), statistics.median(map(prefill, warm))
    return (
        f"{cold.reply.usage.input_total:>6} tokens: cold {first:7.2f} s, warm {again:6.3f} s ({first / again:5.1f}x), "
        f"restored {whole:6.3f} s with the file's check ({whole / first:5.3f} of cold)"
    )


def end(provider: LocalProvider) -> None:
    running = provider.server.running()
    provider.close()
    while running is not None and provider.server.running() == running:
        time.sleep(0.05)


def own_time(model: str, home: Path) -> str:
    """Seconds beside the server's own work, by the adapter and by the bare SDK, one after the other."""
    import openai

    provider = connect(model, home)
    ask(provider, "Rules.", "Hello?")
    running = provider.server.running()
    assert running is not None
    bare = openai.OpenAI(api_key=running.key, base_url=f"{running.address}/v1")
    body = {"messages": [{"role": "system", "content": "Rules."}, {"role": "user", "content": "Hello?"}]}
    ours, theirs = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = ask(provider, "Rules.", "Hello?")
        ours.append(time.perf_counter() - began - sum(answer.trace.on_server or ()))
        began, timings = time.perf_counter(), {}
        with bare.chat.completions.create(
            model=model, messages=[], max_tokens=2, temperature=0, stream=True, extra_body=body
        ) as stream:
            for event in stream:
                timings = event.to_dict().get("timings") or timings
        theirs.append(time.perf_counter() - began - (timings["prompt_ms"] + timings["predicted_ms"]) / 1000)
    end(provider)
    difference = (statistics.median(ours) - statistics.median(theirs)) * 1000
    return f"agentnb's own time beside a bare client: {difference:.2f} ms a call (median of {ROUNDS})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--sizes", default="512,1024,2048,4096")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = home_with_weights(Path(place) / "home")
        for size in map(int, chosen.sizes.split(",")):
            print(row(chosen.model, home, size), flush=True)
        print(own_time(chosen.model, home), flush=True)


if __name__ == "__main__":
    main()
