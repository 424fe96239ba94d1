"""One peer's step, measured in the peer's own environment: `python bench_peers.py NAME HOME`. Prints one line.

Each makes the same step on the same contexts as bench_runs.py, durable before the next begins, as its own manual says
for SQLite. Only the standard library and the peer are imported. Versions are those that pip found.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Drive = Callable[[int], None]


def small() -> dict[str, Any]:
    notes = ["x" * 40 for _ in range(40)]
    return {"task": "Summarise", "n": 0, "notes": notes, "plan": [{"id": i, "done": False} for i in range(8)]}


def large() -> dict[str, Any]:
    text = "lorem ipsum dolor " * 20
    messages = [
        {"role": "user" if i % 2 else "assistant", "content": text[: 300 + i % 60], "tokens": i * 7, "ok": True}
        for i in range(260)
    ]
    return {"task": "Summarise", "n": 0, "messages": messages, "files": {f"f{i}": "z" * 100 for i in range(20)}}


def langgraph(home: Path, context: dict[str, Any]) -> Drive:
    """A graph of one node that goes on to itself, checkpointed by SqliteSaver, `durability="sync"`."""
    import sqlite3
    from typing import TypedDict

    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import START, StateGraph

    class State(TypedDict):
        context: dict[str, Any]
        left: int

    def work(state: State) -> dict[str, Any]:
        return {"context": {**state["context"], "n": state["context"]["n"] + 1}, "left": state["left"] - 1}

    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: "work" if state["left"] > 0 else "__end__")
    saver = SqliteSaver(sqlite3.connect(home / "langgraph.db", check_same_thread=False))
    app = graph.compile(checkpointer=saver)
    runs = [0]

    def drive(steps: int) -> None:
        runs[0] += 1
        config = {"configurable": {"thread_id": f"r{runs[0]}"}, "recursion_limit": steps + 10}
        app.invoke({"context": context, "left": steps}, config, durability="sync")

    return drive


def burr(home: Path, context: dict[str, Any]) -> Drive:
    """An application of one action that goes on to itself, saved by SQLitePersister."""
    from burr.core import ApplicationBuilder, State, action, when
    from burr.core.persistence import SQLitePersister

    @action(reads=["context"], writes=["context"])
    def work(state: State) -> State:
        return state.update(context={**state["context"], "n": state["context"]["n"] + 1})

    persister = SQLitePersister(db_path=str(home / "burr.db"), table_name="steps")
    persister.initialize()
    application = (
        ApplicationBuilder()
        .with_actions(work=work)
        .with_transitions(("work", "work", when(never=None)))
        .with_state(context=context, never=None)
        .with_entrypoint("work")
        .with_state_persister(persister)
        .build()
    )

    def drive(steps: int) -> None:
        for _ in range(steps):
            application.step()

    return drive


def dbos(home: Path, context: dict[str, Any]) -> Drive:
    """A workflow of steps, each of which returns the context; the system database is SQLite."""
    from dbos import DBOS

    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{home / 'dbos.db'}", "log_level": "ERROR"})

    @DBOS.step()
    def work(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "n": value["n"] + 1}

    @DBOS.workflow()
    def loop(value: dict[str, Any], steps: int) -> int:
        for _ in range(steps):
            value = work(value)
        return int(value["n"])

    DBOS.launch()

    def drive(steps: int) -> None:
        loop(context, steps)

    return drive


PEERS = {"langgraph": langgraph, "burr": burr, "dbos": dbos}
DISTRIBUTIONS = {"langgraph": "langgraph", "burr": "apache-burr", "dbos": "dbos"}


def main(name: str, place: str) -> None:
    found = []
    for label, make, steps in (("2 KB", small, 50), ("100 KB", large, 10)):
        home = Path(place) / label.replace(" ", "")
        home.mkdir()
        again = name == "dbos" and found  # it is one per process
        drive = dbos_again(make()) if again else PEERS[name](home, make())
        drive(5)
        figures = []
        for _ in range(9):
            began = time.perf_counter()
            drive(steps)
            figures.append((time.perf_counter() - began) / steps * 1e6)
        found.append(f"{label}: {statistics.median(figures):7.0f} us")
    print(f"{version(DISTRIBUTIONS[name]):9} " + ", ".join(found))


def dbos_again(context: dict[str, Any]) -> Drive:
    from dbos import DBOS

    @DBOS.step()
    def work_large(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "n": value["n"] + 1}

    @DBOS.workflow()
    def loop_large(value: dict[str, Any], steps: int) -> None:
        for _ in range(steps):
            value = work_large(value)

    return lambda steps: loop_large(context, steps)


if __name__ == "__main__":
    main(*sys.argv[1:])
