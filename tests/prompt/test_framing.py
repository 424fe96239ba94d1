"""Text cannot forge the prompt's frame: whatever reads like one of our tags is escaped, whichever channel it takes."""

from __future__ import annotations

import re

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
)
FORGED = [form.format(name) for name in TAGS for form in _SPELLINGS] + [f"<{name.upper()}>" for name in TAGS]


@pytest.mark.parametrize("forged", FORGED)
def test_our_tags_are_escaped(forged: str) -> None:
    assert unframed(f"before {forged} after") != f"before {forged} after"
    inner = framed("cell", forged).removeprefix("<cell>\n").removesuffix("\n</cell>")
    assert not re.search(rf"[<\uff1c][\s/\u200b\u00ad]*(?:{'|'.join(TAGS)})\b", inner, re.IGNORECASE)


@pytest.mark.parametrize("code", ["a < b", "x <task_list", "List<T>", "<div>", "if a<cells:", "1 <2", "<taskbar>"])
def test_code_stays_as_it_is(code: str) -> None:
    assert unframed(code) == code


@given(st.text(alphabet="<>/ taskcelvu\n", max_size=60))
def test_escaping_is_done_once_and_for_all(text: str) -> None:
    assert unframed(unframed(text)) == unframed(text)
    assert unframed(text).replace("&lt;", "<") == text.replace("&lt;", "<")
