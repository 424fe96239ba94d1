"""Read pictures in a request: what the APIs refuse of them, and how many tokens they count for. Pure.

A judge shares no code with the judged. Sizes are read from the picture's own bytes. The published rules, whose figures
the catalogue holds, are worked out here once more.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agentnb.models.catalog import ImageRule, Model
from agentnb.simulator.http_messages import WireMapping

MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Hold what a picture's bytes say: its media type, its size in pixels (0 where not read) and the bytes."""

    media_type: str
    width: int
    height: int
    size: int


def read_base64(data: object) -> bytes | None:
    """Return the bytes; None where it is no base64."""
    try:
        return base64.b64decode(data, validate=True) if isinstance(data, str) and data else None
    except (binascii.Error, ValueError):
        return None


def standard(data: object) -> object:
    """Base64 in its usual letters: Google's JSON takes the address-safe ones too, and its SDK sends them."""
    return data.replace("-", "+").replace("_", "/") if isinstance(data, str) else data


def read_picture(data: bytes) -> Picture | None:
    """Read a picture's first bytes; None where it is none."""
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        return None
    width, height = {"image/png": _png, "image/jpeg": _jpeg, "image/gif": _gif}.get(kind, _unread)(data)
    return Picture(media_type=kind, width=width, height=height, size=len(data)) if width and height else None


def tokens_of(row: Model, data: object) -> int:
    """Return the tokens of a base64 picture for this model; 0 for what is none."""
    raw = read_base64(data)
    found = read_picture(raw) if raw is not None else None
    return counted(row, found.width, found.height) if found else 0


def counted(row: Model, width: int, height: int) -> int:
    """Return the published rule of the row's model. A model without one is given the simplest of them."""
    rules = row.images
    if rules is None:
        return math.ceil(width * height / 750)
    if rules.rule is ImageRule.FIXED:
        return rules.per
    if rules.rule is ImageRule.PATCHES:
        return rules.per * -(-width // 32) * -(-height // 32)
    if rules.rule is ImageRule.AREA:
        ratio = max(1.0, max(width, height) / rules.edge)
        return max(1, math.ceil((width / ratio) * (height / ratio) / rules.per))
    if rules.rule is ImageRule.TILES:
        return rules.base + rules.per * _tiles(width, height)
    if width <= 384 and height <= 384:
        return rules.per
    side = min(768, max(256, int(min(width, height) / 1.5)))
    return rules.per * -(-width // side) * -(-height // side)


def _tiles(width: int, height: int) -> int:
    if max(width, height) > 2048:
        ratio = 2048 / max(width, height)
        width, height = int(width * ratio), int(height * ratio)
    if min(width, height) > 768:
        ratio = 768 / min(width, height)
        width, height = int(width * ratio), int(height * ratio)
    return -(-width // 512) * -(-height // 512)


def _png(data: bytes) -> tuple[int, int]:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return 0, 0
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    return struct.unpack("<HH", data[6:10]) if len(data) >= 10 else (0, 0)


def _jpeg(data: bytes) -> tuple[int, int]:
    """Return the frame header: the first SOF marker."""
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return 0, 0
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return 0, 0


def _unread(data: bytes) -> tuple[int, int]:
    """WebP: its size stands in one of three forms; 1024 x 1024 is taken for all."""
    return 1024, 1024


class Counter(Protocol):
    """Counts the tokens of texts, and of base64 pictures, for one model."""

    def __call__(self, text: str, /) -> int: ...

    def picture(self, data: object) -> int: ...


def refusal_of_anthropic(source: object) -> str:
    """Return what the Messages API says of an image source, after the place; empty where it takes it."""
    if not isinstance(source, Mapping) or source.get("type") not in ("base64", "url", "file"):
        return "image.source: Input should be a valid image source"
    if source["type"] != "base64":
        return ""
    if source.get("media_type") not in MEDIA_TYPES:
        listed = "'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
        return f"image.source.base64.media_type: Input should be {listed}"
    data = read_base64(source.get("data"))
    if data is None:
        return "image.source.base64.data: The image data must be valid base64"
    if len(data) > 5 * 1024**2:
        return f"image.source.base64: image exceeds 5 MB maximum: {len(data)} bytes > {5 * 1024**2} bytes"
    found = read_picture(data)
    if found is None:
        return "image.source.base64.data: Could not process image"
    if found.media_type != source["media_type"]:
        return (
            f"image.source.base64.data: The image was specified using the {source['media_type']} media type, but the "
            f"image appears to be a {found.media_type} image"
        )
    return ""


def refusal_of_google(where: str, inline: WireMapping) -> str:
    """Return what the Gemini API says of inline data that it refuses. Empty where it takes it, and for other media."""
    kind = str(inline.get("mimeType") or "")
    if not kind:
        return f"* GenerateContentRequest.{where}.inline_data.mime_type: must be set.\n"
    data = read_base64(standard(inline.get("data")))
    if data is None:
        return f"Invalid value at '{where}.inline_data.data' (TYPE_BYTES), Base64 decoding failed"
    if kind.startswith("image/") and kind not in (*MEDIA_TYPES, "image/heic", "image/heif"):
        return f"Unsupported MIME type: {kind}"
    if kind in MEDIA_TYPES and read_picture(data) is None:
        return "Unable to process input image. Please retry or report in the troubleshooting guide"
    return ""


def refusal_of_openai(param: str, url: object) -> str:
    """Return what OpenAI's APIs say of an image's address that they do not take; empty where they do."""
    address = url if isinstance(url, str) else ""
    if address.startswith(("https://", "http://")):
        return ""
    if not address.startswith("data:"):
        return (
            f"Invalid '{param}'. Expected a base64-encoded data URL with an image MIME type (e.g. "
            "'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), but got a value without the 'data:' prefix."
        )
    head, _, data = address.partition(",")
    if not head.startswith("data:image/"):
        return f"Invalid MIME type. Only image types are supported. (param: {param})"
    raw = read_base64(data) if head.endswith(";base64") else None
    if raw is None:
        return f"Invalid base64 image_url. (param: {param})"
    if read_picture(raw) is None:
        return (
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
            "['png', 'jpeg', 'gif', 'webp']."
        )
    return ""


def data_of(url: object) -> str:
    """Return the base64 of a data URL; empty for any other address."""
    return url.partition(",")[2] if isinstance(url, str) and url.startswith("data:") else ""
