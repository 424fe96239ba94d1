"""Decide which segment a turn goes on with, and when a new one begins."""
