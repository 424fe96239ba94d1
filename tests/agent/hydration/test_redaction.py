"""No secret leaves the kernel, whichever way it could go; and what only looks like one can be allowed by its mark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.hydration.project_context import Pins
from agentnb.agent.kernel_context import Observed
from agentnb.errors import InputError
from agentnb.notebook.commands import context

SECRET = "sk-ant-" + "api03-abcdEFGH1234567890_-xyz"
PASSWORD = "hunter2hunter2"


def test_no_secret_leaves_by_any_way(book: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text(f"DB_PASSWORD={PASSWORD}\n")
    book.session.keep_pins(Pins(files=[str(notes)]))
    book.cell(f"KEY = '{SECRET}'\ndef call(key='{SECRET}'):\n    '''Uses {SECRET}.'''\n    return KEY", "one")
    book.session.namespace["settings"] = {"api_key": SECRET, "url": f"postgres://ann:{PASSWORD}@db/x"}
    try:
        exec(f"def broken(key):\n    raise ValueError('bad key ' + key)\nbroken('{SECRET}')", {})
    except ValueError as error:
        book.session.observed = Observed(error=error)
    run = book.ask(f"Why does `call` fail with {SECRET}? Inspect `settings` please.")
    journal = b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    for where in (json.dumps(book.bodies), json.dumps(run.receipt), journal.decode("utf-8", "replace")):
        assert SECRET not in where
        assert PASSWORD not in where
    kinds = {item["kind"] for item in run.receipt["redactions"]}
    assert {"anthropic-key", "secret"} <= kinds


def test_the_value_of_a_variable_named_as_a_secret_goes_wherever_it_is_printed(book: Any, tmp_path: Path) -> None:
    book.session.namespace.update(password=PASSWORD, region="north-east", Trap=type("Trap", (str,), {}))
    try:
        exec(f"def broken(user):\n    raise ValueError('no such user: ann {PASSWORD}')\nbroken(1)", {})
    except ValueError as error:
        book.session.observed = Observed(error=error)
    run = book.ask("Run `print('it is', password, region)` and say what `password` is.", allow=("run_code",))
    results = [tool["result"] for step in run.steps for tool in step.get("tools", ())] if run.steps else []
    journal = b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert PASSWORD not in json.dumps([book.bodies, run.receipt, results]) + journal.decode("utf-8", "replace")
    assert "it is [redacted:secret:" in json.dumps(book.bodies[-1])
    assert "north-east" in json.dumps(book.bodies[-1])
    assert len({item["mark"] for item in run.receipt["redactions"]}) == 1, "one mark, wherever it stood"


def test_a_mark_can_be_allowed_by_name_and_taken_back(book: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "show_table", lambda *a: shown.append(a))
    shown: list[Any] = []
    book.session.namespace["build"] = {"build_password": "r2026a-b17"}
    first = book.ask("What is in `build`?")
    (mark,) = [item["mark"] for item in first.receipt["redactions"]]
    assert mark in json.dumps(book.bodies[-1])
    context.agent_context(book.session, first, f"allow {mark}")
    second = book.ask("And now `build`?")
    assert second.receipt["redactions"] == []
    assert "r2026a-b17" in json.dumps(book.bodies[-1])
    context.agent_context(book.session, second, "show")
    assert any(mark in str(part) for part in shown[-1])
    context.agent_context(book.session, second, f"disallow {mark}")
    assert book.ask("Once more, `build`?").receipt["redactions"]
    context.agent_context(book.session, second, "allow jwt")
    assert book.session.pins.allow == ["jwt"]
    context.agent_context(book.session, first, f"allow {mark}")
    context.agent_context(book.session, first, f"disallow {mark[len('[redacted:') : -1]}")
    context.agent_context(book.session, second, "allow AWS-key-id")
    assert book.session.pins.allow == ["jwt", "aws-key-id"]
    for line in ("allow nothing-of-the-kind", "disallow [redacted:secret:0000]"):
        with pytest.raises(InputError):
            context.agent_context(book.session, second, line)


def test_older_pins_still_read(book: Any) -> None:
    book.session.storage.set(f"pins/{book.session.thread}", b'{"files":[],"names":["f"]}')
    assert book.session.pins == Pins(names=["f"])
