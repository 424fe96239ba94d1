"""Run the durable engine: state machines whose every step is committed. Of use without any agent."""
