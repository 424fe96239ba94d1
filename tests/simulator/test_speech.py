"""What the simulated model says and which tools it calls, for the questions that lessons ask."""

from __future__ import annotations

from typing import Any

import pytest

from agentnb.models.catalog import find
from agentnb.simulator.dialogue import Answer, Ask, Offer, Said
from agentnb.simulator.speech import answer

TIDES = '''<definition name="tides.harmonic" file="tides.py" lines="10-31" digest="ab" form="full">
def harmonic(t, amplitude, phase=0.0, *, period: float = 12.42) -> float:
    """Height of one tidal constituent at time t."""
    if period <= 0:
        raise ValueError("period")
    return amplitude * np.cos(omega(period) * t + phase)
</definition>
<definition name="tides.omega" file="tides.py" lines="3-8" digest="cd" form="full">
def omega(period):
    """Angular speed of a constituent."""
    return 2 * PI / period
</definition>
<definition name="tides.PI" file="tides.py" lines="1-1" digest="ee" form="full">
PI = 3.14159
</definition>'''
INSPECT = Offer(
    name="inspect", schema={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
)
RUN = Offer(
    name="run_code", schema={"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}
)


def user(words: str) -> Said:
    return Said(kind="text", role="user", text=words)


def ask(*said: Said | str, **options: Any) -> Answer:
    row = find("claude-sonnet-4-6")
    assert row is not None
    spoken = tuple(user(item) if isinstance(item, str) else item for item in said)
    return answer(Ask(**{"model": row, "said": spoken, "offers": (INSPECT, RUN), **options}))


def calls(reply: Answer) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, dict(call.arguments)) for call in reply.calls]


def call(name: str, /, **arguments: Any) -> Said:
    return Said(kind="call", role="assistant", name=name, call_id=name, arguments=arguments)


def result(name: str, words: str, **options: Any) -> Said:
    return Said(kind="result", role="user", name=name, call_id=name, text=words, **options)


def test_it_says_that_it_does_not_reason_and_what_was_asked() -> None:
    said = ask("<task>What is `harmonic`?</task>").text
    assert "Simulated reply" in said
    assert "do not reason" in said
    assert "*What is `harmonic`?*" in said


def test_it_explains_the_function_that_the_question_names() -> None:
    reply = ask(TIDES, "<task>Explain how `harmonic` works.</task>")
    for fact in (
        "**`tides.harmonic`** (tides.py, lines 10-31)",
        "`harmonic(t, amplitude, phase=0.0, *, period: float=12.42) -> float`",
        "Height of one tidal constituent at time t.",
        "`t` and `amplitude` are required; `phase` defaults to `0.0`; `period` defaults to `12.42`",
        "It calls `omega`, which I hold too, and `np.cos`, whose source I was not sent.",
        "It raises `ValueError`.",
        "It returns `amplitude * np.cos(omega(period) * t + phase)`.",
        "`tides.omega` (tides.py, lines 3-8) and `tides.PI` (tides.py, line 1)",
    ):
        assert fact in reply.text
    assert 80 <= reply.tokens <= 280


def test_a_newer_version_stands_in_for_the_older() -> None:
    newer = TIDES.replace("2 * PI / period", "6.28 / period").replace('"cd"', '"ce" replaces="cd"')
    said = ask(TIDES, newer, "What does omega return?").text
    assert "It returns `6.28 / period`." in said
    assert "newer version" in said


def test_definitions_in_plain_text_are_found() -> None:
    said = ask(
        "```python\nclass Tide(Wave):\n    '''A tide.'''\n    def height(self): return 1\n```\nWhat is Tide?"
    ).text
    assert "`class Tide(Wave)` — A tide." in said
    assert "`height`" in said


def test_what_is_new_and_what_was_held_before_are_told_apart() -> None:
    newer = '<definition name="tides.surge" file="tides.py" lines="40-41">\ndef surge(): return 0\n</definition>'
    said = ask(TIDES, "Why?", Said(kind="text", role="assistant", text="So."), newer, "What else?").text
    assert "New with this question: `tides.surge` (tides.py, lines 40-41)." in said
    assert "From before I hold `tides.harmonic` (tides.py, lines 10-31)" in said


def test_a_removed_definition_is_no_longer_held() -> None:
    assert "tides.omega" not in ask(TIDES, '<removed name="tides.omega"/>', "What is here?").text


def test_an_outline_is_not_a_definition() -> None:
    """The system prompt lists signatures, and speaks of <definition> elements: neither is held source."""
    outline = 'Definitions stand in <definition> elements.\n<outline file="a.py">\ndef f(x) -> int: ...\n</outline>'
    said = ask(Said(kind="text", role="system", text=outline), TIDES, "What is `f`?").text
    assert "I hold **`f`** (a.py): `f(x) -> int`" in said
    assert "signature only" in said
    assert "`f`" not in ask(Said(kind="text", role="system", text=outline), TIDES, "What is here?").text


def test_a_name_as_the_package_offers_it_is_found() -> None:
    deep = '<definition name="networkx.classes.function.density">\ndef density(G): return 0\n</definition>'
    assert "I hold **`networkx.classes.function.density`**" in ask(deep, "Explain `networkx.density`").text


def test_live_values_are_told() -> None:
    reply = ask(TIDES, "<values>\nweek: list of 337: [1.8, 2.2]\n</values>\n\n<task>\nWhat is `week`?\n</task>")
    assert "Live values beside it: `week: list of 337: [1.8, 2.2]`." in reply.text


def test_a_plain_word_is_no_name_where_names_are_marked() -> None:
    level = '<definition name="tides.level">\ndef level(): return 0\n</definition>'
    assert "I hold **`tides.level`**" not in ask(TIDES, level, "At which level is `harmonic` highest?").text
    assert "I hold **`tides.level`**" in ask(TIDES, level, "What is level?").text


