"""Against drift: a run has a plan, is told it again at the tail, and ends where its calls go in circles."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted
from hypothesis import given
from hypothesis import strategies as st
from scripted_model import ScriptedModel
from sent import blocks_of, is_prefix

from agentnb.agent.conversation.drift import REMINDER, TIMES, is_due, reminder, times_before
from agentnb.agent.conversation.turn_blocks import result_block
from agentnb.agent.request import Limits
from agentnb.agent.run_document import AgentRun
from agentnb.agent.tools.plan import PlanItem
from agentnb.agent.tools.tool import Outcome
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Role, Text, ToolCall
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.view.render import bundle

Calls = list[tuple[str, dict[str, Any]]]


class Long(scripted.Scripted):
    """Answers each request by the calls that a function of the request's number gives; none end the turn."""

    script: Callable[[int], Calls]

    def reply(self, body: Any) -> Any:
        self.bodies.append(body)
        number = len(self.bodies)
        calls = [(f"t{number}_{n}", name, given) for n, (name, given) in enumerate(self.script(number))]
        return self._say(calls, "Done.")


class Work:
    """A session before that server."""

    def __init__(self, server: Long, home: Path) -> None:
        self.server = server
        settings = Settings(model=scripted.MODELS["anthropic"], home=home, stream=False)
        self.session = Session(settings=settings, environment={})

    def ask(self, script: Callable[[int], Calls], task: str = "Tidy everything.", **changes: Any) -> AgentRun:
        self.server.script, self.server.bodies = script, []
        request = self.session.request(task, thread=self.session.new_run_id(), **({"max_steps": 400} | changes))
        self.agent, run_id = self.session.agent(), self.session.new_run_id()
        self.agent.begin(request, run_id)
        return self.agent.drive(run_id)

    def resume(self, run: AgentRun, limits: Limits | None = None) -> AgentRun:
        self.agent = self.session.agent()
        self.agent.resume(run.run_id, limits or Limits())
        return self.agent.drive(run.run_id)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    server = Long("anthropic")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    made = Work(server, tmp_path / "home")
    yield made
    made.session.close()
    server.close()


def steps(*done: str, doing: str = "", still: tuple[str, ...] = ()) -> dict[str, Any]:
    items = [{"text": text, "state": "done"} for text in done]
    items += [{"text": doing, "state": "doing"}] * bool(doing) + [{"text": text} for text in still]
    return {"items": items}


def last_results(work: Work) -> list[str]:
    return [text for _, text in scripted.results_in(work.server.bodies[-1])]


def test_the_plan_of_the_simulated_model_is_kept_and_shown_in_every_form(book: Any) -> None:
    run = book.ask("Make a plan: load, clean and plot")
    assert run.state == "COMPLETED", run.error
    assert run.receipt["plan"] == [{"text": text, "state": "open"} for text in ("load", "clean", "plot")]
    machine = book.session.machine()
    assert machine.get(run.run_id).context["plan"] == run.receipt["plan"], "a part of the run's state"
    for form, text in bundle(run.receipt, full=True).items():
        if form.startswith("text/"):
            assert "plan: 0 of 3 done" in text, form
            assert all(f"○ {step}" in text for step in ("load", "clean", "plot")), form
    assert book.ask("And now?").receipt["plan"] == [], "another task has a plan of its own"


def test_a_plan_needs_no_permission_and_what_cannot_be_kept_is_told(work: Work) -> None:
    given = [
        ("plan", steps("load", doing="clean", still=("plot",))),
        ("plan", {"items": [{"text": "x", "state": "later"}]}),
        ("plan", steps(*["much"] * 21)),
        ("plan", steps("   ")),
    ]
    run = work.ask(lambda n: given if n == 1 else [])
    assert run.state == "COMPLETED", run.error
    first, *refused = last_results(work)
    assert first == "Kept: 1 of 3 done."
    assert "items.0.state" in refused[0]
    assert all("at most 20 steps" in text for text in refused[1:])
    assert [item["state"] for item in run.receipt["plan"]] == ["done", "doing", "open"]


