"""Type contexts: what handlers hold in their hands, and the plain dict that is journaled.

A context is a dict unless the machine is given a type: a dataclass, a pydantic model or a TypedDict. pydantic, whose
home this is, reads and writes them. It comes with the providers' SDKs and is imported when a type is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from agentnb.canonical import JsonMapping
from agentnb.errors import ContextNotStorable

Context: TypeAlias = Any
"""A run's context as its handlers hold it: a dict, or of the type that the machine was given."""


class Codec(NamedTuple):
    """Turns contexts into JSON and back. `plain` turns a handler's context into a dict of JSON values, `typed` turns
    that back."""

    plain: Callable[[Context], Any]
    typed: Callable[[JsonMapping], Context]


def _same(context: Context) -> Context:
    return context


PLAIN = Codec(_same, _same)


def codec_for(context_type: type | None) -> Codec:
    """Return the codec of a context type; None and dict: contexts are plain dicts."""
    return PLAIN if context_type in (None, dict) else _pydantic_codec(context_type)


def _pydantic_codec(context_type: Any) -> Codec:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import PydanticSerializationError

    adapter = TypeAdapter(context_type)

    def plain(context: Context) -> Any:
        if isinstance(context, dict):
            context = typed(context)
        try:
            return adapter.dump_python(context, mode="json", warnings="error")
        except (PydanticSerializationError, ValueError) as error:
            raise _refused(context_type, str(error)) from error

    def typed(values: JsonMapping) -> Context:
        try:
            return adapter.validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            path = "context" + "".join(f"[{part!r}]" for part in first["loc"])
            raise _refused(context_type, f"{path}: {first['msg']}") from error

    return Codec(plain, typed)


def _refused(context_type: object, reason: str) -> ContextNotStorable:
    name = getattr(context_type, "__name__", str(context_type))
    return ContextNotStorable(f"the context does not fit {name}: {reason}", todo="Return what the type allows.")