def test_what_is_named_but_not_held_is_said() -> None:
    assert "`surge` is named in the question, but not among what I hold." in ask(TIDES, "What is `surge`?").text


def test_a_broken_definition_is_held_all_the_same() -> None:
    broken = '<definition name="a.f" file="a.py" lines="1-2" form="full">\ndef f(:\n    pass\n</definition>'
    assert "I hold **`a.f`** (a.py, lines 1-2), 2 lines." in ask(broken, "What is `f`?").text


def test_nothing_asked() -> None:
    assert "It holds no question." in ask().text


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Explain `harmonic`.", []),
        ("inspect `surge` and `waves.height`", [("inspect", {"name": "surge"}), ("inspect", {"name": "waves.height"})]),
        ("Please inspect surge and swell", [("inspect", {"name": "surge"}), ("inspect", {"name": "swell"})]),
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
def test_which_tools_it_calls(question: str, wanted: list[Any]) -> None:
    reply = ask(TIDES, f"<task>{question}</task>")
    assert calls(reply) == wanted
    assert reply.stop == ("tools" if wanted else "end")


def test_a_signature_is_not_enough_for_inspect() -> None:
    held = '<definition name="a.f" form="signature">\ndef f(x): ...\n</definition>'
    assert calls(ask(held, "inspect `f`")) == [("inspect", {"name": "f"})]


def test_after_the_result_it_answers() -> None:
    reply = ask(TIDES, "Run `omega(12.42)`", call("run_code", code="omega(12.42)"), result("run_code", "0.5059"))
    assert not reply.calls
    assert "`run_code` returned `0.5059`." in reply.text
    assert "go on from these results" in reply.text


def test_then_allows_another_round() -> None:
    question = "inspect `omega`, then run `omega(1)`, then inspect `surge`"
    first = call("inspect", name="omega")
    opening = (question, first, result("inspect", TIDES))
    assert calls(ask(*opening)) == [("run_code", {"code": "omega(1)"})]
    second = (*opening, call("run_code", code="omega(1)"), result("run_code", "6.28"))
    assert calls(ask(*second)) == [("inspect", {"name": "surge"})]
    third = (*second, call("inspect", name="surge"), result("inspect", "no such name", is_error=True))
    said = ask(*third)
    assert not said.calls
    assert "`inspect` brought `tides.harmonic` (tides.py, lines 10-31)" in said.text
    assert "`inspect` failed with `no such name`." in said.text


def test_many_results_take_a_line_each() -> None:
    asked = "inspect `a`, `b`, `c` and `d`"
    texts = [TIDES, "42", "first `line`\nsecond\nthird", "word " * 200]
    made = [item for text in texts for item in (call("inspect", name="a"), result("inspect", text))]
    said = ask(asked, *made).text
    brought = said[said.index("The tools brought") :].split("\n\n")[1].splitlines()
    assert brought == [
        "- `inspect` brought `tides.harmonic` (tides.py, lines 10-31), `tides.omega` (tides.py, lines 3-8) "
        "and `tides.PI` (tides.py, line 1).",
        "- `inspect` returned `42`.",
        "- `inspect` returned 3 lines, the first `first ´line´`.",
        f"- `inspect` returned `{('word ' * 200)[:59]}…`.",
    ]


def test_of_very_many_results_the_rest_is_counted() -> None:
    made = [item for n in range(15) for item in (call("run_code", code="1"), result("run_code", str(n)))]
    said = ask("Run `1`", *made).text
    assert "- `run_code` returned `11`.\n- … 3 more\n" in said
    assert "`12`" not in said


def test_the_next_question_starts_anew() -> None:
    done = (
        "Run `1`",
        call("run_code", code="1"),
        result("run_code", "1"),
        Said(kind="text", role="assistant", text="1"),
    )
    reply = ask(*done, "Run `2`")
    assert calls(reply) == [("run_code", {"code": "2"})]
    assert "Question 2 of this conversation: *Why?*" in ask(*done, "Why?").text


@pytest.mark.parametrize(
    ("choice", "names"), [("none", []), ("any", ["inspect"]), ("run_code", ["run_code"]), ("inspect", ["inspect"])]
)
def test_tool_choice_is_honoured(choice: str, names: list[str]) -> None:
    assert [call.name for call in ask("Tell me a story", choice=choice).calls] == names


def test_without_parallel_calls_there_is_one() -> None:
    assert len(ask("inspect `a.b` and `c.d`", parallel=False).calls) == 1


def test_arguments_follow_the_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["C", "F"]},
            "days": {"type": "integer"},
            "verbose": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "note": {"type": "string"},
        },
        "required": ["city", "unit", "days", "verbose", "tags"],
    }
    weather = Offer(name="get_weather", schema=schema)
    reply = ask('Call get_weather for "Husum" in F for 3 days', offers=(weather,))
    assert calls(reply) == [
        ("get_weather", {"city": "Husum", "unit": "F", "days": 3, "verbose": True, "tags": ["Husum"]})
    ]


def test_no_tools_no_calls() -> None:
    assert not ask("inspect `surge`", offers=()).calls


def test_a_signature_behind_the_answer_does_not_keep_the_question_open() -> None:
    """Gemini's thought signatures follow the text: the next question is a new one all the same."""
    before = [user("inspect `omega`"), call("inspect", name="omega"), result("inspect", "def omega(): ...")]
    spoken = Said(kind="text", role="assistant", text="It is an angular speed.")
    signature = Said(kind="other", role="assistant")
    after = ask(*before, spoken, signature, user("inspect `phase`"))
    assert calls(after) == [("inspect", {"name": "phase"})]