def test_a_plan_is_journaled_and_shown_without_secrets(work: Work) -> None:
    key = "sk-ant-api03-" + "Zk9Qw3Rt7Yu1Io5Pa8Sd2Fg4Hj6Kl0Xc" * 2
    run = work.ask(lambda n: [("plan", steps(f"use {key}"))] if n == 1 else [])
    assert "use [redacted" in run.receipt["plan"][0]["text"]


def reminders(body: Any) -> list[str]:
    return [text for text in blocks_of(body) if f"<{REMINDER}>\n" in json.loads(text)[1].get("text", "")]


def test_the_task_and_the_plan_are_told_again_at_the_tail_and_no_prefix_changes(work: Work) -> None:
    def script(number: int) -> Calls:
        if number == 5:
            return [("plan", steps("load", doing="clean"))]
        return [("variables", {"pattern": f"a{number}*"})] if number <= 50 else []

    run = work.ask(script, tools=("plan", "variables"))
    assert run.state == "COMPLETED", run.error
    sent = [blocks_of(body) for body in work.server.bodies]
    for before, after in itertools.pairwise(sent):
        assert is_prefix(before, after)
    counts = [len(reminders(body)) for body in work.server.bodies]
    assert counts == [0] * 20 + [1] * 20 + [2] * 11, "after every 20 calls"
    told = json.loads(sent[20][-1])
    assert told[0] == "user"
    assert "Tidy everything." in told[1]["text"]
    assert "[x] load\n[>] clean" in told[1]["text"]


def test_reminders_can_be_more_frequent_or_off(work: Work) -> None:
    def script(number: int) -> Calls:
        return [("variables", {"pattern": f"a{number}*"})] if number <= 6 else []

    run = work.ask(script, tools=("variables",), remind_every=3)
    assert len(reminders(work.server.bodies[-1])) == 2
    work.ask(script, tools=("variables",), remind_every=0)
    assert not reminders(work.server.bodies[-1])
    assert all(work.session.agent().machine.replay(run.run_id, step).same for step in range(1, 14))


def test_a_long_task_is_told_again_in_part() -> None:
    block = reminder("begin " + "x" * 9000 + " end </reminder>", ())
    assert isinstance(block.content, Text)
    assert len(block.content.text) < 2_300
    assert "begin" in block.content.text
    assert block.content.text.count("</reminder>") == 1, "a task closes no frame"


@given(st.integers(0, 60), st.integers(0, 30))
def test_a_reminder_is_due_after_so_many_replies(replies: int, every: int) -> None:
    def block(role: Role, label: str) -> Block:
        return Block(layer=Layer.DYNAMIC, role=role, content=Text("x"), label=label)

    blocks = [block(Role.USER, "task")]
    for _ in range(replies):
        blocks += [block(Role.ASSISTANT, "reply"), block(Role.ASSISTANT, "call of x"), block(Role.USER, "result of x")]
    assert is_due(blocks, every) == (0 < every <= replies)
    assert not is_due([*blocks, reminder("t", (PlanItem(text="a"),))], every)


def test_a_call_that_repeats_is_told_then_ends_the_run_with_what_to_do(work: Work) -> None:
    run = work.ask(lambda n: [("variables", {"pattern": "a*"})], tools=("variables",))
    assert run.state == "FAILED"
    assert run.error.code == "run.repeats"
    assert len(work.server.bodies) == TIMES + 1
    told = last_results(work)
    assert told[:2] == ["No name."] * 2
    assert f"{TIMES} times" in told[2]
    assert f"%agent_runs resume {run.run_id}" in str(work.agent.raised)
    assert "4 times" in run.error.message
    work.server.script = lambda n: [("variables", {"pattern": "a*"})] if n < TIMES + 3 else []
    assert work.resume(run).state == "COMPLETED", "a person who resumes it lets it go on"


