"""`--tools mcp:NAME` in a real kernel: a server of the project's, asked about, used, and ended with the extension."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from patience import is_there, wait_until_gone

pytest.importorskip("mcp")
pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SERVER = '''
import os
from pathlib import Path
from mcp.server.mcpserver import MCPServer

Path("pid").write_text(str(os.getpid()))
server = MCPServer("tides")

@server.tool()
def tide(place: str) -> str:
    """The tide at a place."""
    return f"high at {place}"

server.run("stdio")
'''


def test_a_server_of_the_project(kernel: Any) -> None:
    (kernel.directory / "tides.py").write_text(SERVER)
    entry = {"command": sys.executable, "args": ["tides.py"]}
    (kernel.directory / ".mcp.json").write_text(json.dumps({"mcpServers": {"tides": entry}}))
    run = kernel.ok("%agent --tools mcp:tides Use mcp_tides_tide on `Dover`").run
    assert run["state"] == "WAITING"
    (question,) = run["approvals"]["waiting"]
    assert question["tool"] == "mcp_tides_tide"
    done = kernel.ok(f"%agent_runs approve {run['run_id']} --digest {run['approvals']['digest']}").run
    assert done["state"] == "COMPLETED"
    (call,) = [tool for step in done["steps"] for tool in step["tools"]]
    assert call["result"] == "high at Dover"
    lost = kernel.run("%agent --tools mcp:tidez Hello")
    assert "no MCP server is called 'tidez'" in lost.error
    assert "Did you mean tides?" in lost.error
    pid = int((kernel.directory / "pid").read_text())
    assert is_there(pid)
    kernel.ok("%unload_ext agentnb")
    wait_until_gone(pid)
