"""Take answers as values: `--as TYPE` asks by a schema where the model takes one, else by a tool. Both are checked
alike.

A value that does not fit goes back to the model with its faults, at most twice. Nothing is converted on the way.
"""

from __future__ import annotations

import ast
import json
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from agentnb.agent.tools.arguments import WrongArguments, faults_in_words, plain_schema
from agentnb.agent.tools.tool import Outcome, Tool
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.errors import AnswerMismatch, InputError
from agentnb.models.messages import Content, Text, ToolCall

NAME = "answer"
REPAIRS = 2
ASKED = "Give the result by one call of the tool answer."
_NODES = (
    *(ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.BitOr),
    *(ast.Constant, ast.Load),
)
_ROWS = list[dict[str, str | int | float | bool | None]]
"""The type that a table is asked for as."""


class TypedAnswer:
    """Holds one answer of a type: the tool that takes it, and the value once it `came`. Raises InputError on no
    type."""

    def __init__(self, text: str, namespace: Mapping[str, Any]) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

        self.text = text
        self._kind = _named(text, namespace)
        self._is_table = getattr(self._kind, "__name__", "") == "DataFrame"
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(_ROWS if self._is_table else self._kind)
            self._schema = plain_schema(self._adapter.json_schema())
        except (PydanticSchemaGenerationError, PydanticUserError) as error:
            why = re.split(r"\. |\n", str(error))[0]
            raise InputError(
                f"--as cannot be {text}: {why}",
                todo="Name a dataclass, a pydantic model, list[...], dict[...], DataFrame, str, int, float or bool.",
            ) from None
        self.schema = closed(self._parameters)
        """Return the schema as every provider takes it. None where the type has none, so that the tool has to do."""
        self.came = False
        self._value: object = None
        self._faults: list[str] = []

    @property
    def tool(self) -> Tool:
        """Return the tool by which the value comes."""
        return Tool(
            name=NAME,
            description="Give the result of the task as a value of this schema. Call it once, when the value is right.",
            parameters=self._parameters,
            call=self._take,
            acts=False,
            on_main=False,
            take=self._checked,
            shows_values=False,
        )

    @property
    def _parameters(self) -> JsonObject:
        """Return the schema of an object whose one property is the value."""
        schema = {name: part for name, part in self._schema.items() if name != "$defs"}
        definitions = self._schema.get("$defs")
        return {
            "type": "object",
            "properties": {"value": schema},
            "required": ["value"],
            "additionalProperties": False,
            **({"$defs": definitions} if definitions else {}),
        }

    def faults_of(self, text: str) -> str:
        """Take a structured answer. What does not fit, for the model to mend; empty where it fits, or none is taken."""
        try:
            given = json.loads(text)
            self._take(**self._checked(given if isinstance(given, dict) else {}))
        except (WrongArguments, ValueError, RecursionError) as error:
            wrong = str(error) if isinstance(error, WrongArguments) else f"it is no JSON ({type(error).__name__})"
            if not isinstance(error, WrongArguments):
                self._faults.append(wrong)
            return "" if len(self._faults) > REPAIRS else wrong
        return ""

    def came_before(self, contents: Iterable[Content]) -> bool:
        """Take the value that an earlier run has given, the newest in its conversation that is of the type."""
        for content in reversed(list(contents)):
            try:
                match content:
                    case ToolCall(name=called, arguments=given) if called == NAME:
                        self._take(**self._checked(given))
                    case Text(text=text):
                        self._take(**self._checked(json.loads(text)))
                    case _:
                        continue
            except (WrongArguments, ValueError, TypeError, RecursionError):
                self._faults.clear()
            else:
                return True
        return False

    def value(self) -> object:
        """Return the value. Raises AnswerMismatch where none came that fits."""
        if not self.came:
            why = f": {self._faults[-1]}" if self._faults else ""
            times = len(self._faults)
            raise AnswerMismatch(
                f"the model gave no value that is {self.text}{why}"[:400],
                about=f"{times} attempt{'' if times == 1 else 's'}",
                todo="The variable is as it was. Ask again, or take a simpler type.",
            )
        return self._value

    def _checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        from pydantic import ValidationError

        if set(arguments) != {"value"}:
            raise WrongArguments("give `value`, and nothing else")
        if len(self._faults) > REPAIRS:
            raise WrongArguments("no further value is taken; end here and say what does not fit")
        try:
            return {"value": self._adapter.validate_json(json.dumps(arguments["value"]), strict=True)}
        except ValidationError as error:
            self._faults.append(faults_in_words(error.errors(include_url=False, include_input=False)))
            raise WrongArguments(self._faults[-1]) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise WrongArguments(f"it is no JSON ({type(error).__name__})") from None

    def _take(self, value: Any) -> Outcome:
        self._value = self._kind(value) if self._is_table else value
        self.came = True
        return Outcome(text="Taken. End here, with one sentence for the person.")


