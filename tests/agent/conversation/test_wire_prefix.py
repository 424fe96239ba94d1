"""What the server received, over a session with edits: each request extends the previous one on its path."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

import pytest
from sent import blocks_of, is_prefix


def definitions_in(blocks: list[str]) -> list[str]:
    """Names of definitions sent in these blocks, in order."""
    return [name for block in blocks for name in re.findall(r'<definition name=\\"([^\\"]+)\\"', block)]


def marks_of(body: dict[str, Any]) -> list[str]:
    """The TTLs of the breakpoints in render order."""
    blocks = [*body.get("tools", []), *body["system"], *(b for m in body["messages"] for b in m["content"])]
    return [block["cache_control"]["ttl"] for block in blocks if "cache_control" in block]


def test_seven_turns_with_edits_only_ever_extend_the_prefix(book: Any) -> None:
    book.cell("RATE = 0.2\ndef tax(x):\n    return x * RATE", "rate")
    book.cell("def total(x):\n    return x + tax(x)", "total")
    book.ask("Explain `total`.")
    book.ask("And `tax`?")
    book.cell("RATE = 0.2\ndef tax(x):\n    return round(x * RATE, 2)", "rate")
    book.ask("What changed in `tax`?")
    book.cell("def label(x):\n    return f'{total(x):.2f}'", "label")
    book.ask("Explain `label`.")
    book.ask("Inspect `total` once more.")
    book.ask("Is `label` right?")
    book.cell("def label(x):\n    return f'{total(x):.2f} EUR'", "label")
    book.ask("And `label` now?")

    bodies = book.bodies
    assert len(bodies) >= 7
    sent = [blocks_of(body) for body in bodies]
    for before, after in itertools.pairwise(sent):
        assert is_prefix(before, after)
    added = [definitions_in(after[len(before) :]) for before, after in zip([[], *sent], sent, strict=False)]
    assert {"total", "tax"} <= set(added[0]), "what is named, and what it needs one step on"
    assert "tax" not in added[1], "the conversation holds it already"
    assert added[2] == ["tax"], "only the changed definition is sent again"
    assert Counter(name for names in added for name in names) == {"total": 1, "RATE": 1, "tax": 2, "label": 2}
    assert "replaces=" in "".join(sent[2][len(sent[1]) :])
    assert added[-1] == ["label"]
    assert all(1 <= len(marks_of(body)) <= 4 for body in bodies)


def test_every_call_after_the_first_reads_exactly_what_was_expected(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2")
    runs = [book.ask(f"Question {i} about `tax`?") for i in range(6)]
    assert runs[0].cache.read == 0
    for before, after in itertools.pairwise(runs):
        assert after.cache.read == after.cache.expected
        assert after.cache.read >= before.cache.read + before.cache.written
        assert after.cache.read >= after.cache.prefix / 2


def test_the_marks_stand_where_the_previous_request_ended_and_at_the_tail(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2")
    book.ask("Explain `tax`.")
    book.ask("And again?")
    first, second = book.bodies
    ends = len(blocks_of(first))
    flat = [*second.get("tools", []), *second["system"], *(b for m in second["messages"] for b in m["content"])]
    marked = [i for i, block in enumerate(flat) if "cache_control" in block]
    assert marked[-2:] == [ends - 1, len(flat) - 1]


def test_running_a_cell_again_branches_and_later_cells_follow_the_newest_branch(book: Any) -> None:
    book.ask("First question", "one")
    book.ask("Second question", "two")
    book.ask("Third question", "three")
    again = book.ask("Second question, asked better", "two")
    assert again.receipt["branch"]
    assert "Re-asked question 2; later answers stay in the old branch." in again.receipt["notes"]
    book.ask("Fourth question", "four")
    sent = [blocks_of(body) for body in book.bodies]
    assert is_prefix(sent[0], sent[3])
    assert not is_prefix(sent[1], sent[3])
    assert "Second question, asked better" in sent[4][-3]
    assert not any("Third question" in block for block in sent[4]), "the old branch is not in the new path"
    old = book.session.find_run(again.run_id)
    assert old.state == "COMPLETED"
    assert any("Third question" in run.tags["task"] for run in book.session.machine().journal.runs())


def test_five_reruns_put_no_stale_turn_into_the_prompt(book: Any) -> None:
    book.ask("Base", "base")
    lengths = []
    for i in range(5):
        book.ask(f"Attempt {i}", "again")
        lengths.append(len(blocks_of(book.bodies[-1])))
    assert len(set(lengths)) == 1


def test_another_model_begins_a_segment_and_says_so(book: Any) -> None:
    book.ask("First question")
    other = book.ask("Second question", model="sim:claude-haiku-4-5")
    assert any("Prompt begun anew" in note for note in other.receipt["notes"])
    text = " ".join(blocks_of(book.bodies[-1]))
    assert "First question" in text, "the conversation goes on"
    assert other.cache.read == 0


def test_tool_traffic_of_another_tool_set_becomes_text(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2")
    book.ask("Inspect `tax`.", context="none")
    after = book.ask("And without tools?", tools=())
    assert after.state == "COMPLETED"
    body = book.bodies[-1]
    assert "tools" not in body
    kinds = {block["type"] for message in body["messages"] for block in message["content"]}
    assert kinds == {"text"}


def test_a_new_thread_reads_the_static_prefix_of_the_old_one(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2")
    book.ask("Explain `tax`.")
    fresh = book.ask("Explain `tax`.", thread="fresh")
    assert fresh.cache.read >= 1024
    assert fresh.receipt["turn"] == 1


def test_below_the_minimum_nothing_is_cached_and_it_is_said(book: Any) -> None:
    run = book.ask("Hi", model="sim:claude-haiku-4-5")
    assert run.cache.read == run.cache.written == 0
    assert f"{run.cache.prefix:,} of 4,096" in run.cache.reason


def test_expiry_is_expected_and_explained(tmp_path: Any) -> None:
    from prefix_replay import Follows

    from agentnb.session import Session
    from agentnb.settings import Settings
    from agentnb.simulator import SimClock, Simulator

    clock = SimClock()
    with Simulator(speed=0, clock=clock) as simulator:
        settings = Settings(model="sim:claude-sonnet-4-6", home=tmp_path / "home")
        session = Session(settings=settings, simulated=simulator, clock=Follows(clock), environment={})

        def ask(task: str) -> Any:
            agent = session.agent()
            run_id = session.new_run_id()
            agent.begin(session.request(task), run_id)
            return agent.drive(run_id)

        ask("One")
        clock.advance(200)
        assert ask("Two").cache.read > 1024, "a read within five minutes hits"
        clock.advance(200)
        assert ask("Three").cache.read > 1024, "and refreshes"
        clock.advance(400)
        late = ask("Four")
        assert late.cache.read == late.cache.expected == 0
        assert "expired" in late.cache.reason
        assert "1h" in late.cache.marks[0], "after a long pause the stable layers are kept for an hour"
        clock.advance(1200)
        assert ask("Five").cache.read > 1024, "which now pays"
        session.close()


@pytest.mark.parametrize("count", [12])
def test_many_parallel_results_stay_within_the_lookback(book: Any, count: int) -> None:
    names = [f"step_{i}" for i in range(count)]
    for name in names:
        book.cell(f"def {name}(x):\n    return x", name)
    wanted = " and ".join(f"`{name}`" for name in names)
    run = book.ask(f"Inspect {wanted}.", context="none")
    assert run.state == "COMPLETED"
    thinking = [step for step in run.steps if step.state == "THINKING"]
    assert len(thinking) == 2
    assert thinking[1].cache["read"] >= thinking[0].cache["written"]
