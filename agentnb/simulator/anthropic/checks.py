"""Refuse what the Anthropic Messages API refuses, in its own words. Raises RequestRefused with the HTTP status."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agentnb.errors import RequestRefused
from agentnb.models.catalog import Model, find
from agentnb.simulator.http_messages import WireMapping
from agentnb.simulator.images import refusal_of_anthropic
from agentnb.simulator.model.structured import subschemas

_PREFILL = ("claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5")
_BLOCK_TYPES = (
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "server_tool_use",
    "tool_search_tool_result",
    "web_search_tool_result",
)


def refuse(message: str, status: int = 400) -> RequestRefused:
    """Return the refusal to raise; its `what` is the provider's message."""
    return RequestRefused(message, status=status)


def check(body: object, *, counting: bool = False, goes_on: bool = False) -> Model:
    """Check a whole request body; the model's row. `counting`: for count_tokens, which takes no max_tokens. `goes_on`:
    it ends with a turn that the model paused, which comes back as it is."""
    if not isinstance(body, Mapping):
        raise refuse("The request body is not valid JSON: expected an object")
    _require(body, "model", str)
    if not counting:
        _check_max_tokens(body)
    _require(body, "messages", list)
    if body.get("thread"):
        raise refuse("thread: the simulator holds no conversation; send it whole")
    row = find(body["model"], "anthropic")
    if row is None:
        raise refuse(f"model: {body['model']}", 404)
    _check_limits(body, row)
    _check_effort(body, row)
    _check_thinking(body)
    _check_format(body)
    _check_system(body)
    _check_tools(body)
    _check_messages(body["messages"], prefill=goes_on or row.name in _PREFILL)
    _check_marks(body)
    return row


_KINDS = {str: "string", list: "list", int: "integer"}


def _require(body: WireMapping, name: str, kind: type) -> None:
    if name not in body:
        raise refuse(f"{name}: Field required")
    if not isinstance(body[name], kind) or isinstance(body[name], bool):
        raise refuse(f"{name}: Input should be a valid {_KINDS[kind]}")


def _check_max_tokens(body: WireMapping) -> None:
    _require(body, "max_tokens", int)
    if body["max_tokens"] < 0:
        raise refuse("max_tokens: Input should be greater than or equal to 0")
    forced = isinstance(body.get("tool_choice"), Mapping) and body["tool_choice"].get("type") in ("any", "tool")
    if body["max_tokens"] == 0 and (body.get("stream") or forced or _output_format(body)):
        raise refuse("max_tokens: 0 is not supported with streaming, an output format, or a forced tool_choice")


def _check_effort(body: WireMapping, row: Model) -> None:
    config = body.get("output_config")
    asked = config.get("effort") if isinstance(config, Mapping) else None
    if asked is not None and not row.effort.levels:
        raise refuse("This model does not support the effort parameter.")
    if asked is not None and asked not in row.effort.levels:
        raise refuse(f"output_config.effort: Input should be one of {', '.join(row.effort.levels)}")


def _output_format(body: WireMapping) -> bool:
    config = body.get("output_config")
    return isinstance(config, Mapping) and config.get("format") is not None


def _check_format(body: WireMapping) -> None:
    if not _output_format(body):
        return
    wanted, where = body["output_config"]["format"], "output_config.format"
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        raise refuse(f"{where}.type: Input should be 'json_schema'")
    if not isinstance(wanted.get("schema"), Mapping):
        raise refuse(f"{where}.schema: Field required")
    for part in subschemas(wanted["schema"]):
        if part.get("type") == "object" and part.get("additionalProperties") is not False:
            raise refuse(f"{where}.schema: For 'object' type, 'additionalProperties' must be explicitly set to false")
        if found := next((name for name in _NO_LIMITS if name in part), None):
            raise refuse(f"{where}.schema: For '{part.get('type')}' type, property '{found}' is not supported")


_NO_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength")


def _check_limits(body: WireMapping, row: Model) -> None:
    asked = body.get("max_tokens", 0)
    if asked > row.max_output:
        raise refuse(
            f"max_tokens: {asked} > {row.max_output}, which is the maximum allowed number of output tokens for "
            f"{row.name}"
        )


