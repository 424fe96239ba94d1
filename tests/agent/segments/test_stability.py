"""A dozen turns of real edits: how much of each prompt stays a prefix, and how much of it is out of date."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

import pytest

TURNS = 12


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "floor"), [(0.1, 0.5), (0.25, 0.75), (1.0, 0.84)])
def test_stale_text_stays_below_the_limit_and_the_prefix_above_its_floor(
    wire: Any, tmp_path: Path, limit: float, floor: float
) -> None:
    """The floors are what the shipped edits give in their first, most restless dozen turns, less a little."""
    done = wire.replay(wire.load(turns=TURNS), tmp_path, stale_limit=limit)
    assert len(done.runs) == TURNS
    assert all(run.state == "COMPLETED" for run in done.runs)
    assert wire.worst_stale(done.sent) <= limit
    assert statistics.mean(wire.prefix_shares(wire.first_of_turns(done.sent))) >= floor
    begun = {
        number for number, run in enumerate(done.runs) if any("Prompt begun anew" in n for n in run.receipt["notes"])
    }
    for before, after in itertools.pairwise(done.sent):
        extends = wire.kept(before, after) == len(before.blocks)
        assert extends or (after.turn in begun and after.turn != before.turn), "only a new segment may begin anew"


def test_what_is_read_on_the_wire_is_what_the_model_sees(wire: Any) -> None:
    """The measure itself: versions in order, removals, and the tokens of what was replaced."""
    one = '<definition name="a" cell="1" digest="d1" form="full">\nx = 1\n</definition>'
    two = '<definition name="a" cell="1" digest="d2" form="full" replaces="d1">\nx = 2\n</definition>'
    lines = ['"""About m."""', "LIMIT = 3", "def f(): ...", 'class A(B):\n    """About A."""', "    def g(self): ..."]
    outline = '<outline module="m" file="m.py">\n' + "\n".join(lines) + "\n</outline>"
    text = f"{one}\n{outline}\n{two}"
    versions = wire.versions_in(text)
    assert [v.name for v in versions if v.name != "a"] == [
        f"outline:m:{n}" for n in ("__doc__", "LIMIT", "f", "A", "A.g")
    ]
    assert [v.text for v in versions if v.name != "a"] == lines
    assert [v.digest for v in versions if v.name == "a"] == ["d1", "d2"]
    changed = (
        '<outline module="m" file="m.py" changes="true" removed="f">\nclass A:  # …\n    def g(self, x)\n</outline>'
    )
    assert wire.stale_in(outline + changed) == wire.tokens_of("    def g(self): ...") + wire.tokens_of("def f(): ...")
    assert wire.stale_in(text) == wire.tokens_of(one)
    assert wire.stale_in(text + '<removed name="a"/>') == wire.tokens_of(one) + wire.tokens_of(two)
    assert wire.stale_in(f"{one}{one}") == 0
