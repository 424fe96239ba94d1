"""Real requests, sent again to the simulator: it must cache what the real API cached, though it counts otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentnb.simulator import Simulator

DATA = Path(__file__).parent / "data"
KEYS = {"x-api-key": "any", "x-goog-api-key": "any", "authorization": "Bearer any"}
MODELS = {
    "gpt-5.6-sol": "gpt-6.1-sol",  # the catalogue's model with the same rules
    "claude-opus-4-8": "claude-sonnet-5-5",  # a lower minimum: here many digits are fewer tokens
}


def replay(http: Any, sim: Simulator, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(our reply, the recorded one) of each exchange, in order."""
    text = (DATA / f"{name}.json").read_text("utf-8")
    for theirs, ours in MODELS.items():
        text = text.replace(theirs, ours)
    recording = json.loads(text)
    out, made = [], ""
    for asked, answered in zip(recording["requests"], recording["responses"], strict=True):
        # A cache object gets a name of its own here.
        path, body = json.loads(json.dumps([asked["path"], asked["body"]]).replace(recorded_name(recording), made))
        reply = http.request(asked["method"], sim.url + path, json=body, headers=KEYS)
        assert reply.status_code == answered["status"], reply.text
        made = made or reply.json().get("name", "")
        out.append((reply.json(), answered["body"]))
    return out


def recorded_name(recording: dict[str, Any]) -> str:
    return str(recording["responses"][0]["body"].get("name", "no cache object"))


def anthropic_use(usage: dict[str, Any]) -> tuple[int, int, int]:
    return usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]


def test_anthropic_writes_then_reads(http: Any, sim: Simulator) -> None:
    (first, _), (second, recorded) = replay(http, sim, "cache-write-then-read")
    assert anthropic_use(recorded["usage"]) == (2, 1590, 0)
    (_, read, written), (plain, again, more) = (anthropic_use(reply["usage"]) for reply in (first, second))
    assert (read, more) == (0, 0)
    assert again == written > 512
    assert plain < 10


def test_anthropic_reads_and_writes_at_once(http: Any, sim: Simulator) -> None:
    (first, _), (second, recorded) = replay(http, sim, "cache-read-and-write")
    assert anthropic_use(recorded["usage"]) == (3, 1111, 418)
    plain, read, written = anthropic_use(second["usage"])
    assert read == first["usage"]["cache_creation_input_tokens"]
    assert written == pytest.approx(418, rel=0.15)
    assert plain < 10


def test_google_counts_its_cache_inside_the_prompt(http: Any, sim: Simulator) -> None:
    (made, _), *uses, (deleted, _) = replay(http, sim, "google-cache-explicit")
    size = made["usageMetadata"]["totalTokenCount"]
    for ours, theirs in uses:
        for usage, cached in ((ours["usageMetadata"], size), (theirs["usageMetadata"], 3512)):
            assert usage["cachedContentTokenCount"] == cached
            assert cached < usage["promptTokenCount"] < cached + 20
    assert deleted == {}


def test_openai_writes_and_reads_to_the_mark(http: Any, sim: Simulator) -> None:
    first, second = replay(http, sim, "openai-responses-cache-explicit")
    for (ours, theirs), field in ((first, "cache_write_tokens"), (second, "cached_tokens")):
        for usage in (ours["usage"], theirs["usage"]):
            marked = usage["input_tokens_details"][field]
            assert sum(usage["input_tokens_details"].values()) == marked
            assert marked < usage["input_tokens"] < marked + 20
    assert (
        first[0]["usage"]["input_tokens_details"]["cache_write_tokens"]
        == (second[0]["usage"]["input_tokens_details"]["cached_tokens"])
    )
