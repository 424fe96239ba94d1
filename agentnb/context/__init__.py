"""Decide WHAT the model should know."""
