"""A value that does not fit is taken back at most twice; nothing that a person writes for a type runs code."""

from __future__ import annotations

import pytest

from agentnb.agent.tools.tool import carry_out
from agentnb.agent.tools.typed_answer import TypedAnswer
from agentnb.errors import AnswerMismatch, InputError
from agentnb.models.messages import ToolCall


def call(value: object) -> ToolCall:
    return ToolCall("c", "answer", {"value": value})


def test_two_repairs_and_no_more() -> None:
    answer = TypedAnswer("list[int]", {})
    for wrong in ("1", ["1"], [1.5]):
        assert "valid" in carry_out(answer.tool, call(wrong)).text
    assert "no further value is taken" in carry_out(answer.tool, call([1])).text
    with pytest.raises(AnswerMismatch) as raised:
        answer.value()
    assert "0: Input should be a valid integer" in str(raised.value)


def test_the_second_repair_counts() -> None:
    answer = TypedAnswer("list[int]", {})
    for wrong in ("1", ["1"]):
        assert carry_out(answer.tool, call(wrong)).is_error
    assert not carry_out(answer.tool, call([1, 2])).is_error
    assert answer.value() == [1, 2]


@pytest.mark.parametrize(
    "text", ["open('x')", "().__class__()", "a := 1", "f'{1}'", "int if 1 else str", "-1", "", "int()"]
)
def test_only_names_make_a_type(text: str) -> None:
    with pytest.raises(InputError):
        TypedAnswer(text, {})


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(InputError):
        TypedAnswer("Thing", {"Thing": type("Thing", (), {})})
