"""Which runs may go: what has ended long ago, with all its kin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.__main__ import main
from agentnb.durable import retention
from agentnb.durable.journal.records import RunSummary
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import InputError


def run(name, *, updated=0.0, status="completed", state="COMPLETED", origin=None, **tags):
    return RunSummary(
        run_id=name, state=state, status=status, step=1, tags=tags, created=0.0, updated=updated, origin=origin
    )


def test_a_run_goes_with_its_kin_or_not_at_all():
    runs = [
        run("old"),
        run("going", status="running", state="THINKING"),
        run("thread 1", thread="t"), run("thread 2", thread="t", updated=20.0),
        run("asked"), run("child", child_of="asked", updated=20.0),
        run("forked"), run("fork", origin=("forked", 3), updated=20.0),
        run("f/0", fleet="f"), run("f/1", fleet="f", status="failed"),
        run("f/purse", state="OPEN", status="running", shared="yes"),
        run("g/0", fleet="g", updated=20.0), run("g/purse", state="OPEN", status="running", shared="yes"),
    ]  # fmt: skip
    assert retention.expired(runs, 10.0) == ["old", "f/0", "f/1", "f/purse"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.sampled_from(["", "r0", "r1", "r2"])), max_size=8))
def test_nobody_who_stays_has_kin_that_went(drawn):
    runs = [
        run(f"r{n}", thread=thread, updated=20.0 if late else 0.0, child_of=parent)
        for n, (thread, late, parent) in enumerate(drawn)
    ]
    gone = set(retention.expired(runs, 10.0))
    for one in runs:
        for other in runs:
            kin = one.tags["thread"] == other.tags["thread"] or one.tags["child_of"] == other.run_id
            assert not kin or (one.run_id in gone) == (other.run_id in gone)
    assert all(one.updated < 10.0 for one in runs if one.run_id in gone)


@pytest.mark.parametrize("age", ["", "30", "-1d", "1y", "d", "1.5d", "999999d"])
def test_what_is_no_age_is_refused(age):
    with pytest.raises(InputError):
        retention.seconds_of(age)


def test_the_command_says_what_would_go_and_then_deletes_it(tmp_path, capsys):
    machine = AgentStateMachine(tmp_path)
    machine.register_state("WORK", lambda context: ("COMPLETED", {"text": "x" * 200_000}))
    machine.initialize_runs("WORK", ((f"r{n}", {}, {}) for n in range(5)))
    for n in range(4):
        machine.run_to_end(f"r{n}")
    machine.close()
    where = ["--where", str(tmp_path)]
    assert main(["prune", "--older-than", "1h", *where]) == 0
    assert "Deleted 0 runs" in capsys.readouterr().out, "they have moved within the hour"
    assert main(["prune", "--older-than", "0h", *where, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("Would delete 4 runs with 8 events")
    assert main(["prune", "--older-than", "0h", *where]) == 0
    assert capsys.readouterr().out.startswith("Deleted 4 runs with 8 events")
    assert [each.run_id for each in AgentStateMachine(tmp_path).journal.runs()] == ["r4"]
    assert main(["prune", "--older-than", "soon", *where]) == 1
