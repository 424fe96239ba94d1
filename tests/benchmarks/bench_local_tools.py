"""Which of twelve notebook tasks a model on this machine begins rightly: the tool, and its arguments.

    python tests/benchmarks/bench_local_tools.py [--model qwen2.5-coder-1.5b] [--fresh]

The weights must be here: python -m agentnb local get qwen2.5-coder-1.5b
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "shared"))
from local_tasks import FRESH_TASKS, TASKS, first_replies, home_with_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="qwen2.5-coder-1.5b")
    parser.add_argument("--fresh", action="store_true", help="twelve tasks that nothing was tuned on")
    chosen = parser.parse_args()
    model, tasks = chosen.model, FRESH_TASKS if chosen.fresh else TASKS
    began = time.monotonic()
    right = 0
    with tempfile.TemporaryDirectory() as place:
        replies = first_replies(f"local:{model}", home_with_weights(Path(place) / "home"), tasks=tasks)
    for (task, judge), (_, reply) in zip(tasks, replies, strict=True):
        good = judge(reply)
        right += good
        said = f"{reply.calls[0].name} {dict(reply.calls[0].arguments)}" if reply.calls else repr(reply.text)
        print(f"{'right' if good else 'WRONG'}  {task}\n       {said[:150]}")
    print(f"{model}: {right} of {len(tasks)} right, {time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
