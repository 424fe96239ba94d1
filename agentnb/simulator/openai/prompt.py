"""Read Chat Completions and Responses bodies: as items, as blocks in render order, and as the model reads them.

Pure. Reasoning that comes back is rendered and counts as it did when it was thought. `reasoning.context` says whether
of all turns, or of the present one only. Models with breakpoints (GPT-5.6 and later), the only ones here that reason,
take all turns by default (openai 3.54.0, types/shared/reasoning.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentnb.models.catalog import Model
from agentnb.simulator.http_messages import WireMapping, WireObject
from agentnb.simulator.images import Counter, data_of
from agentnb.simulator.model.dialogue import Ask, Offer, Said
from agentnb.simulator.prefixes import PrefixBlock

PER_TOOL, PER_ITEM, PER_CALL, PER_MEDIA, REPLY_START = 8, 4, 8, 800, 3


@dataclass(frozen=True, kw_only=True)
class Item:
    """Holds one part of the conversation. `kind`: text, call, result, media, reasoning; `ttl` is set where a breakpoint
    is marked. A picture's `name` is its address.

    `ends` says that the message ends with this part.
    """

    kind: str
    role: str
    text: str
    name: str = ""
    call_id: str = ""
    ttl: str | None = None
    ends: bool = True


@dataclass(frozen=True, kw_only=True)
class Talk:
    """Holds one request of either API, in one shape."""

    items: tuple[Item, ...]
    tools: tuple[WireMapping, ...]
    choice: str = "auto"
    parallel: bool = True
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    thinks: bool = False
    settings: WireMapping = field(default_factory=dict)

    @property
    def schema(self) -> WireMapping | None:
        """Return the schema of the answer, where the request asks for a structured one."""
        return schema_of(self.settings.get("text_format"))


def schema_of(wanted: object) -> WireMapping | None:
    """Return the schema of a format of either API: Chat Completions has it one step further in."""
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        return None
    found = (wanted.get("json_schema") or wanted).get("schema")
    return found if isinstance(found, Mapping) else None


def chat_talk(body: WireMapping, *, reasons: bool) -> Talk:
    """Return a Chat Completions body."""
    ttl = (body.get("prompt_cache_options") or {}).get("ttl", "30m")
    stop = body.get("stop") or ()
    return Talk(
        items=tuple(item for message in body["messages"] for item in _chat_items(message, ttl)),
        tools=tuple(tool["function"] for tool in body.get("tools") or [] if tool.get("type") == "function"),
        choice=_choice(body.get("tool_choice")),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        thinks=reasons and body.get("reasoning_effort") != "none",
        settings={
            "text_format": body.get("response_format"),
            "reasoning_effort": body.get("reasoning_effort"),
            "verbosity": body.get("verbosity"),
        },
    )


def responses_talk(body: WireMapping, *, reasons: bool) -> Talk:
    """Return a Responses body."""
    ttl = (body.get("prompt_cache_options") or {}).get("ttl", "30m")
    text, reasoning = body.get("text") or {}, body.get("reasoning") or {}
    items = [item for one in input_items(body) for item in _response_items(one, ttl)]
    if reasoning.get("context") == "current_turn":
        asked = max((i for i, item in enumerate(items) if item.role == "user" and item.kind != "result"), default=0)
        items = [item for i, item in enumerate(items) if item.kind != "reasoning" or i > asked]
    instructions = body.get("instructions")
    first = [Item(kind="text", role="system", text=instructions)] if instructions else []
    return Talk(
        items=(*first, *items),
        tools=tuple(tool for tool in body.get("tools") or [] if tool.get("type") == "function"),
        choice=_choice(body.get("tool_choice")),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=body.get("max_output_tokens"),
        thinks=reasons and reasoning.get("effort") != "none",
        settings={
            "text_format": text.get("format"),
            "reasoning_effort": reasoning.get("effort"),
            "verbosity": text.get("verbosity"),
        },
    )


def input_items(body: WireMapping) -> list[WireMapping]:
    """Return the body's input as items: a bare string is one user message."""
    given = body.get("input")
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given or [])


def _choice(choice: object) -> str:
    """Return auto, any, none, or the name of a tool."""
    if isinstance(choice, Mapping):
        return str(choice.get("name") or (choice.get("function") or {}).get("name") or "auto")
    return {"required": "any", "none": "none"}.get(str(choice), "auto")


def _role(message: WireMapping) -> str:
    return "system" if message["role"] == "developer" else str(message["role"])


def _chat_items(message: WireMapping, ttl: str) -> Iterator[Item]:
    role = _role(message)
    if role == "tool":
        text = "".join(item.text for item in _parts("user", message.get("content"), ttl))
        yield Item(kind="result", role="user", text=text, call_id=message.get("tool_call_id", ""))
        return
    yield from _parts(role, message.get("content"), ttl)
    for call in message.get("tool_calls") or []:
        function = call["function"]
        yield Item(kind="call", role=role, text=function["arguments"], name=function["name"], call_id=call["id"])


