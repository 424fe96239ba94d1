"""Requests as a server received them, block by block."""

from __future__ import annotations

import json
from typing import Any


def blocks_of(body: dict[str, Any]) -> list[str]:
    """The blocks in render order as canonical JSON without cache_control: what DESIGN calls the prefix."""
    items = [("tools", tool) for tool in body.get("tools", [])]
    items += [("system", block) for block in body["system"]]
    for message in body["messages"]:
        assert isinstance(message["content"], list), "content is always a list of blocks"
        items += [(message["role"], block) for block in message["content"]]
    bare = [[role, {name: v for name, v in block.items() if name != "cache_control"}] for role, block in items]
    return [json.dumps(item, sort_keys=True) for item in bare]


def is_prefix(short: list[str], long: list[str]) -> bool:
    return long[: len(short)] == short
