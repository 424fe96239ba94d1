"""Cut a run document to what a notebook keeps of it: bounded, however many steps a run made. Pure.

The journal holds the whole: a click brings it to the page, `%agent_runs show RUN --all` shows it anywhere.
"""

from __future__ import annotations

import json
from typing import Any

from agentnb.canonical import JsonObject
from agentnb.view.number_format import number
from agentnb.view.words.run_doc import Doc, dicts, items, part, run_seconds

STEPS, DEFINITIONS, REMARKS = 12, 24, 20
"""So many are kept: the newest steps, the first definitions (the nearest to the question), the newest remarks.

Of cells and of children as many as of definitions, of tool calls (the newest) as many as of steps.
"""
RESULT = 240
"""Characters of a tool's result or argument that are kept, and of what a step did."""
PICTURES = 20_000
"""Bytes of pictures, as their letters in the html, that are kept altogether."""


def saved(doc: Doc) -> JsonObject:
    """Return the document as a notebook keeps it. What the model answered is never cut."""
    kept = dict(doc)
    if (steps := dicts(doc, "steps")) or items(doc, "steps"):
        kept["steps"] = _steps(steps[-STEPS:])
        kept["steps_before"] = len(steps) - len(kept["steps"]) + int(number(doc.get("steps_before")) or 0)
        kept["steps_cut"] = kept["steps"] != steps or bool(doc.get("steps_cut"))
        kept["clock"] = dict(part(doc, "clock")) | {"seconds": run_seconds(doc)}
    for name in ("definitions", "cells", "left_out", "children"):
        if len(items(doc, name)) > DEFINITIONS:
            kept[name] = items(doc, name)[:DEFINITIONS]
            kept[f"{name}_more"] = len(items(doc, name)) - DEFINITIONS
    if len(items(doc, "notes")) > REMARKS:
        kept["notes"] = items(doc, "notes")[-REMARKS:]
    if thinking := items(doc, "thinking"):
        kept["thinking"] = [_cut(text) for text in thinking[-STEPS:]]
    if images := dicts(doc, "images"):
        kept["images"] = _images(images)
    return kept


def without_pictures(doc: Doc) -> JsonObject:
    """Return the document without its pictures' letters, which stand in the html."""
    images = [{name: value for name, value in image.items() if name != "data"} for image in dicts(doc, "images")]
    return dict(doc) | ({"images": images} if images else {})


def _steps(steps: list[Doc]) -> list[JsonObject]:
    kept: list[JsonObject] = []
    left = STEPS
    for step in reversed(steps):
        tools = dicts(step, "tools")
        newest = [_call(tool) for tool in tools[max(0, len(tools) - left) :]]
        left -= len(newest)
        said = {"what": _cut(step["what"])} if "what" in step else {}
        kept.append(dict(step) | said | ({"tools": newest} if tools else {}))
    return kept[::-1]


def _call(tool: Doc) -> JsonObject:
    return dict(tool) | {name: _cut(tool[name]) for name in ("result", "arguments") if name in tool}


def _cut(value: object) -> Any:
    """Return a value as it is where it is short; else the beginning of its text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= RESULT:
        return value
    if isinstance(value, dict):
        return {name: _cut(item) for name, item in list(value.items())[:10]}
    return f"{text[:RESULT]}… ({len(text) - RESULT:,} more characters)"


def _images(images: list[Doc]) -> list[JsonObject]:
    """Return the pictures, smallest first in the budget; one that is left out keeps its line."""
    left = PICTURES
    kept: dict[int, bool] = {}
    for at in sorted(range(len(images)), key=lambda at: len(str(images[at].get("data") or ""))):
        size = len(str(images[at].get("data") or ""))
        kept[at] = size <= left
        left -= size if kept[at] else 0
    return [dict(image) | ({} if kept[at] else {"data": ""}) for at, image in enumerate(images)]
