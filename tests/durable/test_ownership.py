"""The thread that keeps leases alive ends once no journal is open."""

from __future__ import annotations

from pathlib import Path

import pytest
from patience import PATIENCE

from agentnb import AgentStateMachine
from agentnb.durable import ownership


def test_it_ends_with_the_last_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And at once: it would look for itself after a third of a lease."""
    monkeypatch.setattr(ownership, "_keeper", ownership._Keeper())
    machines = [AgentStateMachine(tmp_path / name, lease=3600) for name in ("one", "other")]
    for machine in machines:
        machine.register_state("BEGIN", lambda context: ("COMPLETED", context))
        machine.initialize_run("r", "BEGIN", {})
        machine.run_to_end("r")
    keeper = ownership._keeper._thread
    assert keeper is not None
    for machine in machines:
        assert keeper.is_alive()
        machine.close()
    keeper.join(PATIENCE)
    assert not keeper.is_alive()
