"""Hold what the user TOUCHES."""
