"""A failed cell: its error, its frames and their locals go beside the next task, clean and bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentnb.context.failures import describe_failure
from agentnb.runs.hydration import Observed

SECRET = "sk-ant-api03-" + "Zk9Qw3Rt7Yu1Io5Pa8Sd2Fg4Hj6Kl0Xc" * 2


def failing(book: Any) -> BaseException:
    book.cell("def parse(text, token):\n    value = text.strip()\n    return float(value)", "parse")
    try:
        book.session.namespace["parse"](" twelve ", SECRET)
    except ValueError as error:
        return error
    raise AssertionError("it must fail")


def test_the_error_and_its_locals_are_on_the_wire_without_secrets(book: Any) -> None:
    book.session.observed = Observed(error=failing(book))
    run = book.ask("What went wrong?")
    sent = book.bodies[-1]["messages"][-1]["content"][-1]["text"]
    assert "<error>" in sent
    assert "ValueError: could not convert string to float: 'twelve'" in sent
    assert "in parse" in sent
    assert "value" in sent.partition("in parse")[2]
    assert "sk-ant-api03" not in str(book.bodies[-1])
    assert run.receipt["redactions"]
    held = [item["name"] for item in run.receipt["definitions"]]
    assert any(name.endswith(".failing") for name in held), "the frames' functions come along"


def test_without_context_nothing_is_told(book: Any) -> None:
    book.session.observed = Observed(error=failing(book))
    book.ask("Hello", context="marks")
    assert "<error>" not in str(book.bodies[-1]["messages"])


def test_a_deep_and_hostile_failure_is_bounded(tmp_path: Path) -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def deep(n: int) -> None:
        if n == 0:
            raise Hostile
        deep(n - 1)

    try:
        deep(200)
    except Hostile as error:
        text = describe_failure(error, project=tmp_path)
    assert "Hostile: (its message cannot be shown)" in text
    assert "frames left out)" in text
    assert len(text) < 4000
    assert str(Path(__file__).parent) not in text


def test_the_locals_are_those_of_the_users_own_frames_and_of_the_failing_line_first(tmp_path: Path) -> None:
    def total(rows: list[str]) -> float:
        a1, a2, a3, a4, a5, a6, a7, a8 = range(8)
        wanted = rows[0]
        value = json.loads(wanted)
        return value + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8

    try:
        total(["{"])
    except ValueError as error:
        text = describe_failure(error, project=tmp_path)
    own = text.partition(", in total\n")[2].splitlines()
    assert own[0].strip().startswith("value = json.loads(wanted)")
    assert "# wanted: str" in text
    assert "in raw_decode" in text, "where it was raised is told too"
    assert "# idx: int: 0" in text.partition("in raw_decode")[2]
