"""Writes the sample journal of the present format: `python make_sample.py`. Once released, a sample never changes."""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from pathlib import Path

from agentnb.durable.journal.sqlite.journal import EmbeddedJournal
from agentnb.durable.journal.sqlite.schema import MIGRATIONS
from agentnb.durable.machine import AgentStateMachine


def count(context):
    context["n"] += 1
    context["log"].append(f"line {context['n']}")
    return ("COMPLETED" if context["n"] == 150 else "COUNT"), context


def fill(machine: AgentStateMachine) -> None:
    """One run of each fate."""

    @machine.state("COUNT")
    def counting(context):
        if machine.current.step == 3:
            machine.current.attach(usage={"input": 3})
        if machine.current.step == 4:  # long enough to be deflated
            machine.current.attach(told=context["log"] * 40)
        return count(context)

    @machine.state("BAD")
    def bad(context):
        context["spoiled"] = True
        raise ValueError("bad")

    machine.register_state("AWAITING_WORD", count)
    machine.initialize_run("done", "COUNT", {"n": 0, "log": []}, tags={"thread": "t", "cell": "c1"})
    machine.run_to_end("done")
    machine.initialize_run("failed", "BAD", {"good": 1})
    machine.execute_step("failed")
    machine.fork("done", 100, "fork")
    machine.initialize_run("paused", "COUNT", {"n": 0, "log": []})
    machine.pause("paused")
    machine.initialize_run("waiting", "AWAITING_WORD", {"n": 0, "log": []})
    machine.initialize_run("unsure", "COUNT", {"n": 0, "log": []})
    machine.journal.begin_action(machine.journal.row("unsure").key, 1, "mail", 1)


def main() -> None:
    home = Path(tempfile.mkdtemp())
    machine = AgentStateMachine(EmbeddedJournal(home / "cache.db"))
    fill(machine)
    machine.journal.close()
    connection = sqlite3.connect(home / "cache.db")
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("VACUUM")
    connection.close()
    target = Path(__file__).with_name(f"journal-{len(MIGRATIONS)}.db.gz")
    target.write_bytes(gzip.compress((home / "cache.db").read_bytes(), mtime=0))


if __name__ == "__main__":
    main()
