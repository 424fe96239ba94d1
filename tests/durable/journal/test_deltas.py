"""History as deltas: any context that JSON can hold comes back equal, in the same order, from any chain of frames."""

from __future__ import annotations

import contextlib
import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.canonical import PartlyDumped
from agentnb.durable.journal import deltas
from agentnb.errors import ContextNotStorable, StorageDamaged

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
CONTEXTS = st.dictionaries(st.sampled_from("abcdefgh") | TEXT, JSON, max_size=7)


def ordered(value):
    """The value with the order of its keys made visible to `==`, and 1 told from 1.0 and True."""
    if isinstance(value, dict):
        return ("dict", [(key, ordered(item)) for key, item in value.items()])
    if isinstance(value, list):
        return ("list", [ordered(item) for item in value])
    return (type(value), math.copysign(1, value) if value == 0 and isinstance(value, float) else None, value)


@pytest.mark.slow
@given(st.lists(CONTEXTS, min_size=1, max_size=8))
def test_every_context_of_a_chain_is_restored_exactly(contexts):
    frames = [deltas.keyframe(deltas.encode(contexts[0]))]
    for before, after in itertools.pairwise(contexts):
        frames.append(deltas.difference(deltas.encode(before), deltas.encode(after)))
    for index, context in enumerate(contexts):
        assert ordered(deltas.decode(deltas.restore(frames[: index + 1]))) == ordered(context)


@given(CONTEXTS)
def test_a_keyframe_in_the_middle_of_a_chain_begins_anew(context):
    other = deltas.keyframe(deltas.encode({"x": 1}))
    assert deltas.restore([other, deltas.keyframe(deltas.encode(context))]) == deltas.encode(context)


@given(st.binary(max_size=9000), st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=9000))
def test_prefix_and_suffix_are_those_of_a_plain_loop(head, left, right, tail):
    a, b = head + left + tail, head + right + tail
    prefix = deltas.common_prefix(a, b)
    limit = min(len(a), len(b))
    assert a[:prefix] == b[:prefix]
    assert prefix == limit or a[prefix] != b[prefix]
    suffix = deltas.common_suffix(a, b, limit - prefix)
    assert prefix + suffix <= limit
    assert a[len(a) - suffix :] == b[len(b) - suffix :]
    assert prefix + suffix == limit or a[len(a) - suffix - 1] != b[len(b) - suffix - 1]


@pytest.mark.slow
@given(st.lists(CONTEXTS, min_size=1, max_size=8))
def test_what_is_known_of_the_step_before_changes_nothing_but_the_time(contexts):
    known, nulls = {}, set()
    for context in contexts:
        known = deltas.encode(context, known, nulls)
        assert known == deltas.encode(context)
        assert list(known) == list(context)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": None}, {"a": math.nan}),
        ({"a": [1, None]}, {"a": [1, math.inf]}),
        ({"a": ["x" * 100]}, {"a": ["x" * 100, math.nan]}),
        ({"a": ["x" * 100, 1]}, {"a": ["x" * 100, math.nan]}),
        ({"a": ["x" * 100, None]}, {"a": ["x" * 100, None, -math.inf]}),
        ({"a": "null"}, {"a": math.nan}),
    ],
)
def test_nan_is_found_also_where_a_null_was_known(before, after):
    nulls = set()
    known = deltas.encode(before, {}, nulls)
    assert deltas.encode(before, known, nulls) == known
    with pytest.raises(ContextNotStorable, match="'a'"):
        deltas.encode(after, known, nulls)


@given(st.lists(CONTEXTS, min_size=1, max_size=4), st.none() | st.binary(min_size=1, max_size=2000))
def test_a_stored_step_gives_its_frame_and_its_data_again(contexts, data):
    encoded = [deltas.encode(context | {"text": "text " * 200}) for context in contexts]
    frames = [deltas.keyframe(encoded[0]), *map(deltas.difference, encoded, encoded[1:])]
    stored = [deltas.pack(frame, data) for frame in frames]
    assert deltas.restore([frame for frame, _ in stored]) == encoded[-1]
    assert [deltas.data_of(*step) for step in stored] == [data] * len(frames)


def test_what_stands_in_the_frame_and_in_the_data_is_stored_once():
    result = random.Random(0).randbytes(1000).hex()
    frame, data = deltas.pack(deltas.keyframe({"blocks": result.encode()}), result.encode())
    assert data is None
    assert len(frame) < 1300, "2,000 hex digits are 1,000 bytes"


@given(CONTEXTS)
def test_members_that_are_dumped_already_are_taken_as_they_are(context):
    dumped = {key: deltas.encode({key: value})[key] for key, value in list(context.items())[::2]}
    known = deltas.encode(PartlyDumped(context, dumped))
    assert known == deltas.encode(context)
    assert list(known) == list(context)


def test_a_change_in_a_large_value_costs_its_own_bytes():
    before = deltas.encode({"log": ["line"] * 20_000, "n": 1})
    after = deltas.encode({"log": ["line"] * 20_000 + ["new line"], "n": 2})
    assert len(deltas.difference(before, after)) < 60


def test_a_chain_ends_in_a_keyframe_in_time():
    encoded = deltas.encode({"text": "x" * 100_000})
    assert deltas.frame(encoded, encoded, deltas.LONGEST_CHAIN, 0)[1]
    assert not deltas.frame(encoded, encoded, 3, 0)[1]


@pytest.mark.parametrize(
    ("context", "path"),
    [
        ({"a": {"b": [1, float("nan")]}}, "context['a']['b'][1]"),
        ({"a": [{1, 2}]}, "context['a'][0]"),
        ({"a": {"b": b"raw"}}, "context['a']['b']"),
        ({"a": 2**64}, "context['a']"),
        ({"a": {3: "three"}}, "3"),
        ({3: "three"}, "3"),
        ({"a": "\ud800"}, "context['a']"),
        (["not a dict"], "list"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_path(context, path):
    with pytest.raises(ContextNotStorable) as caught:
        deltas.encode(context)
    assert path in str(caught.value)


@given(st.lists(CONTEXTS, min_size=2, max_size=4), st.data())
def test_a_damaged_frame_is_an_error_or_a_context_never_a_crash(contexts, data):
    encoded = [deltas.encode(context) for context in contexts]
    frames = [deltas.keyframe(encoded[0]), *map(deltas.difference, encoded, encoded[1:])]
    which = data.draw(st.integers(0, len(frames) - 1))
    broken = bytearray(frames[which])
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    frames[which] = bytes(broken)
    with contextlib.suppress(StorageDamaged):
        deltas.restore(frames)
