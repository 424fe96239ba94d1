"""Which tools the simulated model calls, for what lessons and tests ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.models.catalog import find
from agentnb.simulator.model.dialogue import Ask, Offer, Said, Spoken, Wanted
from agentnb.simulator.model.prompt_parser import read
from agentnb.simulator.model.tool_choice import wanted

Asker = Callable[..., Spoken]
LIST, TEXT, WHOLE = {"type": "array", "items": {"type": "string"}}, {"type": "string"}, {"type": "integer"}


def offer(name: str, /, **properties: Any) -> Offer:
    """A tool; a parameter that ends in _ may be left out."""
    required = [key for key in properties if not key.endswith("_")]
    schema = {key.rstrip("_"): value for key, value in properties.items()}
    return Offer(name=name, schema={"type": "object", "properties": schema, "required": required})


EVERY = (
    offer("inspect", name=TEXT),
    offer("run_code", code=TEXT),
    offer("propose_cell", source=TEXT, replaces_={"anyOf": [WHOLE, {"type": "null"}]}, why_=TEXT),
    offer("read_cell", number=WHOLE),
    offer("plan", steps=LIST),
    offer("ask_user", question=TEXT, choices=LIST),
    offer("edit_file", path=TEXT, old=TEXT, new=TEXT),
    offer("read_file", path=TEXT),
    offer("search_code", query=TEXT),
    offer("list_files"),
    offer("run_tests"),
    offer("delegate", task=TEXT),
    offer("recall", query=TEXT),
)


def calls(reply: Spoken) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, dict(call.arguments)) for call in reply.calls]


def call(name: str, /, **arguments: Any) -> Said:
    return Said(kind="call", role="assistant", name=name, call_id=name, arguments=arguments)


def result(name: str, words: str, **options: Any) -> Said:
    return Said(kind="result", role="user", name=name, call_id=name, text=words, **options)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Explain `harmonic`.", []),
        ("inspect `surge` and `waves.height`", [("inspect", {"name": "surge"}), ("inspect", {"name": "waves.height"})]),
        ("Please inspect waves.surge", [("inspect", {"name": "waves.surge"})]),
        ("Show me the definition of @waves.height", [("inspect", {"name": "waves.height"})]),
        ("Look at `harmonic`", []),  # it is held already
        ("Run `omega(12.42)` and explain", [("run_code", {"code": "omega(12.42)"})]),
        ("Compute this:\n```python\nx = 1\nx + 1\n```", [("run_code", {"code": "x = 1\nx + 1"})]),
        ("Use run_code on `1 + 1`", [("run_code", {"code": "1 + 1"})]),
        ("How does it run?", []),
        ("What does `run` do?", []),
        ("inspect `surge` and run `1 + 1`", [("inspect", {"name": "surge"}), ("run_code", {"code": "1 + 1"})]),
        ("inspect `surge`, then run `surge(1)`", [("inspect", {"name": "surge"})]),
    ],
)
def test_which_of_the_two_usual_tools(ask: Asker, tides: str, question: str, expected: list[Any]) -> None:
    reply = ask(tides, f"<task>{question}</task>")
    assert calls(reply) == expected
    assert reply.stop == ("tools" if expected else "end")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Read cell 2 and explain it", [("read_cell", {"number": 2})]),
        ("Show me cells 1 and 2", [("read_cell", {"number": 1}), ("read_cell", {"number": 2})]),
        ("Read the file lib/tides.py", [("read_file", {"path": "lib/tides.py"})]),
        ("Search for `omega` in the project", [("search_code", {"query": "omega"})]),
        ("List the files", [("list_files", {})]),
        ("Run the tests", [("run_tests", {})]),
        ("In tides.py replace `12.42` by `12.421`", []),  # the file stands before the verb
        ("Edit tides.py: `12.42` to `12.421`", [("edit_file", {"path": "tides.py", "old": "12.42", "new": "12.421"})]),
        ("Make a plan: load, clean and plot", [("plan", {"steps": ["load", "clean", "plot"]})]),
        ("Delegate the review of `growth`", [("delegate", {"task": "growth"})]),
        ("Recall what we said of tides", [("recall", {"query": "what we said of tides"})]),
        ("Ask me `Which year?`", [("ask_user", {"question": "Which year?", "choices": ["Which year?"]})]),
        ("What is the plan, and how does one read or change it?", []),
        ("Summarise what this notebook does.", []),
    ],
)
def test_every_tool_with_arguments_from_the_words(ask: Asker, cells: str, question: str, expected: list[Any]) -> None:
    assert calls(ask(f"{cells}\n<task>{question}</task>", offers=EVERY)) == expected


def test_code_is_proposed_as_a_cell(ask: Asker) -> None:
    cell = '<cell number="4">\nn = int("x")\n<output>\nValueError: bad\n----> 1 n = int("x")\n</output>\n</cell>'
    question = f"{cell}\n<task>Fix the error.</task>"
    ((name, arguments),) = calls(ask(question, offers=EVERY))
    assert (name, arguments["replaces"]) == ("propose_cell", 4)
    assert "except ValueError:" in arguments["source"]
    assert not ask(question, call(name, **arguments), result(name, "accepted"), offers=EVERY).calls


def test_a_signature_is_not_enough_for_inspect(ask: Asker) -> None:
    held = '<definition name="a.f" form="signature">\ndef f(x): ...\n</definition>'
    assert calls(ask(held, "inspect `f`")) == [("inspect", {"name": "f"})]


def test_then_allows_another_round(ask: Asker, tides: str) -> None:
    question = "inspect `omega`, then run `omega(1)`, then inspect `surge`"
    opening = (question, call("inspect", name="omega"), result("inspect", tides))
    assert calls(ask(*opening)) == [("run_code", {"code": "omega(1)"})]
    second = (*opening, call("run_code", code="omega(1)"), result("run_code", "6.28"))
    assert calls(ask(*second)) == [("inspect", {"name": "surge"})]
    third = (*second, call("inspect", name="surge"), result("inspect", "no such name", is_error=True))
    assert not ask(*third).calls


@pytest.mark.parametrize(
    ("choice", "names"), [("none", []), ("any", ["inspect"]), ("run_code", ["run_code"]), ("inspect", ["inspect"])]
)
def test_tool_choice_is_honoured(ask: Asker, choice: str, names: list[str]) -> None:
    assert [call.name for call in ask("Tell me a story", choice=choice).calls] == names


def test_without_parallel_calls_there_is_one(ask: Asker) -> None:
    assert len(ask("inspect `a.b` and `c.d`", parallel=False).calls) == 1


def test_only_tools_of_the_request_are_called(ask: Asker) -> None:
    assert not ask("inspect `surge`", offers=()).calls
    assert not ask("Read cell 2").calls


def test_arguments_follow_the_schema(ask: Asker) -> None:
    place = {"type": "object", "properties": {"land": TEXT}, "required": ["land"]}
    weather = offer(
        "get_weather",
        city=TEXT,
        unit={"enum": ["C", "F"]},
        days=WHOLE,
        verbose={"type": "boolean"},
        tags=LIST,
        place=place,
        note_=TEXT,
    )
    ((name, arguments),) = calls(ask('Call get_weather for "Husum" in F for 3 days', offers=(weather,)))
    assert name == "get_weather"
    assert arguments == {
        "city": "Husum",
        "unit": "F",
        "days": 3,
        "verbose": True,
        "tags": ["Husum"],
        "place": {"land": "Husum"},
    }


_kinds = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null"])
_schemas = st.recursive(
    _kinds.map(lambda kind: {"type": kind}) | st.just({"enum": ["a", 2]}) | st.just({}),
    lambda inner: (
        st.builds(lambda one: {"type": "array", "items": one}, inner)
        | st.builds(lambda one: {"type": "object", "properties": {"x": one}, "required": ["x"]}, inner)
        | st.builds(lambda one: {"anyOf": [one, {"type": "null"}]}, inner)
    ),
    max_leaves=4,
)
_parameters = st.sampled_from(["code", "cell", "path", "name", "steps", "why", "query", "replaces", "x", "options"])
_PYTHON = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether the value is of the schema's type, all the way down."""
    if "enum" in schema:
        return value in schema["enum"]
    if "anyOf" in schema:
        return any(fits(one, value) for one in schema["anyOf"])
    kind = schema.get("type")
    if kind is None or kind == "null":
        return kind is None or value is None
    inner = schema.get("items", {})
    below = [(inner, one) for one in value] if isinstance(value, list) else []
    if isinstance(value, dict):
        below = [(one, value[name]) for name, one in schema.get("properties", {}).items()]
    return isinstance(value, _PYTHON[kind]) and all(fits(one, item) for one, item in below)


