"""Describe live objects, shortly and stably, without running anybody's code."""
