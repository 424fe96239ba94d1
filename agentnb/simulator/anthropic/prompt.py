"""Read an Anthropic request body: as pieces in render order for the cache rules, and as the model reads it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from agentnb.models.catalog import Model
from agentnb.simulator.http_messages import WireMapping
from agentnb.simulator.images import Counter
from agentnb.simulator.model.dialogue import Ask, Offer, Said
from agentnb.simulator.promptcache_rules import PromptPiece

TOOLS_PREAMBLE = 260
"""Tokens that the API adds before the first tool: its own instructions on how to call tools."""
PER_TOOL, PER_TURN, PER_CALL, PER_RESULT, PER_DOCUMENT, REPLY_START = 9, 4, 12, 11, 1100, 3
"""Tokens of structure: per tool, change of speaker, tool_use and tool_result. Also per document that is not text or a
picture of another address. Last, at the very end, where the reply begins; never cached."""


def pieces(body: WireMapping, count: Counter) -> list[PromptPiece]:
    """Return every block of the prompt in render order: tools, system, messages. Marks are taken out and kept as
    `ttl`."""
    out = [*_tool_pieces(body, count), *_system_pieces(body, count), *_message_pieces(body, count)]
    top = body.get("cache_control")
    if top:
        last = max((i for i, piece in enumerate(out) if not _is_thinking(piece)), default=None)
        if last is not None and out[last].ttl is None:
            out[last] = replace(out[last], ttl=top.get("ttl", "5m"))
    return out


def _is_thinking(piece: PromptPiece) -> bool:
    return b'"type":"thinking"' in piece.data and piece.data.startswith(b'["assistant"')


def settings(body: WireMapping) -> dict[str, dict[str, object]]:
    """Return what spoils a section without standing in it: speed the system; tool_choice, thinking, effort, images the
    messages."""
    messages = {
        "tool_choice": body.get("tool_choice") or ({"type": "auto"} if body.get("tools") else None),
        "thinking": body.get("thinking"),
        "effort": (body.get("output_config") or {}).get("effort"),
        "pictures": any(b.get("type") == "image" for said in body["messages"] for b in blocks_of(said["content"])),
    }
    return {"system": {"speed": body.get("speed")}, "messages": messages}


def salts(body: WireMapping) -> dict[str, bytes]:
    """Return the settings as bytes to mix in where a section begins."""
    return {section: _json(list(named.values())) for section, named in settings(body).items()}


def blocks_of(content: Any) -> list[WireMapping]:
    """Content as blocks: a bare string is one text block, as the API says."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def _tool_pieces(body: WireMapping, count: Counter) -> Iterator[PromptPiece]:
    for i, tool in enumerate(body.get("tools") or []):
        data = _canonical(tool)
        tokens = count(data.decode()) + PER_TOOL + (0 if i else TOOLS_PREAMBLE)
        yield PromptPiece(section="tools", data=data, tokens=tokens, ttl=_ttl(tool))


def format_of(body: WireMapping) -> WireMapping | None:
    """Return the format that the answer is to have."""
    config = body.get("output_config")
    found = config.get("format") if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _system_pieces(body: WireMapping, count: Counter) -> Iterator[PromptPiece]:
    """Return the system prompt's blocks, after what the API itself says there of a format."""
    if (wanted := format_of(body)) is not None:
        data = _canonical(wanted)
        yield PromptPiece(section="system", data=data, tokens=count(data.decode()) + PER_TOOL, ttl=None)
    for block in blocks_of(body.get("system") or []):
        yield PromptPiece(section="system", data=_canonical(block), tokens=count(block["text"]) + 1, ttl=_ttl(block))


def _message_pieces(body: WireMapping, count: Counter) -> Iterator[PromptPiece]:
    speaker = ""
    for message in body["messages"]:
        for block in blocks_of(message["content"]):
            turn = PER_TURN if message["role"] != speaker else 0
            speaker = message["role"]
            data = b'["' + speaker.encode() + b'",' + _canonical(block) + b"]"
            yield PromptPiece(section="messages", data=data, tokens=_tokens(block, count) + turn, ttl=_ttl(block))


