"""Serve the agent to editors and chats by the Agent Client Protocol: Jupyter AI, Zed, marimo and others."""
