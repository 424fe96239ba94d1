"""Arguments against a server's schema: what does not fit is said; a hostile schema fetches nothing and ends."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from agentnb.agent.tools.arguments import WrongArguments
from agentnb.agent.tools.servers.schemas import MOST_SAID, fitting

DAYS = {"type": "array", "items": {"type": "integer", "minimum": 1}}
SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string"}, "days": DAYS, "unit": {"enum": ["m", "ft"]}},
    "required": ["place"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("given", [{"place": "Brest"}, {"place": "", "days": [1, 2], "unit": "m"}])
def test_what_fits_is_given_as_it_is(given: dict[str, Any]) -> None:
    assert fitting(SCHEMA, given) == given


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "'place' is a required property"),
        ({"place": 3}, "place: 3 is not of type 'string'"),
        ({"place": "x", "days": [1, "2"]}, "days[1]: '2' is not of type 'integer'"),
        ({"place": "x", "days": [0]}, "days[0]: 0 is less than the minimum of 1"),
        ({"place": "x", "unit": "km"}, "unit: 'km' is not one of ['m', 'ft']"),
        ({"place": "x", "plaec": 1}, "('plaec' was unexpected)"),
        ({"place": float("nan")}, "place: nan is not of type 'string'"),
    ],
)
def test_what_does_not_fit_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(WrongArguments) as caught:
        fitting(SCHEMA, given)
    assert said in str(caught.value)


def test_many_and_long_faults_are_cut() -> None:
    with pytest.raises(WrongArguments) as caught:
        fitting(SCHEMA, {"place": ["x" * 100_000], "days": ["y" * 100_000] * 50})
    assert len(str(caught.value)) < 6 * (MOST_SAID + 100)
    assert str(caught.value).endswith("and 46 more")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 7},
        {"properties": []},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$schema": "http://127.0.0.1:9/schema"},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"properties": {"a": {"pattern": "("}}},
        {"patternProperties": {"(a+)+$": {}}, "additionalProperties": False},
    ],
    ids=str,
)
def test_a_hostile_schema_is_left_to_its_server(schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing is fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    given = {"a": "a" * 60 + "!", "a" * 60 + "!": 1}
    assert fitting(schema, given) == given
