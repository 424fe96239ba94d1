"""A sum that many runs share is never overdrawn, whoever reserves, settles or dies at the same time."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE

from agentnb.agent.money.budget import Quote
from agentnb.agent.money.shared_budget import MOST, Purse, set_aside, settled
from agentnb.durable.journal.open import open_journal
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import BudgetExceeded

NEW = {"limit": 1.0, "spent": 0.0, "held": {}}
CALL = Quote(input_cost=0.10, output_price=0.0001, max_tokens=1000)  # 0.20 at worst


def committed(purse):
    return purse["spent"] + sum(purse["held"].values())


quotes = st.builds(
    Quote,
    input_cost=st.floats(0, 0.5), output_price=st.sampled_from([0, 1e-5, 1e-3]), max_tokens=st.integers(1, 4096),
)  # fmt: skip
steps = st.tuples(st.sampled_from(["reserve", "settle", "die"]), st.sampled_from("abcd"), quotes, st.floats(0, 1))


@given(st.lists(steps, max_size=30), st.floats(0.01, 2))
def test_what_is_spent_and_set_aside_is_never_more_than_the_sum(happenings, limit):
    purse, flying = NEW | {"limit": limit}, set()
    for what, key, quote, share in happenings:
        if what == "reserve" and key not in flying:
            found, purse = set_aside(purse, key, quote)
            flying |= {key} if isinstance(found, int) else set()
        elif what == "settle" and key in flying:
            purse = settled(purse, key, share * purse["held"][key])
            flying.discard(key)
        elif what == "die":  # the call's step is repeated by another worker
            flying.discard(key)
        assert committed(purse) <= limit + 1e-9
        assert flying <= set(purse["held"])


def test_a_call_that_died_counts_with_all_that_was_set_aside():
    _, purse = set_aside(NEW, "a", CALL)
    assert committed(purse) == pytest.approx(0.2)
    _, again = set_aside(purse, "a", CALL)
    assert again["spent"] == pytest.approx(0.2)
    assert committed(again) == pytest.approx(0.4)
    assert committed(settled(again, "a", 0.05)) == pytest.approx(0.25)


def test_a_reply_is_shortened_to_what_is_left_and_refused_with_the_numbers():
    tokens, _ = set_aside(NEW | {"spent": 0.85}, "a", CALL)
    assert tokens == pytest.approx(500, abs=1)
    refused, after = set_aside(NEW | {"spent": 0.95}, "a", CALL)
    assert isinstance(refused, BudgetExceeded)
    assert "$0.0500 of the budget that the runs share $1.0000 is left" in str(refused)
    assert after == NEW | {"spent": 0.95}
    assert isinstance(set_aside(NEW, "a", None)[0], BudgetExceeded)


@pytest.mark.slow
def test_a_call_waits_for_others_that_hold_the_sum_and_not_for_what_is_spent():
    journal, waits = open_journal(), []
    other = Purse(journal, "p")

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            other.settle("a", 0.01)

    other.make(0.25)
    assert other.reserve("a", CALL) == 1000
    purse = Purse(journal, "p", wait=wait)
    assert purse.reserve("b", CALL) == 1000
    assert len(waits) == 3
    written = [event.data["what"] for event in AgentStateMachine(journal).history("p") if event.kind == "step"]
    assert written == ["reserve", "settle", "reserve"], "who waits writes nothing"
    purse.settle("b", 0.24)
    with pytest.raises(BudgetExceeded):
        purse.reserve("c", CALL)
    assert len(waits) == 3
    purse.make(1.0)
    assert purse.reserve("c", CALL) == 1000
    with pytest.raises(BudgetExceeded):
        purse.reserve("d", Quote(input_cost=0.6, output_price=0, max_tokens=1))
    assert MOST - 1 < sum(waits) < MOST + 1, "the call in flight that it waited for was never settled"


WORKER = """
import sys
from agentnb.errors import BudgetExceeded
from agentnb.agent.money.budget import Quote
from agentnb.durable.journal.open import open_journal
from agentnb.agent.money.shared_budget import Purse
purse, made = Purse(open_journal(sys.argv[1]), "p"), 0
try:
    for number in range(100):
        purse.reserve(f"{sys.argv[2]}/{number}", Quote(input_cost=0.01, output_price=0, max_tokens=1))
        purse.settle(f"{sys.argv[2]}/{number}", 0.008)
        made += 1
except BudgetExceeded:
    print(made)
"""


@pytest.mark.slow
def test_two_processes_spend_one_sum_to_the_last_call_and_no_further(tmp_path):
    home = tmp_path / "runs"
    Purse(open_journal(home), "p").make(0.2)
    command = [sys.executable, "-c", WORKER, str(home)]
    workers = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    made = [int(worker.communicate(timeout=PATIENCE)[0]) for worker in workers]
    purse = Purse(open_journal(home), "p").state
    assert sum(made) == 24, "24 calls of 0.008 leave 0.008, and the next could cost 0.01"
    assert purse["spent"] == pytest.approx(0.192)
    assert purse["held"] == {}


def test_threads_of_one_process_share_it_too(tmp_path):
    journal = open_journal(tmp_path / "runs")
    Purse(journal, "p").make(10.0)

    def spend(name):
        for number in range(5):
            purse = Purse(journal, "p")
            purse.reserve(f"{name}/{number}", CALL)
            purse.settle(f"{name}/{number}", 0.1)

    threads = [threading.Thread(target=spend, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Purse(journal, "p").state == {"limit": 10.0, "spent": pytest.approx(1.5), "held": {}}
    events = AgentStateMachine(journal).history("p")
    assert sum(event.data.get("what") == "reserve" for event in events) == 15
