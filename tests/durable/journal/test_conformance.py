"""What every journal must keep, whatever it is made of: leases, swaps, cursors, outside effects, tags.

A new journal is added to JOURNALS in conftest.py and must pass this file and test_machine.py unchanged.
"""

from __future__ import annotations

import random

import pytest

from agentnb.canonical import dump
from agentnb.durable import ownership
from agentnb.durable.journal import deltas, leases
from agentnb.durable.journal.records import ActionRow, NewRun, StatusChange, StepWrite
from agentnb.errors import LeaseHeld, RunFinished, RunUnknown, StepConflict, StepUnknown

LEASE = 60.0


def new_run(run_id="r", state="S", **options):
    return NewRun(run_id=run_id, state=state, status="running", frame=deltas.keyframe({"n": b"0"}), **options)


def step_of(claim, number, *, status="running", next_state="S", took=None, told=True, keyframe=False):
    frame = deltas.difference({"n": b"%d" % (number - 1)}, {"n": b"%d" % number})
    if keyframe:
        frame = deltas.keyframe({"n": b"%d" % number})
    summary = claim.row.summary
    return StepWrite(
        claim.row.key, summary.run_id, number, claim.row.fence, "S", next_state, status, frame, keyframe, None, took,
        None, LEASE, told,
    )  # fmt: skip


def drive(journal, run_id, steps):
    claim = journal.claim(run_id, LEASE)
    first = claim.row.summary.step + 1
    for number in range(first, first + steps):
        journal.commit(step_of(claim, number, keyframe=number % 10 == 0))
    return claim


def test_a_run_is_made_once(journal):
    journal.create(new_run(tags={"thread": "t"}))
    assert journal.create(new_run()) == []
    summary = journal.row("r").summary
    assert (summary.state, summary.status, summary.step, dict(summary.tags)) == ("S", "running", 0, {"thread": "t"})
    with pytest.raises(RunUnknown):
        journal.row("other")


def test_many_runs_are_made_at_once_in_their_order(journal):
    journal.create(new_run("b"))
    many = [new_run(name, tags={"fleet": name.upper(), "t": "1"}, wake_at=number) for number, name in enumerate("cabc")]
    assert sorted(journal.create(*many)) == ["a", "c"], "a taken name is left alone, and the first of two is made"
    assert [summary.run_id for summary in journal.find(t="1")] == ["c", "a"]
    assert journal.row("c").wake_at == 0
    assert [(event.kind, event.next_state) for event in journal.history("a")] == [("created", "S")]
    assert deltas.restore(journal.frames("a", 0)[1]) == {"n": b"0"}
    assert journal.create() == []


def test_steps_are_numbered_and_restored(journal):
    journal.create(new_run())
    drive(journal, "r", 35)
    assert journal.row("r").summary.step == 35
    for step in range(36):
        state, frames = journal.frames("r", step)
        assert (state, deltas.restore(frames)) == ("S", {"n": b"%d" % step})
        assert len(frames) <= 10
    for step in (-1, 36):
        with pytest.raises(StepUnknown):
            journal.frames("r", step)


def test_history_is_told_whole_or_by_the_state_that_a_step_began_in(journal):
    journal.create(new_run())
    claim = drive(journal, "r", 3)
    told = {"told": random.Random(0).randbytes(400).hex()}
    frame, data = deltas.pack(deltas.keyframe({"n": b"4"}), dump(told))
    assert data is None
    journal.commit(step_of(claim, 4)._replace(next_state="T", frame=frame, keyframe=True, data=data))
    journal.commit(step_of(claim, 5)._replace(state="T"))
    assert [event.step for event in journal.history("r")] == list(range(6))
    assert [event.step for event in journal.history("r", state="T")] == [5]
    assert journal.history("r", state="U") == []
    assert [dict(event.data) for event in journal.history("r")[3:]] == [{}, told, {}]
    assert dict(journal.follow()[4].data) == told


def test_what_a_step_notes_stands_at_once_and_changes_nothing(journal):
    journal.create(new_run())
    claim = drive(journal, "r", 2)
    journal.request("r", "pause", in_flight=True)
    journal.note("r", claim.row.fence, dump({"used": 3}))
    assert [(event.kind, event.step) for event in journal.history("r")][-1] == ("noted", 2)
    assert dict(journal.follow()[-1].data) == {"used": 3}
    assert (journal.row("r").control, journal.row("r").summary.step) == ("pause", 2)
    with pytest.raises(StepConflict):
        journal.note("r", claim.row.fence - 1, b"{}")
    assert journal.commit(step_of(claim, 3)).status == "paused", "the step goes on behind it"