def _response_items(item: WireMapping, ttl: str) -> Iterator[Item]:
    kind = item.get("type", "message")
    if kind == "message":
        yield from _parts(_role(item), item.get("content"), ttl)
    elif kind == "function_call":
        yield Item(kind="call", role="assistant", text=item["arguments"], name=item["name"], call_id=item["call_id"])
    elif kind == "function_call_output":
        parts = list(_parts("user", item.get("output"), ttl))
        mark = next((part.ttl for part in parts if part.ttl), None)
        text = "".join(part.text for part in parts)
        yield Item(kind="result", role="user", text=text, call_id=item["call_id"], ttl=mark)
    elif kind == "reasoning":
        yield Item(kind="reasoning", role="assistant", text=_unsealed(item.get("encrypted_content") or ""))


def _unsealed(sealed: str) -> str:
    """Return what the simulator thought; another server's seal as it stands."""
    try:
        return base64.b64decode(sealed, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return sealed


def _parts(role: str, content: Any, ttl: str) -> Iterator[Item]:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])
    for i, part in enumerate(parts):
        mark = part.get("prompt_cache_breakpoint")
        yield Item(
            kind="text" if "text" in part else "media",
            role=role,
            text=part["text"] if "text" in part else _json(_unmarked(part)),
            name=str(image_url(part) or "") if "text" not in part else "",
            ttl=mark.get("ttl") or ttl if isinstance(mark, Mapping) else None,
            ends=i == len(parts) - 1,
        )


def _unmarked(part: WireMapping) -> WireObject:
    return {key: value for key, value in part.items() if key != "prompt_cache_breakpoint"}


def blocks(talk: Talk, count: Counter) -> list[PrefixBlock]:
    """Return every part of the prompt in render order: the answer's schema, tools, then the items."""
    tools = [_json({key: tool.get(key) for key in ("name", "description", "parameters")}) for tool in talk.tools]
    tools = [*([_json(talk.schema)] if talk.schema is not None else []), *tools]
    return [
        *(
            PrefixBlock(section="tools", head="tool", text=text, overhead=PER_TOOL, tokens=count(text) + PER_TOOL)
            for text in tools
        ),
        *(_block(item, count) for item in talk.items),
    ]


def _block(item: Item, count: Counter) -> PrefixBlock:
    if item.kind == "media":
        return _media(item, count)
    overhead = {"text": PER_ITEM, "call": PER_CALL, "result": PER_CALL, "reasoning": 0}[item.kind]
    text = f"{item.name}\n{item.text}" if item.kind == "call" else item.text
    tokens = count(text) + overhead
    head = f"{item.role}:{item.kind}"
    return PrefixBlock(
        section="input", head=head, text=text, overhead=overhead, tokens=tokens, ttl=item.ttl, ends_item=item.ends
    )


def _media(item: Item, count: Counter) -> PrefixBlock:
    """Return one piece of no words, whose bytes tell it apart and whose tokens follow a rule of their own."""
    tokens = (count.picture(data_of(item.name)) or PER_MEDIA) + PER_ITEM
    head = f"{item.role}:media:{hashlib.sha256(item.text.encode()).hexdigest()}"
    return PrefixBlock(
        section="input", head=head, text="", overhead=tokens, tokens=tokens, ttl=item.ttl, ends_item=item.ends
    )


def image_url(part: WireMapping) -> Any:
    """Return the address of a picture, which Chat wraps in an object."""
    found = part.get("image_url")
    return found.get("url") if isinstance(found, Mapping) else found


def ask_of(talk: Talk, row: Model) -> Ask:
    """Return the request as the model reads it."""
    names = {item.call_id: item.name for item in talk.items if item.kind == "call"}
    return Ask(
        model=row,
        said=tuple(_said(item, names) for item in talk.items if item.kind != "reasoning"),
        offers=tuple(
            Offer(name=tool["name"], description=tool.get("description") or "", schema=tool.get("parameters") or {})
            for tool in talk.tools
        ),
        choice=talk.choice,
        parallel=talk.parallel,
        max_tokens=talk.max_tokens,
        stops=talk.stops,
        thinks=talk.thinks,
        schema=talk.schema,
    )


def _said(item: Item, names: Mapping[str, str]) -> Said:
    if item.kind == "call":
        arguments = _arguments(item.text)
        return Said(kind="call", role="assistant", name=item.name, call_id=item.call_id, arguments=arguments)
    if item.kind == "result":
        name = names.get(item.call_id, "")
        return Said(kind="result", role="user", text=item.text, name=name, call_id=item.call_id)
    return Said(kind="text" if item.kind == "text" and item.text else "other", role=item.role, text=item.text)


def _arguments(text: str) -> WireMapping:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
