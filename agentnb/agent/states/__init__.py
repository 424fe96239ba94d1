"""Handle each state: the handlers of the agent's states."""
