"""Decide which of the pictures that a task names are sent, and what the receipt says of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentnb.agent.state import SentPicture
from agentnb.canonical import JsonObject, digest
from agentnb.context.values.pictures import Drawn
from agentnb.models.catalog import ImageRules
from agentnb.models.layers import Block
from agentnb.models.messages import Image
from agentnb.models.tokens import image_tokens


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Holds the pictures of a turn. `new` are sent with this turn, by name; `listed` is the receipt's list of all that
    were named."""

    new: tuple[tuple[str, Image], ...] = ()
    listed: tuple[SentPicture, ...] = ()
    notes: tuple[str, ...] = ()


def pictures_of(drawn: Mapping[str, Drawn], before: Iterable[Block], rules: ImageRules) -> Pictures:
    """Sorted out what was drawn: a picture that the thread holds already, byte for byte, is not sent again."""
    held = {block.content.data for block in before if isinstance(block.content, Image)}
    new = tuple(
        (name, item.image) for name, item in drawn.items() if item.image is not None and item.image.data not in held
    )
    failed = tuple(
        f"No picture of {name} was sent: {item.why}. Its description was."
        for name, item in drawn.items()
        if item.image is None
    )
    names = dict(new)
    listed = tuple(
        _entry(name, item.image, seconds=item.seconds, rules=rules, new=name in names)
        for name, item in drawn.items()
        if item.image is not None
    )
    sent = (f"Sent as a picture: {', '.join(names)}. What a picture shows cannot be redacted.",) if names else ()
    return Pictures(new=new, listed=listed, notes=(*failed, *sent))


def _entry(name: str, image: Image, *, seconds: float, rules: ImageRules, new: bool) -> SentPicture:
    return {
        "name": name,
        "text": image.text,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "bytes": len(image.data) * 3 // 4,
        "tokens": image_tokens(rules, image.width, image.height),
        "seconds": seconds,
        "digest": digest(image.data),
        "new": new,
    }


def with_data(listed: Iterable[SentPicture], blocks: Iterable[Block]) -> list[JsonObject]:
    """Return the receipt's list with the pictures themselves (base64), where these blocks hold them."""
    images = (block.content for block in blocks if isinstance(block.content, Image))
    data = {digest(image.data): image.data for image in images}
    return [dict(item) | ({"data": data[item["digest"]]} if item["digest"] in data else {}) for item in listed]
