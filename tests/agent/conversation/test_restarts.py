"""A conversation that goes on after its kernel was started anew."""

from __future__ import annotations

from pathlib import Path

from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator


def test_a_simulated_prompt_cache_that_died_with_its_kernel_is_told_as_such(tmp_path: Path) -> None:
    reasons = []
    for _ in range(2):
        with Simulator(speed=0) as simulator:
            settings = Settings(model="sim:claude-sonnet-4-6", home=tmp_path / "home", sim_speed=0)
            session = Session(settings=settings, simulated=simulator, environment={})
            agent, run_id = session.agent(), session.new_run_id()
            agent.begin(session.request("What is a tide?", thread="tides", cell="a", execution=run_id), run_id)
            reasons.append(agent.drive(run_id).cache["reason"])
            session.close()
    assert "first call with this prefix" in reasons[0]
    assert "ended with its kernel" in reasons[1]
