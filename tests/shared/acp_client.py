"""A client of the Agent Client Protocol, by its own SDK: what it is told, what it is asked, and how it answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import acp
from acp.schema import AllowedOutcome, DeniedOutcome, RequestPermissionResponse

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
async def connected(
    person: Person,
    python: list[str],
    home: Path,
    *,
    speed: str = "0",
    variables: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Any]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env = kept | {"AGENTNB_HOME": str(home), "AGENTNB_MODEL": "sim:claude-sonnet-4-6", "AGENTNB_SIM_SPEED": speed}
    env |= variables
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


async def killed_while_it_asks(person: Person, client: Any, process: Any, folder: Path) -> str:
    """Kill the agent while its question waits for a person who says nothing. Its session's id."""
    session = str((await client.new_session(cwd=str(folder), mcp_servers=[])).session_id)
    prompt = asyncio.create_task(ask(client, session))
    await person.asked.wait()
    process.kill()
    await process.wait()
    prompt.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await prompt
    return session


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 500))
