"""Serve the agent over stdio by the Agent Client Protocol. [home of its SDK, the package agent-client-protocol]

A session is a thread of the journal: loaded in another process it goes on where it stood. A prompt is a run. A call
that needs a person's word is a permission request, whose answer is journaled like any other. A run that a kill cut
off, or that left a question open, is taken up before the next prompt. The client may choose that calls are not asked
about, or that nothing acts. A picture of a prompt becomes a value of the session.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agentnb._version import __version__
from agentnb.acp.code_runner import CodeRunner
from agentnb.acp.open_session import ASK, CLIENT, MODES, READ, UNASKED, OpenSession, connect, entry_of
from agentnb.acp.pictures import with_pictures
from agentnb.acp.transcript import CalledTool, ReturnedResult, SaidPiece, Transcript, TranscriptPart, call_of, task_of
from agentnb.agent.approvals import BUTTON, PROGRAM, Answer, Question
from agentnb.agent.built_in import BuiltInAgent
from agentnb.agent.run_document import AgentRun, state_of
from agentnb.canonical import JsonObject
from agentnb.durable.events import Event
from agentnb.durable.journal.records import RunSummary
from agentnb.errors import AgentnbError, PackageMissing, RunInterrupted
from agentnb.session import Session
from agentnb.settings import Settings, from_environment

if TYPE_CHECKING:
    from acp import Client
    from acp.schema import (
        InitializeResponse,
        ListSessionsResponse,
        LoadSessionResponse,
        NewSessionResponse,
        PromptResponse,
        SetSessionModeResponse,
    )

_KINDS = {"edit_file": "edit", "search_code": "search"}
"""None is `execute`: of that Jupyter AI shows the title alone, of others each argument, before a person allows it."""
ONCE, ALWAYS, NO = "once", "rest", "no"
PAGE = 50
"""Sessions that one answer of `session/list` names."""
_MOST_BYTES = 50_000_000
"""Bytes of one message: a prompt may bring pictures."""
_DRAINED = 2.0
"""Seconds that a client may take to show a conversation that is told again, before the answer to its load."""


class AcpAgent:
    """Answers a client's requests. The SDK calls its methods by the protocol's names."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, OpenSession] = {}
        self._client: Client | None = None
        self._said: set[str] = set()
        self.code = CodeRunner()

    def on_connect(self, conn: Client) -> None:
        self._client = conn

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    async def initialize(self, protocol_version: int, **_: object) -> InitializeResponse:
        from acp import PROTOCOL_VERSION, InitializeResponse, schema

        return InitializeResponse(
            protocol_version=min(protocol_version, PROTOCOL_VERSION),
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                prompt_capabilities=schema.PromptCapabilities(
                    embedded_context=True, image=importlib.util.find_spec("PIL") is not None
                ),
                mcp_capabilities=schema.McpCapabilities(http=True),
                session_capabilities=schema.SessionCapabilities(list=schema.SessionListCapabilities()),
            ),
            agent_info=schema.Implementation(name="agentnb", title="agentnb", version=__version__),
        )

    # --- sessions ----------------------------------------------------------------------------------------------------

    async def new_session(self, cwd: str, mcp_servers: Sequence[Any] | None = None, **_: object) -> NewSessionResponse:
        from acp import NewSessionResponse

        opened = await self._begin(f"acp-{secrets.token_hex(6)}", cwd, mcp_servers)
        return NewSessionResponse(session_id=opened.thread, modes=modes_of(opened))

    async def load_session(
        self, cwd: str, session_id: str, mcp_servers: Sequence[Any] | None = None, **_: object
    ) -> LoadSessionResponse:
        """Tell the whole conversation again, from the journal. Raises RequestError where it is not there."""
        from acp import LoadSessionResponse, RequestError

        opened = await self._begin(session_id, cwd, mcp_servers)
        runs = [run.run_id for run in await asyncio.to_thread(opened.runs)]
        if not runs:
            await self._let_go(session_id)
            raise RequestError.resource_not_found(session_id)
        for run_id in runs:
            state = state_of(opened.session.machine().get(run_id).context)
            for told in Transcript(run_id).whole(state):
                await self._tell(session_id, told)
        await self._drained()
        return LoadSessionResponse(modes=modes_of(opened))

    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_: object
    ) -> ListSessionsResponse:
        """Name the conversations of the journal that began over this protocol, the one that moved last first."""
        from acp.schema import ListSessionsResponse, SessionInfo

        found = await asyncio.to_thread(self._sessions, cwd)
        start = int(cursor) if cursor and cursor.isdecimal() else 0
        page = [
            SessionInfo(
                session_id=first.tags["thread"],
                cwd=first.tags["cwd"],
                title=first.tags["task"],
                updated_at=datetime.fromtimestamp(moved, UTC).isoformat(),
            )
            for moved, first in found[start : start + PAGE]
        ]
        return ListSessionsResponse(sessions=page, next_cursor=str(start + PAGE) if found[start + PAGE :] else None)

    def _sessions(self, cwd: str | None) -> list[tuple[float, RunSummary]]:
        """Return when each conversation has moved last, with its first run."""
        session = Session(settings=self._settings)
        try:
            runs = session.journal.find(client=CLIENT, **({"cwd": cwd} if cwd else {}))
        finally:
            session.close()
        first = {run.tags["thread"]: run for run in reversed(runs)}
        moved = {run.tags["thread"]: run.updated for run in sorted(runs, key=lambda run: run.updated)}
        return sorted(((moved[name], run) for name, run in first.items()), key=lambda each: each[0], reverse=True)

    async def set_session_mode(self, session_id: str, mode_id: str, **_: object) -> SetSessionModeResponse:
        from acp import RequestError, SetSessionModeResponse

        if mode_id not in MODES:
            raise RequestError.invalid_params({"modeId": f"there is no mode {mode_id}"})
        self._opened(session_id).mode = mode_id
        return SetSessionModeResponse()

    def _opened(self, session_id: str) -> OpenSession:
        from acp import RequestError

        if session_id not in self._open:
            raise RequestError.invalid_params({"sessionId": f"no session is open under {session_id}"})
        return self._open[session_id]

    async def _begin(self, thread: str, cwd: str, servers: Sequence[Any] | None) -> OpenSession:
        await self._let_go(thread)
        session = Session(
            settings=self._settings,
            project=Path(cwd),
            namespace={"__name__": "__main__"},
            tool_servers={server.name: entry_of(server) for server in servers or ()},
        )
        warm = asyncio.get_running_loop().run_in_executor(None, connect, session)
        self._open[thread] = OpenSession(session=session, thread=thread, cwd=cwd, warm=warm)
        return self._open[thread]

    async def _let_go(self, thread: str) -> None:
        opened = self._open.pop(thread, None)
        if opened is not None:
            self._stop(opened)
            await opened.warm
            async with opened.turn:
                opened.session.close()

    async def _drained(self) -> None:
        """Wait until the client has taken what was told: Jupyter AI shows anew what it takes after a load's answer."""
        with contextlib.suppress(Exception):  # a client that does not know the method says so, which is answer enough
            await asyncio.wait_for(self.client.ext_method("agentnb/told", {}), _DRAINED)

    # --- a prompt ----------------------------------------------------------------------------------------------------

    async def prompt(self, session_id: str, prompt: list[Any], **_: object) -> PromptResponse:
        """Carry out one task, after what was cut off of the one before. One that comes meanwhile waits."""
        from acp import PromptResponse, RequestError

        opened = self._opened(session_id)
        async with opened.turn:
            opened.stopped.clear()
            try:
                run = await self._answered(opened, [block.model_dump(by_alias=True) for block in prompt])
            except AgentnbError as error:
                raise RequestError(-32603, str(error), {"code": error.code}) from error
        stopped = opened.stopped.is_set()
        return PromptResponse(stop_reason="cancelled" if stopped else "end_turn", usage=_usage(run) if run else None)

    async def _answered(self, opened: OpenSession, prompt: list[JsonObject]) -> AgentRun | None:
        """Return the run of a prompt; None where the client took it back before it had begun."""
        await opened.warm
        if opened.servers is None:
            for said in await asyncio.to_thread(opened.try_servers):
                await self._say_once(opened, said)
        agent = await asyncio.to_thread(opened.session.agent, on_main=partial(self.code.run, opened.thread))
        for run_id in await asyncio.to_thread(opened.cut_off):
            if not opened.stopped.is_set():
                await self._carry(opened, agent, run_id)
        if opened.stopped.is_set():
            return None
        task = task_of(with_pictures(prompt, opened.session.namespace, Path(opened.cwd)))
        request = opened.session.request(
            task,
            thread=opened.thread,
            tools=opened.tools(),
            approval="deny" if opened.mode == READ else "ask",
            tags={"client": CLIENT, "cwd": opened.cwd},
        )
        run_id = opened.session.new_run_id()
        await asyncio.to_thread(agent.begin, request, run_id)
        return await self._carry(opened, agent, run_id)

    async def _say_once(self, opened: OpenSession, said: str) -> None:
        """Say what holds for all sessions of this client in the first one alone."""
        if said not in self._said:
            self._said.add(said)
            await self._tell(opened.thread, SaidPiece(channel="text", text=said))

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
                if opened.stopped.is_set():
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
        """Ask for permission, where the mode asks. Who cancels the prompt answers so, or not at all."""
        from acp.schema import AllowedOutcome, PermissionOption, ToolCallUpdate

        if opened.mode != ASK:
            return Answer(question=question, approved=opened.mode == UNASKED, by=PROGRAM)

        call = call_of(question, state_of(agent.machine.get(run_id).context), run_id)
        options = [
            PermissionOption(option_id=ONCE, name="Run", kind="allow_once"),
            PermissionOption(
                option_id=ALWAYS, name=f"Run, and {call.tool} for the rest of this run", kind="allow_always"
            ),
            PermissionOption(option_id=NO, name="Deny", kind="reject_once"),
        ]
        asking = asyncio.ensure_future(
            self.client.request_permission(
                session_id=opened.thread,
                tool_call=ToolCallUpdate(tool_call_id=call.call_id, **_shown(call)),
                options=options,
            )
        )
        stopping = asyncio.ensure_future(opened.stopped.wait())
        await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not asking.done() or not isinstance(asking.result().outcome, AllowedOutcome):
            asking.cancel()
            opened.stopped.set()
            return Answer(question=question, approved=False, by=BUTTON)
        chosen = asking.result().outcome.option_id
        return Answer(question=question, approved=chosen in (ONCE, ALWAYS), rest=chosen == ALWAYS, by=BUTTON)

    async def cancel(self, session_id: str, **_: object) -> None:
        """Stop the run in flight: a wait for the provider and a tool's code end at once."""
        if session_id in self._open:
            self._stop(self._open[session_id])

    def _stop(self, opened: OpenSession) -> None:
        opened.stopped.set()
        opened.session.cancel()
        self.code.interrupt(opened.thread)

    async def _tell(self, session_id: str, told: TranscriptPart) -> None:
        await self.client.session_update(session_id=session_id, update=_update(told))

    async def answering(self) -> None:
        """Answer until the client leaves; what is at work then is stopped."""
        import acp
        from acp.stdio import stdio_streams

        reader, writer = await stdio_streams(limit=_MOST_BYTES)
        if os.name == "posix":  # elsewhere the SDK goes on reading and writing by these names
            sys.stdin, sys.stdout = Path(os.devnull).open(), sys.stderr  # noqa: SIM115 - it stays open
        try:
            await acp.run_agent(cast(Any, self), writer, reader)  # it has the methods that this protocol version needs
        finally:
            for opened in self._open.values():
                self._stop(opened)
            await asyncio.get_running_loop().shutdown_default_executor()
            for opened in self._open.values():
                opened.session.close()


def modes_of(opened: OpenSession) -> Any:
    from acp.schema import SessionMode, SessionModeState

    listed = [SessionMode(id=mode, name=name, description=told) for mode, (name, told) in MODES.items()]
    return SessionModeState(current_mode_id=opened.mode, available_modes=listed)


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
    sys.stdin, sys.stdout = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(sys.stderr.fileno(), 1)
    answered: Future[None] = Future()

    def answer() -> None:
        try:
            answered.set_result(asyncio.run(agent.answering()))
        except BaseException as error:  # noqa: BLE001 - carried over to the main thread, where it is raised
            answered.set_exception(error)
        finally:
            agent.code.end()

    threading.Thread(target=answer, name="agentnb-acp", daemon=True).start()
    agent.code.serve()
    answered.result()
