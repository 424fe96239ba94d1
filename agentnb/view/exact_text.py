"""Show a call before a person lets it run: every character of it, and nothing that hides or moves. Pure.

Whatever a screen would not show, or would show elsewhere, is written out in angle brackets: `⟨U+200B⟩`, `⟨300 spaces⟩`.
Blank lines that follow each other are one line with their number. A text that itself reads like such a mark has its
first bracket written out. So two different texts never look the same, and what is shown leads back to what runs.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from agentnb.canonical import JsonMapping
from agentnb.view.number_format import count, plural

BLANK_LINES = 3
"""So many blank lines, one after the other, are folded."""
WIDE = 60
"""A gap of so many columns is written out: what follows it could stand beyond the edge of the view."""
LONG_LINE = 200
"""Characters of a line that is said to be long: some views scroll it instead of breaking it."""
_TAB = 8
MOST_MARKS = 3
"""Accents on one letter that are drawn. More are written out: a pile of them covers the lines around."""

_SPACES = r"[0-9,]+ (?:spaces?|tabs?)"
_LIKE_A_MARK = re.compile(rf"⟨(?=(?:U\+[0-9A-F]{{4,6}}|{_SPACES})⟩)")
_LIKE_A_FOLD = re.compile(rf"^\[(?=[0-9,]+ blank lines?(?: of {_SPACES}(?:, {_SPACES})*)?\]$)")
_GAP = re.compile(r"[ \t]{8,}")
_BLANK = re.compile(r"[ \t]*")
_NOTHING_SEEN = re.compile(
    # Letters and signs without a shape: fillers, vowels that are only inherent, the blank braille pattern, selectors.
    # U+FFFC stands for an object. Chromium draws every other sign but the space (tried 2026-12-01).
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffc"
    "\U00013441\U00013442\U00016fe4\U0001d159\U000e0000-\U000e0fff]"
)
_RIGHT_TO_LEFT = ("R", "AL", "AN")
LEFT_TO_RIGHT = "\u200e"
"""Stands around letters that are written from right to left, so that they turn nothing around but themselves."""


class ArgumentText(NamedTuple):
    """Holds one argument of a call. The label says how many lines there are, and whether the value is no text."""

    label: str
    text: str
    language: str


def call_shown(tool: str, arguments: JsonMapping) -> list[ArgumentText]:
    """Return a call's arguments in their order.

    Of a change to a file, return every line of both texts, as a difference. Of a question to the person, return its
    choices by number.
    """
    if tool == "ask_user":
        return _question_shown(arguments)
    old, new = arguments.get("old"), arguments.get("new")
    if tool != "edit_file" or not isinstance(old, str) or not isinstance(new, str):
        return arguments_shown(arguments)
    rest = {name: value for name, value in arguments.items() if name not in ("old", "new")}
    lines = list(whole_difference(old, new))
    gone, come = (sum(line.startswith(sign) for line in lines) for sign in "-+")
    label = f"Change, {plural(gone, 'line')} out, {plural(come, 'line')} in:"
    return [*arguments_shown(rest), ArgumentText(label, exact("\n".join(lines)), "diff")]


def _question_shown(arguments: JsonMapping) -> list[ArgumentText]:
    choices = arguments.get("choices")
    lines = [f"{number}. {choice}" for number, choice in enumerate(choices, 1)] if isinstance(choices, list) else []
    listed = [ArgumentText("Choices, or an answer of your own:", exact("\n".join(lines)), "")] if lines else []
    return [ArgumentText("Question:", exact(str(arguments.get("question"))), ""), *listed]


def whole_difference(old: str, new: str) -> Iterator[str]:
    """Yield every line of both texts behind its sign: `-` of the old, `+` of the new, else a space."""
    before, after = old.split("\n"), new.split("\n")
    for kind, i, j, k, m in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (f" {line}" for line in before[i:j])
        else:
            yield from (f"-{line}" for line in before[i:j])
            yield from (f"+{line}" for line in after[k:m])


def arguments_shown(arguments: JsonMapping) -> list[ArgumentText]:
    """Return the arguments of a call in their order."""
    code = arguments.get("code")
    if len(arguments) == 1 and isinstance(code, str):
        return [ArgumentText(f"Code, {_size(code)}:", exact(code), "python")]
    return [_argument(str(name), value) for name, value in arguments.items()]


def _argument(name: str, value: object) -> ArgumentText:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)
    kind = "" if isinstance(value, str) else "as JSON"
    size = _size(text) if "\n" in text or len(text) > LONG_LINE else ""
    return ArgumentText(f"{', '.join(filter(None, (exact(name), kind, size)))}:", exact(text), "")


def _size(text: str) -> str:
    lines = text.split("\n")
    longest = max(map(len, lines))
    of = f", the longest of {count(longest)} characters" if longest > LONG_LINE else ""
    return f"{plural(len(lines), 'line')}{of}"


def exact(text: str) -> str:
    """Return the text with everything written out that a screen would hide, move or let vanish beyond an edge."""
    lines: list[str] = []
    for blank, found in groupby(text.split("\n"), key=lambda line: bool(_BLANK.fullmatch(line))):
        run = list(found)
        lines += _folded(run) if blank and len(run) >= BLANK_LINES else map(_line, run)
    return "\n".join(lines)


def _folded(run: list[str]) -> Iterator[str]:
    """Yield `[12 blank lines]`, and for those that hold something all the same `[3 blank lines of 4 spaces]`."""
    for line, same in groupby(run):
        held = f" of {', '.join(_gaps(line))}" if line else ""
        yield f"[{plural(len(list(same)), 'blank line')}{held}]"


def _line(line: str) -> str:
    bracket = _LIKE_A_FOLD.sub("⟨U+005B⟩", _LIKE_A_MARK.sub("⟨U+27E8⟩", line))
    seen = _GAP.sub(_gap, "".join(_written(bracket)))
    return seen if seen.isascii() else "".join(_in_order(seen))


def _written(line: str) -> Iterator[str]:
    """Yield each character, or its number where it would not be seen, or would be drawn over what stands around."""
    marks = 0
    for character in line:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        is_seen = character == "\t" or (marks <= MOST_MARKS and not hides(character))
        yield character if is_seen else f"⟨U+{ord(character):04X}⟩"


def _gap(found: re.Match[str]) -> str:
    gap = found[0]
    wide = gap.count(" ") + _TAB * gap.count("\t") >= WIDE
    return "".join(f"⟨{part}⟩" for part in _gaps(gap)) if wide else gap


def _gaps(blank: str) -> Iterator[str]:
    for character, same in groupby(blank):
        yield plural(len(list(same)), "space" if character == " " else "tab")


def _in_order(line: str) -> Iterator[str]:
    turned = False
    for character in line:
        kind = unicodedata.bidirectional(character)
        turns = kind in _RIGHT_TO_LEFT or (turned and kind == "NSM")  # an accent goes with its letter
        yield character if turns == turned else f"{LEFT_TO_RIGHT}{character}"
        turned = turns
    yield LEFT_TO_RIGHT if turned else ""


def hides(character: str) -> bool:
    """Tell whether nothing of it is seen, it is a false space, or it moves what stands around it."""
    if " " <= character <= "~":
        return False
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs") or bool(_NOTHING_SEEN.match(character))
