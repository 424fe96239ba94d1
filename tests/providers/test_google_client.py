"""What the Google SDK does with a request of ours: it sends it as it was encoded, and does not read it part by part."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator

import pytest

from agentnb.canonical import SystemClock
from agentnb.models.catalog import lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Content, Image, Opaque, Role, Text, ToolCall, ToolResult, ToolSpec
from agentnb.providers.google import GoogleProvider
from agentnb.simulator import Simulator

SPEC = ToolSpec("inspect", "Look up.", {"type": "object", "properties": {"some_name": {"type": "string"}}})
THOUGHT = {"text": "I think.", "thought": True, "thoughtSignature": "aGVsbG8="}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def block(content: Content, role: Role, layer: Layer = Layer.DYNAMIC) -> Block:
    return Block(layer=layer, role=role, content=content)


def turns(count: int) -> Iterator[Block]:
    for i in range(count):
        yield block(Text(f"Question {i}? {'High water, low water. ' * 50}"), Role.USER)
        yield block(Opaque("google", THOUGHT), Role.ASSISTANT)
        yield block(Opaque("google", {"next": {"thoughtSignature": "aGVsbG8="}}), Role.ASSISTANT)
        yield block(ToolCall(f"call-{i}", "inspect", {"some_name": f"x{i}", "someOther": [1, None]}), Role.ASSISTANT)
        yield block(ToolResult(f"call-{i}", "inspect", "def f(): ..."), Role.USER)
        yield block(Text("It is so."), Role.ASSISTANT)


def prompt(count: int) -> Prompt:
    frame = (
        block(SPEC, Role.TOOLS, Layer.STATIC),
        block(Text("You answer. " * 3000), Role.SYSTEM, Layer.STATIC),
    )
    asked = (block(Image("image/png", PIXEL, "a pixel", 1, 1), Role.USER), block(Text("And now?"), Role.USER))
    return Prompt(model="gemini-3.1-pro-preview", blocks=(*frame, *turns(count), *asked), max_tokens=99)


@pytest.fixture(params=["gemini", "vertex"])
def line(request: pytest.FixtureRequest) -> Iterator[tuple[GoogleProvider, Simulator]]:
    with Simulator(speed=0, record=True) as simulator:
        vertex, scope = request.param == "vertex", f"sim:{simulator.instance}"
        made = GoogleProvider(
            lookup("sim:gemini-3.1-pro-preview"),
            clock=SystemClock(),
            key=None if vertex else "any",
            base_url=simulator.url,
            scope=scope,
        )
        if vertex:
            from google.oauth2.credentials import Credentials

            where = {"vertexai": True, "project": "p", "location": "europe-west1"}
            made.client_options = where | {"credentials": Credentials(token="any")}  # type: ignore[no-untyped-call]
        yield made, simulator
        made.close()


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_is_sent_as_it_was_encoded(line: tuple[GoogleProvider, Simulator], stream: bool) -> None:
    provider, simulator = line
    wire = provider.encode(prompt(2), (), previous_message=None)
    provider.ask(wire if stream else wire.plain(), lambda *_: None)
    body, config = simulator.requests[-1].body, wire.body["config"]
    assert body == {
        "contents": wire.body["contents"],
        "systemInstruction": config["systemInstruction"],
        "tools": config["tools"],
        "generationConfig": {"maxOutputTokens": 99},
    }


def test_a_cache_object_is_made_of_the_very_json_that_a_call_sends(line: tuple[GoogleProvider, Simulator]) -> None:
    provider, simulator = line
    asked = prompt(2)
    provider.make_object(asked, 3, seconds=300, label="agentnb")
    made = simulator.requests[-1].body
    provider.ask(provider.encode(asked, (), previous_message=None), lambda *_: None)
    sent = simulator.requests[-1].body
    for name in ("systemInstruction", "tools"):
        assert json.dumps(made[name]) == json.dumps(sent[name])
    assert made["contents"] == [
        {"role": "user", "parts": sent["contents"][0]["parts"]},
        {"role": "model", "parts": [THOUGHT]},
    ]
    assert (made["ttl"], made["displayName"]) == ("300s", "agentnb")


def test_what_a_call_costs_the_client_hardly_grows_with_the_conversation(
    line: tuple[GoogleProvider, Simulator],
) -> None:
    """In function calls of this thread: the same on every machine, and none of the simulator's."""
    provider, _ = line
    provider.ask(provider.encode(prompt(1), (), previous_message=None), lambda *_: None)

    def calls(count: int) -> int:
        wire, seen = provider.encode(prompt(count), (), previous_message=None), itertools.count()
        sys.setprofile(lambda frame, event, argument: next(seen) if event.endswith("call") else None)
        try:
            provider.ask(wire, lambda *_: None)
        finally:
            sys.setprofile(None)
        return next(seen)

    assert calls(40) < 1.5 * calls(4)
