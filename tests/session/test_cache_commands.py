"""%agent_cache on each provider, by what it prints: policy by layer, predictions, and what a provider cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentnb.context.notebook.cells import CellIndex
from agentnb.errors import InputError
from agentnb.notebook.commands.cache import agent_cache
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import SimClock, Simulator

MODELS = ("sim:claude-sonnet-4-6", "sim:gemini-2.5-flash", "sim:gpt-4.1", "sim:gpt-6.1-sol")
LONG = "def tide(x):\n    '''" + "High water comes twice a day, and low water between. " * 120 + "'''\n    return x * 2"


class Desk:
    """A session on a virtual clock whose last run is where the magics look for it."""

    def __init__(self, home: Path, clock: SimClock, simulator: Simulator) -> None:
        self.clock = clock
        settings = Settings(home=home, sim_speed=0)
        self.session = Session(settings=settings, clock=clock, simulated=simulator, environment={})
        self.session.cells.record(LONG, cell_id="tide", number=1)
        self.count = 0

    def ask(self, model: str, task: str = "Explain `tide`.") -> Any:
        self.session.settings = self.session.settings.with_changes(model=model)
        agent, request, run_id = self._opened(task)
        agent.begin(request, run_id)
        self.session.namespace["_agent"] = agent.drive(run_id)
        return self.session.namespace["_agent"]

    def dry_run(self, model: str, task: str) -> Any:
        self.session.settings = self.session.settings.with_changes(model=model)
        agent, request, run_id = self._opened(task)
        return agent.dry_run(request, run_id)

    def _opened(self, task: str) -> Any:
        self.count += 1
        run_id = f"{self.session.thread}-{self.count}"
        return self.session.agent(), self.session.request(task, cell=run_id, execution=run_id), run_id


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    clock = SimClock()
    with Simulator(speed=0, clock=clock) as simulator:
        made = Desk(tmp_path / "home", clock, simulator)
        yield made
        made.session.close()


def said(desk: Desk, capsys: pytest.CaptureFixture[str], command: str) -> str:
    capsys.readouterr()
    agent_cache(desk.session, command)
    return " ".join(capsys.readouterr().out.replace("\\n", " ").split())


@pytest.mark.parametrize("model", MODELS)
def test_a_dry_run_predicts_what_the_call_then_predicts(desk: Desk, model: str) -> None:
    desk.ask(model)
    desk.clock.advance(30)
    for task in ("And why twice?", "Is there more?"):
        dry = desk.dry_run(model, task)
        real = desk.ask(model, task)
        assert dry.cache.expected == real.cache.expected > 0
        assert real.cache.read == pytest.approx(real.cache.expected, abs=129)
        assert "First token expected in" in " ".join(dry.receipt["notes"])
        desk.clock.advance(30)


@pytest.mark.parametrize("model", MODELS)
def test_a_dry_run_in_a_second_kernel_never_expects_more_than_it_sends(desk: Desk, model: str, tmp_path: Path) -> None:
    desk.ask(model)
    desk.ask(model, "And why twice?")
    other = Desk(tmp_path / "home", desk.clock, desk.session.simulator())
    for task in ("Explain `tide`.", "And why twice?"):
        dry = other.dry_run(model, task)
        assert dry.cache.expected <= dry.cache.prefix
        real = other.ask(model, task)
        assert real.cache.expected <= real.cache.prefix
    other.session.simulated = None  # it is the first one's
    other.session.close()


def test_a_slow_user_gets_another_answer_than_a_fast_loop(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(6):
        desk.ask(MODELS[0], f"Question {i} of a slow day?")
        desk.clock.advance(1200)
    slow = said(desk, capsys, "status")
    assert "1 hour" in slow
    assert "Of 9 pauses 2 lasted at most 5 min, the longest 20 min" in slow
    assert "up to 60 min" in slow
    for i in range(70):
        desk.ask(MODELS[0], f"Step {i} of a loop?")
        desk.clock.advance(4)
    fast = said(desk, capsys, "status")
    assert "Of 64 pauses 64 lasted at most 5 min, the longest 4 s" in fast
    assert "cache_budget is 0" in fast
    assert "First token expected in" in fast


def test_status_says_how_many_pings_the_budget_would_pay(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.session.settings = desk.session.settings.with_changes(cache_budget=1.0)
    desk.session.keepalive._wait = lambda stopped, seconds: True
    for i in range(64):
        desk.ask(MODELS[0], f"Step {i}?")
        desk.clock.advance(4.0 if i % 20 else 400.0)
    told = said(desk, capsys, "status")
    assert "5 min, kept warm" in told
    assert "Pings: 0 of at most 11 sent in this pause, 0 in this session" in told
    assert "of the cache budget of $1.00" in told


@pytest.mark.parametrize("model", MODELS)
def test_every_command_does_it_or_says_why_not(desk: Desk, capsys: pytest.CaptureFixture[str], model: str) -> None:
    desk.ask(model)
    desk.clock.advance(5)
    desk.ask(model, "And why twice?")
    assert "Instructions" in said(desk, capsys, "status")
    assert "Hit:" in said(desk, capsys, "explain")
    listed = said(desk, capsys, "list")
    assert ("Google lists 0 cache objects" in listed) == ("gemini" in model)
    assert "agentnb keeps this list itself" in listed
    for command in ("warm", "extend"):
        if model == "sim:gpt-4.1":
            with pytest.raises(InputError, match="no way to warm"):
                agent_cache(desk.session, command)
        elif "gemini" not in model:
            assert "Nothing was generated" in said(desk, capsys, command)
    assert "expires by itself" in said(desk, capsys, "clear")
    assert "removed from the data directory" in said(desk, capsys, "prune")
    assert "Nothing is warm" in said(desk, capsys, "status")


@pytest.mark.parametrize(
    "line", ["status now", "list all", "warm it", "extend 1h", "clear all", "latency x", "prune x"]
)
def test_words_that_a_command_does_not_know_are_refused(desk: Desk, line: str) -> None:
    with pytest.raises(InputError, match="not '"):
        agent_cache(desk.session, line)


def test_explain_tells_a_forecast_from_a_report(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    first = desk.ask(MODELS[0])
    desk.session.namespace["_agent"] = desk.dry_run(MODELS[0], "And why twice?")
    told = said(desk, capsys, "explain")
    assert "Nothing was sent" in told
    assert "Expected to be read: Instructions" in told
    assert "Read by layer" not in told
    assert "Read by layer in the last call" in said(desk, capsys, f"explain {first.run_id}")
    assert "Nothing was generated" in said(desk, capsys, "warm"), "what was sent before the dry run is kept warm"


def test_nothing_is_spent_on_what_is_too_short_to_be_kept(desk: Desk) -> None:
    desk.session.cells = CellIndex(str)
    desk.ask("sim:claude-opus-4-6", "Hello")
    with pytest.raises(InputError, match=r"nothing can be kept warm yet.* from 4,096 on"):
        agent_cache(desk.session, "warm")
    assert desk.session.objects.spent == 0


@pytest.mark.parametrize("marks", ["placed", "automatic"])
def test_warm_reads_what_the_next_call_will_begin_with(
    desk: Desk, capsys: pytest.CaptureFixture[str], marks: str
) -> None:
    desk.session.settings = desk.session.settings.with_changes(marks=marks)
    run = desk.ask(MODELS[0])
    desk.clock.advance(3000)
    written = run.cache.written
    assert f"{written:,} 0 $" in said(desk, capsys, "warm"), "all of it is read"
    desk.clock.advance(3000)
    later = desk.ask(MODELS[0], "And why twice?")
    assert later.cache.read == later.cache.expected == written


def test_a_policy_without_prices_says_so(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.session.settings = desk.session.settings.with_changes(model="anthropic:house-model")
    assert "No price is known for house-model" in said(desk, capsys, "status")


def test_a_policy_for_another_model_than_the_one_that_is_set_says_so(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.ask(MODELS[0])
    desk.session.settings = desk.session.settings.with_changes(model=MODELS[2])
    told = said(desk, capsys, "status")
    assert "policy for Claude Sonnet 4.6" in told
    assert "The model is set to sim:gpt-4.1 now" in told


def test_explain_names_the_line_that_changed_and_the_price(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """The tool set's text changes: everything is written anew, and it is said where it differs."""
    from agentnb.agent.tools.tool import tool

    def described(text: str) -> Any:
        def look(name: str) -> str:
            return name

        look.__doc__ = "Look a tide up. " * 200 + text
        return tool(safe=True)(look)

    desk.session.extra_tools["look"] = described("In metres.")
    desk.ask(MODELS[0])
    desk.session.extra_tools["look"] = described("In feet.")
    desk.ask(MODELS[0], "And now?")
    told = said(desk, capsys, "explain")
    assert "Instructions block 2 changed (tool" in told
    assert "look: " in told, "in a terminal's table on the next line"
    assert "In metres." in told
    assert "In feet." in told
    assert "tokens that could have been read were not. That cost $0.0" in told
    assert "and the first token came about" in told
