"""Connect to MCP servers, and offer their tools as `mcp_NAME_TOOL`. [home of mcp]

What a server says is material. Its hints are not believed, so each call needs a person's word or `--allow`. Its texts
pass the one escape and are cut. A server that is lost or late is one clear error, and the next call starts it anew. A
list of tools is taken once, so that the prompt's prefix stays.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib.util
import json
import logging
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from agentnb._version import __version__
from agentnb.agent.tools.servers.mcp_json import FILE, McpServer, entries_of, plain_name, server_of
from agentnb.agent.tools.servers.schemas import fitting
from agentnb.agent.tools.tool import Outcome, Tool, shorten
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.errors import AgentnbError, InputError, PackageMissing, RunInterrupted, ToolServerFailed, nearest
from agentnb.models.framing import unframed

if TYPE_CHECKING:
    from mcp import Client

ENTRY = "mcp:"
"""Prefix of an entry of `--tools` that names a server."""
CONNECT_SECONDS, CALL_SECONDS, CLOSE_SECONDS = 20.0, 60.0, 5.0
MOST_TOOLS, MOST_PAGES = 100, 20
MAX_DESCRIPTION, MAX_SCHEMA = 1_000, 20_000
_TICK = 0.05
"""Seconds between two looks at whether the person has pressed stop."""
_NAME_LENGTH = 64
Given = TypeVar("Given")


class ListedTool(Protocol):
    """Holds what is read of a tool as a server lists it; its annotations are not."""

    name: str
    description: str | None
    input_schema: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """Holds one tool of a server: its own name, and what of it goes into a prompt."""

    tool: str
    name: str
    description: str
    parameters: JsonObject


class McpServers:
    """Holds the servers of the project at `root` and of the person, each started when its tools are first wanted.

    Use it from any thread.
    """

    def __init__(
        self,
        root: Path | None,
        environment: Mapping[str, str],
        *,
        home: Path | None = None,
        stopped: Callable[[], bool] = lambda: False,
        call_seconds: float = CALL_SECONDS,
        given: Mapping[str, JsonMapping] | None = None,
    ) -> None:
        self._given = dict(given or {})
        self._files = [folder / FILE for folder in (root, home or Path.home()) if folder is not None]
        self._environment = environment
        self._root = root
        self._stopped = stopped
        self._call_seconds = call_seconds
        self._lists: dict[str, dict[str, Offered]] = {}
        self._open: dict[str, _Connection] = {}
        self._lock = threading.RLock()

    def _entries(self) -> dict[str, JsonMapping]:
        """Return what the files say, and before that what the client of this session gave."""
        return entries_of(self._files) | self._given

    def known(self) -> tuple[str, ...]:
        """Return the entries that `--tools` takes. Raises SettingsError where a file is not right."""
        return tuple(f"{ENTRY}{name}" for name in sorted(self._entries()))

    def expanded(self, tools: Iterable[str]) -> tuple[str, ...]:
        """Return the tools by name, with those of a server in the place of `mcp:NAME`, sorted.

        Raises InputError, SettingsError, ToolServerFailed, PackageMissing.
        """
        return tuple(
            dict.fromkeys(
                each
                for name in tools
                for each in (sorted(self._list(name.removeprefix(ENTRY))) if name.startswith(ENTRY) else (name,))
            )
        )

    def tool(self, name: str) -> Tool | None:
        """Return the tool that goes by this name; None where no server of ours has it."""
        kind, _, rest = name.partition("_")
        if kind != "mcp" or "_" not in rest:
            return None
        plain = rest.partition("_")[0]
        server = next((each for each in self._entries() if plain_name(each) == plain), None)
        found = self._list(server).get(name) if server is not None else None
        return self._tool(server, found) if server is not None and found is not None else None

    def list_anew(self) -> None:
        """Take the lists anew when they are next wanted."""
        with self._lock:
            self._lists.clear()
            self.close()

    def close(self) -> None:
        """End every connection, and with it the servers that were started."""
        with self._lock:
            for connection in self._open.values():
                connection.close()
            self._open.clear()

    def _list(self, server: str) -> dict[str, Offered]:
        with self._lock:
            if server not in self._lists:
                connection = self._connection(server)
                made = (offered(connection.server, each) for each in connection.listed)
                self._lists[server] = {item.name: item for item in made if item is not None}
            return self._lists[server]

    def _connection(self, server: str) -> _Connection:
        """Return the open connection to a server, or a new one."""
        with self._lock:
            if server not in self._open:
                entries = self._entries()
                if server not in entries:
                    hint = f"{nearest(server, list(entries))} Known: {', '.join(sorted(entries)) or 'none'}.".strip()
                    raise InputError(f"no MCP server is called {server!r}", about=FILE, todo=hint)
                made = _Connection(server_of(server, entries[server], self._environment), self._root)
                made.open(self._stopped)
                self._open[server] = made
            return self._open[server]

    def _tool(self, server: str, item: Offered) -> Tool:
        def call(**arguments: object) -> Outcome:
            connection = self._connection(server)
            try:
                return connection.call(item.tool, arguments, self._call_seconds, self._stopped)
            except ToolServerFailed:
                with self._lock:
                    self._open.pop(server, None)
                connection.close()
                raise

        said = f"{item.description}\n(From the MCP server {server}.)"
        return Tool(
            name=item.name,
            description=said,
            parameters=item.parameters,
            call=call,
            take=partial(fitting, item.parameters),
            on_main=False,
        )


# --- what a server says, as it may stand in a prompt ----------------------------------------------------------------


def offered(server: McpServer, tool: ListedTool) -> Offered | None:
    """Return the tool as a model is told of it; None where its schema is too large."""
    try:
        parameters = cast(JsonObject, escaped(tool.input_schema)) | {"type": "object"}
        size = len(json.dumps(parameters))
    except (RecursionError, ValueError):
        return None
    if size > MAX_SCHEMA:
        return None
    name, told = offered_name(server.prefix, tool.name), shorten(tool.description or tool.name, MAX_DESCRIPTION)
    return Offered(tool=tool.name, name=name, description=str(escaped(told)), parameters=parameters)


def offered_name(prefix: str, tool: str) -> str:
    """Return a name that every provider takes. Where the tool's own had to be changed, its digest keeps it apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", tool)
    if plain == tool and len(prefix + tool) <= _NAME_LENGTH:
        return prefix + tool
    mark = sha256(tool.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{prefix}{plain}"[: _NAME_LENGTH - 9] + f"_{mark}"


def escaped(value: object) -> object:
    """Return the value with every text in it as it may stand inside a frame."""
    match value:
        case str():
            return unframed(value.encode("utf-8", "backslashreplace").decode())
        case dict():
            return {str(escaped(str(name))): escaped(each) for name, each in value.items()}
        case list():
            return [escaped(each) for each in value]
    return value


def result_text(content: Iterable[object], structured: object) -> str:
    """Return what a call gave: texts as they are, and of anything else that it is there."""
    parts = [_part(block) for block in content]
    if not parts and structured is not None:
        parts = [json.dumps(structured, ensure_ascii=False)]
    return "\n".join(parts) or "(no output)"


def _part(block: object) -> str:
    text = getattr(block, "text", None) or getattr(getattr(block, "resource", None), "text", None)
    if isinstance(text, str):
        return text
    about = getattr(block, "uri", "") or getattr(block, "mime_type", "")
    return f"[{getattr(block, 'type', 'something')} {about} is left out]"


# --- one connection -------------------------------------------------------------------------------------------------


class _Connection:
    """Runs one server in a thread with its own loop: one that blocks its loop blocks no other."""

    def __init__(self, server: McpServer, root: Path | None) -> None:
        self.server = server
        self.listed: tuple[ListedTool, ...] = ()
        self._root = root
        self._loop = asyncio.new_event_loop()
        self._ready: Future[tuple[ListedTool, ...]] = Future()
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"agentnb-mcp-{plain_name(server.name)}", daemon=True)

    def open(self, stopped: Callable[[], bool]) -> None:
        """Start the server, or reach it, and take its list. Raises ToolServerFailed, PackageMissing, RunInterrupted."""
        _check_package()
        logging.getLogger("mcp").addHandler(logging.NullHandler())  # a server's noise does not belong into the cell
        atexit.register(self.close)
        self._thread.start()
        try:
            self.listed = self._wait(self._ready, CONNECT_SECONDS, stopped, todo=_LOOK)
        except BaseException:
            self.close()
            raise

    def call(self, tool: str, arguments: JsonMapping, seconds: float, stopped: Callable[[], bool]) -> Outcome:
        """Return what a tool gives. Raises ToolServerFailed where the server is lost or late, and RunInterrupted."""
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        assert self._client is not None
        work = self._client.call_tool(tool, dict(arguments), read_timeout_seconds=seconds)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            given = self._wait(future, seconds, stopped, todo=_MAYBE)
        except MCPError as error:
            if error.code == REQUEST_TIMEOUT:
                raise self._failed(f"did not answer within {seconds:g} s", _MAYBE) from None
            if error.code == CONNECTION_CLOSED:
                raise self._failed("ended before it answered", _MAYBE) from None
            return self._outcome(f"The server refused the call: {error.message}", is_error=True)
        except (AgentnbError, KeyboardInterrupt):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the way to the server raises is the server's failure
            raise self._failed(f"could not be asked ({type(error).__name__})", _MAYBE) from None
        return self._outcome(result_text(given.content, given.structured_content), is_error=bool(given.is_error))

    def close(self) -> None:
        """End the connection; a server that does not end by itself is killed. A loop that is blocked is left behind."""
        atexit.unregister(self.close)
        self._closing = True
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._cancel)
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def _outcome(self, text: str, *, is_error: bool) -> Outcome:
        return Outcome(text=str(escaped(shorten(self.server.without_secrets(text)))), is_error=is_error)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _wait(self, future: Future[Given], seconds: float, stopped: Callable[[], bool], *, todo: str) -> Given:
        """Return the future's result once it is there; never later than said, and not when the person has
        stopped."""
        ends = time.monotonic() + seconds
        while not stopped():
            futures.wait([future], timeout=_TICK)
            if future.done():
                return future.result()
            if time.monotonic() > ends:
                future.cancel()
                raise self._failed(f"did not answer within {seconds:g} s", todo)
        future.cancel()
        raise RunInterrupted("the run was interrupted while an MCP server was asked")

    def _failed(self, what: str, todo: str) -> ToolServerFailed:
        return ToolServerFailed(f"the MCP server {self.server.name!r} {self.server.without_secrets(what)}", todo=todo)

    def _run(self) -> None:
        """Live, in the thread, the server's whole life."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - of whatever kind: who waits for the connection is told
            if not self._ready.done():
                self._ready.set_exception(self._failed(_in_words(error), _LOOK))

    async def _serve(self) -> None:
        self._task = asyncio.current_task()
        if self._closing:
            return
        async with self._connected() as client:
            self._client = client
            self._ready.set_result(await _all_tools(client))
            await asyncio.Event().wait()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        import httpx2
        from mcp import Client, Implementation, StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        server, me = self.server, Implementation(name="agentnb", version=__version__)
        if server.url:
            timeout = httpx2.Timeout(CONNECT_SECONDS, read=None)  # how long a call may take is decided by who waits
            async with (
                httpx2.AsyncClient(headers=dict(server.headers), timeout=timeout) as http,
                Client(streamable_http_client(server.url, http_client=http), client_info=me) as client,
            ):
                yield client
            return
        cwd = (self._root or Path()) / server.cwd
        wanted = StdioServerParameters(command=server.command, args=list(server.args), env=dict(server.env), cwd=cwd)
        with Path(os.devnull).open("w") as quiet:
            async with Client(stdio_client(wanted, errlog=quiet), client_info=me) as client:
                yield client


async def _all_tools(client: Client) -> tuple[ListedTool, ...]:
    found: list[ListedTool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    if cursor is not None or len(found) > MOST_TOOLS:
        raise _TooManyTools
    return tuple(found)


def _check_package() -> None:
    """Raise PackageMissing unless the SDK is there, of the version that this module speaks to."""
    found = version("mcp") if importlib.util.find_spec("mcp") is not None else ""
    if int(found.partition(".")[0] or 0) < 2:
        instead = f"; here is {found}, which other packages may ask for" if found else ""
        raise PackageMissing(f"tools of MCP servers need the package mcp 2{instead}", todo="pip install 'mcp>=2,<3'.")


class _TooManyTools(Exception):
    """A server lists more than a prompt may hold."""


def _in_words(error: BaseException) -> str:
    """Tell why a server could not be reached, by the first thing that went wrong, without the error's own text."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case _TooManyTools():
            return f"lists more than {MOST_TOOLS} tools"
        case FileNotFoundError():
            return "cannot be started: its command, or its directory, is not there"
        case OSError():
            return f"cannot be started: {error.strerror or type(error).__name__}"
    return f"cannot be reached, or ended at once ({type(error).__name__})"


_LOOK = f"Look at its entry in {FILE}, and run its command in a terminal to see what it says."
_MAYBE = "It may have done a part of what it was asked. The next call starts it anew."