def test_a_snapshot_has_all_that_stands_of_a_run(journal):
    journal.create(new_run())
    drive(journal, "r", 35)
    claim = journal.claim("r", LEASE)
    journal.begin_action(claim.row.key, 36, "mail", claim.row.fence)
    row, frames, pending = journal.snapshot("r")
    assert row == journal.row("r")
    assert frames == journal.frames("r", 35)[1]
    assert [(action.name, action.status) for action in pending] == [("mail", "begun")]
    with pytest.raises(RunUnknown):
        journal.snapshot("other")


def test_a_step_is_committed_once_and_in_order(journal):
    journal.create(new_run())
    claim = journal.claim("r", LEASE)
    journal.commit(step_of(claim, 1))
    for number in (1, 3, 0):
        with pytest.raises(StepConflict):
            journal.commit(step_of(claim, number))
    journal.commit(step_of(claim, 2))
    assert [event.step for event in journal.history("r")] == [0, 1, 2]


def test_whoever_was_overtaken_cannot_commit_mark_or_renew(journal):
    journal.create(new_run())
    old = journal.claim("r", LEASE)
    new = journal.claim("r", LEASE, take_over=True)
    assert new.row.fence > old.row.fence
    for status in ("running", "completed"):
        with pytest.raises(StepConflict):
            journal.commit(step_of(old, 1, status=status))
    with pytest.raises(StepConflict):
        journal.mark(StatusChange("r", "failed", "failed", "FAILED", old.row.fence))
    assert not journal.renew(old.row.key, old.row.fence, LEASE)
    journal.release(old.row.key, old.row.fence)
    journal.commit(step_of(new, 1))


def test_a_finished_run_is_not_claimed_and_its_lease_is_free(journal):
    journal.create(new_run())
    claim = journal.claim("r", LEASE)
    journal.commit(step_of(claim, 1, status="completed", next_state="COMPLETED"))
    assert not journal.claim("r", LEASE).held
    assert journal.row("r").owner is None
    with pytest.raises(RunFinished):
        journal.request("r", "pause", in_flight=False)


def test_a_pause_asked_for_in_mid_step_comes_with_the_step(journal):
    journal.create(new_run())
    claim = journal.claim("r", LEASE)
    assert journal.request("r", "pause", in_flight=True) is None
    done = journal.commit(step_of(claim, 1))
    assert done.status == "paused"
    assert [event.kind for event in journal.history("r")] == ["created", "step", "paused"]
    assert not journal.claim("r", LEASE).held
    with pytest.raises(StepConflict):
        journal.commit(step_of(claim, 2))


def test_a_run_that_ends_in_the_step_is_not_paused_after_it(journal):
    journal.create(new_run())
    claim = journal.claim("r", LEASE)
    journal.request("r", "pause", in_flight=True)
    assert journal.commit(step_of(claim, 1, status="completed", next_state="COMPLETED")).status == "completed"


def test_followers_see_every_event_of_all_runs_once_and_in_order(journal):
    seen, cursor = [], 0
    for name in "abc":
        journal.create(new_run(name))
    for _ in range(3):
        for name in "abc":
            drive(journal, name, 2)
        while batch := journal.follow(cursor, limit=4):
            seen += batch
            cursor = batch[-1].seq
    assert len(seen) == 3 + 3 * 3 * 2
    assert [event.seq for event in seen] == sorted({event.seq for event in seen})
    for name in "abc":
        assert [event for event in seen if event.run_id == name] == journal.history(name)
    assert journal.follow(cursor) == []


def test_the_committed_seq_is_the_events(journal):
    journal.create(new_run())
    claim = journal.claim("r", LEASE)
    for number in (1, 2):
        done = journal.commit(step_of(claim, number, keyframe=number == 2))
        assert done.seq == journal.history("r")[-1].seq


def test_an_outside_effect_is_begun_once(journal):
    journal.create(new_run())
    claim = journal.claim("r", LEASE)
    key, fence = claim.row.key, claim.row.fence
    assert journal.begin_action(key, 1, "mail", fence) is None
    assert journal.begin_action(key, 1, "mail", fence).status == "begun"
    journal.end_action(key, 1, ActionRow("mail", "done", fence, b'"sent"'))
    assert journal.begin_action(key, 1, "mail", fence) == ActionRow("mail", "done", fence, b'"sent"')
    assert journal.begin_action(key, 2, "mail", fence) is None
    journal.end_action(key, 2, ActionRow("mail", "failed", fence, b'"no"'))
    assert journal.begin_action(key, 2, "mail", fence) is None
    assert [(step, action.status) for step, action in journal.actions("r")] == [(1, "done"), (2, "begun")]


