"""`python -m agentnb acp` over stdio, asked by the protocol's own SDK: prompt, permission, kill -9, load."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import acp
import pytest
from acp.schema import McpServerStdio

from tests.shared.acp_client import ASKED, Person, ask, connected, killed_while_it_asks, run

pytestmark = pytest.mark.slow


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
            session = await killed_while_it_asks(first, client, process, tmp_path)
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
        async with connected(person, warm_python, tmp_path / "home", speed="0.2") as (client, _):
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
