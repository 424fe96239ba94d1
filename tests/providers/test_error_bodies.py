"""Error bodies as the providers send them, through the real SDKs: each becomes the right exception of our tree.

The recorded ones are real traffic (data/README.md); the others have the shape that the providers' API references give.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wires import adapter_at, hello

from agentnb.errors import (
    AccessRefused,
    Overloaded,
    ProviderError,
    RateLimited,
    RequestRefused,
    ServerFault,
    StreamBroken,
)

pytestmark = pytest.mark.slow
DATA = Path(__file__).with_name("data")
PROVIDERS = ("anthropic", "google", "openai")


def error_of(provider: str, answer: Any, *, stream: bool = True) -> ProviderError:
    """What asking ends with."""
    with answer:
        made = adapter_at("responses" if provider == "openai" else provider, answer.url)
        wire = made.encode(hello(made), (), previous_message=None)
        try:
            with pytest.raises(ProviderError) as caught:
                made.ask(wire if stream else wire.plain(), lambda kind, text: None)
        finally:
            made.close()
    return caught.value


def recorded() -> Iterator[Any]:
    for file in sorted(DATA.rglob("*.json")):
        exchange = json.loads(file.read_text())
        for i, response in enumerate(exchange["responses"]):
            if response["status"] != 200:
                yield pytest.param(exchange["provider"], response, id=f"{file.parent.name}/{file.stem}-{i}")


def test_there_is_a_recorded_error_of_each_provider() -> None:
    assert {case.values[0] for case in recorded()} == set(PROVIDERS)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("provider", "response"), list(recorded()))
def test_a_recorded_error_keeps_its_words(
    answering: Any, provider: str, response: dict[str, Any], stream: bool
) -> None:
    answer = answering(response["status"], json.dumps(response["body"]).encode(), response["headers"])
    error = error_of(provider, answer, stream=stream)
    assert type(error) is RequestRefused
    assert error.status == response["status"]
    assert response["body"]["error"]["message"] in str(error)
    assert error.request_id == response["body"].get("request_id")
    assert answer.asked == 1, "a request that is wrong is not sent twice"
    assert error.todo


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google(status: int, name: str, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": name}}


def openai(kind: str, code: str | None, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


DOCUMENTED: list[tuple[str, int, dict[str, Any], type[ProviderError]]] = [
    ("anthropic", 401, anthropic("authentication_error", "invalid x-api-key"), AccessRefused),
    ("anthropic", 402, anthropic("billing_error", "Your credit balance is too low"), AccessRefused),
    ("anthropic", 403, anthropic("permission_error", "no permission for this model"), AccessRefused),
    ("anthropic", 404, anthropic("not_found_error", "model: claude-nine"), RequestRefused),
    ("anthropic", 413, anthropic("request_too_large", "Request exceeds the maximum size"), RequestRefused),
    ("anthropic", 429, anthropic("rate_limit_error", "would exceed the rate limit"), RateLimited),
    ("anthropic", 500, anthropic("api_error", "Internal server error"), ServerFault),
    ("anthropic", 529, anthropic("overloaded_error", "Overloaded"), Overloaded),
    ("google", 400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), AccessRefused),
    ("google", 400, google(400, "INVALID_ARGUMENT", "contents is not specified"), RequestRefused),
    ("google", 403, google(403, "PERMISSION_DENIED", "lacks permission"), AccessRefused),
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"), RateLimited),
    ("google", 500, google(500, "INTERNAL", "An internal error has occurred"), ServerFault),
    ("google", 503, google(503, "UNAVAILABLE", "The model is overloaded"), Overloaded),
    ("openai", 401, openai("invalid_request_error", "invalid_api_key", "Incorrect API key provided"), AccessRefused),
    ("openai", 403, openai("invalid_request_error", None, "Country not supported"), AccessRefused),
    ("openai", 404, openai("invalid_request_error", "model_not_found", "gpt-99 does not exist"), RequestRefused),
    ("openai", 429, openai("insufficient_quota", "insufficient_quota", "You exceeded your quota"), AccessRefused),
    ("openai", 429, openai("requests", "rate_limit_exceeded", "Rate limit reached"), RateLimited),
    ("openai", 500, openai("server_error", None, "The server had an error"), ServerFault),
    ("openai", 503, openai("server_error", None, "The engine is overloaded"), Overloaded),
]


NAMES = [f"{case[0]}-{case[1]}-{case[3].code}" for case in DOCUMENTED]


@pytest.mark.parametrize(("provider", "status", "body", "kind"), DOCUMENTED, ids=NAMES)
def test_a_documented_error_becomes_ours(
    answering: Any, provider: str, status: int, body: dict[str, Any], kind: type[ProviderError]
) -> None:
    headers = {"content-type": "application/json", "retry-after": "0", "request-id": "req_1", "x-request-id": "req_1"}
    error = error_of(provider, answering(status, json.dumps(body).encode(), headers))
    assert type(error) is kind, error
    assert error.status == status
    assert body["error"]["message"] in str(error)
    assert error.todo
    if provider != "google":  # it names none
        assert error.request_id == "req_1"
        assert "Request id req_1." in str(error)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b'{"error": "a bare text"}', b"[]"])
def test_a_proxys_own_words_are_an_error_of_ours_too(answering: Any, provider: str, body: bytes) -> None:
    error = error_of(provider, answering(502, body, {"content-type": "text/html", "retry-after": "0"}))
    assert type(error) is ServerFault, error
    assert error.status == 502


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_page_instead_of_a_reply_is_an_error_of_ours(answering: Any, provider: str, stream: bool) -> None:
    page = answering(200, b"<html>Please log in to the network</html>", {"content-type": "text/html"})
    error = error_of(provider, page, stream=stream)
    assert type(error) is StreamBroken, error
