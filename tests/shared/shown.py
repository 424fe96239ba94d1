"""Reads the views of a waiting run back into the texts of its call, and draws texts that try to look like others."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import strategies as st

# --- back from what is shown --------------------------------------------------------------------------------------

_HEADING = re.compile(r"Run (?:this in your kernel|this|these [0-9]+ calls)\? Nothing of")
_GAPS = r"[0-9,]+ (?:spaces?|tabs?)"
_MARK = re.compile(rf"⟨(?:U\+([0-9A-F]{{4,6}})|({_GAPS}))⟩")
_FOLD = re.compile(rf"\[([0-9,]+) blank lines?(?: of ({_GAPS}(?:, {_GAPS})*))?\]")


def read_back(text: str) -> str:
    """The text that is shown so."""
    return "\n".join(_line(line) for line in text.replace("\u200e", "").split("\n"))


def _line(line: str) -> str:
    if fold := _FOLD.fullmatch(line):
        blank = "".join(map(_gap, re.findall(_GAPS, fold[2] or "")))
        return "\n".join([blank] * _number(fold[1]))
    return _MARK.sub(lambda mark: chr(int(mark[1], 16)) if mark[1] else _gap(mark[2]), line)


def _gap(words: str) -> str:
    return (" " if "space" in words else "\t") * _number(words.partition(" ")[0])


def _number(digits: str) -> int:
    return int(digits.replace(",", ""))


class _Pre(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "pre":
            self._inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "pre"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


def of_html(html: str) -> list[str]:
    """The texts in the blocks after the heading; a browser drops the newline that a block begins with."""
    parser = _Pre()
    parser.feed(html[_HEADING.search(html).start() :])
    return [read_back(text.removeprefix("\n")) for text in parser.found]


def of_markdown(text: str) -> list[str]:
    """The texts in the code fences after the heading."""
    found, fence = [], ""
    for line in text[_HEADING.search(text).start() :].split("\n"):
        if fence and line == fence:
            fence = ""
        elif fence:
            found[-1].append(line)
        elif opened := re.match(r"`{3,}", line):
            fence = opened[0]
            found.append([])
    return [read_back("\n".join(lines)) for lines in found]


def of_text(text: str) -> list[str]:
    """The texts behind the bars after the heading, one under each label."""
    found: list[list[str]] = []
    for line in text[_HEADING.search(text).start() :].split("\n"):
        if line.startswith("   | "):
            found[-1].append(line.removeprefix("   | "))
        elif line.startswith("   "):
            found.append([])
    return [read_back("\n".join(lines)) for lines in found]


# --- texts ----------------------------------------------------------------------------------------------------------

CODE = [
    "import os; os.system('id')",
    "df.describe()",
    "eval(password)",
    "for n in range(3):\n    log.append(n)",
    "x = 1",
]
SHAPES = [
    *(
        "x = '''-----BEGIN PRIVATE KEY-----\na'''",
        "y = '''-----END PRIVATE KEY-----'''",
        "-----BEGIN RSA PRIVATE KEY-----",
    ),
    *(
        "cookie = a=",
        "password = '",
        "'; ",
        "token: ",
        "Authorization: Bearer ",
        "api_key=",
        "CALL(1234567)",
        "https://u:",
    ),
    *("sk-ant-api03-abcdEFGH1234567890_-xyz", "AKIAABCDEFGHIJKLMNOP", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
    *(
        "postgres://ann:hunter2@db/x",
        "[redacted:private-key]",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF1234567890",
    ),
]
TRICKS = [
    *(
        "\u3164",
        "\u2800",
        "\ufe0f",
        "\U000e0041",
        "\u200b",
        "\u202e",
        "\u2066",
        "\u2028",
        "\x1b[2K",
        "\x00",
        "\r",
        "\x08",
    ),
    *("\n\n\n\n", " \n\t\n \n", " " * 90, "\t" * 12, " \t" * 30, "\xa0", "שלום", "سَلام 12", "\u0301", "\u0338"),
    *("[4 blank lines]", "[1 blank line of 2 spaces, 1 tab]", "⟨U+200B⟩", "⟨U+27E8⟩", "⟨90 spaces⟩", "⟨", "…"),
    *(
        "```",
        "~~~",
        "</pre>",
        "<script>",
        "&lt;",
        "   | ",
        "Code, 1 line:",
        "Run this in your kernel? Nothing of it has run.",
        "$x$",
        "\\",
    ),
]


def payloads() -> st.SearchStrategy[str]:
    """Texts of the shapes that redaction knows, around code, with whatever hides or looks like something else."""
    parts = st.sampled_from(CODE) | st.sampled_from(SHAPES) | st.sampled_from(TRICKS) | st.text(max_size=8)
    return st.tuples(st.lists(parts, min_size=1, max_size=8), st.sampled_from(["", "\n", " "])).map(
        lambda drawn: drawn[1].join(drawn[0])
    )