@given(
    st.lists(
        st.tuples(st.sampled_from([one.name for one in EVERY]), st.dictionaries(_parameters, _schemas, max_size=3))
    ),
    st.text(alphabet="abc `3.py\n", max_size=30),
    st.sampled_from([one.name for one in EVERY]),
    st.sampled_from(["auto", "any"]),
)
def test_any_tools_are_called_as_their_schemas_say_and_never_for_ever(
    tools: list[tuple[str, dict[str, Any]]], words: str, verb: str, choice: str
) -> None:
    row = find("claude-sonnet-4-6")
    assert row is not None
    offers = tuple(offer(name, **properties) for name, properties in dict(tools).items())
    said = [Said(kind="text", role="user", text=f"Please {verb} {words}")]
    for _ in range(4):
        made: list[Wanted] = wanted(Ask(model=row, said=tuple(said), offers=offers, choice=choice), read(said))
        for one in made:
            schema = next(item.schema for item in offers if item.name == one.name)
            assert set(schema["required"]) <= set(one.arguments) <= set(schema["properties"])
            assert all(fits(schema["properties"][name], value) for name, value in one.arguments.items())
            json.dumps(dict(one.arguments))
        if not made or choice == "any":
            return
        said += [call(one.name, **one.arguments) for one in made] + [result(one.name, "done") for one in made]
    raise AssertionError("it calls for ever")
