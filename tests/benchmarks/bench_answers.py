"""Does what is sent make a real model right? Forty questions on small notebooks, asked in four ways.

    python tests/benchmarks/bench_answers.py [--model qwen2.5-coder-1.5b] [--every 1] [--wrong]

The ways: nothing but the question; what the question's names mean (`context="marks"`); what agentnb chooses
(`context="auto"`); the whole notebook with its outputs before the question. Each question is a conversation of its
own, without tools. It is right where the pattern after `=>` (data/answers) stands in the answer. Shares have Wilson's
95 % interval; tokens and seconds the mean with its bootstrapped 95 % interval. Seconds are the server's own prefill
and decode, so that another program on the machine slows them and no queue is in them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import sys
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
sys.path.insert(0, str(Path(__file__).parent))
from bench_questions import read, shell_of, whole_cell
from local_tasks import home_with_weights

DATA = Path(__file__).parent / "data" / "answers"
WAYS = ("nothing", "names", "agentnb", "everything")
CONTEXT = {"nothing": "none", "names": "marks", "agentnb": "auto", "everything": "none"}
BRIEFLY = " Answer in one short sentence."


@dataclass(frozen=True)
class Answered:
    way: str
    notebook: str
    question: str
    text: str
    right: bool
    tokens: int
    cached: int
    seconds: float


def notebook(path: Path, model: str, home: Path, every: int) -> list[Answered]:
    """All answers on one notebook, in a process of its own: IPython keeps outputs for all shells of a process."""
    from agentnb.script import Agent

    warnings.simplefilter("ignore")
    written = read(path)
    os.environ |= {"AGENTNB_HOME": str(home), "AGENTNB_MODEL": model}
    with tempfile.TemporaryDirectory() as folder:
        shell, opened = shell_of(Path(folder))
        for source in written.cells:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                shell.run_cell(source, store_history=True)
        opened.observe()
        session = opened.session
        pasted = "\n\n".join(whole_cell(run) for run in session.log.runs)
        found = []
        for way in WAYS:  # way by way: what is pasted is read once
            for number, question in enumerate(written.questions[::every]):
                agent = Agent(session=session, tools=[], thread=f"{written.name}-{way}-{number}")
                told = f"The notebook so far:\n{pasted}\n\n" if way == "everything" else ""
                run = agent.run(told + question.text + BRIEFLY, context=CONTEXT[way], max_tokens=60)
                right = re.search(question.facts[0], run.text, re.IGNORECASE | re.DOTALL) is not None
                used, timing = run.usage, run.latency.on_server
                found.append(
                    Answered(
                        way=way,
                        notebook=written.name,
                        question=question.text,
                        text=run.text,
                        right=right,
                        tokens=used["input"] + used["cache_read"] + used["cache_write_5m"] + used["cache_write_1h"],
                        cached=used["cache_read"],
                        seconds=timing.prefill + timing.decode if timing else run.latency.total,
                    )
                )
        opened.close()
        os.chdir("/")
    return found


def wilson(right: int, count: int) -> tuple[float, float]:
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * ((share * (1 - share) + z * z / (4 * count)) / count) ** 0.5 / (1 + z * z / count)
    return middle - half, middle + half


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    rng = random.Random(7)
    means = sorted(mean(rng.choices(values, k=len(values))) for _ in range(1000))
    return means[25], means[974]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="local:qwen2.5-coder-1.5b", help="any model's address")
    parser.add_argument("--every", type=int, default=1, help="take each n-th question of a notebook")
    parser.add_argument("--wrong", action="store_true", help="print the wrong answers")
    chosen = parser.parse_args()
    found: list[Answered] = []
    with tempfile.TemporaryDirectory() as place:
        home = home_with_weights(Path(place) / "home")
        for path in sorted(DATA.glob("*.txt")):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found += pool.submit(notebook, path, chosen.model, home, chosen.every).result()
            print(f"{path.stem}: " + ", ".join(
                f"{way} {sum(each.right for each in found if (each.way, each.notebook) == (way, path.stem))}"
                for way in WAYS
            ), flush=True)  # fmt: skip
    for each in found if chosen.wrong else []:
        if not each.right:
            print(f"{each.way:<11} {each.question}\n            {each.text[:150]!r}")
    for way in WAYS:
        mine = [each for each in found if each.way == way]
        right = sum(each.right for each in mine)
        low, high = wilson(right, len(mine))
        tokens, seconds = [each.tokens for each in mine], [each.seconds for each in mine]
        cached = sum(each.cached for each in mine) / sum(tokens)
        (t0, t1), (s0, s1) = bootstrap(tokens), bootstrap(seconds)
        print(
            f"{way:<11} {right:>2} of {len(mine)} right ({low:.0%} to {high:.0%})  "
            f"tokens {mean(tokens):5.0f} ({t0:.0f} to {t1:.0f}), {cached:.0%} cached  "
            f"seconds {mean(seconds):5.1f} ({s0:.1f} to {s1:.1f})"
        )


if __name__ == "__main__":
    main()
