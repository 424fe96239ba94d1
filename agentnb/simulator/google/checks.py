"""Refuse what the Gemini API refuses, in its own words. Raises RequestRefused with the HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentnb.errors import RequestRefused
from agentnb.models.catalog import Model
from agentnb.simulator.google import prompt
from agentnb.simulator.http_messages import WireMapping
from agentnb.simulator.images import refusal_of_google


def refuse(message: str, status: int = 400) -> RequestRefused:
    """Return the refusal to raise; its `what` is the provider's message."""
    return RequestRefused(message, status=status)


def check(body: WireMapping, row: Model) -> None:
    """Check a generateContent body."""
    contents = prompt.contents_of(body.get("contents"))
    if not contents:
        raise refuse("* GenerateContentRequest.contents: contents is not specified\n")
    for i, content in enumerate(contents):
        role = content.get("role", "user") if isinstance(content, Mapping) else "user"
        if role not in ("user", "model", "function", "", None):
            raise refuse("Please use a valid role: user, model.")
        if not prompt.parts_of(content):
            raise refuse(f"* GenerateContentRequest.contents[{i}].parts: contents.parts must not be empty.\n")
    config = body.get("generationConfig") or {}
    if "responseJsonSchema" in config and config.get("responseMimeType") != "application/json":
        raise refuse("response_json_schema is only supported with response_mime_type: 'application/json'.")
    _check_pictures(contents)
    _check_calls(contents)
    if row.name.startswith("gemini-3"):
        _check_signatures(contents)


def _check_pictures(contents: list[Any]) -> None:
    for i, content in enumerate(contents):
        for j, part in enumerate(prompt.parts_of(content)):
            inline = part.get("inlineData")
            if isinstance(inline, Mapping) and (said := refusal_of_google(f"contents[{i}].parts[{j}]", inline)):
                raise refuse(said)


def _check_calls(contents: list[Any]) -> None:
    """Check that a turn of function calls is followed by as many responses."""
    for i, content in enumerate(contents):
        calls = sum("functionCall" in part for part in prompt.parts_of(content))
        following = prompt.parts_of(contents[i + 1]) if i + 1 < len(contents) else []
        if calls and calls != sum("functionResponse" in part for part in following):
            raise refuse(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )


def _check_signatures(contents: list[Any]) -> None:
    """Gemini 3 wants the thought signature back on the first call of each step of the present turn."""
    asked = [i for i, content in enumerate(contents) if any("text" in part for part in prompt.parts_of(content))]
    start = max((i for i in asked if contents[i].get("role") != "model"), default=0)
    for content in contents[start:]:
        calls = [part for part in prompt.parts_of(content) if "functionCall" in part]
        if calls and not calls[0].get("thoughtSignature"):
            raise refuse(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly. Function call `{calls[0]['functionCall'].get('name')}`."
            )
