"""How much of a prompt stays a prefix of the one before it, over a history of edits, and what that costs.

    python tests/benchmarks/bench_prefix.py [SCRIPT] [--turns N]

SCRIPT is made by make_prefix_edits.py; the shipped one has 100 turns. The real agent answers each turn over the
simulator; between turns files are edited and 1 to 25 minutes pass. All figures are read from what the simulator
received and reported:

  prefix    share of a turn's first prompt that is, block by block, a prefix of the prompt before it: mean over the
            turns, and pooled over all tokens; new segments included
  context   the same without the conversation: instructions, project and definitions only
  stale     the largest share of out-of-date definitions in any prompt, in the simulator's tokens
  cost      of the input, in uncached input tokens (written 1.25 for 5 minutes, 2 for an hour, read 0.1)

Baselines from the same turns: the blueprint (system, outlines, definitions, conversation and task in one string that
is sent anew), never beginning a new segment, and a lower bound (each token written once at 1.25 and read at 0.1 ever
after, nothing expires, no stale text is kept).
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import prefix_replay as pr

LIMITS = (0.10, 0.25, 0.50)
NEVER = 1.0
GOALS = {0.10: 0.79, 0.25: 0.87}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("script", nargs="?", type=Path, default=pr.DATA)
    parser.add_argument("--turns", type=int, default=100)
    given = parser.parse_args()
    script = pr.load(given.script, given.turns)
    done = {limit: _replayed(script, limit) for limit in (*LIMITS, NEVER)}
    never = done[NEVER]
    bound = pr.lower_bound(never.sent)
    before, changed, new = pr.selection_shares(never.runs)
    print(
        f"{len(script.turns)} turns; of a turn's definitions {before:.0%} are as before, {changed:.0%} changed, "
        f"{new:.0%} new"
    )
    print("\nhow                    prefix mean / pooled   context   stale   segments   tokens sent         cost")
    _blueprint(never.sent, bound)
    for limit, replay in done.items():
        _row("never a new segment" if limit == NEVER else f"stale limit {limit:.0%}", replay, bound)
    print(f"{'lower bound':88}{bound:13,.0f}  1.00")
    for limit, goal in GOALS.items():
        share = statistics.mean(pr.prefix_shares(pr.first_of_turns(done[limit].sent)))
        print(f"goal at {limit:.0%}: prefix at least {goal}, stale at most {limit:.0%}: ", end="")
        print("met" if share >= goal and pr.worst_stale(done[limit].sent) <= limit else "MISSED")


def _replayed(script: pr.Script, limit: float) -> pr.Replay:
    with tempfile.TemporaryDirectory() as folder:
        return pr.replay(script, Path(folder), stale_limit=limit)


def _row(name: str, replay: pr.Replay, bound: float) -> None:
    first = pr.first_of_turns(replay.sent)
    context = statistics.mean(pr.context_shares(first))
    segments = sum(any("Prompt begun anew" in note for note in run.receipt["notes"]) for run in replay.runs)
    cost = pr.billed(replay.sent)
    print(
        f"{name:22} {statistics.mean(pr.prefix_shares(first)):11.3f} / {pr.pooled_share(first):.3f} {context:11.3f} "
        f"{pr.worst_stale(replay.sent):7.1%} {segments:10} {sum(s.total for s in replay.sent):13,} {cost:12,.0f}"
        f"  {cost / bound:.2f}"
    )


def _blueprint(sent: Sequence[pr.Sent], bound: float) -> None:
    """The same content in one string: what does not begin alike is paid in full, and so is what does."""
    texts = [pr.one_string(item) for item in pr.first_of_turns(sent)]
    pairs = list(itertools.pairwise(texts))
    alike = [_alike(before, after) for before, after in pairs]
    shares = [same / len(after) for same, (_, after) in zip(alike, pairs, strict=True)]
    pooled = sum(alike) / sum(len(after) for _, after in pairs)
    tokens = sum(pr.tokens_of(pr.one_string(item)) for item in sent)
    print(
        f"{'blueprint':22} {statistics.mean(shares):11.3f} / {pooled:.3f} {'':11} {0:7.1%} {'':10} {tokens:13,}"
        f" {tokens:12,}  {tokens / bound:.2f}"
    )


def _alike(before: str, after: str) -> int:
    """Characters that both begin with."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
    return sum(1 for _ in pairs)


if __name__ == "__main__":
    main()
