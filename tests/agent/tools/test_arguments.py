"""Schemas come from signatures, and whatever a model gives as arguments is taken as it is or refused in words."""

from __future__ import annotations

import argparse
import functools
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.tools.arguments import WrongArguments, taken
from agentnb.agent.tools.tool import Outcome, Tool, ToolBox, carry_out, tool
from agentnb.errors import InputError
from agentnb.models.messages import ToolCall


@dataclass
class Point:
    x: int
    title: str = ""


@tool(safe=True)
def look(
    name: Annotated[str, "What to look at."],
    title: int = 1,
    mode: Literal["all", "source"] = "all",
    points: list[Point] = [],  # noqa: B006 - a signature as people write them
    share: float = 0.5,
) -> str:
    """Look at something."""
    return f"{name} {title} {mode} {points} {share}"


def test_the_schema_says_types_descriptions_and_what_is_required_and_repeats_no_name() -> None:
    properties = look.parameters["properties"]
    assert properties["name"] == {"type": "string", "description": "What to look at."}
    assert properties["title"] == {"type": "integer"}
    assert properties["mode"] == {"enum": ["all", "source"], "type": "string"}
    assert look.parameters["required"] == ["name"]
    assert look.parameters["additionalProperties"] is False
    assert set(look.parameters["$defs"]["Point"]["properties"]) == {"x", "title"}, "`title` is a name there"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "missing: name"),
        ({"name": "a", "nam": 1}, "unknown: nam"),
        ({"name": "a", "title": "3"}, "title: Input should be a valid integer"),
        ({"name": 3}, "name: Input should be a valid string"),
        ({"name": "a", "mode": "most"}, "mode: Input should be 'all' or 'source'"),
        ({"name": "a", "points": [{"x": 1.5}]}, "points.0.x: Input should be a valid integer"),
        ({"name": "\ud800"}, "Invalid JSON"),
        ({"name": None}, "name: Input should be a valid string"),
        ({"name": "a", "title": True}, "title: Input should be a valid integer"),
        ({"name": {1, 2}}, "no JSON"),
    ],
)
def test_a_wrong_argument_goes_back_to_the_model_with_its_place(arguments: dict[str, Any], said: str) -> None:
    for outcome in (
        ToolBox(tools={"look": look}).problem(ToolCall("c", "look", arguments)),
        carry_out(look, ToolCall("c", "look", arguments)),
    ):
        assert outcome is not None
        assert outcome.is_error
        assert said in outcome.text
        assert outcome.text.startswith("Wrong arguments for look: ")


def test_what_fits_reaches_the_function_as_it_annotates_it() -> None:
    arguments = {"name": "a", "points": [{"x": 1}], "share": 1}
    assert carry_out(look, ToolCall("c", "look", arguments)).text == "a 1 all [Point(x=1, title='')] 1.0"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["name", "title", "mode", "points", "share", "x"]) | st.text(), JSON, max_size=5)
)
def test_no_arguments_raise_and_none_is_turned_into_another_type(arguments: dict[str, Any]) -> None:
    outcome = carry_out(look, ToolCall("c", "look", arguments))
    assert isinstance(outcome, Outcome)
    if not outcome.is_error:
        assert isinstance(arguments["name"], str)
        assert type(arguments.get("title", 1)) is int


def test_a_deep_argument_is_refused_and_does_not_end_the_run() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert carry_out(look, ToolCall("c", "look", {"name": deep})).is_error


def test_a_signature_that_json_cannot_carry_is_refused_when_the_tool_is_made() -> None:
    def several(*names: str) -> None:
        """Look."""

    def file(handle: functools.partial[Any]) -> None:
        """Look."""

    def unknown(name: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Look."""

    for function in (several, file, unknown):
        with pytest.raises(InputError) as raised:
            tool(function)
        assert function.__name__ in str(raised.value)
        assert raised.value.todo


def test_names_that_a_model_class_could_not_have_are_fine() -> None:
    def odd(model_config: str, _private: int, schema: str = "") -> None:
        """Look."""

    assert taken(odd, {"model_config": "a", "_private": 2}) == {"model_config": "a", "_private": 2}
    with pytest.raises(WrongArguments):
        taken(odd, {"model_config": "a"})


def test_a_tool_made_without_a_signature_takes_what_it_is_given() -> None:
    bare = Tool(name="bare", description="", parameters={"type": "object"}, call=lambda **given: sorted(given))
    assert carry_out(bare, ToolCall("c", "bare", {"b": 1, "a": 2})).text == "['a', 'b']"


def test_a_tool_that_exits_has_failed_and_the_run_goes_on() -> None:
    @tool(safe=True)
    def parse() -> str:
        """Read a command line."""
        argparse.ArgumentParser(exit_on_error=True).exit(2)

    outcome = carry_out(parse, ToolCall("c", "parse", {}))
    assert (outcome.text, outcome.is_error) == ("SystemExit: 2", True)
