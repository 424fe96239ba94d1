"""Offer the tools of MCP servers: which servers there are, and the connections to them."""
