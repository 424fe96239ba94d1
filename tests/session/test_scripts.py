"""Outside notebooks: `agentnb.Agent` and `python -m agentnb` say what is wrong in one message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

import agentnb
from agentnb.doctor import report
from agentnb.errors import InputError, SettingsError
from agentnb.script import Agent
from agentnb.session import Session
from agentnb.settings import Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGENTNB_MODEL", "sim:claude-sonnet-4-6")
    return tmp_path / "home"


def test_a_plain_function_is_no_tool() -> None:
    with pytest.raises(InputError, match=r"print is not a tool.*@agentnb.tool"):
        agentnb.Agent(tools=[print])  # type: ignore[list-item]


def test_a_misspelt_setting_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="budget"):
        agentnb.Agent(bugdet=1)


def test_a_setting_of_another_type_says_what_to_give() -> None:
    with pytest.raises(SettingsError, match=r"--budget is '5 cents'.*0\.05"):
        agentnb.Agent(budget="5 cents")


def test_a_pause_by_a_clock_of_ones_own_takes_no_time_and_lets_the_prompt_cache_lapse() -> None:
    clock = agentnb.SimClock()
    with agentnb.Agent(clock=clock) as agent:
        runs = [agent.run("What is a tide?")]
        for pause in (200, 8000):
            clock.advance(pause)
            runs.append(agent.run("And why?"))
    assert [bool(run.cache.read) for run in runs] == [False, True, False]
    assert runs[2].receipt["steps"][0]["at"] - runs[1].receipt["steps"][-1]["at"] >= 8000


def test_the_agents_machine_is_drawn_with_a_runs_path() -> None:
    with agentnb.Agent() as agent:
        run = agent.run("What is a tide?")
        told = repr(agent.drawing(run))
        assert "HYDRATING -> THINKING (1x)" in told
        assert "* COMPLETED" in told
        assert "<svg" in agent.drawing(run).svg


@pytest.mark.parametrize("task", ["", "  ", 5, None])
def test_a_task_that_is_none(task: Any) -> None:
    with agentnb.Agent() as agent, pytest.raises(InputError, match="task"):
        agent.run(task)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["runs"], 0, "No run yet"),
        (["runs", "-n", "0"], 2, "whole number"),
        (["simulator", "--port", "99999"], 2, "65535"),
        (["doctor"], 0, "not made yet"),
    ],
)
def test_the_command_line(command: list[str], code: int, says: str) -> None:
    done = subprocess.run([sys.executable, "-m", "agentnb", *command], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "sim:claude-sonnet-4-6 (simulated Claude Sonnet 4.6; no key is set)"),
        ({"OPENAI_API_KEY": "x"}, "its key is set)"),
        ({"AGENTNB_MODEL": "sim:claude-sonet"}, "Did you mean"),
        ({"ANTHROPIC_BASE_URL": "http://ada:geheim@127.0.0.1:1"}, "ANTHROPIC_BASE_URL     not reachable"),
        ({"OPENAI_BASE_URL": "http://[bad"}, "OPENAI_BASE_URL        not reachable"),
        ({}, "local models           "),
    ],
)
def test_doctor_says_who_would_be_asked_and_what_can_be_reached(
    environment: dict[str, str], says: str, tmp_path: Path
) -> None:
    told = "\n".join(report(environment | {"AGENTNB_HOME": str(tmp_path / "home")}))
    assert says in told
    assert "starts here, reachable" in told
    assert "geheim" not in told
    assert not (tmp_path / "home").exists(), "a look writes nothing"


@pytest.mark.slow
def test_doctor_sees_a_file_in_the_way(home: Path) -> None:
    home.write_text("")
    done = subprocess.run([sys.executable, "-m", "agentnb", "doctor"], capture_output=True, text=True, timeout=PATIENCE)
    assert "a file stands there" in done.stdout


@pytest.mark.slow
def test_a_scripts_header_is_told_with_the_project(tmp_path: Path) -> None:
    script = tmp_path / "tides.py"
    script.write_text(
        '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["pandas<4"]\n# ///\nimport agentnb\n'
        "agent = agentnb.Agent()\nrun = agent.run('Hello')\n"
        "for block in agent.session.agent().last_request(run.run_id).blocks:\n"
        "    print(block.layer.name, getattr(block.content, 'text', ''))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    project = done.stdout.partition("SEMI_STATIC")[2].partition("DYNAMIC")[0]
    assert 'requires-python = ">=3.11"\ndependencies = ["pandas<4"]\n</header>' in project


def test_settings_beside_a_session_are_refused(tmp_path: Path) -> None:
    """They were dropped in silence, a budget among them."""
    session = Session(settings=Settings(home=tmp_path, model="sim:claude-sonnet-4-6"))
    with pytest.raises(SettingsError, match="budget"):
        Agent(session=session, budget=0.01)
    session.close()