def test_an_outside_event_is_delivered_once_and_used_up_by_a_step(journal):
    journal.create(new_run(state="AWAITING_MAIL"))
    assert journal.deliver("r", "MAIL", b"1", event_id="x")
    assert not journal.deliver("r", "MAIL", b"1", event_id="x")
    assert journal.deliver("r", "MAIL", b"2")
    claim = journal.claim("r", LEASE)
    assert claim.delivery.data == 1
    journal.commit(step_of(claim, 1, took=claim.delivery.key, next_state="AWAITING_MAIL"))
    assert journal.delivered("r", 1).data == 1
    assert journal.delivered("r", 2) is None
    assert journal.claim("r", LEASE).delivery.data == 2


def test_a_lease_keeps_others_out_until_it_is_over(two_workers, clock):
    first, second = two_workers
    first.create(new_run())
    claim = first.claim("r", LEASE)
    with pytest.raises(LeaseHeld, match="60 s"):
        second.claim("r", LEASE)
    clock.advance(30)
    first.commit(step_of(claim, 1))  # renews it
    clock.advance(50)
    with pytest.raises(LeaseHeld, match="10 s"):
        second.claim("r", LEASE)
    clock.advance(11)
    assert second.claim("r", LEASE).held
    with pytest.raises(StepConflict):
        first.commit(step_of(claim, 2))


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_wall_clock_that_jumps_neither_frees_a_lease_nor_prolongs_it(two_workers, clock, jump):
    first, second = two_workers
    first.create(new_run())
    claim = first.claim("r", LEASE)
    clock.wall += jump
    with pytest.raises(LeaseHeld):
        second.claim("r", LEASE)
    first.commit(step_of(claim, 1))
    clock.ticks += LEASE + 1
    assert second.claim("r", LEASE).held
    assert [event.step for event in second.history("r")] == [0, 1]


def test_a_pause_asked_for_by_another_worker_waits_for_the_holder(two_workers):
    first, second = two_workers
    first.create(new_run())
    claim = first.claim("r", LEASE)
    assert second.request("r", "pause", in_flight=False) is None
    assert first.commit(step_of(claim, 1)).status == "paused"


def test_the_lease_of_a_dead_process_is_free_at_once(two_workers):
    first, second = two_workers
    first.create(new_run())
    host, pid, birth, number = first.owner.split(".")
    first.owner = f"{host}.{pid}.{int(birth) + 1}.{number}"  # the same number, another process
    first.claim("r", LEASE)
    assert second.claim("r", LEASE).held


def test_a_long_step_keeps_its_lease(two_workers, clock):
    """The thread that does this in life wakes three times per lease."""
    first, second = two_workers
    first.create(new_run())
    claim = first.claim("r", LEASE)
    first.active["r"] = (claim.row.key, claim.row.fence, LEASE)
    for _ in range(10):
        clock.advance(LEASE * 0.9)
        ownership.renew_active(first)
        with pytest.raises(LeaseHeld):
            second.claim("r", LEASE)
    first.commit(step_of(claim, 1))


def test_a_lease_that_was_lost_is_not_renewed_back(two_workers, clock):
    first, second = two_workers
    first.create(new_run())
    claim = first.claim("r", LEASE)
    first.active["r"] = (claim.row.key, claim.row.fence, LEASE)
    second.claim("r", LEASE, take_over=True)
    ownership.renew_active(first)
    assert second.row("r").owner == second.owner
    with pytest.raises(StepConflict):
        first.commit(step_of(claim, 1))


def free(journal, states=("S",), **tags):
    return journal.claim_free(LEASE, states=states, tags=tags)


def test_free_runs_are_claimed_oldest_first_and_each_once(two_workers):
    first, second = two_workers
    for name in "abc":
        first.create(new_run(name))
    assert [free(first), free(second), free(first), free(second)] == ["a", "b", "c", None]
    assert first.row("b").owner == second.owner
    second.release(first.row("b").key, first.row("b").fence)
    assert free(first) == "b"


def test_only_a_run_that_could_go_on_is_free(two_workers, clock):
    first, second = two_workers
    first.create(new_run("other state", state="T"))
    first.create(new_run("tagged", tags={"team": "x", "day": "1"}))
    first.create(new_run("paused"))
    first.request("paused", "pause", in_flight=False)
    first.create(NewRun(run_id="waits", state="AWAITING_MAIL", status="waiting", frame=deltas.keyframe({})))
    timed = clock.now() + 50
    first.create(
        NewRun(run_id="timed", state="AWAITING_ALL", status="waiting", frame=deltas.keyframe({}), wake_at=timed)
    )
    assert free(first, team="y") is None
    assert free(first, team="x", day="1") == "tagged"
    both = ("AWAITING_MAIL", "AWAITING_ALL")
    assert free(second, both) is None
    first.deliver("waits", "MAIL", b"1")
    assert free(second, both) == "waits"
    clock.advance(51)
    assert free(second, both) == "timed"
    assert free(second) is None


