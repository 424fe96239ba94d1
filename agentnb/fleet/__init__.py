"""Carry many runs on existing engines, beyond one machine."""
