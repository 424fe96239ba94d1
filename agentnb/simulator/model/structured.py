"""Write a value that fits the schema of a structured answer, from the question's own words. Pure; nothing reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentnb.simulator.http_messages import WireMapping

_SPAN = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_DEEPEST, _MOST = 20, 5
_FORMATS = {
    "date-time": "2000-01-01T12:00:00Z", "date": "2000-01-01", "time": "12:00:00Z", "duration": "PT90S",
    "uuid": "00000000-0000-4000-8000-000000000000",
}  # fmt: skip


def value_text(schema: WireMapping, question: str) -> str:
    """Return the value as JSON: quoted words and numbers of the question, each in its turn."""
    spans = [next(filter(None, match.groups())) for match in _SPAN.finditer(question)]
    writer = _Writer(schema=schema, words=spans or [question.strip()[:60]], numbers=_NUMBER.findall(question) or ["1"])
    return json.dumps(writer.value(schema), ensure_ascii=False)


def subschemas(schema: object) -> Iterator[WireMapping]:
    """Return a schema and every schema within it."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for name in ("properties", "$defs"):
        for inner in (schema.get(name) or {}).values():
            yield from subschemas(inner)
    for inner in [schema.get("items"), *(schema.get("anyOf") or [])]:
        yield from subschemas(inner)


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Walks a schema, and takes the next word or number where one is wanted; the last one again and again."""

    schema: WireMapping
    words: list[str]
    numbers: list[str]
    used: dict[str, int] = field(default_factory=dict)

    def value(self, schema: object, depth: int = 0) -> Any:
        part = self._resolved(schema)
        if "const" in part or part.get("enum"):
            return part["const"] if "const" in part else part["enum"][0]
        either = part.get("anyOf") or part.get("oneOf")
        if either:
            return self.value(either[0] if depth < _DEEPEST else either[-1], depth + 1)
        kind = part.get("type", "string")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                return {name: self.value(inner, depth + 1) for name, inner in (part.get("properties") or {}).items()}
            case "array":
                many = min(len(self.words), _MOST) if depth < _DEEPEST else 0
                return [self.value(part.get("items"), depth + 1) for _ in range(many)]
            case "integer" | "number" as which:
                number = self._next("numbers", self.numbers)
                return int(float(number)) if which == "integer" else float(number)
            case "boolean":
                return True
            case "null":
                return None
        if part.get("format") in _FORMATS:
            return _FORMATS[part["format"]]
        return self._next("words", self.words)

    def _next(self, what: str, among: list[str]) -> str:
        place = self.used.get(what, 0)
        self.used[what] = place + 1
        return among[place % len(among)]

    def _resolved(self, schema: object) -> WireMapping:
        part = schema if isinstance(schema, Mapping) else {}
        name = str(part.get("$ref", "")).rpartition("/")[2]
        found = (self.schema.get("$defs") or {}).get(name) if name else part
        return found if isinstance(found, Mapping) else {}
