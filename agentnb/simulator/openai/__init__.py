"""Speak OpenAI's wires: Responses and Chat Completions."""
