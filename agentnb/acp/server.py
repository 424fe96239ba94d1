"""Serve the agent over stdio by the Agent Client Protocol. [home of its SDK, the package agent-client-protocol]

A session is a thread of the journal: loaded in another process it goes on where it stood. A prompt is a run. A call
that needs a person's word is a permission request, whose answer is journaled like any other. A run that a kill cut
off, or that left a question open, is taken up before the next prompt.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agentnb._version import __version__
from agentnb.acp.transcript import CalledTool, ReturnedResult, SaidPiece, Transcript, TranscriptPart, call_of, task_of
from agentnb.agent.approvals import BUTTON, Answer, Question
from agentnb.agent.built_in import BuiltInAgent
from agentnb.agent.run_document import AgentRun, state_of
from agentnb.agent.tools.servers.mcp import ENTRY
from agentnb.canonical import JsonObject
from agentnb.durable.events import Event
from agentnb.durable.journal.records import RUNNING, WAITING
from agentnb.errors import AgentnbError, PackageMissing, RunInterrupted
from agentnb.session import Session
from agentnb.settings import TOOLS as IN_A_NOTEBOOK
from agentnb.settings import Settings, from_environment

if TYPE_CHECKING:
    from acp import Client
    from acp.schema import InitializeResponse, LoadSessionResponse, NewSessionResponse, PromptResponse

TOOLS = ("inspect", "variables", "run_code", "plan", "list_files", "read_file", "search_code", "edit_file", "run_tests")
"""The tools of a session that has a directory and no notebook."""
_KINDS = {"edit_file": "edit", "search_code": "search"}
"""None is `execute`: of that Jupyter AI shows the title alone, of others each argument, before a person allows it."""
ONCE, ALWAYS, NO = "once", "rest", "no"


@dataclass
class OpenSession:
    """Holds one conversation of a client: its thread, and a session of ours with a namespace of its own."""

    session: Session
    thread: str
    cancelled: bool = False
    servers: tuple[str, ...] | None = None
    """The client's MCP servers that answer, as entries of `--tools`; None before they were tried."""

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


