"""Run the built-in agent: a state machine over the durable engine."""
