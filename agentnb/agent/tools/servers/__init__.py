"""Tools that MCP servers offer: which servers there are, and the connections to them."""
