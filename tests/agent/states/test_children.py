"""Children of a run share its prefix, its money and its stops, and each runs to its end once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from sent import blocks_of, is_prefix

from agentnb.agent.request import Limits
from agentnb.agent.run_document import AgentRun
from agentnb.errors import RunInterrupted
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator
from agentnb.view.render import bundle

TOOLS = ("inspect", "read_cell", "run_code", "propose_cell", "plan", "delegate")


def delegated(book: Any, *tasks: str, **changes: Any) -> AgentRun:
    run: AgentRun = book.ask(f"Delegate {', '.join(f'“{task}”' for task in tasks)}.", **({"tools": TOOLS} | changes))
    return run


def unmarked(body: Any) -> Any:
    """The request without its breakpoints."""
    if isinstance(body, dict):
        return {name: unmarked(value) for name, value in body.items() if name != "cache_control"}
    return [unmarked(value) for value in body] if isinstance(body, list) else body


def children_of(book: Any, run: AgentRun) -> list[AgentRun]:
    return [book.session.find_run(child["run_id"]) for child in run.receipt["children"]]


def results(run: AgentRun) -> list[Any]:
    return [tool for step in run.steps for tool in step.tools if tool.name == "delegate"]


def test_twenty_children_read_their_parents_prefix_from_the_cache(book: Any) -> None:
    book.cell("RATE = 0.2\ndef tax(x):\n    return x * RATE", "rate")
    run = delegated(book, *(f"Explain tide number {n}" for n in range(20)))
    assert run.state == "COMPLETED", run.error
    children = children_of(book, run)
    assert len(children) == 20
    assert [child.state for child in children] == ["COMPLETED"] * 20
    read = sum(child.usage["cache_read"] for child in children)
    sent = sum(book.session.machine().get(child.run_id).context["usage"]["input"] for child in children) + read
    written = sum(child.usage[name] for child in children for name in ("cache_write_5m", "cache_write_1h"))
    assert read / (sent + written) >= 0.9
    assert sum(child.cache.read == 0 for child in children) == 0, "the parent's own first call is the one cold call"
    parent = blocks_of(book.bodies[0])
    frame = [block for block in parent if json.loads(block)[0] in ("tools", "system")]
    for body in book.bodies[1:-1]:
        assert is_prefix(frame, blocks_of(body)), "the same tools and the same text, byte for byte"
    assert run.usage.calls == 2 + 20
    assert run.cost == pytest.approx(sum(child.cost for child in children) + sum(s.cost or 0 for s in run.steps))


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-opus-4-6", "gemini-3.1-pro-preview"])
def test_where_the_frame_is_too_short_to_be_cached_children_begin_with_what_their_parent_sent(
    book: Any, model: str
) -> None:
    run = delegated(book, *(f"Explain tide number {n}" for n in range(4)), model=f"sim:{model}")
    short = children_of(book, run)
    assert sum(layer.tokens for layer in run.layers) < 4096
    assert [child.usage["cache_read"] for child in short] == [0] * 4, "nothing is long enough: it costs what it costs"
    assert "What stands above" not in str(book.bodies)

    asked = len(book.bodies)
    run = book.ask("Delegate “Explain tide 1”, “Explain tide 2”.\n\n" + "the tide rose and fell " * 400, tools=TOOLS,
                   model=f"sim:{model}", thread="other")  # fmt: skip
    children = children_of(book, run)
    parent, *bodies = (unmarked(body) for body in book.bodies[asked : asked + 3])
    said, parts = ("contents", "parts") if model.startswith("gemini") else ("messages", "content")
    for child, body in zip(children, bodies, strict=True):
        (asked_first,), (told, *_) = parent[said], body[said]
        assert told[parts][: len(asked_first[parts])] == asked_first[parts], "all of the parent's request"
        assert "What stands above is that agent's conversation" in str(body)
        assert child.usage["cache_read"] >= 4000
    assert max(child.cost for child in children) < 0.4 * min(child.cost for child in short)


def test_a_parents_request_that_is_long_is_not_read_by_its_children(book: Any) -> None:
    book.ask("Delegate “Explain tide 1”.\n\n" + "the tide rose and fell " * 4000, tools=TOOLS,
             model="sim:claude-haiku-4-5")  # fmt: skip
    assert "What stands above" not in str(book.bodies)
    assert len(blocks_of(book.bodies[1])) < len(blocks_of(book.bodies[0])) + 3
    assert "tide rose" not in str(book.bodies[1])


def test_a_child_gives_its_answer_and_its_cost_and_is_found_by_its_id(book: Any) -> None:
    run = delegated(book, "Explain the tides")
    (child,) = children_of(book, run)
    assert child.run_id == f"{run.run_id}/3/1"
    assert child.receipt["child_of"] == run.run_id
    (result,) = results(run)
    assert result.result.startswith(child.text)
    assert f"for ${child.cost:.4f}" in result.result
    assert not result.is_error
    sent = str(book.bodies[1])
    assert "You do one part of a larger task" in sent
    assert "inspect, plan, read_cell, recall, run_code" in sent
    assert book.session.full_run_id(run.run_id[:-2]) == run.run_id, "a child does not make its parent's name doubtful"
    assert [each.run_id for each in book.session.runs(10)] == [run.run_id], "nor is it listed beside it"
    for form, text in bundle(run.receipt, full=True).items():
        if form.startswith("text/"):
            assert "✓ Explain the tides" in text, form
    assert book.ask("And the moon?").receipt["children"] == []


def test_children_see_the_definitions_that_their_task_names(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2\n\ndef fee(x):\n    return x + 1", "money")
    delegated(book, "Explain `tax`", "Explain `fee`")
    first, second = (str(body) for body in book.bodies[1:3])
    assert "x * 0.2" in first
    assert "x + 1" not in first
    assert "x + 1" in second


def test_a_child_uses_its_own_tools_alone_and_may_not_delegate(book: Any) -> None:
    book.cell("def tax(x):\n    return x * 0.2", "tax")
    run = delegated(book, "Use the tool read_cell on cell 1", "Delegate the moon")
    one, two = children_of(book, run)
    assert [tool["name"] for step in one.steps for tool in step.tools] == ["read_cell"]
    (refused,) = [tool for step in two.steps for tool in step.tools]
    assert refused["is_error"]
    assert "There is no tool called delegate" in refused["result"]
    assert not children_of(book, two)


def test_a_call_that_needs_a_persons_word_is_refused_to_a_child(book: Any) -> None:
    book.session.namespace["log"] = []
    run = delegated(book, "Run `log.append(1)`", approval="ask")
    assert run.state == "COMPLETED", run.error
    (child,) = children_of(book, run)
    (call,) = [tool for step in child.steps for tool in step.tools]
    assert call["refused"]
    assert book.session.namespace["log"] == []
    run = delegated(book, "Run `log.append(2)`", allow=("run_code",))
    assert book.session.namespace["log"] == [2], "what the person allows its parent, a child may do"


def test_money_is_shared_and_a_child_that_needs_more_ends_as_a_tool_error(book: Any) -> None:
    first = delegated(book, "Explain tides", budget=1.0)
    left = 1.0 - first.steps[1].cost
    machine = book.session.machine()
    assert machine.get(f"{first.run_id}/3/1").context["budget"]["limit"] == pytest.approx(left / 2)

    tight = delegated(book, *(f"Explain tide {n}" for n in range(8)), budget=first.steps[1].cost + 0.05)
    assert tight.receipt["budget"]["spent"] <= tight.receipt["budget"]["limit"]
    dead = results(tight)
    assert len(dead) == 8
    assert all(result.is_error and "BudgetExceeded" in result.result for result in dead)
    assert [child["state"] for child in tight.receipt["children"]] == ["FAILED"] * 8


def test_a_child_that_dies_is_a_tool_error_to_its_parent(book: Any) -> None:
    def fail_in_mid_call(*_: Any) -> None:
        book.simulator.inject(kind="drop", times=3)

    machine = book.session.machine
    stops: list[Any] = []

    def watched(*args: Any) -> Any:
        made = machine(*args)
        stops.append(
            made.events.subscribe(lambda event: event.kind == "created" and "/" in event.run_id and fail_in_mid_call())
        )
        return made

    book.session.machine = watched
    run = delegated(book, "Explain tides", retry_wait=0.0)
    assert run.state == "COMPLETED", "its parent goes on"
    (result,) = results(run)
    assert result.is_error
    assert "ended without an answer" in result.result
    assert run.receipt["children"][0]["state"] == "FAILED"


def test_the_others_begin_when_the_first_streams(tmp_path: Path) -> None:
    """At a speed that takes time: no request of another child comes before the first has its first token."""
    with Simulator(speed=0, record=True) as simulator:
        settings = Settings(model="sim:claude-sonnet-4-6", home=tmp_path / "home", sim_speed=0)
        session = Session(settings=settings, simulated=simulator, environment={})
        seen: list[tuple[str, str]] = []
        lock = threading.Lock()
        make = session.machine

        def watched(*args: Any) -> Any:
            made = make(*args)

            def hear(event: Any) -> None:
                if "/" in event.run_id and event.kind in ("delta", "created"):
                    with lock:
                        seen.append((event.kind, event.run_id.rpartition("/")[2]))

            made.events.subscribe(hear)
            return made

        session.machine = watched  # type: ignore[method-assign]
        request = session.request("Delegate “Explain tides”, “Explain moons”, “Explain suns”.", tools=TOOLS)
        agent, run_id = session.agent(), session.new_run_id()
        agent.begin(request, run_id)
        assert agent.drive(run_id).state == "COMPLETED"
        first = seen.index(("delta", "1"))
        assert all(seen.index(("created", other)) > first for other in "23")
        session.close()


def test_a_replay_finds_the_children_and_runs_none(book: Any) -> None:
    run = delegated(book, "Explain tides", "Explain moons")
    asked = len(book.bodies)
    machine = book.session.agent().machine
    assert all(machine.replay(run.run_id, step).same for step in range(1, machine.get(run.run_id).step + 1))
    assert len(book.bodies) == asked


SCRIPT = textwrap.dedent("""
    import os, signal, sys
    from agentnb.session import Session
    from agentnb.settings import Settings
    from agentnb.simulator import Simulator
    home, ends = sys.argv[1], int(sys.argv[2])
    simulator = Simulator(speed=0).start()
    session = Session(settings=Settings(model="sim:claude-sonnet-4-6", home=__import__("pathlib").Path(home)),
                      simulated=simulator, environment={})
    make, done = session.machine, []
    def watched(*args):
        made = make(*args)
        def hear(event):
            if "/" in event.run_id and event.next_state == "COMPLETED":
                done.append(event.run_id)
                if len(done) == ends:
                    os.kill(os.getpid(), signal.SIGKILL)
        made.events.subscribe(hear)
        return made
    session.machine = watched
    tasks = ", ".join(f"“Explain tide {n}”" for n in range(6))
    agent = session.agent()
    agent.begin(session.request(f"Delegate {tasks}.", tools=("inspect", "delegate")), "r-1")
    agent.drive("r-1")
