"""The tags that frame a prompt's parts, and the one escape that keeps material from opening or closing them. Pure.

A cell, an output, a docstring, an error or a tool's result may hold any text. Where that text spells one of our tags,
its `<` is written `&lt;`. So only what we wrote ourselves frames anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

TAGS = (
    *("cell", "output", "markdown", "notebook", "outline", "definition", "tree", "file", "schema", "removed"),
    *("packages", "names", "values", "error", "task", "instructions", "skill", "skills", "header", "note"),
    *("asked", "condensed", "reminder"),
)
"""Every tag that we write."""
_SPACE = r"[\s/\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]*"
"""Characters that may stand unseen before a tag's name, and the slash."""
_TAG = re.compile(rf"[<\uff1c\ufe64](?={_SPACE}(?:{'|'.join(TAGS)})(?![\w-]))", re.IGNORECASE)
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
