"""A request as it is shown: every character of it, and none that a terminal obeys."""

from __future__ import annotations

import re

from agentnb.view.prompt_view import PromptPart, prompt_bundle


def test_no_terminal_obeys_what_a_request_holds() -> None:
    text = 'x = "\x1b[2J\x1b]0;owned\x07"\r# \u202egnp.exe\n\ty = 1'
    part = PromptPart(layer="project", role="user", label="a\x1b[8m.py", text=text, tokens=9)
    shown = str(prompt_bundle("The next request", [part], exact=False)["text/plain"])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert r'x = "\x1b[2J\x1b]0;owned\x07"\r# \u202egnp.exe' in shown
    assert "\n\ty = 1" in shown
