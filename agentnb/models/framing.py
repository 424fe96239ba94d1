"""Write the tags that frame a prompt's parts, and the one escape that keeps material from opening or closing them.
Pure.

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
_TAG = re.compile(rf"<[\s/]*(?:{'|'.join(TAGS)})(?![\w-])", re.IGNORECASE)
_SIGNS = "\u2039\u276e\u02c2\u1438\u16b2\U0001d236\u3008\u27e8"
"""Signs that look like `<`: those of Unicode's confusables, and two brackets."""
_OPENER = re.compile(f"[<\uff1c\ufe64\u226e\u2329\ufe3f{_SIGNS}]")
_BLANK = "\u115f\u1160\u2800\u3164\uffa0\ufffc"
"""Letters and signs that show nothing."""
_SHAPES = str.maketrans(
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u04cf\u043a\u043c\u043e\u043f\u0440\u0433\u0455\u0442\u0475\u0461"
    "\u03b1\u03b7\u03b9\u03ba\u03bf\u03c1\u03c4\u03bd\u0131\u0251\u0261"
    "\u0585\u0578\u057d\u0570\u03f2\u03c2\u028b\u0269\uab4e"
    "\uab7a\uabaf\uab70\uab7c\uab8b\uab75\uabb6\uabae\uab87\uabb2\uab71\uabaa\uab72\uaba9\uab83"
    "\ua4ee\ua4da\ua4d3\ua4f0\ua4dd\ua4e7\ua4f2\ua4d7\ua4e1\ua4df\ua4e0\ua4f3\ua4d1\ua4e3\ua4e2\ua4d4\ua4f4"
    "\ua4e6\ua4ea"
    "\u1d00\u1d04\u1d05\u1d07\ua730\u029c\u026a\u1d0b\u029f\u1d0d\u0274\u1d0f\u1d18\u0280\ua731\u1d1b\u1d1c\u1d20\u1d21",
    "acdehilkmonprstvw" + "anikoptviag" + "onuhccviu" + "acdehiklmprstvw" + "acdefhiklmnoprstuvw" * 2,
)
"""Letters of other alphabets (Cherokee and Lisu among them), and small capitals, that look like those of our tags."""


class _AsRead(dict[int, str]):
    """Fills itself: a character -> as an eye reads it that knows no shapes of letters and sees nothing unseen."""

    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKD", chr(code)).lower().translate(_SHAPES).translate(_OPENING)
        unseen = {one for one in plain if unicodedata.category(one)[0] in "MC" and not one.isspace()}
        self[code] = "".join(one for one in plain if one not in unseen and one not in _BLANK)
        return self[code]


_OPENING = str.maketrans(dict.fromkeys(_SIGNS, "<"))
_READ = _AsRead()
_ATTRIBUTE = str.maketrans({"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "})


def unframed(text: str) -> str:
    """Return the text as it may stand inside a frame: whatever reads like one of our tags begins with `&lt;`."""
    if _OPENER.search(text) is None:
        return text
    read = text.translate(_READ)
    both = zip(_OPENER.finditer(text), re.finditer("<", read), strict=True)
    tags = [_TAG.match(text, one.start()) or _TAG.match(read, other.start()) for one, other in both]
    escapes = iter(tags)
    return _OPENER.sub(lambda opener: "&lt;" if next(escapes) else opener.group(), text) if any(tags) else text


def attributes_of(values: Mapping[str, str]) -> str:
    """Return a tag's attributes, the empty ones left out: `name="tides.predict" lines="3-9"`."""
    return " ".join(f'{name}="{value.translate(_ATTRIBUTE)}"' for name, value in values.items() if value)


def framed(tag: str, text: str, **attributes: str) -> str:
    """Return `text`, which may be anybody's, as an element of ours."""
    return element(tag, unframed(text), **attributes)


def element(tag: str, inner: str, **attributes: str) -> str:
    """Return an element around text that is framed or escaped already."""
    head = f"{tag} {attributes_of(attributes)}".rstrip()
    return f"<{head}>\n{inner}\n</{tag}>" if inner else f"<{head}/>"
