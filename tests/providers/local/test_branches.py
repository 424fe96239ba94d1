"""Tools by a schema: a server that speaks only such JSON, asked through OpenAI's SDK by the agent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import Answer, Loopback

import agentnb
from agentnb.errors import StreamBroken
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Role, StopReason, Text, ToolCall, ToolResult, ToolSpec
from agentnb.providers.local import running
from agentnb.providers.local.branches import BranchDecoder, in_words, offered, schema_of
from agentnb.providers.local.running import Running

INSPECT = ToolSpec("inspect", "Bring a definition.", {"type": "object", "properties": {"name": {"type": "string"}}})
RUN_CODE = ToolSpec("run_code", "Run code.", {"type": "object", "properties": {"code": {"type": "string"}}})
USAGE = {"prompt_tokens": 900, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 850}}
TIMINGS = {"cache_n": 850, "prompt_n": 50, "prompt_ms": 420.0, "predicted_n": 20, "predicted_ms": 800.0}


def said(answer: str) -> dict[str, Any]:
    return {"name": "final_answer", "arguments": {"text": answer}}


def chunk(text: str) -> dict[str, Any]:
    return {"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def end(reason: str) -> dict[str, Any]:
    return {"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": USAGE}


def decoded(text: str, *, pieces: int = 3, reason: str = "stop") -> tuple[Any, list[tuple[str, str]]]:
    """The reply to this text, sent in pieces of so many characters, and what was shown of it."""
    decoder = BranchDecoder()
    shown = [decoder.feed(chunk(text[at : at + pieces])) for at in range(0, len(text), pieces)]
    decoder.feed(end(reason))
    return decoder.reply(), [each for each in shown if each]


@given(answer=st.text(st.characters(codec="utf-8")), pieces=st.integers(1, 9), ascii_only=st.booleans())
def test_an_answer_shows_as_it_comes_and_comes_whole(answer: str, pieces: int, ascii_only: bool) -> None:
    reply, shown = decoded(json.dumps(said(answer), ensure_ascii=ascii_only), pieces=pieces)
    assert reply.text == answer
    assert "".join(text for kind, text in shown if kind == "text") == answer
    assert reply.stop is StopReason.END


@given(arguments=st.dictionaries(st.text(), st.text() | st.integers(-(2**53), 2**53) | st.lists(st.booleans())))
def test_a_call_comes_with_its_arguments_and_is_never_shown_as_text(arguments: dict[str, Any]) -> None:
    reply, shown = decoded(json.dumps({"name": "inspect", "arguments": arguments}))
    (call,) = reply.calls
    assert (call.name, dict(call.arguments)) == ("inspect", arguments)
    assert call.call_id
    assert reply.stop is StopReason.TOOLS
    assert {kind for kind, _ in shown} <= {"tool"}


def test_of_a_reply_that_a_limit_cut_off_the_answer_stays_and_a_call_does_not() -> None:
    answer, _ = decoded('{"name": "final_answer", "arguments": {"text": "The sum is 1', reason="length")
    call, _ = decoded('{"name": "run_code", "arguments": {"code": "import sh', reason="length")
    assert (answer.text, answer.stop) == ("The sum is 1", StopReason.MAX_TOKENS)
    assert (call.content, call.stop) == ((), StopReason.MAX_TOKENS)


@pytest.mark.parametrize(
    "text", ["The sum is 18.", '{"name": "final_answer"}', "[1]", '{"name": "run_code", "arguments": 3}']
)
def test_a_server_that_keeps_no_schema_is_told_apart(text: str) -> None:
    with pytest.raises(StreamBroken):
        decoded(text)


def test_the_schema_takes_a_call_or_an_answer_and_nothing_else() -> None:
    schema = schema_of([INSPECT])
    for good in (said("yes"), {"name": "inspect", "arguments": {"name": "tide"}}):
        jsonschema.validate(good, schema)
    for bad in (
        {"name": "final_answer", "arguments": {"text": 3}},
        {"name": "run_code", "arguments": {}},
        {"name": "inspect", "arguments": {"name": "tide", "more": 1}},
        {"name": "inspect", "arguments": {"name": "tide"}, "text": "yes"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_what_two_tools_define_under_one_name_stays_apart() -> None:
    def tool(name: str, kind: str) -> ToolSpec:
        item = {"type": "object", "properties": {"x": {"type": kind}}, "required": ["x"]}
        items = {"type": "array", "items": {"$ref": "#/$defs/Item"}}
        return ToolSpec(name, "", {"type": "object", "properties": {"items": items}, "$defs": {"Item": item}})

    schema = schema_of([tool("one", "integer"), tool("two", "string")])
    jsonschema.validate({"name": "one", "arguments": {"items": [{"x": 1}]}}, schema)
    jsonschema.validate({"name": "two", "arguments": {"items": [{"x": "1"}]}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "two", "arguments": {"items": [{"x": 1}]}}, schema)


def block(role: Role, content: Any, layer: Layer = Layer.DYNAMIC) -> Block:
    return Block(layer=layer, role=role, content=content)


def test_a_call_that_gave_the_same_twice_is_not_offered_a_third_time() -> None:
    """The schema alone changes: the text stays, so that the server reads it from its memory."""

    def called(number: int, gave: str) -> tuple[Block, Block]:
        call = ToolCall(str(number), "inspect", {"name": "tide"})
        return block(Role.ASSISTANT, call), block(Role.USER, ToolResult(call.call_id, "inspect", gave))

    task = replace(block(Role.USER, Text("What is tide?")), label="task")
    frame = (block(Role.TOOLS, INSPECT, Layer.STATIC), block(Role.TOOLS, RUN_CODE, Layer.STATIC), task)

    def names(*traffic: Block) -> list[str]:
        return [tool.name for tool in offered(Prompt(model="m", blocks=(*frame, *traffic), max_tokens=9))]

    once, twice, changed = called(1, "3"), called(2, "3"), called(2, "4")
    assert names(*once) == names(*once, *changed) == ["inspect", "run_code"]
    assert names(*once, *twice) == ["run_code"]
    assert names(*once, *twice, task) == ["inspect", "run_code"], "another turn"


def test_what_was_sent_begins_what_is_sent_next() -> None:
    """Tools stand after the static instructions; calls and results go on as the JSON and the text that they were."""
    frame = (
        block(Role.TOOLS, INSPECT, Layer.STATIC),
        block(Role.SYSTEM, Text("Rules."), Layer.STATIC),
        block(Role.SYSTEM, Text("Project."), Layer.SEMI_STATIC),
        block(Role.USER, Text("What is tide?")),
    )
    traffic = (
        block(Role.ASSISTANT, ToolCall("1", "inspect", {"name": "tide"})),
        block(Role.USER, ToolResult("1", "inspect", "no such name", is_error=True)),
    )
    first, second = (in_words(Prompt(model="m", blocks=blocks, max_tokens=9)) for blocks in (frame, frame + traffic))
    texts = [each.content.text for each in second.blocks if isinstance(each.content, Text)]
    assert first.blocks == second.blocks[: len(first.blocks)]
    assert texts[0] == "Rules."
    assert "Bring a definition." in texts[1]
    assert texts[2:4] == ["Project.", "What is tide?"]
    assert texts[4] == '{"name": "inspect", "arguments": {"name": "tide"}}'
    assert texts[5] == "Result of inspect (an error):\nno such name"


@dataclass
class Speaking(Loopback):
    """A server of the Chat wire that writes the replies it is told, each checked against the request's schema."""

    replies: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if not path.endswith("/chat/completions"):
            return 404, {}, b""  # it keeps nothing on disk, and counts nothing
        asked = json.loads(body)
        self.bodies.append(asked)
        reply = self.replies.pop(0)
        jsonschema.validate(reply, asked["response_format"]["json_schema"]["schema"])
        text = json.dumps(reply)
        parts = [chunk(text[at : at + 5]) for at in range(0, len(text), 5)]
        lines = [json.dumps(each) for each in (*parts, end("stop") | {"timings": TIMINGS})]
        data = "".join(f"data: {line}\n\n" for line in (*lines, "[DONE]")).encode()
        return 200, {"content-type": "text/event-stream"}, data


