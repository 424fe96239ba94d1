"""Speak Google's wire."""
