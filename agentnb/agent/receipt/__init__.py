"""Read what is left of a run: its typed parts, and the schema of its document."""
