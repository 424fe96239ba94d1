"""WHAT the model should know."""
