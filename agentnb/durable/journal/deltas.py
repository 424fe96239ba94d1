"""Store a context as bytes per key, and a run's history as deltas: pure values in, pure values out.

A run's first row and every so many after it hold a keyframe (the whole context). The rows between hold what changed:
for each top-level key the span of bytes that was replaced. Bytes are compared, never identities, so a handler may
change its context in place. A restored context is equal to the stored one, keys in the same order.

Format 1 of a frame (all numbers little-endian, unsigned 32 bits)
  b"K" count, (key length, value length) * count, key value key value ...
  b"D" operations:  b"S" index start removed added, bytes    replace a span in the value of the key at `index`
                    b"-" index                               the key at `index` is gone
                    b"+" key length, value length, key value a new key, after the others
                    b"O" count, index * count                the new order of the keys (indexes after the above)
  `index` counts the keys of the context before the frame; new keys follow it in the order of their appearance.

Format 2 adds a frame that is deflated together with its event's data: what stands in both stands once.
  b"Z" data length, zlib stream of the data and the frame
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from agentnb.canonical import JsonObject, dump_exact, dump_members, load
from agentnb.errors import StorageDamaged

Encoded: TypeAlias = dict[str, bytes]
"""A context's JSON bytes by top-level key, in the context's order."""

encode = dump_members

LONGEST_CHAIN = 128
"""No step is further than this from its keyframe: bounds the time to restore one."""
SHORTEST_CHAIN = 32
"""After so many deltas, and again after as many, it is asked whether they outweigh a keyframe."""

_SPLICE = struct.Struct("<cIIII")
_GONE = struct.Struct("<cI")
_NEW = struct.Struct("<cII")
_COUNT = struct.Struct("<I")
_CHUNK = 4096
_SHORT = 64
WORTH_DEFLATING = 512
"""Bytes of a step; fewer are stored as they are, for the time of a small step."""


def decode(encoded: Mapping[str, bytes | bytearray]) -> JsonObject:
    """Return the context that `encode` was given: new objects."""
    members = b",".join([dump_exact(key) + b":" + value for key, value in encoded.items()])
    try:
        return load(b"{" + members + b"}")  # type: ignore[no-any-return]  # braces make it a dict
    except ValueError as error:
        raise StorageDamaged(
            "a stored context is not JSON", todo="The journal's file is damaged; put back a copy."
        ) from error


def size(encoded: Encoded) -> int:
    """Bytes of the values together."""
    return sum(map(len, encoded.values()))


def frame(
    old: Encoded, new: Encoded, chain: int, chain_bytes: int, changed: Iterable[int] | None = None
) -> tuple[bytes, bool]:
    """Return the shorter way to write `new` after `old`: a delta, or a keyframe (True) once the chain is long.

    `chain` and `chain_bytes` are the number and the bytes of deltas since the last keyframe. `changed` are the places
    of the values that differ, where the keys are the same; None: not known.
    """
    if chain + 1 >= LONGEST_CHAIN or (chain and chain % SHORTEST_CHAIN == 0 and _outweighs(chain_bytes, new)):
        return keyframe(new), True
    delta = difference(old, new, changed)
    if len(delta) > 64 and len(delta) >= size(new):
        return keyframe(new), True
    return delta, False


def _outweighs(chain_bytes: int, new: Encoded) -> bool:
    return chain_bytes > WORTH_DEFLATING and chain_bytes >= 2 * size(new)


def pack(frame: bytes, data: bytes | None) -> tuple[bytes, bytes | None]:
    """Return a frame and its event's data as they are stored: a long step's as one deflated frame."""
    size = len(frame) + len(data or b"")
    if size < WORTH_DEFLATING:
        return frame, data
    packed = b"Z" + _COUNT.pack(len(data or b"")) + zlib.compress((data or b"") + frame, 1)
    return (packed, None) if len(packed) < size else (frame, data)


def data_of(frame: bytes | None, data: bytes | None) -> bytes | None:
    """Return the event's data of a stored step. Raises ValueError where that cannot be read."""
    if data is not None or frame is None or frame[:1] != b"Z":
        return data
    try:
        (length,) = _COUNT.unpack_from(frame, 1)
        found = zlib.decompressobj().decompress(frame[5:], length) if length else b""
    except (struct.error, zlib.error) as error:
        raise ValueError("a step that cannot be inflated") from error
    if len(found) != length:
        raise ValueError("a step of the wrong length")
    return found or None


def _inflated(frame: bytes) -> bytes:
    """Return the frame of a stored step."""
    if frame[:1] != b"Z":
        return frame
    (length,) = _COUNT.unpack_from(frame, 1)
    return zlib.decompress(frame[5:])[length:]


def keyframe(encoded: Encoded) -> bytes:
    """Return the whole context as one frame."""
    keys = [key.encode() for key in encoded]
    lengths: list[int] = []
    body: list[bytes] = []
    for key, value in zip(keys, encoded.values(), strict=True):
        lengths += (len(key), len(value))
        body += (key, value)
    return b"K" + struct.pack(f"<{len(lengths) + 1}I", len(keys), *lengths) + b"".join(body)


def difference(old: Encoded, new: Encoded, changed: Iterable[int] | None = None) -> bytes:
    """Return what turns `old` into `new`, as one frame; `changed` as in `frame`."""
    delta, keys = b"D", [*new]
    if [*old] != keys:
        return _difference_of_keys(old, new)
    for index in range(len(keys)) if changed is None else changed:
        before, after = old[keys[index]], new[keys[index]]
        if after != before:
            delta += _splice(index, before, after)
    return delta