def test_a_run_is_free_again_when_its_lease_is_over_or_its_owner_dead(two_workers, clock):
    first, second = two_workers
    for name in "ab":
        first.create(new_run(name))
    old = first.claim("a", LEASE)
    host, pid, birth, number = first.owner.split(".")
    first.owner = f"{host}.{pid}.{int(birth) + 1}.{number}"
    first.claim("b", LEASE)
    assert free(second) == "b"
    clock.advance(LEASE + 1)
    assert free(second) == "a"
    assert second.row("a").fence > old.row.fence
    with pytest.raises(StepConflict):
        first.commit(step_of(old, 1))


def test_a_pause_that_was_asked_for_comes_before_a_claim(two_workers, clock):
    first, second = two_workers
    first.create(new_run())
    first.claim("r", LEASE)
    second.request("r", "pause", in_flight=False)
    clock.advance(LEASE + 1)
    assert free(second) is None
    assert second.row("r").summary.status == "paused"


def test_runs_that_stand_alike_are_counted_together(journal, clock):
    journal.create(*[new_run(f"q{n}", tags={"t": "1"}) for n in range(3)], new_run("other"))
    journal.create(new_run("waits", state="AWAITING_MAIL", tags={"t": "1"}))
    for name in ("bad 1", "bad 2"):
        journal.create(new_run(name, tags={"t": "1"}))
        drive(journal, name, 2)
        journal.mark(StatusChange(name, "failed", "failed", "FAILED", None, error=b'{"type":"E"}'))
    journal.create(new_run("at work", tags={"t": "1"}))
    drive(journal, "at work", 5)
    found = {
        (each.status, each.awaits, each.owner == journal.owner, each.begun, each.failed_at, each.error): (
            each.runs,
            each.steps,
        )
        for each in journal.tally(t="1")
    }
    assert found == {
        ("running", False, False, False, None, None): (3, 0),
        ("running", True, False, False, None, None): (1, 0),
        ("failed", False, False, True, 2, b'{"type":"E"}'): (2, 4),
        ("running", False, True, True, None, None): (1, 5),
    }
    clock.advance(2 * LEASE)
    (mine,) = [each for each in journal.tally(t="1") if each.owner]
    assert (mine.lease_until, mine.lease_tick) < (clock.now(), clock.monotonic())
    assert journal.tally(t="2") == []


def test_the_events_of_some_runs_are_followed(journal):
    for name, tag in (("a", "1"), ("b", "2"), ("c", "1")):
        journal.create(new_run(name, tags={"t": tag}))
    drive(journal, "b", 2)
    drive(journal, "c", 2)
    every = journal.follow(tags={"t": "1"})
    assert [(event.run_id, event.step) for event in every] == [("a", 0), ("c", 0), ("c", 1), ("c", 2)]
    assert journal.follow(every[1].seq, limit=1, tags={"t": "1"}) == every[2:3]


def test_pruned_runs_are_gone_and_the_cursor_stays_good(journal, clock):
    for name in ("old", "kept", "moved"):
        journal.create(new_run(name, tags={"t": name}))
        drive(journal, name, 3)
    before = clock.now() + 1
    clock.advance(10)
    last = journal.follow()[-1].seq
    drive_on = journal.claim("moved", LEASE)
    journal.commit(step_of(drive_on, 4))
    would = journal.prune(["old", "moved"], before=before, dry_run=True)
    assert (would.runs, would.events, would.bytes > 0) == (1, 4, True)
    assert journal.prune(["old", "moved", "nobody"], before=before) == would
    with pytest.raises(RunUnknown):
        journal.row("old")
    assert journal.find(t="old") == []
    assert [event.run_id for event in journal.follow() if event.seq <= last] == ["kept"] * 4 + ["moved"] * 4
    assert journal.create(new_run("old")) == ["old"]
    assert journal.history("old")[0].seq > last


def test_no_event_number_comes_twice_when_the_last_run_is_pruned(journal, clock):
    journal.create(new_run("last"))
    last = journal.follow()[-1].seq
    clock.advance(10)
    assert journal.prune(["last"], before=clock.now()).runs == 1
    journal.create(new_run("next"))
    assert [event.run_id for event in journal.follow(last)] == ["next"]


@pytest.mark.parametrize("owner", ["", "a", "a.b", "{host}.x.y.z", "{host}...", "{host}.-5.1.z", "{host}.²"])
def test_an_owner_that_is_damaged_is_not_known_to_be_dead(owner: str) -> None:
    assert not leases.is_dead(owner.format(host=leases.this_host()))
