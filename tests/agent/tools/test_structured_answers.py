"""`--as TYPE` by the providers' own structured outputs: the same value on every wire, checked like the tool's."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import typing
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
import scripted
from hypothesis import given
from hypothesis import strategies as st

from agentnb.agent.run_document import AgentRun
from agentnb.agent.tools.typed_answer import TypedAnswer, answer_text
from agentnb.errors import AnswerMismatch
from agentnb.models import catalog
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.simulator.model.structured import value_text


@dataclasses.dataclass
class Point:
    x: int
    label: str = "none"
    kind: typing.Literal["a", "b"] = "a"
    more: float | None = None


class Shape(pydantic.BaseModel):
    points: list[Point]
    name: typing.Annotated[str, pydantic.Field(min_length=1, description="What it is called.")]


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Event:
    at: datetime.datetime
    day: datetime.date | None
    where: Point
    colour: Colour = Colour.RED


class Tree(pydantic.BaseModel):
    inner: list[Tree]


class Pair(pydantic.BaseModel):
    first: Tree2 | None
    second: Point


class Tree2(pydantic.BaseModel):
    other: Pair | None


Tree.model_rebuild()
Pair.model_rebuild()
NAMES = {"Point": Point, "Shape": Shape, "Tree": Tree, "Pair": Pair, "Event": Event, "datetime": datetime}
ASKED = 'The points are "low" 3 and "high" 12'
VALUE = {"value": [{"x": 3, "label": "low", "kind": "a", "more": None}]}


class Typed:
    """A session that asks one model for values."""

    def __init__(self, model: str, home: Path) -> None:
        settings = Settings(home=home, model=model, sim_speed=0, tools=("inspect",), stream=model.startswith("sim:"))
        self.session = Session(settings=settings, environment={})
        self.answer = TypedAnswer("int", {})

    def ask(self, kind: str, task: str = ASKED, **changes: Any) -> AgentRun:
        self.session.answer = self.answer = TypedAnswer(kind, NAMES)
        request = self.session.request(task, schema=self.answer.schema, **changes)
        agent, run_id = self.session.agent(), self.session.new_run_id()
        agent.begin(request, run_id)
        return agent.drive(run_id)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], Typed]]:
    made: list[Typed] = []

    def build(model: str) -> Typed:
        made.append(Typed(model, tmp_path / "home"))
        return made[-1]

    yield build
    for typed in made:
        typed.session.close()


SIMULATED = ("sim:claude-sonnet-4-6", "sim:gpt-4.1", "sim:gpt-6.2-sol", "sim:gemini-3.1-pro-preview")


@pytest.mark.parametrize("model", SIMULATED)
def test_each_provider_gives_the_value(opened: Callable[[str], Typed], model: str) -> None:
    typed = opened(model)
    assert catalog.lookup(model).structured
    run = typed.ask("list[Point]")
    assert run.state == "COMPLETED", run.receipt["error"]
    value = typed.answer.value()
    assert isinstance(value, list)
    assert [type(item) for item in value] == [Point, Point]
    assert {item.label for item in value} == {"low", "high"}
    assert run.text.startswith("```json\n[")


def test_a_conversation_goes_on_and_its_prefix_hits(opened: Callable[[str], Typed]) -> None:
    typed = opened("sim:claude-sonnet-4-6")
    typed.ask("list[Point]")
    again = typed.ask("list[Point]", 'And now "far" 99')
    assert again.cache["read"] == again.cache["expected"] > 0
    other = typed.ask("Shape", 'And now "far" 99')
    assert other.cache["read"] == other.cache["expected"] == 0, "another schema is another prefix"
    assert isinstance(typed.answer.value(), Shape)


def test_tools_work_beside_it(opened: Callable[[str], Typed]) -> None:
    typed = opened("sim:claude-sonnet-4-6")
    typed.session.namespace["low"] = 3
    run = typed.ask("list[Point]", "Inspect `low`")
    assert [tool["name"] for step in run.receipt["steps"] for tool in step["tools"]] == ["inspect"]
    assert typed.answer.came


WIRES = {
    "anthropic": lambda body: body["output_config"]["format"]["schema"],
    "responses": lambda body: body["text"]["format"]["schema"],
    "chat": lambda body: body["response_format"]["json_schema"]["schema"],
    "google": lambda body: body["generationConfig"]["responseJsonSchema"],
}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, scripted.Scripted]]:
    server = scripted.Scripted(request.param)
    for name in scripted.KEYS:
        monkeypatch.setenv(name, "any")
    for name, path in scripted.ADDRESSES.items():
        monkeypatch.setenv(name, server.url + path)
    yield request.param, server
    server.close()


def test_what_does_not_fit_goes_back_twice_and_is_then_refused(
    wire: tuple[str, scripted.Scripted], opened: Callable[[str], Typed]
) -> None:
    name, server = wire
    typed = opened(scripted.MODELS[name])
    server.words = ["no JSON", '{"value": [{"x": "three"}]}', json.dumps(VALUE)]
    run = typed.ask("list[Point]")
    assert run.state == "COMPLETED", run.receipt["error"]
    assert typed.answer.value() == [Point(3, "low")]
    assert len(server.bodies) == 3
    assert all(WIRES[name](body) == typed.answer.schema for body in server.bodies)
    said = json.dumps(server.bodies[-1])
    assert "This is not the value that was asked for: it is no JSON" in said
    assert "0.x: Input should be a valid integer" in said
    server.words = ['{"value": 1}'] * 5
    refused = typed.ask("list[Point]", "again")
    assert refused.state == "COMPLETED"
    assert len(server.bodies) == 6, "the answer and two repairs"
    with pytest.raises(AnswerMismatch, match="valid array"):
        typed.answer.value()


def test_without_a_type_nothing_of_it_is_sent(
    wire: tuple[str, scripted.Scripted], opened: Callable[[str], Typed]
) -> None:
    name, server = wire
    typed = opened(scripted.MODELS[name])
    agent, run_id = typed.session.agent(), typed.session.new_run_id()
    agent.begin(typed.session.request("go"), run_id)
    assert agent.drive(run_id).text == "Done."
    sent = json.dumps(server.bodies)
    assert not any(word in sent for word in ("output_config", "json_schema", "response_format", "responseJsonSchema"))


@pytest.mark.parametrize(
    "kind",
    ["dict[str, int]", "tuple[int, str]", "list[dict[str, int]]", "Tree", "Pair", "object", "list[object]", "dict"],
)
def test_a_type_that_providers_do_not_take_is_left_to_the_tool(kind: str) -> None:
    assert TypedAnswer(kind, NAMES | {"object": object, "dict": dict}).schema is None


@pytest.mark.parametrize(
    "kind",
    [
        *("int", "str", "bool", "float | None", "list[Point]", "Shape", "list[list[int]]", "Literal['a', 'b']"),
        *("Event", "list[datetime.time]"),
    ],
)
def test_what_fits_the_schema_fits_the_type(kind: str) -> None:
    typed = TypedAnswer(kind, NAMES)
    assert typed.schema is not None
    assert typed.faults_of(value_text(typed.schema, ASKED)) == ""
    assert typed.came
    text = json.dumps(typed.schema)
    assert not any(word in text for word in ("minLength", "default", "title", "minimum"))


@pytest.mark.parametrize("kind", [uuid.UUID, datetime.timedelta, datetime.date, datetime.time])
def test_the_simulated_model_keeps_to_a_format(kind: type) -> None:
    adapter = pydantic.TypeAdapter(kind)
    assert isinstance(adapter.validate_json(value_text(adapter.json_schema(), ASKED)), kind)


@given(st.text())
def test_any_text_is_taken_or_refused_in_words(text: str) -> None:
    typed = TypedAnswer("list[int]", {})
    faults = typed.faults_of(text)
    assert bool(faults) is not typed.came
    assert isinstance(answer_text(text), str)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_a_value_is_shown_as_one_block(value: object) -> None:
    shown = answer_text(json.dumps({"value": value}))
    fence = shown.split("json\n", 1)[0]
    assert shown.endswith(f"\n{fence}")
    assert fence not in shown[len(fence) : -len(fence)]
    assert json.loads(shown[len(fence) + 4 : -len(fence)]) == value
