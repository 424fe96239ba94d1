"""Carry out the magics with subcommands: %agent_runs, %agent_cache, %agent_context."""
