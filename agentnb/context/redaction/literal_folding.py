"""Fold literals that code puts together, or gives to names side by side, so that a secret is seen whole."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_PREFIX = r"[rbufRBUF]{0,2}"
_LITERAL = rf"{_PREFIX}(?:\"(?:[^\"\\\n]{{1,400}}+|\\.){{0,400}}+\"|'(?:[^'\\\n]{{1,400}}+|\\.){{0,400}}+')"
_SPACE = r"[ \t]{0,40}"
_LINE = rf"{_SPACE}(?:\\?\r?\n{_SPACE})?"
_PLAIN = r"[^\\\n\"']*"
_PART = re.compile(
    rf"(?P<prefix>{_PREFIX})(?P<quote>[\"'])(?P<text>{_PLAIN}(?:(?:\\.|(?!(?P=quote))[\"']){_PLAIN})*)(?P=quote)"
)
_INNER = re.compile(r"\{ ?(?P<quote>[\"'])(?P<text>[^\"'{}\n]{1,200})(?P=quote) ?\}")
_FIELD = re.compile(r"\{\w*\}|%s")


@dataclass(frozen=True, slots=True)
class Assembled:
    """Holds the literals from `start` to `end` of a text, and the `text` that they make together."""

    start: int
    end: int
    text: str


def assembled(source: str) -> Iterator[Assembled]:
    """Yield literals side by side or with `+` between them, on one line or several.

    One before a colon is a key.

    `"".join([…])`, `format`, `%` and f-strings count if they hold nothing but literals.
    """
    quotes = _quotes(source)
    for needs, sign, pattern, text_of in _FORMS:
        for match in _matches(source, quotes if any(one in source for one in needs) else (), sign, pattern):
            yield Assembled(match.start(), match.end(), text_of(match.group()))


def unpacked(source: str) -> Iterator[tuple[str, int, int]]:
    """Yield the literals of `user, password = u, p = "bob", "…"`, each with the names that get it: (name, start,
    end)."""
    for first in _TARGETS.finditer(source):
        lists, place = _chain(source, first)
        most = max(map(len, lists))
        values = list(_values(source, place, most))
        if (len(lists) == 1 and most == 1) or len(values) < min(most, 2):
            continue  # one name beside its value needs no help; a call's `f(token, x="…")` gives nothing to `token`
        for names in (names for names in lists if len(names) > 1 or most == 1):
            yield from ((name, *value.span()) for name, value in zip(names, values, strict=False) if value["literal"])


def _chain(source: str, first: re.Match[str]) -> tuple[list[list[str]], int]:
    """Return the names of each target of an assignment, and where its value begins."""
    lists: list[list[str]] = []
    targets: re.Match[str] | None = first
    place = first.end()
    while targets is not None and len(lists) <= CHAINED:
        lists.append(_TARGET.findall(targets["names"]))
        place = targets.end()
        targets = _TARGETS.match(source, place)
    return lists, place


def _values(source: str, place: int, most: int) -> Iterator[re.Match[str]]:
    for _ in range(most):
        value = _VALUE.match(source, place)
        if value is None:
            return
        yield value
        comma = _COMMA.match(source, value.end())
        if comma is None:
            return
        place = comma.end()


def with_text(code: str, text: str) -> str:
    """Return the code with `text` in its first literal and nothing in the others. The number of its lines stays."""
    parts = iter([text])
    return _PART.sub(lambda part: f"{part['prefix']}{part['quote']}{next(parts, '')}{part['quote']}", code)


CHAINED = 8
"""Targets of one assignment beyond the first."""
_NAME = r"[^\W\d]\w{0,60}(?:\.\w{1,60}){0,3}(?:\[[\"'][\w-]{1,60}[\"']\])?"
_TARGET = re.compile(_NAME)
_TARGETS = re.compile(
    rf"(?<![\w.])(?P<names>{_NAME}(?:{_SPACE},{_SPACE}{_NAME}){{0,20}}+){_SPACE},?{_SPACE}[\])]?{_SPACE}=(?!=){_SPACE}[\[(]?{_LINE}"
)
_VALUE = re.compile(rf"(?P<literal>{_LITERAL})|[\w.-]{{1,80}}+(?:\([^()\n]{{0,200}}\))?(?!{_SPACE}=)")
_COMMA = re.compile(rf"{_LINE},{_LINE}")


def _quotes(source: str) -> list[int]:
    """Return where quotes stand: `find` passes over much data a hundred times as fast as a pattern."""
    places: list[int] = []
    for quote in "\"'":
        place = source.find(quote)
        while place >= 0:
            places.append(place)
            place = source.find(quote, place + 1)
    return sorted(places)


def _matches(
    source: str, quotes: Sequence[int], sign: re.Pattern[str], pattern: re.Pattern[str]
) -> Iterator[re.Match[str]]:
    """Yield the pattern on the lines where its sign is, which begins with a quote. At no quote it is tried twice."""
    done = 0
    for number, place in enumerate(quotes):
        if place < done or (hint := sign.match(source, place)) is None:
            continue
        begin = max(done, place - BEFORE)
        begin = max(begin, source.rfind("\n", begin, place) + 1)
        starts = (_start(source, quote) for quote in quotes[bisect_left(quotes, begin) : number + 1])
        match = next(filter(None, (pattern.match(source, start, hint.end() + REACH) for start in starts)), None)
        done = place + 1 if match is None else match.end()
        if match is not None:
            yield match


def _start(source: str, quote: int) -> int:
    """Return where the literal of this quote begins: at its prefix, if it has one."""
    before = source[max(0, quote - 2) : quote]
    return quote - len(before) + len(before.rstrip("rbufRBUF"))


BEFORE = 500
"""Characters before a sign at which its first literal may begin."""
REACH = 2000
"""Characters after the first sign that literals may go on for."""


def _joined(code: str) -> str:
    return "".join(part["text"] for part in _PART.finditer(code))


def _join_call(code: str) -> str:
    return _joined(code[code.index("(") :])


def _filled(code: str) -> str:
    frame, *values = [part["text"] for part in _PART.finditer(code)]
    rest = iter(values)
    return _FIELD.sub(lambda field: next(rest, field.group()), frame)


def _f_string(code: str) -> str:
    return _INNER.sub(lambda match: match["text"], code[code.index(code[-1]) + 1 : -1])


_LIST = rf"{_LITERAL}(?:{_LINE},{_LINE}{_LITERAL})"
_FORMS: tuple[tuple[tuple[str, ...], re.Pattern[str], re.Pattern[str], Callable[[str], str]], ...] = (
    (
        ("",),
        re.compile(rf"[\"'](?=[ \t+\\\r\n]){_LINE}(?:\+{_LINE})?{_PREFIX}[\"']"),
        re.compile(rf"(?<![\w\"'\\]){_LITERAL}(?:{_LINE}(?:\+{_LINE})?{_LITERAL}(?!{_SPACE}:)){{1,20}}"),
        _joined,
    ),
    (
        (".join(",),
        re.compile(r"[\"']\.join\("),
        re.compile(rf"{_PREFIX}(?:\"\"|'')\.join\({_LINE}[\[(]{_LINE}{_LIST}{{1,20}},?{_LINE}[\])]\)"),
        _join_call,
    ),
    (
        (".format(", "%"),
        re.compile(r"[\"'](?:\.format\(|[ \t]?%[ \t]?\(?)[rbuf]{0,2}[\"']"),
        re.compile(rf"{_LITERAL}(?:\.format\(|{_SPACE}%{_SPACE}\(?){_SPACE}{_LIST}{{0,8}},?{_SPACE}\)?"),
        _filled,
    ),
    (
        ("{",),
        re.compile(r"(?:(?<=\b[fF])|(?<=\b[rR][fF])|(?<=\b[fF][rR]))[\"'](?=[^\n{]{0,300}+\{ ?[\"'])"),
        re.compile(
            r"\b[rR]?[fF][rR]?(?:\"(?:[^\"{}\n]|\{ ?'[^'{}\n]{1,200}' ?\}){1,400}+\"|"
            r"'(?:[^'{}\n]|\{ ?\"[^\"{}\n]{1,200}\" ?\}){1,400}+')"
        ),
        _f_string,
    ),
)