""")


@pytest.mark.slow
def test_a_parent_killed_in_the_middle_runs_no_finished_child_again(book: Any, tmp_path: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(book.session.home), "3"], env=dict(os.environ), check=False, timeout=120
    )
    assert died.returncode == -signal.SIGKILL
    machine = book.session.machine()
    before = {n: machine.get(f"r-1/3/{n}").status for n in range(1, 7) if machine.journal.find(thread=f"r-1/3/{n}")}
    finished = [n for n, status in before.items() if status == "completed"]
    assert len(finished) >= 3
    assert machine.get("r-1").status == "running"
    steps = {n: machine.get(f"r-1/3/{n}").step for n in finished}

    agent = book.session.agent()
    agent.resume("r-1", Limits())
    run = agent.drive("r-1")
    assert run.state == "COMPLETED", run.error
    assert [child["state"] for child in run.receipt["children"]] == ["COMPLETED"] * 6
    assert {n: machine.get(f"r-1/3/{n}").step for n in finished} == steps
    tasks = [text for body in book.bodies for text in map(str, body["messages"]) if "You do one part" in text]
    assert len(tasks) == 6 - len(finished), "asked for those alone that had not ended"
    costs = [book.session.find_run(f"r-1/3/{n}").cost for n in range(1, 7)]
    assert run.cost == pytest.approx(sum(costs) + sum(step.cost or 0 for step in run.steps))


def test_a_stop_reaches_the_children_and_they_go_on_with_their_parent(book: Any) -> None:
    make = book.session.machine

    def watched(*args: Any) -> Any:
        made = make(*args)
        made.events.subscribe(lambda event: event.kind == "delta" and "/" in event.run_id and book.session.cancel())
        return made

    book.session.machine = watched
    with pytest.raises(RunInterrupted, match="while its children worked"):
        delegated(book, "Explain tides", "Explain moons")
    book.session.machine = make
    (parent,) = book.session.runs(5)
    assert parent.status == "paused"
    assert book.session.machine().get(f"{parent.run_id}/3/1").status == "paused"
    agent = book.session.agent()
    agent.resume(parent.run_id, Limits())
    run = agent.drive(parent.run_id)
    assert run.state == "COMPLETED", run.error
    assert [child["state"] for child in run.receipt["children"]] == ["COMPLETED"] * 2