def _check_thinking(body: WireMapping) -> None:
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens", 0) if isinstance(thinking, Mapping) else 0
    if "max_tokens" in body and budget and body["max_tokens"] <= budget:
        raise refuse("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_system(body: WireMapping) -> None:
    system = body.get("system")
    if isinstance(system, list):
        for i, block in enumerate(system):
            if not isinstance(block, Mapping) or block.get("type") != "text":
                raise refuse(f"system.{i}.type: Input should be 'text'")
            if not block.get("text"):
                raise refuse("system: text content blocks must be non-empty")
    elif system is not None and not isinstance(system, str):
        raise refuse("system: Input should be a valid string")


_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def _check_tools(body: WireMapping) -> None:
    tools = body.get("tools") or []
    for i, tool in enumerate(tools):
        if not isinstance(tool, Mapping) or not tool.get("name"):
            raise refuse(f"tools.{i}.custom.name: Field required")
        if not _TOOL_NAME.fullmatch(str(tool["name"])):
            raise refuse(f"tools.{i}.custom.name: String should match pattern '^{_TOOL_NAME.pattern}$'")
        if "input_schema" not in tool and tool.get("type", "custom") == "custom":
            raise refuse(f"tools.{i}.custom.input_schema: Field required")
    names = [tool["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise refuse("tools: Tool names must be unique.")
    _check_choice(body.get("tool_choice"), names)


def _check_choice(choice: object, names: list[str]) -> None:
    if not isinstance(choice, Mapping):
        return
    if choice.get("type") in ("any", "tool") and not names:
        raise refuse("tool_choice: tool_choice may only be specified while providing tools")
    if choice.get("type") == "tool" and choice.get("name") not in names:
        raise refuse(f"tool_choice: Tool '{choice.get('name')}' not found in provided tools")


def _check_messages(messages: list[Any], *, prefill: bool) -> None:
    if not messages:
        raise refuse("messages: at least one message is required")
    for i, message in enumerate(messages):
        _check_message(i, message, last=i == len(messages) - 1)
    if messages[0]["role"] != "user":
        raise refuse('messages: first message must use the "user" role')
    if messages[-1]["role"] == "assistant" and not prefill:
        raise refuse(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    _check_tool_pairs(messages)


def _check_message(i: int, message: object, *, last: bool) -> None:
    if not isinstance(message, Mapping) or "role" not in message:
        raise refuse(f"messages.{i}.role: Field required")
    if message["role"] not in ("user", "assistant", "system"):
        raise refuse(f"messages.{i}.role: Input should be 'user', 'assistant' or 'system'")
    content = message.get("content")
    if not isinstance(content, str | list):
        raise refuse(f"messages.{i}.content: Input should be a valid list")
    if not content and not (last and message["role"] == "assistant"):
        raise refuse(f"messages.{i}: {message['role']} messages must have non-empty content")
    if isinstance(content, list):
        for j, block in enumerate(content):
            _check_block(f"messages.{i}.content.{j}", block)


def _check_block(where: str, block: object) -> None:
    if not isinstance(block, Mapping) or block.get("type") not in _BLOCK_TYPES:
        found = block.get("type") if isinstance(block, Mapping) else block
        raise refuse(f"{where}: Input tag '{found}' found using 'type' does not match any of the expected tags")
    if block["type"] == "text" and not block.get("text"):
        marked = block.get("cache_control")
        raise refuse(
            f"{where}.text: cache_control cannot be set for empty text blocks"
            if marked
            else "messages: text content blocks must be non-empty"
        )
    if block["type"] == "thinking" and block.get("cache_control"):
        raise refuse(f"{where}.thinking.cache_control: Extra inputs are not permitted")
    _check_pictures(where, block)
    for name in _NEEDED.get(block["type"], ()):
        if name not in block:
            raise refuse(f"{where}.{block['type']}.{name}: Field required")


def _check_pictures(where: str, block: WireMapping) -> None:
    """Check a picture by itself, and those inside a tool's result."""
    if block["type"] == "image" and (said := refusal_of_anthropic(block.get("source"))):
        raise refuse(f"{where}.{said}")
    inner = block.get("content") if block["type"] == "tool_result" else None
    for j, part in enumerate(inner if isinstance(inner, list) else []):
        if isinstance(part, Mapping) and part.get("type") == "image":
            _check_pictures(f"{where}.tool_result.content.{j}", part)


_NEEDED = {"tool_use": ("id", "name", "input"), "tool_result": ("tool_use_id",), "thinking": ("signature", "thinking")}


def _check_tool_pairs(messages: list[WireMapping]) -> None:
    """Check that each tool_use is answered in the very next message, and nothing is answered that was not asked."""
    open_ids: list[str] = []
    for i, message in enumerate(messages):
        blocks = message["content"] if isinstance(message["content"], list) else []
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        for j, block in enumerate(blocks):
            if block["type"] == "tool_result" and block["tool_use_id"] not in open_ids:
                raise refuse(
                    f"messages.{i}.content.{j}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` block in "
                    "the previous message."
                )
        _refuse_open(i - 1, [one for one in open_ids if one not in answered])
        open_ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
    _refuse_open(len(messages) - 1, open_ids)


def _refuse_open(i: int, ids: list[str]) -> None:
    if ids:
        raise refuse(
            f"messages.{i}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _check_marks(body: WireMapping) -> None:
    marks = [*marked_places(body), *([("cache_control", body["cache_control"])] if body.get("cache_control") else [])]
    short = False
    for where, mark in marks:
        ttl = mark.get("ttl", "5m") if isinstance(mark, Mapping) else None
        if ttl not in ("5m", "1h") or mark.get("type") != "ephemeral":
            raise refuse(f"{where}.cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
        if ttl == "1h" and short:
            raise refuse(
                f"{where}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
                "cache_control block. Note that blocks are processed in the following order: `tools`, `system`, "
                "`messages`."
            )
        short = short or ttl == "5m"
    if len(marks) > 4:
        raise refuse(f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}.")


def marked_places(body: WireMapping) -> Iterator[tuple[str, Any]]:
    """Yield (where, cache_control) of every explicit mark, in the order the API processes blocks."""
    for section in ("tools", "system"):
        blocks = body.get(section)
        for i, block in enumerate(blocks if isinstance(blocks, list) else []):
            yield from _marks_in(f"{section}.{i}", block)
    for i, message in enumerate(body["messages"]):
        content = message["content"]
        for j, block in enumerate(content if isinstance(content, list) else []):
            yield from _marks_in(f"messages.{i}.content.{j}", block)


def _marks_in(where: str, block: WireMapping) -> Iterator[tuple[str, Any]]:
    inner = block.get("content")
    for j, part in enumerate(inner if isinstance(inner, list) else []):
        if isinstance(part, Mapping) and part.get("cache_control"):
            yield f"{where}.content.{j}", part["cache_control"]
    if block.get("cache_control"):
        yield where, block["cache_control"]
