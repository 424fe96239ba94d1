"""The handlers of the agent's states."""
