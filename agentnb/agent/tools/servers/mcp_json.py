"""Read `.mcp.json`: the MCP servers of a project or a person, and what of them may be shown. Pure but for the files.

`${VAR}` and `${VAR:-default}` stand for environment variables. What they give is in no repr, error or view.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentnb.canonical import JsonMapping
from agentnb.errors import SettingsError

FILE = ".mcp.json"
_MAX_FILE = 1_000_000
_SECRET = 8
"""Characters that a secret has at least."""
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_SHAPE = 'Write {"mcpServers": {"NAME": {"command": "…", "args": […]}}}, or a url in place of the command.'


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """Holds one server, variables put in: a command, or a url. Only its name is shown, any other part may hold a
    secret."""

    name: str
    command: str = field(default="", repr=False)
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str = field(default="", repr=False)
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    put_in: tuple[str, ...] = field(default=(), repr=False)
    """Values that its variables gave."""

    def without_secrets(self, text: str) -> str:
        """Return the text without anything that may be a secret of this server's."""
        for value in {*self.put_in, *self.env.values(), *self.headers.values()}:
            text = text.replace(value, f"[secret of {self.name}]") if len(value) >= _SECRET else text
        return text

    @property
    def prefix(self) -> str:
        """Return the prefix of its tools' names. The server's part has no underscore, so the prefix is its alone."""
        return f"mcp_{plain_name(self.name)}_"


def plain_name(server: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "-", server)[:32]


def entries_of(files: Iterable[Path]) -> dict[str, JsonMapping]:
    """Return the servers of the files by name, as they are written. Raises SettingsError on a file that is not right.

    A name that two files give is refused: a project must not take the place of a person's own server.
    """
    found: dict[str, JsonMapping] = {}
    plain: dict[str, str] = {}
    for file in dict.fromkeys(files):
        for name, entry in _entries(file).items():
            other = plain.setdefault(plain_name(name), name)
            if name in found or other != name:
                what = f"two MCP servers are called {name!r}, or nearly so"
                raise SettingsError(what, about=str(file), todo="Give one of the two another name.")
            found[name] = entry
    return found


def _entries(file: Path) -> dict[str, JsonMapping]:
    try:
        if not file.is_file():
            return {}
        if file.stat().st_size > _MAX_FILE:
            raise ValueError(f"it has more than {_MAX_FILE:,} bytes")
        entries = json.loads(file.read_text(encoding="utf-8"))["mcpServers"]
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise TypeError("mcpServers is no object of objects")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        why = str(error).partition("\n")[0][:100]
        raise SettingsError(f"{FILE} cannot be read: {why}", about=str(file), todo=_SHAPE) from None
    return entries


def server_of(name: str, entry: JsonMapping, environment: Mapping[str, str]) -> McpServer:
    """Return the server with its variables put in. Raises SettingsError on a part of a wrong kind, or a variable
    unset."""
    reader = _Reader(name, environment)
    args = entry.get("args") or []
    if not isinstance(args, list):
        raise reader.wrong("has args that are no list", 'Write "args": ["…"].')
    if ("command" in entry) == ("url" in entry):
        raise reader.wrong("needs a command or a url", _SHAPE)
    if entry.get("type") not in (None, "stdio", "http", "streamable-http"):
        raise reader.wrong(f"has the type {str(entry['type'])[:20]!r}", "Known: stdio and http (streamable http).")
    made = McpServer(
        name=name,
        command=reader.text(entry.get("command", "")),
        cwd=reader.text(entry.get("cwd", "")),
        url=reader.text(entry.get("url", "")),
        args=tuple(map(reader.text, args)),
        env=reader.table(entry.get("env") or {}),
        headers=reader.table(entry.get("headers") or {}),
    )
    return replace(made, put_in=tuple(reader.put_in))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the parts of one entry. What it says of a wrong one names no value."""

    name: str
    environment: Mapping[str, str] = field(repr=False)
    put_in: list[str] = field(default_factory=list, repr=False)

    def wrong(self, what: str, todo: str) -> SettingsError:
        return SettingsError(f"the MCP server {self.name[:60]!r} {what}", about=FILE, todo=todo)

    def text(self, value: object) -> str:
        if not isinstance(value, str) or "\0" in value:
            raise self.wrong("has a value that is no text", "command, cwd, url, args, env and headers hold texts.")
        return _VARIABLE.sub(self._variable, value)

    def table(self, given: object) -> dict[str, str]:
        if not isinstance(given, Mapping):
            raise self.wrong("has env or headers that are no object", "Write names and texts.")
        return {str(name): self.text(value) for name, value in given.items()}

    def _variable(self, found: re.Match[str]) -> str:
        value = self.environment.get(found[1], found[2])
        if value is None:
            raise self.wrong(f"wants the variable {found[1]}, which is not set", "Set it, and start the kernel anew.")
        self.put_in.append(value)
        return value
