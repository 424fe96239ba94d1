"""Read a generateContent body: as parts in render order, and as the model reads it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agentnb.models.catalog import Model
from agentnb.simulator.http_messages import WireMapping
from agentnb.simulator.images import Counter, standard
from agentnb.simulator.model.dialogue import Ask, Offer, Said
from agentnb.simulator.prefixes import PrefixBlock

PER_TOOL, PER_TURN, PER_CALL, PER_MEDIA = 8, 3, 8, 258


_FREE = ("args", "response", "parametersJsonSchema", "parameters", "responseJsonSchema", "responseSchema", "labels")


def camel(value: object) -> Any:
    """Return the body with its field names in one spelling. The API takes `thinking_config` for `thinkingConfig`; the
    SDK sends both. What the user's own JSON holds is left alone."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    named = [(re.sub(r"_([a-z])", lambda match: match.group(1).upper(), key), item) for key, item in value.items()]
    return {key: item if key in _FREE else camel(item) for key, item in named}


def contents_of(value: Any) -> list[Any]:
    """Contents as a list: the API takes one content for a list of one."""
    return [value] if isinstance(value, Mapping) else list(value or [])


def parts_of(content: object) -> list[Any]:
    """Return a content's parts; a bare string is one text part."""
    if isinstance(content, str):
        return [{"text": content}]
    parts = content.get("parts") if isinstance(content, Mapping) else None
    return [{"text": part} if isinstance(part, str) else part for part in contents_of(parts)]


def system_of(body: WireMapping) -> Any:
    return body.get("systemInstruction")


def declarations(body: WireMapping) -> list[WireMapping]:
    """Return every function declaration in the body's tools."""
    return [found for tool in body.get("tools") or [] for found in tool.get("functionDeclarations") or []]


def blocks(body: WireMapping, count: Counter) -> list[PrefixBlock]:
    """Return every part of the prompt in render order: tools, system, contents."""
    return [
        *_format(body, count),
        *_tool_blocks(body, count),
        *_part_blocks("system", "system", system_of(body), count),
        *_turns(body, count),
    ]


def schema_of(body: WireMapping) -> WireMapping | None:
    """Return the schema of the answer, where the request asks for a structured one."""
    found = (body.get("generationConfig") or {}).get("responseJsonSchema")
    return found if isinstance(found, Mapping) else None


def _format(body: WireMapping, count: Counter) -> Iterator[PrefixBlock]:
    """Yield the answer's schema, which counts as input; a cache object does not hold it."""
    schema = schema_of(body)
    if schema is not None and not body.get("cachedContent"):
        text = _json(schema)
        yield PrefixBlock(section="tools", head="schema", text=text, overhead=PER_TOOL, tokens=count(text) + PER_TOOL)


def _tool_blocks(body: WireMapping, count: Counter) -> Iterator[PrefixBlock]:
    for found in declarations(body):
        text = _json(found)
        yield PrefixBlock(section="tools", head="tool", text=text, overhead=PER_TOOL, tokens=count(text) + PER_TOOL)


def _turns(body: WireMapping, count: Counter) -> Iterator[PrefixBlock]:
    for content in contents_of(body.get("contents")):
        role = content.get("role") or "user" if isinstance(content, Mapping) else "user"
        yield from _part_blocks("contents", role, content, count)


def _part_blocks(section: str, role: str, content: object, count: Counter) -> Iterator[PrefixBlock]:
    if not content:
        return
    for i, part in enumerate(parts_of(content)):
        text, overhead = _part(part)
        head = role
        if isinstance(part.get("inlineData") or part.get("fileData"), Mapping):
            # Not words: it is one piece, whose bytes tell it apart and whose tokens follow a rule of their own.
            head, text = f"{role}:{hashlib.sha256(text.encode()).hexdigest()}", ""
            overhead = count.picture(standard((part.get("inlineData") or {}).get("data"))) or PER_MEDIA
        overhead += thought_tokens(part) + (0 if i else PER_TURN)
        yield PrefixBlock(section=section, head=head, text=text, overhead=overhead, tokens=count(text) + overhead)


def _part(part: WireMapping) -> tuple[str, int]:
    """Return (text, tokens of structure)."""
    if "text" in part:
        return str(part["text"]), 0
    if "functionCall" in part:
        return _json({key: part["functionCall"].get(key) for key in ("name", "args")}), PER_CALL
    if "functionResponse" in part:
        return _json({key: part["functionResponse"].get(key) for key in ("name", "response")}), PER_CALL
    return _json(part), PER_MEDIA


def thought_seal(tokens: int, digest: bytes) -> str:
    """Return a thought signature, which says how many tokens come back with it."""
    return base64.b64encode(b"%d:" % tokens + digest).decode()


def thought_tokens(part: WireMapping) -> int:
    """Return the tokens of the thought that comes back with the part's signature; none with another server's."""
    try:
        count, colon, _ = base64.b64decode(str(standard(part.get("thoughtSignature")) or ""), validate=True).partition(
            b":"
        )
    except (binascii.Error, ValueError):
        return 0
    return int(count) if colon and count.isdigit() and len(count) < 7 else 0


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def ask_of(body: WireMapping, row: Model) -> Ask:
    """Return the request as the model reads it."""
    config = body.get("generationConfig") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = str(calling.get("mode", "AUTO")).lower()
    allowed = calling.get("allowedFunctionNames") or []
    offers = [_offer(found) for found in declarations(body) if not allowed or found["name"] in allowed]
    return Ask(
        model=row,
        said=tuple(_said(body)),
        offers=tuple(offers),
        choice=mode if mode in ("any", "none") else "auto",
        max_tokens=config.get("maxOutputTokens"),
        stops=tuple(config.get("stopSequences") or ()),
        thinks=(config.get("thinkingConfig") or {}).get("thinkingBudget") != 0,
        schema=schema_of(body),
    )


def _offer(found: WireMapping) -> Offer:
    schema = found.get("parametersJsonSchema") or found.get("parameters") or {}
    return Offer(name=found["name"], description=found.get("description") or "", schema=_lower_types(schema))


def _lower_types(schema: object) -> Any:
    """Write types as JSON schema does: Google's own schemas say STRING where JSON schema says string."""
    if isinstance(schema, Mapping):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else _lower_types(value)
            for key, value in schema.items()
        }
    return [_lower_types(item) for item in schema] if isinstance(schema, list) else schema


def _said(body: WireMapping) -> Iterator[Said]:
    for part in parts_of(system_of(body)) if system_of(body) else []:
        yield _one("system", part)
    for content in contents_of(body.get("contents")):
        role = content.get("role") if isinstance(content, Mapping) else "user"
        for part in parts_of(content):
            yield _one("assistant" if role == "model" else "user", part)


def _one(role: str, part: WireMapping) -> Said:
    if part.get("thought"):
        return Said(kind="other", role=role)
    if "text" in part:
        return Said(kind="text", role=role, text=str(part["text"])) if part["text"] else Said(kind="other", role=role)
    if "functionCall" in part:
        call = part["functionCall"]
        return Said(kind="call", role=role, name=call.get("name", ""), arguments=call.get("args") or {})
    if "functionResponse" in part:
        return _result(role, part["functionResponse"])
    return Said(kind="other", role=role)


def _result(role: str, found: WireMapping) -> Said:
    """Return the SDK wraps what a tool returned in `result` or `output`, and a failure in `error`."""
    response = found.get("response") or {}
    failed = "error" in response
    value = response.get("error" if failed else "result", response.get("output", response))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Said(kind="result", role=role, name=found.get("name", ""), text=text, is_error=failed)