_KEPT = ("description", "enum", "const", "$ref", "required")
_CLOSED = {"type": "object", "additionalProperties": False}
_FORMATS = ("date-time", "date", "time")
"""Forms of a text that all providers take."""
_PLAIN = ("string", "integer", "number", "boolean", "null")


def closed(schema: JsonMapping) -> JsonObject | None:
    """Return the schema in the part of JSON Schema that all providers take: objects with known properties, all
    required.

    None where it needs more: free keys, tuples, a type within itself. Limits on numbers and texts are left out; the
    check of the value holds them.
    """
    definitions = schema.get("$defs") or {}
    if any(_leads_to(name, name, definitions, set()) for name in definitions):
        return None
    try:
        made = _closed(schema)
        found = {name: _closed(part) for name, part in definitions.items()}
    except _NeedsMore:
        return None
    return {**made, "$defs": found} if found else made


class _NeedsMore(Exception):
    """A schema says what not every provider takes."""


def _closed(schema: JsonMapping) -> JsonObject:
    kept = {name: schema[name] for name in _KEPT if name in schema}
    either = schema.get("anyOf") or schema.get("oneOf")
    match schema.get("type"):
        case "object" if isinstance(schema.get("properties"), Mapping) and not schema.get("additionalProperties"):
            inner = {name: _closed(part) for name, part in schema["properties"].items()}
            return kept | _CLOSED | {"properties": inner, "required": list(inner)}
        case "array" if isinstance(schema.get("items"), Mapping) and "prefixItems" not in schema:
            return kept | {"type": "array", "items": _closed(schema["items"])}
        case str() as kind if kind in _PLAIN:
            form = {"format": schema["format"]} if schema.get("format") in _FORMATS else {}
            return kept | {"type": kind} | form
    if either:
        return kept | {"anyOf": [_closed(part) for part in either]}
    if kept.keys() & {"$ref", "enum", "const"}:
        return kept
    raise _NeedsMore


def _leads_to(name: str, wanted: str, definitions: JsonMapping, seen: set[str]) -> bool:
    """Tell whether a definition uses another one, through any others."""
    used = {found.rpartition("/")[2] for found in re.findall(r'"\$ref": "([^"]+)"', json.dumps(definitions[name]))}
    if wanted in used:
        return True
    new = {each for each in used - seen if each in definitions}
    return any(_leads_to(each, wanted, definitions, seen | new) for each in new)


def answer_text(text: str) -> str:
    """Return a structured answer as people read it: the value alone, as a block of JSON. The text itself where it is
    none."""
    try:
        value = json.loads(text)["value"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return text
    shown = json.dumps(value, ensure_ascii=False, indent=2)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}json\n{shown}\n{fence}"


def _named(text: str, namespace: Mapping[str, Any]) -> Any:
    """Return the type that a person wrote: names, attributes, `[...]` and `|` alone."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
        if not all(isinstance(node, _NODES) for node in ast.walk(tree)):
            raise InputError(f"--as wants a type, not {text!r}", todo="Write e.g. --as list[Point] or --as DataFrame.")
        known = {**vars(typing), **_tables(namespace), **namespace}
        return eval(compile(tree, "<--as>", "eval"), known)  # noqa: S307 - a person's own words, of names alone
    except (SyntaxError, ValueError):
        raise InputError(f"--as wants a type, not {text!r}", todo="Write e.g. --as list[Point].") from None
    except (NameError, AttributeError, TypeError) as error:
        raise InputError(f"--as {text}: {error}", todo="Define the type in a cell first.") from None


def _tables(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return `DataFrame` without an import of its own, where pandas or polars is imported."""
    found = (getattr(namespace.get(name), "DataFrame", None) for name in ("pd", "pandas", "pl", "polars"))
    table = next((each for each in found if each is not None), None)
    return {} if table is None else {"DataFrame": table}