def _tokens(block: WireMapping, count: Counter) -> int:
    kind = block["type"]
    if kind == "text":
        return count(block["text"])
    if kind == "tool_use":
        return count(block["name"]) + count(_json(block["input"]).decode()) + PER_CALL
    if kind == "tool_result":
        return sum(_tokens(part, count) for part in blocks_of(block.get("content"))) + PER_RESULT
    if kind in ("thinking", "redacted_thinking"):
        return count(block.get("thinking", "")) + 2
    source = block.get("source")
    data = source.get("data") if kind == "image" and isinstance(source, Mapping) else None
    return count.picture(data) or PER_DOCUMENT


def _ttl(block: WireMapping) -> str | None:
    inner = block.get("content")
    marks = (
        [part.get("cache_control") for part in inner if isinstance(part, Mapping)] if isinstance(inner, list) else []
    )
    mark = block.get("cache_control") or next((mark for mark in marks if mark), None)
    return mark.get("ttl", "5m") if mark else None


def _canonical(block: WireMapping) -> bytes:
    """Return the block without marks. Its own fields come in one order. Inside `input` and schemas the order is as
    sent: the real API is known to miss on reordered keys."""
    fields = {key: block[key] for key in sorted(block) if key != "cache_control"}
    if fields.get("type") == "tool_result":
        fields["content"] = [_plain(part) for part in blocks_of(fields.get("content"))]
    return _json(fields)


def _plain(part: object) -> Any:
    return {key: part[key] for key in sorted(part) if key != "cache_control"} if isinstance(part, Mapping) else part


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def thoughts(body: WireMapping) -> Iterator[tuple[int, str, WireMapping]]:
    """Yield (index of its piece, where, block) of each thinking block in the messages."""
    at = len(body.get("tools") or []) + len(blocks_of(body.get("system") or [])) + (format_of(body) is not None)
    for i, message in enumerate(body["messages"]):
        for j, block in enumerate(blocks_of(message["content"])):
            if block["type"] == "thinking":
                yield at, f"messages.{i}.content.{j}", block
            at += 1


def ask_of(body: WireMapping, row: Model) -> Ask:
    """Return the request as the model reads it."""
    choice = body.get("tool_choice") or {}
    kind = choice.get("type", "auto")
    return Ask(
        model=row,
        said=tuple(_said(body)),
        offers=tuple(
            Offer(name=tool["name"], description=tool.get("description", ""), schema=tool["input_schema"])
            for tool in body.get("tools") or []
            if "input_schema" in tool
        ),
        choice=choice["name"] if kind == "tool" else kind,
        parallel=not choice.get("disable_parallel_tool_use", False),
        max_tokens=body.get("max_tokens"),
        stops=tuple(body.get("stop_sequences") or ()),
        thinks=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        schema=(format_of(body) or {}).get("schema"),
    )


def _said(body: WireMapping) -> Iterator[Said]:
    for block in blocks_of(body.get("system") or []):
        yield Said(kind="text", role="system", text=block["text"])
    names: dict[str, str] = {}
    for message in body["messages"]:
        for block in blocks_of(message["content"]):
            yield _one(message["role"], block, names)


def _one(role: str, block: WireMapping, names: dict[str, str]) -> Said:
    kind = block["type"]
    if kind == "text":
        return Said(kind="text", role=role, text=block["text"])
    if kind == "tool_use":
        names[block["id"]] = block["name"]
        return Said(kind="call", role=role, name=block["name"], call_id=block["id"], arguments=block["input"])
    if kind == "tool_result":
        text = "\n".join(part.get("text", "") for part in blocks_of(block.get("content")))
        call_id = block["tool_use_id"]
        return Said(
            kind="result",
            role=role,
            text=text,
            name=names.get(call_id, ""),
            call_id=call_id,
            is_error=bool(block.get("is_error")),
        )
    return Said(kind="other", role=role)
