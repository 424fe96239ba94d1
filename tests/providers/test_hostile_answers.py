"""Answers that lead away, or that never end: keys go nowhere else, and what is too long is not read."""

from __future__ import annotations

import itertools
import json
import re
import time
import tracemalloc
from typing import Any

import httpx2
import pytest
from unfolding import packed
from wires import adapter_at, hello

from agentnb.canonical import SystemClock
from agentnb.errors import NoReply, ProviderError, RequestRefused
from agentnb.providers import transport

WIRES = pytest.mark.parametrize("wire", ["anthropic", "google", "responses"])
STREAMS = pytest.mark.parametrize("stream", [True, False])


def ask(wire: str, url: str, *, stream: bool = True) -> None:
    made = adapter_at(wire, url, key="sk-secret")
    request = made.encode(hello(made), (), previous_message=None)
    try:
        made.ask(request if stream else request.plain(), lambda kind, text: None)
    finally:
        made.close()


@WIRES
@STREAMS
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_follows_a_redirect(answering: Any, wire: str, stream: bool, status: int) -> None:
    with answering(200, b"{}") as elsewhere:
        to = elsewhere.url.replace("http://", "http://bob:hidden@") + "/v1/new?token=hidden"
        with (
            answering(status, b"", {"location": to}) as first,
            pytest.raises(
                RequestRefused, match=f"answered {status}.*{elsewhere.url}/v1/new.*Nothing was sent"
            ) as caught,
        ):
            ask(wire, first.url, stream=stream)
    assert (first.asked, elsewhere.asked) == (1, 0)
    assert caught.value.status == status
    assert "hidden" not in str(caught.value)


@WIRES
@pytest.mark.parametrize(
    "to", ["http://[::1", "http://127.0.0.1/\x1b[2J", "http://xn--\u00e9/", "//", "javascript:x", ""]
)
def test_an_address_that_is_none_is_a_redirect_all_the_same(answering: Any, wire: str, to: str) -> None:
    with (
        answering(307, b"", {"location": to}) as first,
        pytest.raises(RequestRefused, match="asked at another address") as caught,
    ):
        ask(wire, first.url, stream=False)
    assert "\x1b" not in str(caught.value)


@WIRES
@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 400, 401, 503])
@pytest.mark.parametrize("form", ["gzip", "deflate"])
def test_a_body_that_unfolds_costs_little(answering: Any, wire: str, status: int, form: str) -> None:
    """Nobody interrupts a decompression, so it must end by itself."""
    head = {"content-type": "application/json", "content-encoding": form, "x-should-retry": "false"}
    body = packed(b"\0", form)
    ask_once = pytest.raises(ProviderError)
    with answering(status, body, head) as answer:
        with ask_once:
            ask(wire, answer.url, stream=False)  # the SDK is imported, and its classes are made
        tracemalloc.start()
        begun = time.thread_time()
        try:
            with ask_once:
                ask(wire, answer.url, stream=False)
            took, (_, most) = time.thread_time() - begun, tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 50_000_000
    assert took < 15, "a second, and what counting its memory takes"


LINES = {"content-type": "text/event-stream", "content-encoding": "gzip"}


@WIRES
def test_a_stream_that_unfolds_is_no_reply(answering: Any, wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty lines are dear to read: a call of the SDK for each."""
    monkeypatch.setattr(transport, "MOST_OF_PIECE", 100_000)
    monkeypatch.setattr(transport, "MOST_UNFOLDED", 5)
    with (
        answering(200, packed(b"\n", "gzip"), LINES) as answer,
        pytest.raises(NoReply, match="more than a reply can hold"),
    ):
        ask(wire, answer.url)


def test_a_stream_that_unfolds_can_be_stopped() -> None:
    """Its bytes have all arrived, so shutting the socket down does not end it."""
    made = transport.Transport(SystemClock())
    pieces = made._capped(httpx2.Response(200, headers=LINES), lambda size: itertools.repeat(b"\n"))
    assert next(pieces) == b"\n"
    made.cancel()
    with pytest.raises(transport.CallCut):
        next(pieces)
    made.close()


@WIRES
def test_an_event_without_an_end_is_no_reply(answering: Any, wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_OF_PIECE", 100_000)
    with answering(200, b"data: " + b"x" * 1_000_000, {"content-type": "text/event-stream"}) as answer:
        with pytest.raises(NoReply, match="more than a reply can hold"):
            ask(wire, answer.url)
        assert answer.asked == 1 if wire != "openai" else answer.asked <= 2


@WIRES
def test_events_without_an_end_are_no_reply(answering: Any, wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_OF_STREAM", 100_000)
    with (
        answering(200, b"data: {}\n\n" * 100_000, {"content-type": "text/event-stream"}) as answer,
        pytest.raises(ProviderError),
    ):
        ask(wire, answer.url)


@WIRES
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_beyond_what_a_reply_has_tokens_are_no_reply(
    answering: Any, wire: str, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SDK makes objects of each event: 8 MB of the smallest would take it half a minute."""
    monkeypatch.setattr(transport, "FREE_LINES", 3_000)
    monkeypatch.setattr(transport, "LINES_OF_TOKEN", 1)
    form = "application/json" if end == b"\n" else "text/event-stream"
    with (
        answering(200, (b"data: {}" + end + end) * 100_000, {"content-type": form}) as answer,
        pytest.raises(NoReply, match="more than a reply can hold") as caught,
    ):
        ask(wire, answer.url)
    assert int(re.search(r"in ([\d,]+) lines", str(caught.value))[1].replace(",", "")) < 100_000


@WIRES
def test_the_worst_stream_of_tiny_events_costs_seconds(answering: Any, wire: str) -> None:
    """It is counted, not timed: a fifth of a millisecond of CPU for each event, and no more events than asked for."""
    with answering(200, b"data: {}\n\n" * 500_000, {"content-type": "text/event-stream"}) as answer:
        made = adapter_at(wire, answer.url, key="sk-secret")
        request = made.encode(hello(made), (), previous_message=None)
        assert request.most_tokens == hello(made).max_tokens > 0
        with pytest.raises(NoReply) as caught:
            made.ask(request, lambda kind, text: None)
        made.close()
    lines = int(re.search(r"in ([\d,]+) lines", str(caught.value))[1].replace(",", ""))
    assert lines < 2 * (transport.FREE_LINES + transport.LINES_OF_TOKEN * request.most_tokens)


@WIRES
def test_a_long_message_is_cut_before_it_is_looked_at(answering: Any, wire: str) -> None:
    message = "input token count " * 3000 + "exceeds"
    body = json.dumps({"error": {"message": message, "code": 400, "type": "invalid_request_error"}, "type": "error"})
    with (
        answering(400, body.encode(), {"content-type": "application/json"}) as answer,
        pytest.raises(RequestRefused) as caught,
    ):
        ask(wire, answer.url)
    assert caught.value.code == "provider.refused", "its end was not looked at"
    assert len(str(caught.value)) < 1000


@WIRES
def test_no_terminal_obeys_a_providers_message(answering: Any, wire: str) -> None:
    body = {"error": {"message": "\x1b]0;owned\x07\x1b[2Jhello\u202eolleh\rover", "code": 400}, "type": "error"}
    with (
        answering(400, json.dumps(body).encode(), {"content-type": "application/json"}) as answer,
        pytest.raises(RequestRefused) as caught,
    ):
        ask(wire, answer.url)
    assert ".. " not in str(caught.value), "a provider's message has its own full stop"
    for shown in (str(caught.value), "\n".join(caught.value._render_traceback_())):
        assert "hello" in shown
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
