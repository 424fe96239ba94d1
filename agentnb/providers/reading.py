"""Read what a provider sent: JSON of any shape gives a value or StreamBroken, and no character is halved. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from agentnb import canonical
from agentnb.canonical import JsonMapping
from agentnb.errors import (
    StreamBroken,
)
from agentnb.providers.base import OnText

MISREAD = (AttributeError, TypeError, LookupError, ValueError, AssertionError, RecursionError)
"""Errors of reading JSON of another shape than the published one, in the SDKs and in our decoders."""
_Read = TypeVar("_Read")


def cut_off(*, request_id: str | None = None) -> StreamBroken:
    """Return the error for a truncated stream: no SDK raises on it, only the missing stop reason tells."""
    return StreamBroken(
        "the reply broke off before its end", todo="Resume the run to ask again.", request_id=request_id
    )


def read(act: Callable[..., _Read], *given: object, **named: object) -> _Read:
    """Return what `act` makes of a provider's JSON. Raises StreamBroken where that has another shape than it knows."""
    try:
        return act(*given, **named)
    except MISREAD as error:
        raise unreadable(error) from error


def unreadable(error: object) -> StreamBroken:
    return StreamBroken("the reply could not be read", about=str(error)[:200], todo="Resume the run to ask again.")


def read_arguments(text: Any, *, complete: bool) -> JsonMapping:
    """Return a call's arguments from its JSON, or as some servers send them: read already. Raises StreamBroken where a
    `complete` reply holds something else. A call that a limit cut off is not carried out, so its arguments do not
    matter."""
    value = text
    if not isinstance(text, Mapping):
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            value = canonical.load_foreign(text or "{}")
    if isinstance(value, dict):
        return value
    if complete:
        raise StreamBroken(
            "the model wrote a tool call that cannot be read",
            about=str(text)[:200],
            todo="Resume the run to ask again.",
        )
    return {}


class Halves:
    """Joins characters that two pieces of a stream halve, channel by channel, before anybody is told of them."""

    def __init__(self, on_text: OnText) -> None:
        self._on_text = on_text
        self._held: dict[str, str] = {}

    def __call__(self, channel: str, text: str) -> None:
        text = self._held.pop(channel, "") + text
        if "\ud800" <= text[-1:] <= "\udbff":  # the first half: the second may come
            text, self._held[channel] = text[:-1], text[-1]
        if text:
            self._on_text(channel, canonical.well_formed(text))

    def end(self) -> None:
        """Tell what is still held: it stands alone."""
        for channel, text in self._held.items():
            self._on_text(channel, canonical.well_formed(text))
