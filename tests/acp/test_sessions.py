"""What clients do with sessions: several at once, modes, lists, pictures; and what goes wrong in the middle of one."""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path
from typing import Any

import acp
import pytest
from acp.schema import ResourceContentBlock

from agentnb.session import Session
from agentnb.settings import Settings
from tests.shared.acp_client import Person, ask, connected, run

pytestmark = pytest.mark.slow


async def opened(client: Any, cwd: Path, mode: str = "ask") -> str:
    session: str = (await client.new_session(cwd=str(cwd), mcp_servers=[])).session_id
    await client.set_session_mode(session_id=session, mode_id=mode)
    return session


async def made(mark: Path) -> None:
    """Wait until the code that makes this file runs."""
    while not mark.exists():
        await asyncio.sleep(0.01)


def forever(mark: Path, code: str = "__import__('time').sleep(9999)") -> str:
    return f"Run this:\n```python\nopen('{mark}', 'w').close()\n{code}\n```"


def test_a_mode_says_whether_calls_are_asked_about_and_whether_any_acts(tmp_path: Path, warm_python: list[str]) -> None:
    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            modes = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).modes
            assert (modes.current_mode_id, [mode.id for mode in modes.available_modes]) == (
                "ask",
                ["ask", "unasked", "read"],
            )
            session = await opened(client, tmp_path, "unasked")
            await ask(client, session)
            assert "42" in next(text for kind, _, text in person.transcript if kind == "tool_call_update")
            person.told.clear()
            await client.set_session_mode(session_id=session, mode_id="read")
            await ask(client, session, f"Run `open('{tmp_path / 'made'}', 'w')`")
            assert not (tmp_path / "made").exists()
            with pytest.raises(acp.RequestError):
                await client.set_session_mode(session_id=session, mode_id="yolo")
            with pytest.raises(acp.RequestError):
                await client.set_session_mode(session_id="nobody's", mode_id="ask")
        assert not person.questions

    run(scene)


def test_what_two_sessions_print_at_once_is_told_apart(tmp_path: Path, warm_python: list[str]) -> None:
    code = "for _ in range(40): print('{0}', flush=True); __import__('time').sleep(0.001)"

    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            sessions = [await opened(client, tmp_path, "unasked") for _ in "ab"]
            asked = [f"Run this:\n```python\n{code.format(each)}\n```" for each in "ab"]
            await asyncio.gather(*(ask(client, *each) for each in zip(sessions, asked, strict=True)))
        printed = [text for kind, _, text in person.told if kind == "tool_call_update"]
        assert sorted("".join(dict.fromkeys(text.split())) for text in printed) == ["a", "b"]

    run(scene)


@pytest.mark.parametrize("code", ["__import__('time').sleep(9999)", "while True: pass"])
def test_code_that_does_not_end_is_stopped_and_the_session_goes_on(
    tmp_path: Path, warm_python: list[str], code: str
) -> None:
    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            session = await opened(client, tmp_path, "unasked")
            prompt = asyncio.create_task(ask(client, session, forever(tmp_path / "mark", code)))
            await made(tmp_path / "mark")
            await client.cancel(session_id=session)
            assert (await prompt).stop_reason == "cancelled"
            again = await ask(client, session, "Hello")
        assert again.stop_reason == "end_turn"

    run(scene)


def test_a_client_that_leaves_while_code_runs_leaves_no_process(tmp_path: Path, warm_python: list[str]) -> None:
    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, process):
            session = await opened(client, tmp_path, "unasked")
            prompt = asyncio.create_task(ask(client, session, forever(tmp_path / "mark")))
            await made(tmp_path / "mark")
            process.stdin.close()
            assert await process.wait() == 0
            prompt.cancel()

    run(scene)


def test_a_client_that_cancels_and_never_answers_its_question_gets_its_turn_back(
    tmp_path: Path, warm_python: list[str]
) -> None:
    async def scene() -> None:
        person = Person("silence")
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            session = await opened(client, tmp_path)
            prompt = asyncio.create_task(ask(client, session))
            await person.asked.wait()
            await client.cancel(session_id=session)
            assert (await prompt).stop_reason == "cancelled"
            person.word = "once"
            assert (await ask(client, session, "Hello")).stop_reason == "end_turn"
        assert len(person.questions) == 1

    run(scene)


