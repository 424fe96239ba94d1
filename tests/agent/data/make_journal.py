"""Make the stored sample of a journal with runs of the built-in agent, as the code of its day writes them.

`python tests/agent/data/make_journal.py` writes two files beside itself: `journal.sql.gz`, the journal's tables as
text, and `documents.json`, the runs' documents by their names here. Both were made with the code of 2026-11-30, before
the agent's state had a type, and stay as they are: tests/agent/test_old_journal.py goes on with the runs of that code.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from agentnb.agent.approvals import BUTTON, Answer
from agentnb.agent.money.shared_budget import Purse
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator import Simulator

HERE = Path(__file__).parent
KEY = "sk-ant-" + "api03-abcdEFGH1234567890_-xyz"
MODEL = "sim:claude-sonnet-4-6"
CLEAN = (
    'def clean(rows):\n    """Rows without what is missing."""\n    return [row for row in rows if row is not None]\n'
)
LEVEL = "def level(rows):\n    return sum(clean(rows)) / len(rows)\n"


def dict_of(session: Session) -> dict[str, Any]:
    assert isinstance(session.namespace, dict)
    return session.namespace


class Maker:
    """Asks tasks in a session and keeps each run under a name."""

    def __init__(self, session: Session, simulator: Simulator) -> None:
        self.session, self.simulator = session, simulator
        self.runs: dict[str, str] = {}
        self.count = 0

    def cell(self, source: str, cell_id: str) -> None:
        self.count += 1
        self.session.cells.record(source, cell_id=cell_id, number=self.count)
        exec(source, dict_of(self.session))

    def ask(self, name: str, task: str, *, cell: str = "", until: str = "end", **changes: Any) -> None:
        self.count += 1
        options = {"thread": "tides", "cell": cell or f"ask-{name}", "execution": str(self.count)} | changes
        agent = self.session.agent()
        self.runs[name] = run_id = self.session.new_run_id()
        agent.begin(self.session.request(task, **options), run_id)
        if until == "interrupt":
            agent.machine.events.subscribe(lambda _: self.session.cancel(), kinds=["delta"])
        if until != "begin":
            with contextlib.suppress(Exception):  # what it raised stands in the journal too
                agent.drive(run_id)
        agent.machine.release(run_id)


def make(maker: Maker) -> None:
    session, simulator = maker.session, maker.simulator
    maker.cell(CLEAN, "clean")
    maker.ask("first", "Explain `clean` in a sentence.")
    maker.cell(LEVEL, "level")
    maker.ask("follow_up", f"And what does `level` do? The key is {KEY}.")
    maker.ask("inspects", "Please inspect `level`.", context="none", thread="inspecting")
    maker.ask("rerun", "And `level`, in other words?", cell="ask-follow_up")
    session.namespace["log"] = []
    maker.ask("waits", "Run `log.append(1)` please.", approval="ask", thread="asking")
    maker.ask("decided", "Run `log.append(2)` please.", approval="ask", thread="deciding")
    agent = session.agent()
    words = [Answer(question=q, approved=True, rest=True, by=BUTTON) for q in agent.questions(maker.runs["decided"])]
    agent.answer(maker.runs["decided"], words)
    agent.drive(maker.runs["decided"])
    agent.machine.release(maker.runs["decided"])
    maker.ask("too_dear", "Explain how tides work, please.", budget=0.000001, thread="poor")
    maker.ask("begun", "Say what a tide is.", until="begin", thread="begun")
    session.machine().pause(maker.runs["begun"])
    simulator.inject(kind="drop", after_events=6)
    maker.ask("broken", "Explain how tides work, please.", budget=5.0, thread="broken")
    maker.ask("interrupted", "Explain how tides work, please.", until="interrupt", thread="interrupted")
    maker.ask("forked", "And at night?", origin=(maker.runs["first"], 2), thread="tides")
    maker.ask("other_model", "The same for `clean`, please.", model="sim:gpt-4.1")
    maker.cell(CLEAN.replace("is not None", "is not None and row == row"), "clean")
    maker.ask("changed", "Is `clean` better now?")
    session.namespace["picture"] = Image.new("RGB", (8, 8), "navy")
    maker.ask("pictured", "What does `picture` show?", thread="pictures")
    Purse(session.journal, "purse-1").make(1.0)
    maker.ask("shared", "What is a neap tide?", purse="purse-1", thread="shared")
    maker.ask("recorded", "What is a spring tide?", replay="record", thread="taped")
    maker.ask("replayed", "What is a spring tide?", replay="replay", thread="taped again")
    maker.ask("limited", "Please inspect `level`.", context="none", max_steps=2, thread="limited")


def write(session: Session, runs: dict[str, str]) -> None:
    documents = {name: session.find_run(run_id).receipt for name, run_id in runs.items()}
    (HERE / "documents.json").write_text(json.dumps(documents, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    database = sqlite3.connect(session.home / "cache.db")
    names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE tbl_name LIKE 'agentnb%'")]
    lines = [line for line in database.iterdump() if any(name in line.partition("(")[0] for name in names)]
    (HERE / "journal.sql.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def main() -> None:
    with tempfile.TemporaryDirectory() as place, Simulator(speed=0) as simulator:
        os.chdir(place)
        settings = Settings(model=MODEL, home=Path(place) / "home", sim_speed=0)
        session = Session(settings=settings, simulated=simulator, environment={})
        maker = Maker(session, simulator)
        make(maker)
        session.journal.close()
        session._journal = None
        write(session, maker.runs)
        session.close()
        os.chdir(HERE)


if __name__ == "__main__":
    main()
