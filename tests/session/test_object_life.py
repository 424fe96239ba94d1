"""Cache objects in the life of a session: made when pauses say so, returned to, replaced, vanished, deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.hydration.project_context import Pins
from agentnb.agent.run_document import AgentRun
from agentnb.agent.tools.tool import tool
from agentnb.notebook.commands.cache import agent_cache
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

MODEL = "sim:gemini-2.5-flash"
PAUSE = 400.0  # seconds: longer than a prefix lasts unasked, shorter than storing it costs as much as a write


@dataclass
class Slow:
    """A notebook on a virtual clock, whose user pauses before each task."""

    session: Session
    simulator: Simulator
    clock: SimClock
    count: int = 0

    def cell(self, source: str) -> None:
        self.count += 1
        self.session.cells.record(source, cell_id="code", number=self.count)
        exec(source, self.session.namespace)

    def ask(self, task: str, *, cell: str = "", pause: float = PAUSE, **changes: Any) -> AgentRun:
        self.clock.advance(pause)
        request = self.request(task, cell, **changes)
        agent, run_id = self.session.agent(), self.session.new_run_id()
        agent.begin(request, run_id)
        run = agent.drive(run_id)
        assert agent.raised is None
        return run

    def request(self, task: str, cell: str = "", **changes: Any) -> Any:
        self.count += 1
        return self.session.request(task, cell=cell or f"ask-{self.count}", execution=str(self.count), **changes)

    def listed(self) -> list[str]:
        return [str(one["name"]) for one in self.session.provider(MODEL).list_caches()]  # type: ignore[attr-defined]

    def sent(self, method: str) -> list[int]:
        """The statuses of what was asked of the cache objects' own address by this method."""
        asked = (request for request in self.simulator.requests if "cachedContents" in request.path)
        return [request.status for request in asked if request.method == method]

    @property
    def made(self) -> int:
        return len(self.sent("POST"))

    @property
    def last_body(self) -> dict[str, Any]:
        found: dict[str, Any] = [r.body for r in self.simulator.requests if "enerateContent" in r.path][-1]
        return found


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    clock = SimClock()
    with Simulator(speed=0, clock=clock, record=True) as simulator:
        settings = Settings(model=MODEL, home=tmp_path / "home", sim_speed=0, cache_budget=1.0)
        session = Session(settings=settings, clock=clock, simulated=simulator, environment={})
        session.extra_tools["long"] = described("Answer questions about tides. " * 900)
        yield Slow(session, simulator, clock)
        session.close()


def described(text: str) -> Any:
    def long(question: str) -> str:
        return question

    long.__doc__ = text
    return tool(long)


def notes_of(run: AgentRun) -> str:
    return " ".join(run.receipt["notes"])


def test_one_is_made_when_pauses_were_seen_and_deleted_at_the_end(slow: Slow) -> None:
    first, second = slow.ask("Hello?"), slow.ask("And again?")
    assert "cache object" not in notes_of(first) + notes_of(second), "two calls show one pause"
    third = slow.ask("And now?")
    assert "tokens for the next 16 min: made for $0.00" in notes_of(third)
    assert "systemInstruction" not in slow.last_body
    assert third.cost > second.cost
    fourth = slow.ask("Still?")
    assert "made for" not in notes_of(fourth), "it is made once"
    assert fourth.cache.read == fourth.cache.expected > 2048
    slow.session.close_objects()
    assert slow.sent("DELETE") == [200]


def test_none_is_made_in_a_quick_session(slow: Slow) -> None:
    for _ in range(12):
        slow.ask("Hello?", pause=20)
    assert slow.made == 0


def test_without_a_budget_none_is_made(slow: Slow) -> None:
    slow.session.settings = slow.session.settings.with_changes(cache_budget=0.0)
    for _ in range(5):
        slow.ask("Hello?")
    assert slow.made == 0


