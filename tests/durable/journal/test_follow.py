"""Followers show every event once and in order, whatever becomes of the messages that tell of it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.durable.bus_redis import decode, encode
from agentnb.durable.events import Event
from agentnb.durable.journal.follow import LOOK_EVERY, SOON, ShownEvents, newest
from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.machine import AgentStateMachine


def event(seq, run_id="r", step=0, kind="step"):
    return Event(run_id=run_id, step=step, kind=kind, state="S", next_state="S", at=0.0, seq=seq)


class Commits:
    """A journal's events as a follower reads them: those that are committed so far, with gaps between their numbers."""

    def __init__(self, runs):
        steps = Counter()
        self.all = []
        for number, run_id in enumerate(runs):
            self.all.append(event(3 * number + 1, run_id, steps[run_id]))
            steps[run_id] += 1
        self.committed = 0

    def follow(self, after, limit=2):
        return [one for one in self.all[: self.committed] if one.seq > after][:limit]


@st.composite
def histories(draw):
    """Runs' events, and what reaches a follower: commits, messages lost, doubled, late, out of order or forged, and
    signals, in any order."""
    commits = Commits(draw(st.lists(st.sampled_from("ab"), max_size=12)))
    numbers = st.sampled_from([one.seq for one in commits.all] or [1]) | st.integers(-5, 60)
    signals = st.builds(lambda run, step: event(0, run, step, "delta"), st.sampled_from("abc"), st.integers(1, 9))
    heard = st.lists(numbers | signals, max_size=5)
    return commits, draw(st.lists(st.just("commit") | heard, max_size=30))


@given(histories())
def test_no_gap_and_no_double_whatever_is_heard(history):
    commits, happenings = history
    shown, told = ShownEvents(commits.follow), []
    for happening in happenings:
        if happening == "commit":
            commits.committed += 1
        else:
            told += shown.take(happening)
            events = [one for one in told if one.seq]
            assert events == commits.all[: len(events)], "what is shown is the beginning of what happened"
    commits.committed = len(commits.all)
    told += shown.take(())
    assert [one for one in told if one.seq] == commits.all
    step = Counter()
    for one in told:
        if one.seq:
            step[one.run_id] = one.step
        elif one.run_id in {other.run_id for other in told if other.seq}:
            assert one.step > step[one.run_id], "a signal of a step that is over was shown"


@given(histories())
def test_a_message_of_a_committed_event_shows_it_at_once(history):
    commits, happenings = history
    shown, seen = ShownEvents(commits.follow), 0
    for happening in happenings:
        if happening == "commit":
            commits.committed += 1
            continue
        seen += sum(1 for one in shown.take(happening) if one.seq)
        heard = [seq for seq in happening if isinstance(seq, int)]
        due = [one for one in commits.all[: commits.committed] if one.seq <= max(heard, default=0)]
        assert seen >= len(due)


def test_an_event_that_was_told_of_too_early_is_looked_for_soon_and_not_for_ever():
    commits = Commits("a")
    shown = ShownEvents(commits.follow)
    assert shown.patience(LOOK_EVERY) == LOOK_EVERY
    waits = []
    messages = [1]
    for _ in range(8):
        assert list(shown.take(messages)) == []
        waits.append(shown.patience(LOOK_EVERY))
        messages = []
    assert waits == [*SOON, LOOK_EVERY, LOOK_EVERY, LOOK_EVERY]
    commits.committed = 1
    assert list(shown.take(())) == commits.all


def test_a_signal_ahead_of_what_is_shown_makes_the_journal_be_read_first():
    commits = Commits("aaa")
    commits.committed = 3
    shown = ShownEvents(commits.follow)
    ahead = event(0, "a", 3, "delta")
    assert list(shown.take([ahead])) == [*commits.all, ahead]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 100])
def test_the_last_event_is_found_in_few_questions(count):
    commits = Commits("a" * count)
    commits.committed, asked = count, []

    def follow(after, limit):
        asked.append(after)
        return commits.follow(after, limit)

    journal = type("Journal", (), {"follow": staticmethod(follow)})
    assert newest(journal) == (commits.all[-1].seq if count else 0)
    assert len(asked) <= 2 * (3 * count + 2).bit_length()


def test_the_last_event_of_a_real_journal():
    machine = AgentStateMachine(EmbeddedJournal())
    machine.register_state("S", lambda context: ("S", context))
    assert newest(machine.journal) == 0
    for run_id in ("a", "b"):
        machine.initialize_run(run_id, "S", {})
        machine.run_to_end(run_id, max_steps=5)
    assert newest(machine.journal) == machine.history("b")[-1].seq


@given(st.binary() | st.text().map(str.encode))
def test_foreign_messages_are_passed_over(data):
    assert decode(data) is None or isinstance(decode(data), int)


@pytest.mark.parametrize(
    "message",
    [
        b'{"v":1}', b'{"v":2,"seq":1}', b'{"v":1,"seq":"1"}', b'{"v":1,"seq":true}', b'{"v":1,"signal":{}}', b"[]",
        b'{"v":1,"signal":{"run_id":"r","step":"x","kind":"delta","state":"","next_state":"","at":0}}',
        b'{"v":1,"signal":{"run_id":"r","step":1,"kind":"delta","state":"","next_state":"","at":0,"seq":7}}',
    ],
)  # fmt: skip
def test_messages_that_are_almost_ours_are_passed_over(message):
    assert decode(message) is None


def test_a_signal_cannot_pass_itself_off_as_an_event():
    for kind in ("step", "failed", "paused"):
        forged = encode(event(0, kind="delta")).replace(b'"delta"', f'"{kind}"'.encode())
        assert decode(forged) is None


def test_an_event_is_told_by_its_number_and_a_signal_by_its_words():
    signal = Event(run_id="r", step=2, kind="delta", state="S", next_state="S", at=1.5, data={"text": "tide"})
    assert decode(encode(signal)) == signal
    assert decode(encode(event(7))) == 7
    secret = Event(
        run_id="r", step=2, kind="step", state="S", next_state="S", at=1.5, seq=9, data={"x": "confidential"}
    )
    assert b"confidential" not in encode(secret)
    huge = Event(run_id="r", step=2, kind="delta", state="S", next_state="S", at=1.5, data={"text": "x" * 20_000})
    assert encode(huge) is None
