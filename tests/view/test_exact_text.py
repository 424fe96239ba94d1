"""What is shown of a call leads back to what runs, whatever its text is: in html, Markdown and plain text."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pytest
import shown
from hypothesis import example, given
from hypothesis import strategies as st

from agentnb.view.exact_text import BLANK_LINES, exact, hides
from agentnb.view.render import bundle


def waits(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    question = {"number": 1, "step": 3, "tool": tool, "arguments": arguments}
    return {"state": "WAITING", "run_id": "r-1", "task": "go", "approvals": {"waiting": [question], "decided": []}}


@given(shown.payloads())
@example(
    "x = '''-----BEGIN PRIVATE KEY-----\na'''\nimport os; os.system('id')\ny = '''-----END PRIVATE KEY-----'''\ndf"
)
@example("cookie = a=CALL(1234567)")
@example("password = 'eval(1)'; eval(password)")
@example("\n\n\n")
@example("\nx")
@example("a\r\nb\rc")
@example(f"x = 1{' ' * 500}; evil()")
@example(f"x = 1{chr(10) * 500}evil()")
@example("[3 blank lines]\n⟨U+200B⟩\u200b⟨60 spaces⟩")
@example("```\n</pre><b>x</b>\n~~~\n   | y")
@example("x = 'שלום' + 'עולם'  # سلام 12")
def test_code_is_shown_as_it_runs_in_every_form(code: str) -> None:
    forms = bundle(waits("run_code", {"code": code}))
    assert [shown.of_html(forms["text/html"]), shown.of_markdown(forms["text/markdown"])] == [[code]] * 2
    assert shown.of_text(forms["text/plain"]) == [code]


@given(shown.payloads(), shown.payloads(), st.integers() | st.lists(st.booleans(), max_size=3))
def test_each_argument_is_shown_as_it_runs(path: str, text: str, more: Any) -> None:
    forms = bundle(waits("write", {"path": path, "text": text, "more": more}))
    for found in (shown.of_html(forms["text/html"]), shown.of_text(forms["text/plain"])):
        assert found[:2] == [path, text]
        assert len(found) == 3


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("\n".join(f"x{n} = {n}" for n in range(500)), "read all 500 lines before you run it"),
        (f"x = {'1 + ' * 1000}1", "read the whole line before you run it"),
        ("\n".join("x = 1" for _ in range(16)), ""),
    ],
)
def test_a_block_that_hides_its_end_says_so(code: str, told: str) -> None:
    html = bundle(waits("run_code", {"code": code}))["text/html"]
    assert ("The block scrolls" in html) is bool(told)
    assert told in html


@pytest.mark.parametrize("sign", ["\u3164", "\u2800", "\ufe0f", "\ufffc", "\U000e0041"])
def test_a_sign_without_a_shape_is_written_out(sign: str) -> None:
    assert exact(f"a{sign}b") == f"a⟨U+{ord(sign):04X}⟩b"


def test_a_number_does_not_look_like_a_text_of_digits() -> None:
    assert bundle(waits("f", {"n": 1}))["text/plain"] != bundle(waits("f", {"n": "1"}))["text/plain"]


@given(shown.payloads())
def test_nothing_of_it_is_unseen(code: str) -> None:
    """But for the marks that keep right-to-left letters where they stand."""
    text = exact(code).replace("\u200e", "")
    assert not [c for c in text if c not in "\n\t" and hides(c)]
    assert all(unicodedata.category(c) not in ("Cf", "Cc") or c in "\n\t" for c in text)
    blank = [not line.strip(" \t") for line in text.split("\n")]
    assert not any(all(blank[i : i + BLANK_LINES]) for i in range(len(blank) - BLANK_LINES + 1))


HIDDEN = {
    "Hangul filler": "\u3164",
    "Hangul choseong filler": "\u115f",
    "halfwidth Hangul filler": "\uffa0",
    "braille blank": "\u2800",
    "variation selector": "\ufe0f",
    "variation selector 17": "\U000e0100",
    "tag": "\U000e0041",
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "word joiner": "\u2060",
    "soft hyphen": "\xad",
    "grapheme joiner": "\u034f",
    "right-to-left override": "\u202e",
    "left-to-right mark": "\u200e",
    "isolate": "\u2067",
    "no-break space": "\xa0",
    "ideographic space": "\u3000",
    "line separator": "\u2028",
    "escape": "\x1b",
    "null": "\x00",
    "backspace": "\x08",
    "form feed": "\x0c",
    "C1 control": "\x9b",
    "return": "\r",
    "private use": "\ue000",
}


@pytest.mark.parametrize("name", list(HIDDEN))
def test_what_a_screen_does_not_show_is_written_out(name: str) -> None:
    mark = f"a⟨U+{ord(HIDDEN[name]):04X}⟩b"
    forms = bundle(waits("run_code", {"code": f"a{HIDDEN[name]}b"}))
    seen = re.sub(r"<[^>]+>", "", forms["text/html"])  # colours stand around parts of it
    assert all(mark in text for text in (seen, forms["text/markdown"], forms["text/plain"]))


def test_blank_lines_are_folded_with_their_number_and_the_lines_are_counted() -> None:
    forms = bundle(waits("run_code", {"code": "a = 1" + "\n" * 13 + "evil()"}))
    for form in ("text/html", "text/markdown", "text/plain"):
        plain = re.sub(r"<[^>]+>", "", forms[form].replace("\\", ""))
        assert "Code, 14 lines:" in plain
        assert "[12 blank lines]" in plain
        assert plain.index("Code, 14 lines:") < plain.index("a = 1") < plain.index("evil()")


def test_code_far_to_the_right_is_brought_into_view() -> None:
    assert exact(f"a = 1{' ' * 300}; evil()") == "a = 1⟨300 spaces⟩; evil()"
    assert exact("\t" * 40 + "evil()") == "⟨40 tabs⟩evil()"
    assert exact(f"{' ' * 32}x") == f"{' ' * 32}x", "indented code stays as it is"
    assert (
        "the longest of 308 characters" in bundle(waits("run_code", {"code": "a" * 300 + "; evil()\n"}))["text/plain"]
    )


@pytest.mark.parametrize("mark", ["\u0301", "\u20dd", "\u0338", "\U0001e944"])
def test_a_pile_of_accents_covers_no_line(mark: str) -> None:
    shown = exact(f"x = 'a{mark * 40}'")
    assert shown.count(mark) == 3
    assert shown.count(f"\u27e8U+{ord(mark):04X}\u27e9") == 37
    assert exact(f"cafe{mark}") == f"cafe{mark}"


def test_letters_from_right_to_left_turn_nothing_around() -> None:
    code = "a = 'א' + 1 + 'ב'"
    assert exact(code) == "a = '\u200eא\u200e' + 1 + '\u200eב\u200e'"
