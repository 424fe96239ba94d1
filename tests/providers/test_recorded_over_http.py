"""Recorded replies through the real SDKs over HTTP: what comes out is what the pure decoders give, also after a cut."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentnb.canonical import SystemClock
from agentnb.models.catalog import lookup
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Content, Opaque, Reply, Role, Text
from agentnb.providers import anthropic, google, openai_chat, openai_responses
from agentnb.providers.base import CallAnswer
from agentnb.providers.calling import Calling
from agentnb.providers.openai import OpenAIProvider

pytestmark = pytest.mark.slow
DATA = Path(__file__).with_name("data")


class ChatOnly(OpenAIProvider):
    """OpenAI's adapter after it has learned that its server speaks only Chat."""

    _speaks_chat_only = True


def wire_of(provider: str, path: str) -> str:
    return ("chat" if "chat/completions" in path else "responses") if provider == "openai" else provider


ADAPTERS: dict[str, tuple[type[Calling], str]] = {
    "anthropic": (anthropic.AnthropicProvider, "anthropic:claude-sonnet-4-6"),
    "google": (google.GoogleProvider, "google:gemini-3.8-flash"),
    "responses": (OpenAIProvider, "openai:gpt-4.1"),
    "chat": (ChatOnly, "openai:gpt-4.1"),
}
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


class Playing:
    """A server that gives these answers, (content type, body) each, one after the other."""

    def __init__(self, *answers: tuple[str, str]) -> None:
        self.asked = 0
        playing = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                kind, body = answers[min(playing.asked, len(answers) - 1)]
                playing.asked += 1
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", kind)
                self.end_headers()
                self.wfile.write(body.encode())  # its end is the connection's: a cut looks like any other end

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def ask(wire: str, server: Playing, *, stream: bool) -> tuple[CallAnswer, str]:
    shown: list[str] = []

    def hear(kind: str, text: str) -> None:
        if kind == "restart":
            shown.clear()
        elif kind == "text":
            shown.append(text)

    adapter, model = ADAPTERS[wire]
    with server as url:
        made = adapter(lookup(model), clock=SystemClock(), key="any", base_url=url, scope="sim:recorded")
        block = Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text("Hello?"))
        prompt = Prompt(model=made.model.name, blocks=(block,), max_tokens=99)
        request = made.encode(prompt, (), previous_message=None)
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
