"""Make canonical JSON bytes, digests, and the clock that is passed in.

The same value gives the same bytes on every machine and under every PYTHONHASHSEED: keys sorted, UTF-8, no spaces. A
value that JSON cannot hold is refused with the path to it, never silently changed. orjson alone would write NaN as null
and refuse without a path.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import orjson

from agentnb.errors import ContextNotStorable

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object. What its values are is not known before they are read."""
JsonMapping: TypeAlias = Mapping[str, Any]
"""The same, only to be read."""

DIGEST_HEX = 16
"""Hex digits of a shown digest: 64 bits tell a notebook's few thousand blocks apart with odds of 1e-12."""


class Clock(Protocol):
    """Tells the time, handed in: `now` in seconds since the epoch, `monotonic` in seconds for differences."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """Tells the time by the machine's own clock."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.perf_counter)


def dump(value: object) -> bytes:
    """Canonical JSON bytes of `value`: dicts with text keys, lists, tuples, text, numbers, booleans, None.

    Raises ContextNotStorable with the path of the first value that JSON cannot hold.
    """
    _refuse_non_finite(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise ContextNotStorable(
            f"a value cannot be stored as JSON: {describe_unstorable(value) or error}",
            todo="Store text, numbers, booleans, None, lists and dicts with text keys.",
        ) from error


def dump_exact(value: object, path: str = "context") -> bytes:
    """Return JSON bytes of `value` with the order of its keys kept. `load` returns an equal value in the same order.

    Unlike `dump`, dates and dataclasses are refused instead of turned into text. `path` names the value in the error.
    """
    try:
        data = orjson.dumps(value, option=_EXACT)
    except TypeError as error:
        raise _unstorable(value, path, str(error)) from error
    # orjson writes NaN and infinities as null, so only values with a null in them need the slow walk.
    if b"null" in data:
        _refuse_lookalikes_of_null(value, path)
    return data


def _refuse_lookalikes_of_null(value: object, path: str) -> None:
    try:
        _refuse_non_finite(value)
    except ContextNotStorable:
        raise _unstorable(value, path, "not a finite number") from None


class PartlyDumped(dict[str, Any]):
    """Hold an object and the `dump_exact` of some of its members: what never changes is dumped once."""

    def __init__(self, members: JsonObject, dumped: Mapping[str, bytes]) -> None:
        super().__init__(members)
        self.dumped = dumped


def dump_members(
    members: JsonObject,
    known: dict[str, bytes] | None = None,
    nulls: set[str] | None = None,
    changed: list[int] | None = None,
) -> dict[str, bytes]:
    """Return `dump_exact` of each value, by key. Raises ContextNotStorable with the path of what JSON cannot hold.

    `known` are the bytes of the same members some time before. `nulls` are the keys whose values have or had a null in
    them; it is kept up to date here. Looking for one costs five times as much as the dump, so it is done only in what
    is new. `changed` is given the places of the members whose bytes are not the known ones.
    """
    if members.__class__ is not dict and not isinstance(members, dict):
        raise ContextNotStorable(
            f"a context must be a dict, not {type(members).__name__}", todo="Return (next_state, context)."
        )
    known, nulls, changed = known or {}, set() if nulls is None else nulls, [] if changed is None else changed
    ready = members.dumped if type(members) is PartlyDumped else None
    dumped: dict[str, bytes] = {}
    for key, value in members.items():
        if key.__class__ is not str:
            raise _unstorable(members, "context", f"the key {key!r} is not text")
        if ready and key in ready:
            if ready[key] != known.get(key):
                changed.append(len(dumped))
            dumped[key] = ready[key]
            continue
        try:
            data = orjson.dumps(value, None, _EXACT)  # by position: a third faster for small values
        except TypeError as error:
            raise _unstorable(value, f"context[{key!r}]", str(error)) from error
        before = known.get(key)
        if data == before:
            dumped[key] = before
        else:
            changed.append(len(dumped))
            dumped[key] = data
            if key not in nulls and b"null" in _new_part(data, before):
                nulls.add(key)
        if nulls and key in nulls:
            _refuse_lookalikes_of_null(value, f"context[{key!r}]")
    return dumped


def _new_part(data: bytes, before: bytes | None) -> bytes:
    """Return the end of `data` where it was appended to, else all: only there can a new null be."""
    if before is not None and len(before) > _WORTH_COMPARING and data.startswith(before[:-1]):
        return data[len(before) - 4 :]
    return data


_WORTH_COMPARING = 64

_EXACT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def _unstorable(value: object, path: str, reason: str) -> ContextNotStorable:
    return ContextNotStorable(
        f"a value cannot be stored as JSON: {describe_unstorable(value, path) or f'{path}: {reason}'}",
        todo="Store text, numbers, booleans, None, lists and dicts with text keys.",
    )


def load(data: bytes | str) -> Any:
    """Return the value of JSON bytes or text."""
    return orjson.loads(data)


def well_formed(text: str) -> str:
    """Return the text with halves of characters (surrogates) joined; U+FFFD stands for one that is alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def storable(value: object) -> Any:
    """Return JSON from elsewhere as a journal can hold it.

    Text is `well_formed`, integers beyond 64 bits are floats, and what is no finite number is null.
    """
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, Mapping):
        return {well_formed(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return _finite(value) if isinstance(value, int | float) else value


def _finite(number: float) -> float | None:
    if isinstance(number, int):
        if -(2**63) <= number < 2**64:
            return number
        number = float(number) if abs(number) < 10**308 else math.inf
    return number if math.isfinite(number) else None


def load_foreign(text: str) -> Any:
    """Return the value of JSON text from elsewhere, `storable`: halves of characters may stand in it."""
    try:
        return load(text)
    except ValueError:
        return storable(json.loads(text))


def digest(data: bytes | str) -> str:
    """Return a short content digest: the first 16 hex digits of SHA-256."""
    raw = data.encode() if isinstance(data, str) else data
    return hashlib.sha256(raw).hexdigest()[:DIGEST_HEX]


def digest_of(value: object) -> str:
    """Return the digest of a value's canonical bytes."""
    return digest(dump(value))


def describe_unstorable(value: object, path: str = "context") -> str:
    """Return `path: reason` of the first value that JSON cannot hold, or an empty string. `path` is what `value` is
    called."""
    found = _find_unstorable(value, path, ())
    return f"{found[0]}: {found[1]}" if found else ""


def _refuse_non_finite(value: object) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ContextNotStorable(
                f"{value!r} cannot be stored as JSON", todo="Use None, or the text 'nan' or 'inf', instead."
            )
    elif isinstance(value, dict):
        for item in value.values():
            if item.__class__ in _CONTAINERS:
                _refuse_non_finite(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if item.__class__ in _CONTAINERS:
                _refuse_non_finite(item)


_CONTAINERS = frozenset({float, dict, list, tuple})


def _find_unstorable(value: object, path: str, parents: tuple[int, ...]) -> tuple[str, str] | None:
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        return path, "text with a lone surrogate, which UTF-8 cannot hold"
    if value is None or isinstance(value, bool | str):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else (path, f"{value!r} is not a JSON number")
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else (path, "an integer wider than 64 bits")
    if not isinstance(value, dict | list | tuple):
        return path, f"{type(value).__module__}.{type(value).__qualname__} is not a JSON value"
    if id(value) in parents:
        return path, "it contains itself"
    return _find_in_container(value, path, (*parents, id(value)))


def _find_in_container(value: Any, path: str, parents: tuple[int, ...]) -> tuple[str, str] | None:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(value, dict) and not isinstance(key, str):
            return path, f"the key {key!r} is not text"
        found = _find_unstorable(item, f"{path}[{key!r}]", parents)
        if found:
            return found
    return None