class AcpAgent:
    """Answers a client's requests. The SDK calls its methods by the protocol's names."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, OpenSession] = {}
        self._client: Client | None = None

    def on_connect(self, conn: Client) -> None:
        self._client = conn

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    async def initialize(self, protocol_version: int, **_: object) -> InitializeResponse:
        from acp import PROTOCOL_VERSION, InitializeResponse
        from acp.schema import AgentCapabilities, Implementation, McpCapabilities, PromptCapabilities

        return InitializeResponse(
            protocol_version=min(protocol_version, PROTOCOL_VERSION),
            agent_capabilities=AgentCapabilities(
                load_session=True,
                prompt_capabilities=PromptCapabilities(embedded_context=True),
                mcp_capabilities=McpCapabilities(http=True),
            ),
            agent_info=Implementation(name="agentnb", title="agentnb", version=__version__),
        )

    async def new_session(self, cwd: str, mcp_servers: Sequence[Any] | None = None, **_: object) -> NewSessionResponse:
        from acp import NewSessionResponse

        thread = f"acp-{secrets.token_hex(6)}"
        self._begin(thread, cwd, mcp_servers)
        return NewSessionResponse(session_id=thread)

    async def load_session(
        self, cwd: str, session_id: str, mcp_servers: Sequence[Any] | None = None, **_: object
    ) -> LoadSessionResponse:
        """Tell the whole conversation again, from the journal. Raises RequestError where it is not there."""
        from acp import LoadSessionResponse, RequestError

        opened = self._begin(session_id, cwd, mcp_servers)
        runs = await asyncio.to_thread(_path, opened)
        if not runs:
            self._open.pop(session_id).session.close()
            raise RequestError.resource_not_found(session_id)
        for run_id in runs:
            state = state_of(opened.session.machine().get(run_id).context)
            for told in Transcript(run_id).whole(state):
                await self._tell(session_id, told)
        return LoadSessionResponse()

    def _begin(self, thread: str, cwd: str, servers: Sequence[Any] | None) -> OpenSession:
        if thread in self._open:
            self._open.pop(thread).session.close()
        session = Session(
            settings=self._settings,
            project=Path(cwd),
            namespace={"__name__": "__main__"},
            tool_servers={server.name: _entry(server) for server in servers or ()},
        )
        self._open[thread] = OpenSession(session=session, thread=thread)
        return self._open[thread]

    # --- a prompt ----------------------------------------------------------------------------------------------------

    async def prompt(self, session_id: str, prompt: list[Any], **_: object) -> PromptResponse:
        """Carry out one task, after what was cut off of the one before."""
        from acp import PromptResponse, RequestError

        opened = self._open.get(session_id)
        if opened is None:
            raise RequestError.invalid_params({"sessionId": f"no session is open under {session_id}"})
        opened.cancelled = False
        agent = await asyncio.to_thread(opened.session.agent)
        if opened.servers is None:
            for said in await asyncio.to_thread(opened.try_servers):
                await self._tell(session_id, SaidPiece(channel="text", text=said))
        try:
            for run_id in await asyncio.to_thread(_cut_off, opened):
                await self._carry(opened, agent, run_id)
            task = task_of([block.model_dump(by_alias=True) for block in prompt])
            request = opened.session.request(task, thread=opened.thread, tools=opened.tools(), approval="ask")
            run_id = opened.session.new_run_id()
            await asyncio.to_thread(agent.begin, request, run_id)
            run = await self._carry(opened, agent, run_id)
        except AgentnbError as error:
            raise RequestError(-32603, str(error), {"code": error.code}) from error
        return PromptResponse(stop_reason="cancelled" if opened.cancelled else "end_turn", usage=_usage(run))

    async def _carry(self, opened: OpenSession, agent: BuiltInAgent, run_id: str) -> AgentRun:
        """Drive a run to its end and tell the client of it, asking for permission where it waits for that. Raises what
        the run raised."""
        transcript, loop = Transcript(run_id), asyncio.get_running_loop()
        list(transcript.committed(state_of(agent.machine.get(run_id).context)))  # told when it was made, or loaded

        def heard(event: Event) -> None:
            for told in _of_event(event, transcript, agent):
                asyncio.run_coroutine_threadsafe(self._tell(opened.thread, told), loop).result()

        unsubscribe = agent.machine.events.subscribe(heard, kinds=("delta", "step"), run_id=run_id)
        try:
            run = await asyncio.to_thread(agent.drive, run_id)
            while questions := agent.questions(run_id):
                answers = [await self._ask(opened, agent, run_id, question) for question in questions]
                if opened.cancelled:
                    await asyncio.to_thread(agent.machine.cancel, run_id)
                    return agent.as_it_stands(run_id)
                await asyncio.to_thread(agent.answer, run_id, answers)
                run = await asyncio.to_thread(agent.drive, run_id)
        except RunInterrupted:
            return agent.as_it_stands(run_id)
        finally:
            unsubscribe()
        if agent.raised is not None:
            raise agent.raised
        return run

    async def _ask(self, opened: OpenSession, agent: BuiltInAgent, run_id: str, question: Question) -> Answer:
        """Ask for permission. A client that cancels the prompt answers so."""
        from acp.schema import AllowedOutcome, PermissionOption, ToolCallUpdate

        call = call_of(question, state_of(agent.machine.get(run_id).context), run_id)
        options = [
            PermissionOption(option_id=ONCE, name="Run", kind="allow_once"),
            PermissionOption(
                option_id=ALWAYS, name=f"Run, and {call.tool} for the rest of this run", kind="allow_always"
            ),
            PermissionOption(option_id=NO, name="Deny", kind="reject_once"),
        ]
        said = await self.client.request_permission(
            session_id=opened.thread,
            tool_call=ToolCallUpdate(tool_call_id=call.call_id, **_shown(call)),
            options=options,
        )
        if not isinstance(said.outcome, AllowedOutcome):
            opened.cancelled = True
            return Answer(question=question, approved=False, by=BUTTON)
        chosen = said.outcome.option_id
        return Answer(question=question, approved=chosen in (ONCE, ALWAYS), rest=chosen == ALWAYS, by=BUTTON)

    async def cancel(self, session_id: str, **_: object) -> None:
        """Stop the run in flight; a wait for the provider ends at once."""
        opened = self._open.get(session_id)
        if opened is not None:
            opened.cancelled = True
            opened.session.cancel()

    async def _tell(self, session_id: str, told: TranscriptPart) -> None:
        await self.client.session_update(session_id=session_id, update=_update(told))

    async def answering(self) -> None:
        """Answer until the client leaves; what is at work then stops between two steps."""
        import acp

        try:
            await acp.run_agent(cast(Any, self))  # it has the methods that this protocol version needs
        finally:
            for opened in self._open.values():
                opened.session.cancel()
            await asyncio.get_running_loop().shutdown_default_executor()
            for opened in self._open.values():
                opened.session.close()


def _entry(server: Any) -> JsonObject:
    """Return an MCP server of the client's as `.mcp.json` has it: a command, or a url."""
    if getattr(server, "url", ""):
        return {"url": server.url, "headers": {each.name: each.value for each in server.headers}}
    variables = {each.name: each.value for each in server.env}
    return {"command": server.command, "args": list(server.args), "env": variables}


