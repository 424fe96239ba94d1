"""What a client is asked about is what runs, whatever the calls' ids and the code's letters, after a kill too."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import scripted

from agentnb.view.exact_text import exact
from tests.shared.acp_client import Person, ask, connected, killed_while_it_asks, run

pytestmark = pytest.mark.slow

PAYLOADS = [
    "api_key = '{mark}'; open(api_key, 'w').close()  # sk-ant-api03-aaaaaaaaaaaaaaaaaaaaaaaa",
    "x = '''-----BEGIN PRIVATE KEY-----\na'''\nopen('{mark}', 'w').close()\ny = '''-----END PRIVATE KEY-----'''",
    "Authorization = 'Bearer ' + str(open('{mark}', 'w').close())",
    "1" + "\n" * 400 + "open('{mark}', 'w').close()",
    "# \u202e\u2066\ufe0f\u2800\u115f```\nopen('{mark}', 'w').close()  # ```\n# <!-- `",
]


class Chooser(Person):
    """A client that runs the calls whose shown code holds `word`, and denies the others."""

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self.wanted = wanted

    async def request_permission(self, tool_call: Any, **options: object) -> Any:
        self.word = "once" if self.wanted in str(tool_call.raw_input) else "no"
        return await super().request_permission(tool_call, **options)


def variables(server: scripted.Scripted, wire: str) -> dict[str, str]:
    """Where the agent asks: a server that answers as it is told."""
    where = {name: server.url + path for name, path in scripted.ADDRESSES.items()}
    keys = dict.fromkeys(scripted.KEYS, "any")
    return {**where, **keys, "AGENTNB_MODEL": scripted.MODELS[wire], "AGENTNB_STREAM": "0"}


# Each wire with each of these ids, in one process: agent/states/test_approval_gate.py.
@pytest.mark.parametrize(
    ("wire", "ids"),
    [("anthropic", ("c", "c")), ("responses", ("", " ")), ("google", (None, None))],
    ids=["twice", "blank", "missing"],
)
def test_the_call_that_was_approved_runs_though_two_have_one_id_and_a_kill_came_between(
    tmp_path: Path, warm_python: list[str], wire: str, ids: tuple[str | None, str | None]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with contextlib.closing(scripted.Scripted(wire)) as server:
        marks = zip(ids, (first, second), strict=True)
        server.calls = [(call, "run_code", {"code": f"open({str(mark)!r}, 'w').close()"}) for call, mark in marks]

        async def scene() -> None:
            silent, chooser = Person("silence"), Chooser(str(second))
            there = variables(server, wire)
            async with connected(silent, warm_python, tmp_path / "home", variables=there) as (client, process):
                session = await killed_while_it_asks(silent, client, process, tmp_path)
            async with connected(chooser, warm_python, tmp_path / "home", variables=there) as (client, _):
                await client.load_session(cwd=str(tmp_path), session_id=session, mcp_servers=[])
                await ask(client, session, "Thank you.")
            assert [str(mark) in str(one.raw_input) for one in chooser.questions[:2] for mark in (first, second)] == [
                *(True, False, False, True)
            ]
            called, results = (
                [call for kind, call, _ in chooser.transcript if kind == name]
                for name in ("tool_call", "tool_call_update")
            )
            assert called[:2] == [one.tool_call_id for one in chooser.questions[:2]] == results[:2]
            assert len(set(called[:2])) == 2

        run(scene)
    assert (first.exists(), second.exists()) == (False, True)


def test_what_a_client_is_shown_is_what_runs(tmp_path: Path, warm_python: list[str]) -> None:
    """Secrets' forms, text far below, signs that are not seen, and fences: in the arguments and in the Markdown."""
    with contextlib.closing(scripted.Scripted("anthropic")) as server:

        async def scene() -> None:
            person = Person()
            there = variables(server, "anthropic")
            async with connected(person, warm_python, tmp_path / "home", variables=there) as (client, _):
                for number, payload in enumerate(PAYLOADS):
                    mark = tmp_path / f"mark{number}"
                    server.calls = [("c", "run_code", {"code": payload.replace("{mark}", str(mark))})]
                    session = (await client.new_session(cwd=str(tmp_path), mcp_servers=[])).session_id
                    await ask(client, session, f"go {number}")
                    assert mark.exists(), payload
            for number, (question, payload) in enumerate(zip(person.questions, PAYLOADS, strict=True)):
                code = payload.replace("{mark}", str(tmp_path / f"mark{number}"))
                for told in (question.raw_input["code"], question.content[0].content.text):
                    assert "redacted" not in told
                    assert not set("\u202e\u2066\ufe0f\u2800\u115f") & set(told)
                    for line in filter(str.strip, code.splitlines()):
                        assert exact(line) in told, line

        run(scene)
