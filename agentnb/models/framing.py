"""The tags that frame a prompt's parts, and the one escape that keeps material from opening or closing them. Pure.

A cell, an output, a docstring, an error or a tool's result may hold any text. Where that text spells one of our tags,
its `<` is written `&lt;`. So only what we wrote ourselves frames anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

TAGS = (
    *("cell", "output", "markdown", "notebook", "outline", "definition", "tree", "file", "schema", "removed"),
    *("packages", "names", "values", "error", "task", "instructions", "skill", "skills", "header", "note"),
    *("asked", "condensed", "reminder"),
)
"""Every tag that we write."""
_UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
"""Characters that may stand unseen before a tag's name and in it."""
_LOOKALIKES = ["\u017f", *map(chr, (*range(0xFF21, 0xFF5B), *range(0x1D400, 0x1D6A4), *range(0x24B6, 0x24EA)))]
"""Letters of other shapes that read like those of our tags: of full width, of formulas, in circles."""


def _spelled(name: str) -> str:
    """Return a pattern for the name in letters of any shape, with unseen characters between them."""
    shapes = {letter: letter for letter in name}
    for other in _LOOKALIKES:
        plain = unicodedata.normalize("NFKC", other).lower()
        if plain in shapes:
            shapes[plain] += other
    return f"[{_UNSEEN}]*".join(f"[{shapes[letter]}]" for letter in name)


_TAG = re.compile(rf"[<\uff1c\ufe64](?=[\s/{_UNSEEN}]*(?:{'|'.join(map(_spelled, TAGS))})(?![\w-]))", re.IGNORECASE)
_ATTRIBUTE = str.maketrans({"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})


def unframed(text: str) -> str:
    """Return the text as it may stand inside a frame: whatever reads like one of our tags begins with `&lt;`."""
    return _TAG.sub("&lt;", text)


def attributes_of(values: Mapping[str, str]) -> str:
    """Return a tag's attributes, the empty ones left out: `name="tides.predict" lines="3-9"`."""
    return " ".join(f'{name}="{value.translate(_ATTRIBUTE)}"' for name, value in values.items() if value)


def framed(tag: str, text: str, **attributes: str) -> str:
    """`text`, which may be anybody's, as an element of ours."""
    return element(tag, unframed(text), **attributes)


def element(tag: str, inner: str, **attributes: str) -> str:
    """Return an element around text that is framed or escaped already."""
    head = f"{tag} {attributes_of(attributes)}".rstrip()
    return f"<{head}>\n{inner}\n</{tag}>" if inner else f"<{head}/>"
