"""Text cannot forge the prompt's frame: whatever reads like one of our tags is escaped, whichever channel it takes."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.models.framing import TAGS, framed, unframed

_SPELLINGS = (
    "<{}>",
    "</{}>",
    "< {}>",
    "</ {} >",
    "<{} name='x'>",
    "<\u200b{}>",
    "<{}/>",
    "<\n{}>",
    "\uff1c{}>",
    "<\u00ad/{}>",
    "<\x00{}>",
    "<\u3164\u2800{}>",
    "<\ufffc/{}>",
    "\u226e{}>",
    "<" + "\u200b" * 500 + "{}>",
    "<{}\u200bx>",
    "<{}\u0300>",
)
SHAPES = (
    "\uff54\u1d43\u02e2\u1d4f",
    "\U0001f143\U0001f130\U0001f142\U0001f13a",
    "t\u0430sk",
    "\u03c4\u03b1sk",
    "TA\u017f\u212a",
)
SHAPES += ("\ufb01le", "t\u00e1sk", "ta\u0336sk", "t\x1bask", "\u1d1b\u1d00\ua731\u1d0b", "\u0422\u0410sk")
SHAPES += (
    "\u13a2\u13aa\u13da\u13e6",
    "\u13df\u13ac\u13de\u13de",
    "\ua4d4\ua4ee\ua4e2\ua4d7",
    "n\u0585te",
    "f\uab75le",
    "\u03f2ell",
)
LOOK_ALIKES = "\u2039\u276e\u02c2\u1438\u16b2\U0001d236\u3008\u27e8"
"""Signs that Unicode lists as confusable with `<` (TR39), and two brackets."""
FORGED = [form.format(name) for name in TAGS for form in _SPELLINGS] + [f"<{name.upper()}>" for name in TAGS]


@pytest.mark.parametrize("forged", FORGED)
def test_our_tags_are_escaped(forged: str) -> None:
    assert unframed(f"before {forged} after") != f"before {forged} after"
    inner = framed("cell", forged).removeprefix("<cell>\n").removesuffix("\n</cell>")
    assert not re.search(rf"[<\uff1c][\s/\u200b\u00ad]*(?:{'|'.join(TAGS)})\b", inner, re.IGNORECASE)


@pytest.mark.parametrize("name", SHAPES)
def test_letters_of_other_shapes_are_read_as_ours(name: str) -> None:
    assert unframed(f"a < b <{name}> </{name}>") == f"a < b &lt;{name}> &lt;/{name}>"


def test_each_sign_that_reads_as_an_opening_one_is_known() -> None:
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        seen = "".join(one for one in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(one))
        assert (unframed(f"{sign}task>") != f"{sign}task>") == (seen == "<" or (seen != "" and seen in LOOK_ALIKES))


@pytest.mark.parametrize(
    "code", ["a < b", "x <task_list", "List<T>", "<div>", "if a<cells:", "1 <2", "<taskbar>", "\u226e 5", "<t\u0430xi>"]
)
def test_code_stays_as_it_is(code: str) -> None:
    assert unframed(code) == code


@given(st.text(alphabet="<>/ taskcelvu\n", max_size=60))
def test_escaping_is_done_once_and_for_all(text: str) -> None:
    assert unframed(unframed(text)) == unframed(text)
    assert unframed(text).replace("&lt;", "<") == text.replace("&lt;", "<")