def _difference_of_keys(old: Encoded, new: Encoded) -> bytes:
    """Return `difference` where keys came, went or changed places."""
    parts = [b"D"]
    for index, (key, before) in enumerate(old.items()):
        after = new.get(key)
        if after != before:
            parts.append(_GONE.pack(b"-", index) if after is None else _splice(index, before, after))
    return b"".join(parts + _new_keys(old, new))


def _splice(index: int, before: bytes, after: bytes) -> bytes:
    if len(after) <= _SHORT:  # the search would cost more than the bytes that it saves
        return _SPLICE.pack(b"S", index, 0, len(before), len(after)) + after
    start = common_prefix(before, after)
    tail = common_suffix(before, after, min(len(before), len(after)) - start)
    added = after[start : len(after) - tail]
    return _SPLICE.pack(b"S", index, start, len(before) - tail - start, len(added)) + added


def _new_keys(old: Encoded, new: Encoded) -> list[bytes]:
    parts = []
    added = [key for key in new if key not in old]
    for key in added:
        name, value = key.encode(), new[key]
        parts.append(_NEW.pack(b"+", len(name), len(value)) + name + value)
    natural = [key for key in old if key in new] + added
    if natural != list(new):
        places = {key: index for index, key in enumerate([*old, *added])}
        parts.append(b"O" + struct.pack(f"<{len(new) + 1}I", len(new), *[places[key] for key in new]))
    return parts


def common_prefix(a: bytes, b: bytes) -> int:
    """Return how many bytes `a` and `b` share at their beginning. Compares by chunks: a loop over bytes would be
    Python's."""
    limit = min(len(a), len(b))
    longer, shorter = (a, b) if len(a) > limit else (b, a)
    if limit and longer.startswith(shorter[:-1]):  # an append differs from the last byte on only
        return limit - (a[limit - 1] != b[limit - 1])
    low = 0
    while a[low : low + _CHUNK] == b[low : low + _CHUNK] and low < limit:
        low += _CHUNK
    low, high = min(low, limit), min(low + _CHUNK, limit)
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def common_suffix(a: bytes, b: bytes, limit: int) -> int:
    """Return how many bytes, at most `limit`, `a` and `b` share at their end."""
    low, high, ends = 0, limit, (len(a), len(b))
    step = 64
    while low + step <= limit and a[ends[0] - low - step : ends[0] - low] == b[ends[1] - low - step : ends[1] - low]:
        low, step = low + step, min(step * 2, _CHUNK)
    high = min(low + step, limit)
    while low < high:
        middle = (low + high + 1) // 2
        if a[ends[0] - middle : ends[0] - low] == b[ends[1] - middle : ends[1] - low]:
            low = middle
        else:
            high = middle - 1
    return low


def restore(frames: Iterable[bytes]) -> Encoded:
    """Return the context after a keyframe and the deltas that follow it. Raises StorageDamaged where they do not
    fit."""
    values: dict[str, bytes | bytearray] = {}
    try:
        for data in map(_inflated, frames):
            values = _read_keyframe(data) if data[:1] == b"K" else _apply(values, data)
    except (struct.error, zlib.error, LookupError, ValueError, TypeError) as error:
        raise StorageDamaged(
            "a step of the history cannot be read", todo="The journal's file is damaged; put back a copy."
        ) from error
    return {key: bytes(value) for key, value in values.items()}


def _read_keyframe(data: bytes) -> dict[str, bytes | bytearray]:
    (count,) = _COUNT.unpack_from(data, 1)
    lengths = struct.unpack_from(f"<{2 * count}I", data, 5)
    at = 5 + 8 * count
    values: dict[str, bytes | bytearray] = {}
    for key_length, value_length in zip(lengths[::2], lengths[1::2], strict=True):
        middle, end = at + key_length, at + key_length + value_length
        values[data[at:middle].decode()] = data[middle:end]
        at = end
    if at != len(data):
        raise ValueError("a keyframe of the wrong length")
    return values


def _apply(values: dict[str, bytes | bytearray], data: bytes) -> dict[str, bytes | bytearray]:
    if data[:1] != b"D":
        raise ValueError("not a frame")
    names = list(values)
    at = 1
    while at < len(data):
        operation = data[at : at + 1]
        if operation == b"O":
            (count,) = _COUNT.unpack_from(data, at + 1)
            return {names[index]: values[names[index]] for index in struct.unpack_from(f"<{count}I", data, at + 5)}
        at = _OPERATIONS[operation](values, names, data, at)
    return values


def _apply_splice(values: dict[str, bytes | bytearray], names: list[str], data: bytes, at: int) -> int:
    _, index, start, removed, added = _SPLICE.unpack_from(data, at)
    value = values[names[index]]
    if start + removed > len(value):
        raise ValueError("a span beyond the end of its value")
    if not isinstance(value, bytearray):
        value = values[names[index]] = bytearray(value)  # once per chain; then each splice moves only its tail
    at += _SPLICE.size
    value[start : start + removed] = data[at : at + added]
    return at + int(added)


def _apply_gone(values: dict[str, bytes | bytearray], names: list[str], data: bytes, at: int) -> int:
    _, index = _GONE.unpack_from(data, at)
    del values[names[index]]
    return at + _GONE.size


def _apply_new(values: dict[str, bytes | bytearray], names: list[str], data: bytes, at: int) -> int:
    _, key_length, value_length = _NEW.unpack_from(data, at)
    at += _NEW.size
    middle, end = at + key_length, at + key_length + value_length
    key = data[at:middle].decode()
    values[key] = data[middle:end]
    names.append(key)
    return int(end)


_OPERATIONS = {b"S": _apply_splice, b"-": _apply_gone, b"+": _apply_new}