def made_by_hand(slow: Slow, rules: Path) -> str:
    """The name of the object that `%agent_cache warm` makes of a long pinned file."""
    rules.write_text("Answer every question about tides in two sentences. " * 900)
    slow.session.keep_pins(Pins(files=(str(rules),)))
    slow.ask("Hello?", pause=20)
    agent_cache(slow.session, "warm")
    (name,) = slow.listed()
    return str(name)


def test_one_made_by_hand_is_read_by_every_call_that_follows(slow: Slow, tmp_path: Path) -> None:
    """Made and paid: whether or not a pause came, nothing else is as certain to hit."""
    del slow.session.extra_tools["long"]
    name = made_by_hand(slow, tmp_path / "rules.md")
    for pause in (5, 20, 400):
        run = slow.ask("And now?", pause=pause)
        assert slow.last_body["cachedContent"] == name
        assert run.cache.read >= run.cache.expected > 9_000
        assert run.cache.reason.startswith("hit")
    assert slow.made == 1


def test_one_made_by_hand_is_replaced_at_once_when_its_source_changes(slow: Slow, tmp_path: Path) -> None:
    """No pause that pays was seen: the person wants one, and the budget has room. Without room there is none."""
    before = made_by_hand(slow, rules := tmp_path / "rules.md")
    rules.write_text("Answer every question about tides in three sentences. " * 900)
    slow.ask("And now?", pause=20)
    (after,) = slow.listed()
    assert after != before
    assert slow.last_body["cachedContent"] == after
    run = slow.ask("And again?", pause=20)
    assert run.cache.read >= run.cache.expected > 9_000

    slow.session.settings = slow.session.settings.with_changes(cache_budget=0.0)
    rules.write_text("Answer every question about tides in four sentences. " * 900)
    slow.ask("And now?", pause=20)
    assert (slow.listed(), slow.made) == ([], 2)


def test_one_is_left_aside_where_what_is_cached_unasked_is_worth_more(slow: Slow) -> None:
    """Many hits were seen, and the conversation is by far the most of the prompt."""
    slow.session.extra_tools["long"] = described("Answer questions about tides. " * 300)
    slow.ask("What is a tide? " + "High water comes twice a day. " * 1500, pause=20)
    for _ in range(4):
        slow.ask("And?", pause=20)
    agent_cache(slow.session, "warm")
    assert len(slow.listed()) == 1
    run = slow.ask("And again?", pause=20)
    assert "cachedContent" not in slow.last_body
    assert run.cache.read == run.cache.expected > 10_000


def test_a_dry_run_tells_of_the_object_that_the_call_would_make(slow: Slow) -> None:
    def told() -> str:
        return notes_of(slow.session.agent().dry_run(slow.request("Hello?"), "dry"))

    slow.ask("Hello?")
    slow.ask("And again?")
    slow.clock.advance(PAUSE)
    assert "tokens would be made first, for ≈ $0.00" in told()
    slow.ask("And now?", pause=0)
    assert "would be made" not in told(), "it is there"
    assert len(slow.listed()) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_one_that_vanished_is_survived_and_told(slow: Slow, stream: bool) -> None:
    slow.session.settings = slow.session.settings.with_changes(stream=stream)
    for _ in range(3):
        slow.ask("Hello?")
    slow.session.provider(MODEL).delete_cache(slow.listed()[0])  # type: ignore[attr-defined]  # by somebody else
    slow.session.settings = slow.session.settings.with_changes(cache_budget=0.0)  # no new one
    before = len(slow.simulator.requests)
    run = slow.ask("And again?")
    assert run.state == "COMPLETED"
    assert [request.status for request in slow.simulator.requests[before:]] == [403, 200]
    assert "the cache object had vanished at the provider" in run.cache.reason
    assert "had vanished" in notes_of(run)
    assert slow.session.ledger.held() == []


