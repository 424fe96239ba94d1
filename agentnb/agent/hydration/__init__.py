"""Hydrate a turn: with the notebook's cells and names, the project's files and instructions."""
