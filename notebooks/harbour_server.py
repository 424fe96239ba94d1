"""An MCP server for the lesson on tools: the depth at the berths of a harbour."""

from mcp.server.mcpserver import MCPServer

DEPTHS = {"berth 1": 2.4, "berth 2": 3.1, "berth 3": 1.8}

server = MCPServer("harbour")


@server.tool()
def depth(berth: str) -> str:
    """Depth at a berth at low water, in metres."""
    return f"{DEPTHS[berth]} m"


if __name__ == "__main__":
    server.run("stdio")