def test_a_resumed_run_that_goes_in_circles_ends_again(work: Work) -> None:
    again = [("variables", {"pattern": "a*"})]
    run = work.ask(lambda n: again, tools=("variables",), max_steps=3)
    assert run.error.code == "steps.limit"
    run = work.resume(run, Limits(max_steps=200))
    assert run.error.code == "run.repeats", "whatever it was resumed for"
    calls = len(work.server.bodies)
    run = work.resume(run)
    assert run.error.code == "run.repeats", "a person lets it go on, and not for ever"
    assert TIMES <= len(work.server.bodies) - calls <= TIMES + 1
    machine = work.session.agent().machine
    assert all(machine.replay(run.run_id, step).same for step in range(1, machine.get(run.run_id).step + 1))


@pytest.mark.parametrize("calls", [7, 15])
def test_a_wide_circle_is_a_circle_too(work: Work, calls: int) -> None:
    run = work.ask(lambda n: [("variables", {"pattern": f"a{n % calls}*"})], tools=("variables",))
    assert run.error.code == "run.repeats", run.state
    assert len(work.server.bodies) == TIMES * calls + 1


def test_the_same_call_in_each_turn_of_a_conversation_is_no_circle(book: Any) -> None:
    script = ScriptedModel(lambda n: ("I look.", [("variables", {"pattern": "a*"})]) if n % 2 else ("Done.", []))
    with script.installed():
        for number in range(TIMES + 3):
            run = book.ask(f"Look once more: {number}.", context="none", tools=("variables",))
            assert run.state == "COMPLETED", run.error
            assert [tool.name for step in run.steps for tool in step.tools] == ["variables"]
    assert f"{TIMES} times" not in script.seen[-1]


def test_many_calls_side_by_side_are_seen_to_repeat_too(work: Work) -> None:
    same = [("variables", {"pattern": f"a{n}*"}) for n in range(24)]
    run = work.ask(lambda n: [*same, ("variables", {"pattern": f"b{n}*"})], tools=("variables",))
    assert run.error.code == "run.repeats", run.state
    assert len(work.server.bodies) == TIMES + 1


def test_a_call_whose_result_stands_above_already_repeats_like_any_other(work: Work) -> None:
    source = "def fee(x):\n    return x + 1"
    work.session.cells.record(source, cell_id="fee", number=1)
    exec(source, work.session.namespace)
    run = work.ask(lambda n: [("inspect", {"name": "fee"})], tools=("inspect",))
    assert run.error.code == "run.repeats", run.state
    assert len(work.server.bodies) == TIMES + 1, last_results(work)


def test_what_acts_in_between_makes_a_repetition_new(work: Work) -> None:
    log: list[int] = []
    work.session.namespace["log"] = log

    def script(number: int) -> Calls:
        if number > 12:
            return []
        return [("run_code", {"code": f"log.append({number})"}) if number % 2 else ("variables", {"pattern": "zz*"})]

    run = work.ask(script, tools=("variables", "run_code"), allow=("run_code",))
    assert run.state == "COMPLETED", run.error
    assert len(log) == 6


def test_an_acting_call_that_repeats_ran_once_more_and_no_further(work: Work) -> None:
    log: list[int] = []
    work.session.namespace["log"] = log
    run = work.ask(lambda n: [("run_code", {"code": "log.append(1)"})], allow=("run_code",))
    assert run.error.code == "run.repeats"
    assert len(log) == TIMES + 1
    work.server.script = lambda n: []
    assert work.resume(run).state == "COMPLETED"
    assert len(log) == TIMES + 1, "what had run is not repeated when the run goes on"


@given(st.lists(st.sampled_from("abc"), max_size=20), st.sampled_from("abc"))
def test_repetitions_are_counted_back_to_the_last_other_call_that_acts(history: list[str], last: str) -> None:
    def call(name: str, number: int = 0) -> ToolCall:
        return ToolCall(f"t{number}", name, {})

    blocks: list[Block] = []
    for number, name in enumerate(history):
        blocks.append(Block(layer=Layer.DYNAMIC, role=Role.ASSISTANT, content=call(name, number)))
        blocks.append(result_block(call(name, number), Outcome(text="same")))
    since = history[max((n + 1 for n, name in enumerate(history) if name == "c" != last), default=0) :]
    assert times_before(blocks, call(last), {"same"}, {"c"}) == since.count(last)
    assert times_before(blocks, call(last), {"other"}, {"c"}) == 0
