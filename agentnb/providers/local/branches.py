"""Offer tools by a schema to models whose own tool calls cannot be relied on. Pure.

Each reply is one JSON object. The schema has a branch for each tool and one for the answer. The server lets the model
write nothing else. It is told like every other provider's reply: calls, and text that shows as it streams.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import (
    Content,
    Reply,
    Role,
    StopReason,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    inside,
)
from agentnb.providers.openai_chat import ChatDecoder
from agentnb.providers.reading import read_arguments, unreadable

ANSWER = "final_answer"
_HOW = """\
# Tools

You may call one of these functions to assist with the task:
<tools>
"""
_THEN = """
</tools>

Every reply is one JSON object with the function's name and its arguments: {"name": …, "arguments": {…}}. The next \
message tells the result. Where no other function is asked for, call final_answer."""
_LAST = ToolSpec(
    ANSWER,
    "Tell the person the answer, in Markdown, and end the task.",
    {"properties": {"text": {"type": "string"}}, "required": ["text"]},
)


def schema_of(tools: Sequence[ToolSpec], answer: ToolSpec | None = None) -> JsonObject:
    """Return a reply's schema: a call of one of the tools, or the answer. `answer` is its form; None: text."""
    defined: JsonObject = {}
    calls = [
        _branch(name={"const": tool.name}, arguments={**_lifted(tool, defined), "additionalProperties": False})
        for tool in tools
    ]
    value = _lifted(answer, defined) if answer else {"type": "string"}
    last = _branch(name={"const": ANSWER}, arguments=_branch(text=value))
    return {"oneOf": [*calls, last], **({"$defs": defined} if defined else {})}


def offered(prompt: Prompt) -> list[ToolSpec]:
    """Return the tools that the next reply may call. One that gave the same to the same call twice is left out.

    A small model goes round in circles else. The prompt's text stays as it is, so that its prefix is read again.
    """
    specs = [block.content for block in prompt.of_role(Role.TOOLS) if isinstance(block.content, ToolSpec)]
    task = max((at for at, block in enumerate(prompt.blocks) if block.label == "task"), default=0)
    parts = [block.content for block in prompt.blocks[task:]]
    results = {part.call_id: part.text for part in parts if isinstance(part, ToolResult)}
    calls = [
        (part.name, dict(part.arguments), results.get(part.call_id)) for part in parts if isinstance(part, ToolCall)
    ]
    circling = {call[0] for at, call in enumerate(calls) if call in calls[:at]}
    return [spec for spec in specs if spec.name not in circling]


def _lifted(spec: ToolSpec, defined: JsonObject) -> JsonObject:
    """Return a tool's parameters with what they define put among the definitions of the whole schema."""
    text = json.dumps(spec.parameters).replace('"#/$defs/', f'"#/$defs/{spec.name}.')
    parameters: JsonObject = json.loads(text)
    defined |= {f"{spec.name}.{name}": value for name, value in parameters.pop("$defs", {}).items()}
    return parameters


def _branch(**properties: object) -> JsonObject:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def in_words(prompt: Prompt) -> Prompt:
    """Return the prompt with tools, calls and results as text, as the model is to read and to write them.

    The tools stand after the static instructions, where they never move.
    """
    specs = [block.content for block in prompt.of_role(Role.TOOLS) if isinstance(block.content, ToolSpec)]
    if not specs:
        return prompt
    rest = [block for block in prompt.blocks if block.role is not Role.TOOLS]
    static = sum(block.layer is Layer.STATIC for block in rest)
    listed = "\n".join(map(_line, (*specs, _LAST)))
    said = Block(layer=Layer.STATIC, role=Role.SYSTEM, content=Text(f"{_HOW}{listed}{_THEN}"), label="tools")
    told = [replace(block, content=_as_text(block.content, block.role)) for block in rest]
    return replace(prompt, blocks=(*told[:static], said, *told[static:]))


def _line(spec: ToolSpec) -> str:
    """Return a tool in the form that models are trained on, told by its first sentence."""
    sentence = re.split(r"(?<=[a-z)])\.\s(?=[A-Z])", " ".join(spec.description.split()), maxsplit=1)[0].rstrip(".")
    fields = {
        name: {"type": field.get("type", "string")} for name, field in spec.parameters.get("properties", {}).items()
    }
    parameters = {"type": "object", "properties": fields, "required": spec.parameters.get("required", [])}
    function = {"name": spec.name, "description": f"{sentence}.", "parameters": parameters}
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False)


def _as_text(content: Content, role: Role) -> Content:
    if isinstance(content, ToolCall):
        return _written(content.name, content.arguments)
    if isinstance(content, ToolResult):
        failed = " (an error)" if content.is_error else ""
        return Text(f"Result of {content.name}{failed}:\n{content.text}")
    if isinstance(content, Text) and role is Role.ASSISTANT:
        return _written(ANSWER, {"text": content.text})
    return content


def _written(name: str, arguments: JsonMapping) -> Text:
    return Text(json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False))


class BranchDecoder:
    """Folds the chunks of a reply of such a schema. The answer's text is shown as it grows, a call as it is written."""

    def __init__(self) -> None:
        self._chat = ChatDecoder()
        self._text = ""
        self._shown = 0

    def feed(self, event: JsonMapping) -> tuple[str, str] | None:
        """Take one chunk; give (kind, delta) when it carries something to show."""
        delta = self._chat.feed(event)
        if delta is None or delta[0] != "text":
            return delta
        self._text += delta[1]
        answer = _answer_in(_partial(self._text))
        if not isinstance(answer, str):
            return "tool", delta[1]
        new = answer[self._shown :]
        self._shown = len(answer)
        return "text", new

    def reply(self, *, request_id: str | None = None) -> Reply:
        return read_branch(self._chat.reply(request_id=request_id))

    def spent(self) -> Usage:
        return self._chat.spent()


def _partial(text: str) -> JsonObject:
    """Return the object that this text begins, as far as it goes; empty where it is none."""
    from pydantic_core import from_json

    try:
        value = from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _answer_in(value: JsonMapping) -> object:
    """Return what an object answers, as far as it goes; None where it is a call, or not that far."""
    return inside(value, "arguments").get("text") if value.get("name") == ANSWER else None


def read_branch(reply: Reply) -> Reply:
    """Return the reply with its JSON as a call or as the answer. Raises StreamBroken on a whole reply that is neither.

    Of one that a limit cut off, the beginning of the answer is kept, and of a call nothing.
    """
    whole = reply.stop is StopReason.END
    value = read_arguments(reply.text, complete=True) if whole else _partial(reply.text)
    if (said := _answer_in(value)) is not None:
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        return replace(reply, content=(Text(text),) if text else ())
    if not whole:
        return replace(reply, content=())
    if value.get("name") in (None, ANSWER):
        raise unreadable(reply.text)
    call = ToolCall("", str(value["name"]), read_arguments(value.get("arguments"), complete=True))
    return replace(reply, content=(call,), stop=StopReason.TOOLS)