@pytest.fixture
def speaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Speaking]:
    """In the place of llama.cpp's server of a file of the user's own."""
    monkeypatch.setenv("AGENTNB_HOME", str(tmp_path / "home"))
    (tmp_path / "own.gguf").write_bytes(b"GGUF")
    with Speaking() as server:
        found = Running(address=server.url, key="k", instance="i", owner="h.1.1.0", pid=1)
        monkeypatch.setattr(running.LocalServer, "ensure", lambda self: found)
        monkeypatch.setattr(running.LocalServer, "running", lambda self: found)
        yield server


def test_a_task_goes_by_inspect_and_run_code_to_its_answer(speaking: Speaking, tmp_path: Path) -> None:
    speaking.replies += [
        {"name": "inspect", "arguments": {"name": "prices"}},
        {"name": "run_code", "arguments": {"code": "sum(prices)"}},
        said("The sum is 18."),
    ]
    model = f"local:{tmp_path / 'own.gguf'}"
    with agentnb.Agent(model=model, tools=["inspect", "run_code"], allow=["run_code"]) as agent:
        agent.session.namespace["prices"] = [3.5, 4.25, 9.0, 1.25]
        run = agent.run("What is the sum of `prices`?")
    assert run.text == "The sum is 18."
    assert [tool["name"] for step in run.steps for tool in step.tools] == ["inspect", "run_code"]
    assert "18.0" in speaking.bodies[-1]["messages"][-1]["content"]
    assert run.cost == 0.0
    assert (run.latency.on_server.prefill, run.latency.on_server.decode) == (0.42, 0.8)
    assert run.latency.queue_estimate.seconds is None, "what is measured is not estimated"
    assert run.usage["cache_read"] == 3 * 850
    first, *_, last = speaking.bodies
    assert last["messages"][: len(first["messages"])] == first["messages"]
    assert last["response_format"] == first["response_format"]
