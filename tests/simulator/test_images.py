"""Pictures on the three wires: accepted, counted by the published rule, cached with the prefix, refused when broken."""

from __future__ import annotations

import base64
import json
import struct
import urllib.error
import urllib.request
import zlib
from typing import Any

import pytest

from agentnb.simulator.images import read_picture


def png(width: int, height: int) -> str:
    """A grey picture of this size, base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


PICTURE = png(640, 480)


def post(sim: Any, path: str, body: Any) -> tuple[int, Any]:
    headers = {
        "Content-Type": "application/json",
        "Authorization": "Bearer any",
        "x-api-key": "any",
        "x-goog-api-key": "any",
    }
    request = urllib.request.Request(sim.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def anthropic(data: str, kind: str = "image/png", more: str = "") -> dict[str, Any]:
    source = {"type": "base64", "media_type": kind, "data": data}
    picture = {"type": "image", "source": source, "cache_control": {"type": "ephemeral"}}
    content = [{"type": "text", "text": "word " * 900}, picture, {"type": "text", "text": f"What is it?{more}"}]
    return {"model": "claude-sonnet-4-6", "max_tokens": 50, "messages": [{"role": "user", "content": content}]}


def gemini(data: str, kind: str = "image/png", more: str = "") -> dict[str, Any]:
    parts = [{"text": "word " * 1800}, {"inlineData": {"mimeType": kind, "data": data}}]
    return {"contents": [{"role": "user", "parts": [*parts, {"text": f"What is it?{more}"}]}]}


def responses(data: str, kind: str = "image/png", more: str = "") -> dict[str, Any]:
    picture = {"type": "input_image", "detail": "high", "image_url": f"data:{kind};base64,{data}"}
    texts = [{"type": "input_text", "text": text} for text in ("word " * 900, f"What is it?{more}")]
    return {"model": "gpt-4.1", "input": [{"role": "user", "content": [texts[0], picture, texts[1]]}]}


def chat(data: str, kind: str = "image/png", more: str = "") -> dict[str, Any]:
    picture = {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}", "detail": "high"}}
    texts = [{"type": "text", "text": text} for text in ("word " * 900, f"What is it?{more}")]
    return {"model": "gpt-4.1", "messages": [{"role": "user", "content": [texts[0], picture, texts[1]]}]}


def total_of(reply: dict[str, Any]) -> tuple[int, int]:
    """(input tokens, of which read from the prompt cache)."""
    if "usageMetadata" in reply:
        return reply["usageMetadata"]["promptTokenCount"], reply["usageMetadata"].get("cachedContentTokenCount") or 0
    usage = reply["usage"]
    if "cache_read_input_tokens" in usage:
        read = usage["cache_read_input_tokens"]
        return usage["input_tokens"] + read + usage["cache_creation_input_tokens"], read
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    return usage.get("prompt_tokens") or usage["input_tokens"], details["cached_tokens"]


WIRES = {
    "anthropic": ("/v1/messages", anthropic, 410, 86),
    "gemini": ("/v1beta/models/gemini-2.5-flash:generateContent", gemini, 1032, 258),
    "responses": ("/v1/responses", responses, 425, 255),
    "chat": ("/v1/chat/completions", chat, 425, 255),
}
every_wire = pytest.mark.parametrize("wire", WIRES)


@every_wire
def test_a_picture_counts_by_the_published_rule_and_is_cached_with_the_prefix(sim: Any, wire: str) -> None:
    path, make, large, small = WIRES[wire]
    status, first = post(sim, path, make(PICTURE))
    assert status == 200, first
    other = total_of(post(sim, path, make(png(320, 200)))[1])[0]
    total, read = total_of(post(sim, path, make(PICTURE, more=" And then?"))[1])
    assert total_of(first)[0] - other == large - small
    assert read > 900, "the picture and what stands before it are read again"
    changed = total_of(post(sim, path, make(png(640, 481), more=" And then?"))[1])[1]
    assert changed < read, "another picture ends the prefix"
    assert total > read


@every_wire
@pytest.mark.parametrize(
    ("data", "kind"),
    [("not base64!", "image/png"), (base64.b64encode(b"no picture").decode(), "image/png"), (PICTURE, "image/tiff")],
)
def test_broken_pictures_are_refused(sim: Any, wire: str, data: str, kind: str) -> None:
    path, make, *_ = WIRES[wire]
    if wire in ("responses", "chat") and kind == "image/tiff":
        kind = "text/plain"
    status, reply = post(sim, path, make(data, kind))
    assert status == 400
    assert reply["error"]["message"]


def test_a_media_type_that_the_bytes_belie_is_refused(sim: Any) -> None:
    status, reply = post(sim, "/v1/messages", anthropic(PICTURE, "image/jpeg"))
    assert status == 400
    assert "appears to be a image/png image" in reply["error"]["message"]


def test_a_picture_in_a_tool_result_is_checked_and_counted_too(sim: Any) -> None:
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    for data, expected in ((PICTURE, 200), ("broken!", 400)):
        picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": [picture]}
        messages = [{"role": "user", "content": "Look."}, {"role": "assistant", "content": [use]}]
        body = {
            "model": "claude-sonnet-4-6",
            "max_tokens": 50,
            "messages": [*messages, {"role": "user", "content": [result]}],
        }
        tools = [{"name": "look", "input_schema": {"type": "object"}}]
        assert post(sim, "/v1/messages", body | {"tools": tools})[0] == expected


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif"])
def test_sizes_are_read_from_the_bytes(kind: str) -> None:
    import io

    pillow = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    pillow.new("RGB", (123, 45), "red").save(file, kind)
    found = read_picture(file.getvalue())
    assert found is not None
    assert (found.media_type, found.width, found.height) == (f"image/{kind}", 123, 45)
    assert read_picture(file.getvalue()[:9]) is None
