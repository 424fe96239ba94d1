"""Cut text into tokens of the simulator's own: deterministic word pieces, one scale per family.

It is nobody's real tokenizer and is not meant to agree with any estimate. Like the real ones it cuts words, and
families differ. English prose has about 1.3 times as many tokens in claude-5 as in claude-4. In claude-4 a token is
about 4.3 characters of English prose and 3.4 of code.
"""

from __future__ import annotations

import re

_PIECES = {"claude-4": 10, "claude-5": 5, "gemini": 11, "o200k": 12}
"""The most letters that one token holds, by family; an unknown family counts like claude-4."""

_PARTS = re.compile(
    r" ?[A-Za-z]+"  # a word with the space before it
    r"| ?[0-9]{1,3}"  # digits in threes
    r"| ?[^\s\w]"  # punctuation
    r"|[^\S\n]+(?= )|\n+|\s"  # indentation, blank lines
    r"|_"
    r"|\w{1,2}"  # any other script
)


def pieces(text: str, family: str) -> list[str]:
    """Return the tokens of `text`; joined they are `text` again."""
    longest = _PIECES.get(family, _PIECES["claude-4"])
    out: list[str] = []
    for part in _PARTS.findall(text):
        if len(part) <= longest or part.isspace():
            out.append(part)
        else:
            out += [part[i : i + longest] for i in range(0, len(part), longest)]
    return out


def count(text: str, family: str) -> int:
    """Count the tokens of `text` in `family`."""
    return len(pieces(text, family))
