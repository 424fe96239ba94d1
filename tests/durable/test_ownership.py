"""The thread that keeps leases alive ends once no journal is open."""

from __future__ import annotations

import threading
from pathlib import Path

from agentnb import AgentStateMachine


def keepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "agentnb leases"]


def test_it_ends_with_the_last_journal(tmp_path: Path) -> None:
    machine = AgentStateMachine(tmp_path / "runs", lease=0.06)
    machine.register_state("BEGIN", lambda context: ("COMPLETED", context))
    machine.initialize_run("one", "BEGIN", {})
    machine.run_to_end("one")
    threads = keepers()
    machine.close()
    for thread in threads:
        thread.join(timeout=20)
    others = [thread for thread in threads if thread.is_alive()]
    assert not others or any(not journal.closed for journal in _watched()), "a closed journal keeps no thread"


def _watched() -> list[object]:
    from agentnb.durable import ownership

    return list(ownership._keeper._journals)
