"""Recorded replies through the real SDKs over HTTP: what comes out is what the pure decoders give, also after a cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loopback import Answer, Loopback
from wires import adapter_at, hello

from agentnb.models.messages import Content, Opaque, Reply, Text
from agentnb.providers import anthropic, google, openai_chat, openai_responses
from agentnb.providers.base import CallAnswer

pytestmark = pytest.mark.slow
DATA = Path(__file__).with_name("data")


def wire_of(provider: str, path: str) -> str:
    return ("chat" if "chat/completions" in path else "responses") if provider == "openai" else provider


DECODERS: dict[str, Any] = {
    "anthropic": anthropic.AnthropicDecoder,
    "google": google.GoogleDecoder,
    "responses": openai_responses.ResponsesDecoder,
    "chat": openai_chat.ChatDecoder,
}
DECODE: dict[str, Any] = {
    "anthropic": anthropic.decode_message,
    "google": google.decode_response,
    "responses": openai_responses.decode_response,
    "chat": openai_chat.decode_completion,
}


def recorded(streamed: bool) -> Iterator[Any]:
    for file in sorted(DATA.rglob("*.json")):
        exchange = json.loads(file.read_text())
        for i, (request, response) in enumerate(zip(exchange["requests"], exchange["responses"], strict=True)):
            other = any(word in request["path"] for word in ("count_tokens", "cachedContents"))
            if response["status"] == 200 and not other and ("sse" in response) == streamed:
                wire = wire_of(exchange["provider"], request["path"])
                yield pytest.param(wire, response, id=f"{exchange['provider']}-{file.stem}-{i}")


class Playing(Loopback):
    """A server that gives these answers, (content type, body) each, one after the other."""

    ends_by_closing = True

    def __init__(self, *answers: tuple[str, str]) -> None:
        self.asked = 0
        self._answers = answers

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        kind, text = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return 200, {"content-type": kind}, text.encode()


def ask(wire: str, server: Playing, *, stream: bool) -> tuple[CallAnswer, str]:
    shown: list[str] = []

    def hear(kind: str, text: str) -> None:
        if kind == "restart":
            shown.clear()
        elif kind == "text":
            shown.append(text)

    with server:
        made = adapter_at(wire, server.url)
        request = made.encode(hello(made), (), previous_message=None)
        try:
            return made.ask(request if stream else request.plain(), hear), "".join(shown)
        finally:
            made.close()


def same(reply: Reply) -> Reply:
    """The reply for comparing: google-genai writes a signature's base64 in its other alphabet, which means the same."""
    return replace(reply, content=tuple(_same(part) for part in reply.content))


def _same(part: Content) -> Content:
    if not isinstance(part, Opaque) or part.provider != "google":
        return part
    return replace(part, wire=json.loads(json.dumps(part.wire).replace("-", "+").replace("_", "/")))


def events(sse: str) -> list[str]:
    return [part for part in sse.replace("\r\n", "\n").split("\n\n") if part.strip()]


def folded(wire: str, sse: str) -> Reply:
    decoder = DECODERS[wire]()
    for line in sse.replace("\r\n", "\n").split("\n"):
        if line.startswith("data: {"):
            decoder.feed(json.loads(line[6:]))
    reply = decoder.reply()
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize(("wire", "response"), list(recorded(streamed=True)))
def test_a_recorded_stream_comes_through_the_sdk_unchanged(wire: str, response: dict[str, Any]) -> None:
    answer, shown = ask(wire, Playing(("text/event-stream", response["sse"])), stream=True)
    assert same(answer.reply) == same(folded(wire, response["sse"]))
    assert shown == answer.reply.text


@pytest.mark.parametrize(("wire", "response"), list(recorded(streamed=False)))
def test_a_recorded_plain_reply_comes_through_the_sdk_unchanged(wire: str, response: dict[str, Any]) -> None:
    answer, shown = ask(wire, Playing(("application/json", json.dumps(response["body"]))), stream=False)
    assert same(answer.reply) == same(DECODE[wire](response["body"]))
    assert shown == "".join(part.text for part in answer.reply.content if isinstance(part, Text))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(("wire", "response"), list(recorded(streamed=True)))
def test_a_stream_that_ends_early_is_asked_for_again_and_not_doubled(
    wire: str, response: dict[str, Any], share: float
) -> None:
    """The connection ends in good order, only the end of the reply is missing: no SDK says anything."""
    parts = events(response["sse"])
    # Chat's last events are the usage and [DONE]; a reply with its finish_reason is whole without them.
    whole = len(parts) - (3 if wire == "chat" else 1)
    cut = "".join(f"{part}\n\n" for part in parts[: int(whole * share)])
    server = Playing(("text/event-stream", cut), ("text/event-stream", response["sse"]))
    answer, shown = ask(wire, server, stream=True)
    assert server.asked == 2
    assert same(answer.reply) == same(folded(wire, response["sse"]))
    assert shown == answer.reply.text