def _path(opened: OpenSession) -> list[str]:
    """Return the runs of the thread, in order of their beginning."""
    return [run.run_id for run in opened.session.journal.find(thread=opened.thread) if "kind" in run.tags]


def _cut_off(opened: OpenSession) -> list[str]:
    """Return the runs of the thread that nobody brought to an end: killed in mid-step, or waiting for a word."""
    found = opened.session.journal.find(thread=opened.thread)
    return [run.run_id for run in found if "kind" in run.tags and run.status in (RUNNING, WAITING)]


def _of_event(event: Event, transcript: Transcript, agent: BuiltInAgent) -> list[TranscriptPart]:
    if event.kind == "delta":
        said = transcript.delta(str(event.data.get("channel")), str(event.data.get("text")))
        return [said] if said else []
    return list(transcript.committed(state_of(agent.machine.get(event.run_id).context)))


def _update(told: TranscriptPart) -> Any:
    """Return the protocol's update for a piece of the transcript."""
    from acp import helpers

    match told:
        case SaidPiece(channel="user", text=text):
            return helpers.update_user_message_text(text)
        case SaidPiece(channel="thinking", text=text):
            return helpers.update_agent_thought_text(text)
        case SaidPiece(text=text):
            return helpers.update_agent_message_text(text)
        case CalledTool(call_id=call_id):
            return helpers.start_tool_call(call_id, status="pending", **_shown(told))
        case ReturnedResult(call_id=call_id, text=text, failed=failed):
            content = [helpers.tool_content(helpers.text_block(text))]
            return helpers.update_tool_call(call_id, status="failed" if failed else "completed", content=content)


def _shown(call: CalledTool) -> dict[str, Any]:
    from acp import helpers

    content = [helpers.tool_content(helpers.text_block(call.shown))] if call.shown else []
    kind = _KINDS.get(call.tool, "read" if call.tool.startswith(("read", "inspect", "list", "variables")) else "other")
    return {"title": call.title, "kind": kind, "content": content, "raw_input": dict(call.arguments)}


def _usage(run: AgentRun) -> Any:
    from acp.schema import Usage

    used = run.receipt["usage"]
    read, written = used["cache_read"], used["cache_write_5m"] + used["cache_write_1h"]
    total = used["input"] + read + written
    return Usage(
        input_tokens=total,
        output_tokens=used["output"],
        total_tokens=total + used["output"],
        cached_read_tokens=read,
        cached_write_tokens=written,
    )


def serve(environment: Mapping[str, str]) -> None:
    """Answer the client on stdin and stdout until it leaves. Raises PackageMissing and SettingsError.

    Stdout is the client's alone: whatever else is printed in this process goes to stderr.
    """
    if importlib.util.find_spec("acp") is None:
        todo = "pip install 'agentnb-jupyter[acp]'"
        raise PackageMissing("the package agent-client-protocol is not installed", todo=todo)
    agent = AcpAgent(from_environment(environment))
    sys.stdout = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), 1)
    asyncio.run(agent.answering())
