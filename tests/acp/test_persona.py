"""The persona of Jupyter AI's chat, against that package: found as it finds personas, and a question asked through it.

Jupyter AI as a whole asks for versions of other packages that differ from ours (mcp below 2). What a persona is made of
does not: `make test-browser` has it in build/chat, which PYTHONPATH names.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

REASON = "Jupyter AI is not installed here: see the docstring"
base = pytest.importorskip("jupyter_ai_acp_client.base_acp_persona", reason=REASON)
manager = pytest.importorskip("jupyter_ai_persona_manager", reason=REASON)
acp = pytest.importorskip("acp")
pytestmark = pytest.mark.slow


def loaded() -> Any:
    (found,) = (each for each in entry_points(group="jupyter_ai.personas") if each.name == "agentnb")
    return found.load()


def on_a_loop_of_its_own(scene: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: in the browser's phase a loop of the browser's driver runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asyncio.wait_for(scene, 240)).result()


def test_the_entry_point_is_a_persona_with_a_picture() -> None:
    persona = loaded()
    assert issubclass(persona, manager.BasePersona)
    assert issubclass(persona, base.BaseAcpPersona)
    told = persona.defaults.fget(persona)
    assert told.name == "agentnb"
    assert Path(told.avatar_path).suffix == ".svg"
    assert Path(told.avatar_path).is_file()


def test_the_process_that_it_starts_answers_the_packages_own_client(tmp_path: Path, monkeypatch: Any) -> None:
    """The executable is the one that the persona names; the client is the SDK's, as Jupyter AI's is."""
    named: list[str] = []
    monkeypatch.setattr(base.BaseAcpPersona, "__init__", lambda _, *, executable: named.extend(executable))
    loaded()()

    class Person:
        told = ""

        def on_connect(self, conn: object) -> None: ...

        async def session_update(self, session_id: str, update: Any, **_: object) -> None:
            self.told += getattr(getattr(update, "content", None), "text", "")

    async def scene() -> str:
        person = Person()
        env = os.environ | {"AGENTNB_HOME": str(tmp_path), "AGENTNB_MODEL": "sim:claude-sonnet-4-6"}
        with contextlib.suppress(ProcessLookupError):  # the client ends a process that may have ended already
            async with acp.spawn_agent_process(person, *named, env=env) as (client, _):
                await client.initialize(protocol_version=acp.PROTOCOL_VERSION)
                session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
                await client.prompt(session_id=session, prompt=[acp.text_block("Explain how tides work.")])
        return person.told

    assert "Claude Sonnet 4.6" in on_a_loop_of_its_own(scene())


class Chat:
    """Stands for the chat's document: the messages as Jupyter AI's client writes them, by their ids."""

    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}

    def add_message(self, message: Any, *_: object, **__: object) -> str:
        key = f"m{len(self.bodies)}"
        self.bodies[key] = message.body
        return key

    def update_message(self, message: Any, append: bool = False, **_: object) -> None:
        self.bodies[message.id] = self.bodies.get(message.id, "") * append + message.body

    def get_message(self, key: str) -> Any:
        return Mock(id=key, body=self.bodies.get(key, ""))


def test_a_loaded_session_answers_in_jupyter_ais_own_client_and_tells_nothing_twice(tmp_path: Path) -> None:
    """What is told of a session while it is loaded must not come into the chat: it stands there already."""
    client_of = pytest.importorskip("jupyter_ai_acp_client.default_acp_client").JaiAcpClient
    env = os.environ | {
        "AGENTNB_HOME": str(tmp_path),
        "AGENTNB_MODEL": "sim:claude-sonnet-4-6",
        "AGENTNB_SIM_SPEED": "0",
    }

    async def opened() -> tuple[Any, Any, Chat]:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "agentnb", "acp")
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=env, limit=50_000_000)
        chat = Chat()
        persona = Mock(chat=chat, id="agentnb")
        persona.get_chat_dir.return_value = str(tmp_path)
        persona.get_mcp_settings.return_value = None
        client = client_of(agent_subprocess=process, event_loop=asyncio.get_running_loop())
        return process, (client, persona), chat

    async def scene() -> None:
        process, (client, persona), chat = await opened()
        session = (await client.create_session(persona)).session_id
        for task in ("Explain how tides work.", "And why?", "Go on."):
            await client.prompt_and_reply(session, task)
        while "Simulated reply" not in "".join(chat.bodies.values()):
            await asyncio.sleep(0.01)
        process.kill()
        await process.wait()
        process, (client, persona), chat = await opened()
        await client.load_session(persona, session)
        await client.prompt_and_reply(session, "What did I ask before?")
        while "Simulated reply" not in "".join(chat.bodies.values()):
            await asyncio.sleep(0.01)  # the client writes in tasks of its own, which may end after the reply has
        (answer,) = chat.bodies.values()
        assert answer.count("Simulated reply") == 1
        process.kill()
        await process.wait()

    on_a_loop_of_its_own(scene())