def test_what_code_prints_later_or_reads_does_not_touch_the_protocol(tmp_path: Path, warm_python: list[str]) -> None:
    code = "__import__('threading').Timer(0.1, print, ['no message']).start()\ninput()"

    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            session = await opened(client, tmp_path, "unasked")
            await ask(client, session, f"Run this:\n```python\n{code}\n```")
            assert "EOFError" in next(text for kind, _, text in person.transcript if kind == "tool_call_update")
            await ask(client, session, "Run `__import__('time').sleep(0.2)`")
            assert (await ask(client, session, "Hello")).stop_reason == "end_turn"

    run(scene)


def test_sessions_are_listed_with_the_one_that_moved_last_first(tmp_path: Path, warm_python: list[str]) -> None:
    (other := tmp_path / "other").mkdir()

    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            assert (await client.list_sessions()).sessions == []
            first, second = await opened(client, tmp_path), await opened(client, other)
            for session, task in ((first, "Explain tides."), (second, "Explain moons."), (first, "And why?")):
                await ask(client, session, task)
            listed = (await client.list_sessions()).sessions
            assert [(each.session_id, each.cwd, each.title) for each in listed] == [
                (first, str(tmp_path), "Explain tides."),
                (second, str(other), "Explain moons."),
            ]
            assert [each.session_id for each in (await client.list_sessions(cwd=str(other))).sessions] == [second]

    run(scene)


def test_all_of_a_loaded_conversation_is_taken_before_the_answer_to_the_load(
    tmp_path: Path, warm_python: list[str]
) -> None:
    """Jupyter AI would show what comes later as a new answer. The SDK gives an answer at once, and updates in turn."""

    class Slow(Person):
        async def session_update(self, session_id: str, update: Any, **named: object) -> None:
            for _ in range(3):
                await asyncio.sleep(0)
            await super().session_update(session_id, update, **named)

        async def ext_method(self, method: str, params: object) -> dict[str, Any]:
            raise acp.RequestError.method_not_found(method)

    async def scene() -> None:
        person, late = Person(), Slow()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            session = await opened(client, tmp_path)
            await ask(client, session, "Explain tides.")
        async with connected(late, warm_python, tmp_path / "home") as (client, _):
            await client.load_session(cwd=str(tmp_path), session_id=session, mcp_servers=[])
            assert [kind for kind, _, _ in late.told] == ["user_message_chunk", "agent_message_chunk"]

    run(scene)


def test_a_picture_of_a_prompt_is_sent_as_one_and_code_can_read_it(tmp_path: Path, warm_python: list[str]) -> None:
    pillow = pytest.importorskip("PIL.Image")
    encoded = io.BytesIO()
    pillow.new("RGB", (30, 20), "red").save(encoded, "PNG")
    (tmp_path / "photo.png").write_bytes(encoded.getvalue())
    prompt = [
        acp.text_block("Run `print(picture_1.size, picture_2.size)` please"),
        acp.image_block(base64.b64encode(encoded.getvalue()).decode(), "image/png"),
        ResourceContentBlock(
            type="resource_link", uri=(tmp_path / "photo.png").as_uri(), name="photo.png", mime_type="image/png"
        ),
        acp.image_block("bm8gcGljdHVyZQ==", "image/png"),
        ResourceContentBlock(type="resource_link", uri="file:///etc/hosts", name="hosts", mime_type="image/png"),
    ]

    async def scene() -> None:
        person = Person()
        async with connected(person, warm_python, tmp_path / "home") as (client, _):
            started = await client.initialize(protocol_version=1)
            assert started.agent_capabilities.prompt_capabilities.image
            session = await opened(client, tmp_path, "unasked")
            await client.prompt(session_id=session, prompt=prompt)
        assert "(30, 20) (30, 20)" in next(text for kind, _, text in person.transcript if kind == "tool_call_update")
        ours = Session(settings=Settings(home=tmp_path / "home", model="sim:claude-sonnet-4-6"))
        (summary,) = ours.journal.find(thread=session)
        images = ours.find_run(summary.run_id).receipt["images"]
        assert [(image["name"], image["width"]) for image in images] == [("picture_1", 30)]
        task = str(ours.machine().get(summary.run_id).context["task"])
        assert "which cannot be read" in task
        assert "outside of the session's directory" in task
        ours.close()

    run(scene)
