"""`python -m agentnb acp` over stdio, asked by the protocol's own SDK: prompt, permission, kill -9, load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import acp
import pytest
from acp.schema import AllowedOutcome, DeniedOutcome, McpServerStdio, RequestPermissionResponse

pytestmark = pytest.mark.slow
ASKED = "Run `print(6 * 7)` please"


class Person:
    """A client that keeps what it is told, and answers a question by `word`; `asked` ends when one comes."""

    def __init__(self, word: str = "once") -> None:
        self.word = word
        self.asked = asyncio.Event()
        self.told: list[tuple[str, str, str]] = []
        self.questions: list[Any] = []

    def on_connect(self, conn: object) -> None: ...

    async def session_update(self, session_id: str, update: Any, **_: object) -> None:
        content = getattr(update, "content", None)
        parts = content if isinstance(content, list) else []
        text = getattr(content, "text", None) or "".join(part.content.text for part in parts)
        self.told.append((update.session_update, getattr(update, "tool_call_id", ""), text))

    async def request_permission(self, tool_call: Any, **_: object) -> RequestPermissionResponse:
        self.questions.append(tool_call)
        self.asked.set()
        if self.word == "silence":
            await asyncio.sleep(3600)
        if self.word == "cancelled":
            return RequestPermissionResponse(outcome=DeniedOutcome(outcome="cancelled"))
        return RequestPermissionResponse(outcome=AllowedOutcome(outcome="selected", option_id=self.word))

    @property
    def transcript(self) -> list[tuple[str, str, str]]:
        """What was told, with pieces of one text joined."""
        out: list[tuple[str, str, str]] = []
        for kind, call, text in self.told:
            if out and kind == out[-1][0] and kind.endswith("_chunk"):
                out[-1] = (kind, call, out[-1][2] + text)
            else:
                out.append((kind, call, text))
        return out


@contextlib.asynccontextmanager
async def connected(person: Person, python: list[str], home: Path, *, speed: str = "0") -> AsyncIterator[Any]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env = kept | {"AGENTNB_HOME": str(home), "AGENTNB_MODEL": "sim:claude-sonnet-4-6", "AGENTNB_SIM_SPEED": speed}
    process: Any = None
    try:
        spawned = acp.spawn_agent_process(person, *python, "-m", "agentnb", "acp", env=env)
        async with spawned as (client, process):
            await client.initialize(protocol_version=acp.PROTOCOL_VERSION)
            yield client, process
    except (ConnectionError, BrokenPipeError):
        if process is None or process.returncode is None:
            raise


async def ask(client: Any, session_id: str, text: str = ASKED) -> Any:
    return await client.prompt(session_id=session_id, prompt=[acp.text_block(text)])


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 120))


def test_a_killed_agent_tells_the_same_transcript_when_the_session_is_loaded(
    tmp_path: Path, warm_python: list[str]
) -> None:
    async def scene() -> None:
        first, second = Person(), Person()
        async with connected(first, warm_python, tmp_path / "home") as (client, process):
            assert (await client.initialize(protocol_version=1)).agent_capabilities.load_session
            session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
            answer = await ask(client, session)
            process.kill()
            await process.wait()
        assert answer.stop_reason == "end_turn"
        assert answer.usage.output_tokens > 0
        assert [question.raw_input for question in first.questions] == [{"code": "print(6 * 7)"}]
        kinds = [kind for kind, _, _ in first.transcript]
        assert kinds == ["agent_message_chunk", "tool_call", "tool_call_update", "agent_message_chunk"]
        assert "42" in first.transcript[2][2]

        async with connected(second, warm_python, tmp_path / "home") as (client, _):
            await client.load_session(cwd=str(tmp_path), session_id=session, mcp_servers=[])
            assert second.transcript == [("user_message_chunk", "", ASKED), *first.transcript]
            second.told.clear()
            again = await ask(client, session, "What did I ask before?")
        assert again.usage.cached_read_tokens == 0  # a simulator's prompt cache ends with its process
        assert again.usage.input_tokens > answer.usage.input_tokens / 2
        assert not second.questions

    run(scene)


def test_a_question_that_a_kill_left_open_is_asked_again_before_the_next_prompt(
    tmp_path: Path, warm_python: list[str]
) -> None:
    async def scene() -> None:
        first, second = Person("silence"), Person()
        async with connected(first, warm_python, tmp_path / "home") as (client, process):
            session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
            prompt = asyncio.create_task(ask(client, session))
            await first.asked.wait()
            process.kill()
            await process.wait()
            prompt.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await prompt
        async with connected(second, warm_python, tmp_path / "home") as (client, _):
            await client.load_session(cwd=str(tmp_path), session_id=session, mcp_servers=[])
            assert [kind for kind, _, _ in second.transcript][-1] == "tool_call"
            assert not second.questions
            await ask(client, session, "Thank you.")
        assert [question.raw_input for question in second.questions] == [{"code": "print(6 * 7)"}]
        assert second.questions[0].tool_call_id == first.questions[0].tool_call_id
        results = [text for kind, _, text in second.transcript if kind == "tool_call_update"]
        assert len(results) == 1
        assert "42" in results[0]

    run(scene)


def test_what_is_denied_does_not_run_and_what_is_cancelled_ends_the_turn(
    tmp_path: Path, warm_python: list[str]
) -> None:
    async def scene() -> None:
        person, mark = Person("no"), tmp_path / "made"
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
            denied = await ask(client, session, f"Run `open('{mark}', 'w')`")
            assert denied.stop_reason == "end_turn"
            assert "Denied" in next(text for kind, _, text in person.transcript if kind == "tool_call_update")
            person.word = "cancelled"
            cancelled = await ask(client, session, f"Run `open('{mark}', 'a')`")
            assert cancelled.stop_reason == "cancelled"
            asked = len(person.questions)
            await ask(client, session, "Hello")
        assert not mark.exists()
        assert (asked, len(person.questions)) == (2, 2)  # the cancelled call is not asked about again

    run(scene)


def test_a_question_shows_the_whole_call_in_each_way_that_clients_show_one(
    tmp_path: Path, warm_python: list[str]
) -> None:
    """Jupyter AI shows the title of what is called `execute`, of other kinds the raw input; Zed shows the content."""
    code = "total = 6\n\n\n\n\nprint(total * 7)  # \u202e\u3164"

    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
            await ask(client, session, f"Run this:\n```python\n{code}\n```")
        question = person.questions[0]
        assert question.kind != "execute"
        shown = "total = 6\n[4 blank lines]\nprint(total * 7)  # ⟨U+202E⟩⟨U+3164⟩"
        assert question.raw_input == {"code": shown}
        assert question.title == "run_code: total = 6 … (3 lines in all)"
        assert f"Code, 6 lines:\n\n```python\n{shown}\n```" in question.content[0].content.text

    run(scene)


def test_a_turn_that_the_client_cancels_ends_at_once_and_stays_ended(tmp_path: Path, warm_python: list[str]) -> None:
    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home", speed="1") as (client, _):
            session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
            prompt = asyncio.create_task(ask(client, session, "Hello"))
            while not person.told:
                await asyncio.sleep(0.01)
            await client.cancel(session_id=session)
            assert (await prompt).stop_reason == "cancelled"
            told = len(person.told)
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            await client.load_session(cwd=str(tmp_path), session_id=session, mcp_servers=[])
            assert person.told[told:] == [("user_message_chunk", "", "Hello")]
            await ask(client, session, "Hello again")
        assert not person.questions

    run(scene)


def test_what_code_prints_past_python_does_not_reach_the_client(tmp_path: Path, warm_python: list[str]) -> None:
    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
            await ask(client, session, "Run `__import__('os').write(1, b'{} no message\\n')`")
            again = await ask(client, session)
        assert again.stop_reason == "end_turn"

    run(scene)


def test_a_session_that_is_not_open_is_said_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with connected(Person(), [sys.executable], tmp_path / "home") as (client, _):
            with pytest.raises(acp.RequestError):
                await ask(client, "nobody's")
            with pytest.raises(acp.RequestError, match="not found"):
                await client.load_session(cwd=str(tmp_path), session_id="nobody's", mcp_servers=[])

    run(scene)


NOTES = '''
from mcp.server.mcpserver import MCPServer

server = MCPServer("notes")

@server.tool()
def count() -> str:
    """Count the notes."""
    return "seventeen notes"

server.run()
'''


def test_mcp_servers_of_the_client_bring_tools_and_one_that_fails_is_said(
    tmp_path: Path, warm_python: list[str]
) -> None:
    pytest.importorskip("mcp")
    (tmp_path / "notes.py").write_text(NOTES)
    given = [
        McpServerStdio(name="notes", command=sys.executable, args=[str(tmp_path / "notes.py")], env=[]),
        McpServerStdio(name="lost", command=str(tmp_path / "no-such-program"), args=[], env=[]),
    ]

    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            session = (await client.new_session(cwd=str(tmp_path), mcp_servers=given)).session_id
            answer = await ask(client, session, "Call `mcp_notes_count` please.")
        assert answer.stop_reason == "end_turn"
        assert person.transcript[0][2].startswith("The tools of the MCP server lost are not at hand")
        assert [question.title for question in person.questions] == ["mcp_notes_count"]
        assert "seventeen notes" in next(text for kind, _, text in person.transcript if kind == "tool_call_update")

    run(scene)
