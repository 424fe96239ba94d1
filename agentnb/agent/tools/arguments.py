"""Read arguments of tools: a JSON schema from a function's signature, and a check of a model's values. [home of
pydantic]

A value is taken as it is or refused: `"3"` is no integer. So what a person approved is what the function gets.
"""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Required, cast

from agentnb.canonical import JsonMapping, JsonObject
from agentnb.errors import InputError

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

Json = JsonObject
MAX_TROUBLES = 5
"""Faults that a refusal lists."""


class WrongArguments(ValueError):
    """Arguments that a tool cannot take; its text is for the model."""


def schema_of(function: Callable[..., Any]) -> Json:
    """Return the JSON schema of a function's parameters. Raises InputError on one that JSON cannot carry."""
    return _schema_of(getattr(function, "__func__", function))


def taken(function: Callable[..., Any], arguments: JsonMapping) -> Json:
    """Return the arguments as the function's annotations have them. Raises WrongArguments, whatever was given."""
    from pydantic import ValidationError

    adapter = _adapter(getattr(function, "__func__", function))
    try:
        return dict(adapter.validate_json(json.dumps(dict(arguments)), strict=True))
    except ValidationError as error:
        raise WrongArguments(faults_in_words(error.errors(include_url=False, include_input=False))) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise WrongArguments(f"they are no JSON ({type(error).__name__})") from None


@lru_cache(256)
def _schema_of(function: Callable[..., Any]) -> Json:
    """Titles only repeat the names, and each costs tokens in every request."""
    schema: Json = plain_schema(_adapter(function).json_schema())
    kept = {name: schema[name] for name in ("$defs",) if name in schema}
    properties, required = schema.get("properties", {}), schema.get("required", [])
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        **kept,
    }


@lru_cache(256)
def _adapter(function: Callable[..., Any]) -> TypeAdapter[Json]:
    """Check a function's arguments by its annotations; a parameter without one is text."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
    from typing_extensions import TypedDict

    fields: Json = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InputError(
                f"the tool {function.__name__} has the parameter {parameter}, which JSON cannot carry by name",
                todo="Give it plain named parameters.",
            )
        hint = _described(_hints(function).get(parameter.name, str))
        fields[parameter.name] = Required[hint] if parameter.default is parameter.empty else hint
    shape = cast(Any, TypedDict)(function.__name__, fields, total=False)
    shape.__pydantic_config__ = ConfigDict(extra="forbid")
    try:
        adapter: TypeAdapter[Json] = TypeAdapter(shape)
        adapter.json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise InputError(
            f"a parameter of the tool {function.__name__} has a type with no JSON form",
            about=str(error).partition("\n")[0],
            todo="Use str, int, float, bool, list[...], dict, Literal[...], a dataclass or a pydantic model.",
        ) from None
    return adapter


def _hints(function: Callable[..., Any]) -> Json:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise InputError(
            f"an annotation of the tool {function.__name__} is not known: {error}", todo="Import what it names."
        ) from None


def _described(hint: Any) -> Any:
    """Read `Annotated[str, "what it is"]`, which tells the model what a parameter is."""
    from pydantic import Field

    said = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, str)]
    return Annotated[hint, Field(description=" ".join(said))] if said else hint


def plain_schema(schema: Json) -> Json:
    """Return a schema of pydantic's without the titles, which only repeat names."""
    return dict(_without_titles(schema))


def _without_titles(schema: Any, *, names: bool = False) -> Any:
    """Return the schema without titles. `names` says that the keys are names of properties, so that a property called
    `title` stays."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value, names=not names and key in ("properties", "$defs"))
        for key, value in schema.items()
        if names or key != "title"
    }


def faults_in_words(faults: list[ErrorDetails]) -> str:
    """Return pydantic's faults in a line: `missing: name; unknown: nam; limit: Input should be a valid integer`."""
    missing = [_place(fault) for fault in faults if fault["type"] == "missing"]
    unknown = [_place(fault) for fault in faults if fault["type"] == "extra_forbidden"]
    others = [f"{_place(fault)}: {fault['msg']}" for fault in faults if fault["type"] not in _NAMES_ONLY]
    parts = [f"missing: {', '.join(missing)}" if missing else "", f"unknown: {', '.join(unknown)}" if unknown else ""]
    more = [f"and {len(others) - MAX_TROUBLES} more"] if len(others) > MAX_TROUBLES else []
    return "; ".join([*filter(None, parts), *others[:MAX_TROUBLES], *more])


_NAMES_ONLY = ("missing", "extra_forbidden")


def _place(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"])[:200] or "arguments"
