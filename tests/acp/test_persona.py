"""The persona of Jupyter AI's chat, against that package: found as it finds personas, and a question asked through it.

Jupyter AI asks for versions of other packages that differ from ours (mcp below 2), so it is not installed by default.
Run it in an environment of its own: `pip install -e '.[acp]' jupyter-ai pytest hypothesis`, then pytest on this file.
"""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

REASON = "Jupyter AI is not installed here: see the docstring"
base = pytest.importorskip("jupyter_ai_acp_client.base_acp_persona", reason=REASON)
manager = pytest.importorskip("jupyter_ai_persona_manager", reason=REASON)
acp = pytest.importorskip("acp")
pytestmark = pytest.mark.slow


def loaded() -> Any:
    (found,) = (each for each in entry_points(group="jupyter_ai.personas") if each.name == "agentnb")
    return found.load()


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
        async with acp.spawn_agent_process(person, *named, env=env) as (client, _):
            await client.initialize(protocol_version=acp.PROTOCOL_VERSION)
            session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
            await client.prompt(session_id=session, prompt=[acp.text_block("Explain how tides work.")])
        return person.told

    assert "Claude Sonnet 4.6" in asyncio.run(asyncio.wait_for(scene(), 120))
