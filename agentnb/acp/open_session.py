"""Hold one conversation of a client: its thread, a session of ours, its mode, and the client's servers of tools."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from agentnb.agent.tools.servers.mcp import ENTRY
from agentnb.canonical import JsonObject
from agentnb.durable.journal.records import RUNNING, WAITING, RunSummary
from agentnb.errors import AgentnbError
from agentnb.session import Session
from agentnb.settings import TOOLS as IN_A_NOTEBOOK

TOOLS = ("inspect", "variables", "run_code", "plan", "list_files", "read_file", "search_code", "edit_file", "run_tests")
"""The tools of a session that has a directory and no notebook."""
ASK, UNASKED, READ = "ask", "unasked", "read"
MODES = {
    ASK: ("Ask first", "A person is asked before code runs, a file changes or a server's tool is called."),
    UNASKED: ("Act unasked", "Code runs, files change and servers' tools are called without a question."),
    READ: ("Only read", "Nothing runs and nothing changes."),
}
CLIENT = "acp"
"""Value of the tag `client`, by which the journal finds the runs of all sessions."""


@dataclass
class OpenSession:
    """Holds one conversation of a client: its thread, and a session of ours with a namespace of its own."""

    session: Session
    thread: str
    cwd: str
    warm: asyncio.Future[None]
    """Ends when the provider's SDK is loaded, which began when the session was opened."""
    mode: str = ASK
    servers: tuple[str, ...] | None = None
    """The client's MCP servers that answer, as entries of `--tools`; None before they were tried."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def tools(self) -> tuple[str, ...]:
        named = self.session.settings.tools
        return (*(named if named != IN_A_NOTEBOOK else TOOLS), *(self.servers or ()))

    def try_servers(self) -> list[str]:
        """Start the client's MCP servers; what is to be said of those that do not."""
        works, said = [], []
        for name in self.session.tool_servers:
            try:
                self.session.servers.expanded((f"{ENTRY}{name}",))
                works.append(f"{ENTRY}{name}")
            except AgentnbError as error:
                said.append(f"The tools of the MCP server {name} are not at hand: {error}\n\n")
        self.servers = tuple(works)
        return said

    def runs(self) -> list[RunSummary]:
        """Return the runs of the thread, in order of their beginning."""
        return [run for run in self.session.journal.find(thread=self.thread) if "kind" in run.tags]

    def cut_off(self) -> list[str]:
        """Return the runs that nobody brought to an end: killed in mid-step, or waiting for a word."""
        return [run.run_id for run in self.runs() if run.status in (RUNNING, WAITING)]


def connect(session: Session) -> None:
    """Load what the first question needs. What is missing is said when it is asked."""
    with contextlib.suppress(AgentnbError):
        session.provider(session.model_name())


def entry_of(server: Any) -> JsonObject:
    """Return an MCP server of the client's as `.mcp.json` has it: a command, or a url."""
    if getattr(server, "url", ""):
        return {"url": server.url, "headers": {each.name: each.value for each in server.headers}}
    variables = {each.name: each.value for each in server.env}
    return {"command": server.command, "args": list(server.args), "env": variables}
