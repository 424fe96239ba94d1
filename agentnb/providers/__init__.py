"""ASKING the model."""
