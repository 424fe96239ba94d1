"""`--out NAME --as TYPE` in a real kernel: the value is of that type and in NAME, or NAME is as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import scripted
from patience import wait_until

pytestmark = pytest.mark.kernel

RUN = "application/vnd.agentnb.run.v1+json"
MODEL = "anthropic:claude-of-a-proxy"
"""A model of which nothing is known gets a tool; the others are asked by their own structured outputs."""
TYPES = """
import dataclasses, pydantic
@dataclasses.dataclass
class Point:
    x: int
    label: str = ""
class Model(pydantic.BaseModel):
    points: list[Point]
rows = "as it was"
"""
GOOD = [{"x": 1, "label": "a"}, {"x": 2}]


@pytest.fixture
def kernel(start: Callable[..., Any], server: scripted.Scripted) -> Any:
    key = {"ANTHROPIC_API_KEY": "any", "ANTHROPIC_BASE_URL": server.url, "AGENTNB_MODEL": MODEL}
    made = start(**key)
    made.ok("%load_ext agentnb\n%config AgentNB.stream = False" + TYPES)
    return made


def answer(value: Any) -> list[Any]:
    return [("a", "answer", {"value": value})]


@pytest.mark.parametrize(
    ("kind", "value", "check"),
    [
        ("list[Point]", GOOD, "[type(r).__name__ for r in rows] == ['Point', 'Point'] and rows[1].label == ''"),
        ("Model", {"points": GOOD}, "type(rows) is Model and rows.points[0].x == 1"),
        ("dict[str, float]", {"a": 1.5}, "rows == {'a': 1.5}"),
        ("int | None", None, "rows is None"),
        ("Literal['a', 'b']", "b", "rows == 'b'"),
    ],
)
def test_the_value_is_of_the_type(kernel: Any, server: Any, kind: str, value: Any, check: str) -> None:
    server.calls = answer(value)
    shown = kernel.ok(f'%agent --out rows --as "{kind}" go')
    assert kernel.value(check) is True
    (tool,) = [each for each in server.bodies[0]["tools"] if each["name"] == "answer"]
    assert tool["input_schema"]["required"] == ["value"]
    if kind == "list[Point]":
        assert "label" in shown.displays[-1]["text/html"]
        assert "2" in shown.displays[-1]["text/plain"]


def test_a_table_comes_as_a_table(kernel: Any, server: Any) -> None:
    kernel.ok("import pandas as pd")
    server.calls = answer(GOOD)
    kernel.ok("%agent --out rows --as DataFrame go")
    assert kernel.value("[type(rows) is pd.DataFrame, rows.x.tolist()]") == [True, [1, 2]]


def test_what_does_not_fit_goes_back_with_its_place_and_then_is_refused_clearly(kernel: Any, server: Any) -> None:
    server.calls = answer([{"x": "one"}])
    result = kernel.run('%agent --out rows --as "list[Point]" go')
    assert result.status == "error"
    assert "no value that is list[Point]: 0.x: Input should be a valid integer" in " ".join(result.error.split())
    assert "answer.mismatch" in result.error
    assert kernel.value("rows") == "as it was"
    (tool,) = [each for step in kernel.value("_agent.receipt")["steps"] for each in step["tools"]]
    assert tool["is_error"]
    assert "valid integer" in tool["result"]


@pytest.mark.parametrize("kind", ["__import__('os')", "Nowhere", "list[", "print", "[x for x in y]", "lambda: 1", "3"])
def test_what_is_no_type_is_refused_before_anything_is_asked(kernel: Any, server: Any, kind: str) -> None:
    result = kernel.run(f'%agent --out rows --as "{kind}" go')
    assert result.status == "error"
    assert "--as" in result.error
    assert server.bodies == []


def test_it_wants_a_variable(kernel: Any) -> None:
    assert "--out" in kernel.run("%agent --as int go").error


def test_a_model_that_takes_a_schema_is_asked_by_it(start: Callable[..., Any]) -> None:
    kernel = start()
    kernel.ok("%load_ext agentnb\n" + TYPES)
    shown = kernel.ok('%agent --out rows --as "list[Point]" The points are "low" 3 and "high" 12')
    assert kernel.value("[(row.x, row.label) for row in rows]") == [[3, "low"], [12, "high"]]
    assert kernel.value("type(rows[0]) is Point") is True
    assert '"label": "low"' in shown.run["text"]
    assert not [tool for step in shown.run["steps"] for tool in step["tools"]]
    assert "high" in shown.displays[-1]["text/html"]


def test_an_answer_that_does_not_fit_is_mended(kernel: Any, server: Any) -> None:
    server.words = ["no JSON", '{"value": [{"x": "one"}]}', '{"value": [{"x": 1, "label": "a"}]}']
    kernel.ok('%agent -m anthropic:claude-sonnet-4-6 --out rows --as "list[Point]" go')
    assert kernel.value("rows == [Point(1, 'a')]") is True
    assert len(server.bodies) == 3
    run = kernel.value("_agent.run_id")
    told = kernel.ok(f"%agent_runs replay {run}").text
    assert told.count("  as recorded") == 3, "each call, with what was said of its answer"


@pytest.mark.parametrize(
    ("kind", "value"), [("dict[str, int]", {"a": 1}), ("int | None", None), ("list[dict[str, Point | None]] ", [])]
)
def test_a_type_with_blanks_needs_no_quotes(kernel: Any, server: Any, kind: str, value: Any) -> None:
    server.calls = answer(value)
    kernel.ok(f"%agent --out rows --as {kind} go on")
    assert kernel.value("rows") == value
    assert kernel.value("_agent.receipt['task']").startswith("go on")


def later(kernel: Any, shown: Any) -> dict[str, Any]:
    """The document of a run in the background, once it has ended."""

    def ended() -> bool:
        kernel.ok("import asyncio\nawait asyncio.sleep(0.05)")
        return any(bundle.get(RUN, {}).get("state") == "COMPLETED" for bundle in shown.displays)

    wait_until(ended, "the run in the background does not end")
    return dict(shown.run)


def test_in_the_background_the_view_tells_what_became_of_the_value(kernel: Any, server: Any) -> None:
    server.calls = answer(GOOD)
    kept = later(kernel, kernel.ok('%agent --bg --out rows --as "list[Point]" go'))
    assert kept["notes"] == ["The value is in `rows`."]
    assert kernel.value("rows[0].label") == "a"
    server.calls = answer([{"x": "one"}])
    refused = later(kernel, kernel.ok('%agent -t new --bg --out rows --as "list[Point]" go'))
    (said,) = [note for note in refused["notes"] if "no value that is list[Point]" in note]
    assert "0.x: Input should be a valid integer" in said
    assert kernel.value("rows[0].label") == "a", "as it was"


def test_a_run_that_waits_has_given_no_wrong_value_and_gives_it_when_it_goes_on_elsewhere(
    kernel: Any, server: Any
) -> None:
    kernel.ok("log = []\n%config AgentNB.live = False")
    server.calls = [("r", "run_code", {"code": "log.append(1)"}), *answer(GOOD)]
    waits = kernel.ok('%agent --out rows --as "list[Point]" --tools run_code go')
    assert waits.run["state"] == "WAITING"
    assert kernel.value("rows") == "as it was"
    digest = waits.run["approvals"]["digest"]
    kernel.ok("_agent = None")
    done = kernel.ok(f"%agent_runs approve {waits.run['run_id']} --digest {digest}").run
    assert "The value is in `rows`." in done["notes"]
    assert kernel.value("[log, rows[0].label, _agent.state]") == [[1], "a", "COMPLETED"]
