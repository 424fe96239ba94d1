"""Speak Anthropic's wire."""