def test_old_and_new_cells_in_turn_use_one_object_each(slow: Slow) -> None:
    """Two segments of one thread: what the first one held was changed, so the second one began."""
    slow.session.settings = slow.session.settings.with_changes(thread_stale_limit=0.02)
    text = "High water comes twice a day, and low water between. " * 40
    slow.cell(f"def tide(x):\n    '''{text}'''\n    return x")
    slow.ask("Hello?", cell="first")
    slow.ask("Explain `tide`.", cell="old")
    slow.cell(f"def tide(x):\n    '''{text}'''\n    return x * 2")
    assert "Prompt begun anew" in notes_of(slow.ask("And now?", cell="new"))
    frames = set()
    for _ in range(8):
        for cell in ("old", "new"):
            run = slow.ask("Again?", cell=cell, pause=250)
            frames.add(run.layers[1].digest)
    assert 0 < slow.made <= 2
    alive = len(slow.listed())  # one that is asked for no more may have lapsed by itself
    slow.session.close_objects()
    assert slow.sent("DELETE") == [200] * alive
    assert slow.listed() == []


def test_two_tool_sets_in_turn_use_one_object_each(slow: Slow) -> None:
    for _ in range(8):
        for tools in (["long"], ["long", "inspect"]):
            slow.ask("Again?", pause=250, tools=tools)
    assert slow.made == 2
    assert len(slow.listed()) == 2
    slow.session.close_objects()
    assert slow.sent("DELETE") == [200, 200]


def test_an_overlay_keeps_the_object_and_a_changed_schema_replaces_it(slow: Slow, tmp_path: Path) -> None:
    """Two files in the project section: a small one's edit goes as an overlay, a large one's begins a new segment."""
    small, large = tmp_path / "small.sql", tmp_path / "large.sql"
    small.write_text("CREATE TABLE tide (id INTEGER);")
    large.write_text("\n".join(f"CREATE TABLE t{i} (id INTEGER, name TEXT);" for i in range(150)))
    slow.session.project = tmp_path
    slow.session.extra_tools.clear()
    slow.session.keep_pins(Pins(files=[str(small), str(large)]))
    for task in ("Which tables?", "And their columns?", "All of them?"):
        slow.ask(task)
    (made,) = slow.listed()
    assert slow.ask("And their columns?").cache.read > 2048
    small.write_text("CREATE TABLE tide (id INTEGER, height REAL);")
    overlaid = slow.ask("And now?")
    assert slow.listed() == [made]
    assert overlaid.cache.read > 2048
    large.write_text(large.read_text().replace("TEXT", "VARCHAR"))
    slow.ask("And after that?")
    (other,) = slow.listed()
    assert other != made, "its segment is over at once, and another takes its place"
    slow.ask("Still?")
    replaced = slow.ask("Still?")
    (new,) = slow.listed()
    assert new in " ".join(replaced.cache.marks)
    assert replaced.cache.read > 2048


def test_the_cache_magics_tell_why_there_is_an_object_or_none(slow: Slow, capsys: pytest.CaptureFixture[str]) -> None:
    def said(command: str) -> str:
        capsys.readouterr()
        agent_cache(slow.session, command)
        return " ".join(capsys.readouterr().out.replace("\\n", " ").split())

    slow.session.namespace["_agent"] = slow.ask("Hello?")
    assert "once two pauses outlasted what is cached unasked" in said("status")
    for _ in range(5):
        slow.session.namespace["_agent"] = slow.ask("And?", pause=10)
    told = said("status")
    assert "none of the last five lasting over 16 min" in told
    assert "By the pauses seen, one is not due." in told
    for _ in range(9):
        slow.session.namespace["_agent"] = slow.ask("And now?")
    told = said("status")
    assert "not due" not in told
    assert re.search(r"cache object, \d+ min left", told)
    assert "By the pauses seen it is extended as calls use it" in told
    assert "cache object of this kernel" in told
    assert "1 cache object in use left alone: %agent_cache clear deletes ours" in said("prune")
    assert "Simulated: nothing was charged. It is deleted when the kernel ends" in said("extend")
    assert "1 cache object deleted" in said("clear")
