"""Offer tools that a model may call."""
