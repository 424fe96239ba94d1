"""Put lines together again that a terminal or an e-mail broke within a word, so that a secret is seen. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

LEAST = 60
"""Characters of a line from which it may have been broken for its length."""
LINES = 40
"""Lines that one word may go on for."""
_WORD = re.compile(r"(?!---)[\w.+/=:@%&?#!$^*~-]+")
_MARGIN = re.compile(r"(?:[ \t]*[>#*|]+){1,8}[ \t]?|[ \t]*")
_MADE = re.compile(r"\d|[a-z][A-Z]|[A-Z]{2}[a-z]{2}|[A-Z]{5}|[_/+=@:%]|^-\w")
"""Signs of a word that goes on in the next line; no English word has them."""
_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rejoined:
    """Holds `text` as it was before it was broken, and the broken text's `spans` that make it up."""

    text: str
    spans: tuple[_Span, ...]

    def crosses(self, start: int, end: int) -> bool:
        """Tell whether a part of the text goes over a break."""
        place = 0
        for first, last in self.spans[:-1]:
            place += last - first
            if start < place < end:
                return True
        return False

    def places(self, start: int, end: int) -> Iterator[_Span]:
        """Return where a part of the text stands in the broken text."""
        place = 0
        for first, last in self.spans:
            begin, stop = max(start - place, 0), min(end - place, last - first)
            if begin < stop:
                yield first + begin, first + stop
            place += last - first


def rejoined(text: str) -> Iterator[Rejoined]:
    """Yield where a word seems to go on in the next line: at the margin or behind the same marks.

    Both as it stands and without the `=` with which e-mail says that a line goes on.
    """
    lines = list(_lines(text))
    number = 0
    while number < len(lines):
        spans = list(_going_on(text, lines, number))
        if len(spans) > 1:
            yield _joined(text, spans)
            if all(text[last - 1] == "=" for _, last in spans[:-1]):
                yield _joined(text, [*((first, last - 1) for first, last in spans[:-1]), spans[-1]])
        number += len(spans)


def _lines(text: str) -> Iterator[_Span]:
    place = 0
    for line in text.split("\n"):
        yield place, place + len(line) - line.endswith("\r")
        place += len(line) + 1


def _joined(text: str, spans: Iterable[_Span]) -> Rejoined:
    spans = tuple(spans)
    return Rejoined("".join(text[first:last] for first, last in spans), spans)


def _going_on(text: str, lines: Sequence[_Span], number: int) -> Iterator[_Span]:
    """Yield the line, and as much of the lines after it as seems to belong to its last word."""
    first, last = lines[number]
    yield first, last
    width = last - first
    if width < LEAST or not _WORD.match(text[last - 1]):
        return
    for begin, end in lines[number + 1 : number + LINES]:
        start = _after_margin(text, (first, last), begin)
        word = _WORD.match(text, start, end)
        if word is None or end - begin > width or not _MADE.search(word.group()):
            return
        yield start, end
        if word.end() < end or end - begin < width:
            return


def _after_margin(text: str, line: _Span, begin: int) -> int:
    """Return where the next line's own text begins: behind the marks that this line begins with, or at the margin."""
    margin = _MARGIN.match(text, *line)
    marks = margin.group() if margin else ""
    return begin + len(marks) if text.startswith(marks, begin) else begin
