"""Secrets out of text, before anything leaves the kernel: a stable mark stands for each.

A mark is made from the secret itself. The same key gives the same mark in any kernel and on any machine, so prefixes
hold. Of a key that was generated, a plain digest tells nothing. A password can be guessed, so its mark is dear to
compute (scrypt). It is short, so that many guesses fit. Where nothing was found, that is remembered by digest. So what
goes with every turn, a file or a definition, is searched once.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from agentnb.context.redaction.line_unwrap import Rejoined, rejoined
from agentnb.context.redaction.literal_folding import Assembled, assembled, unpacked, with_text
from agentnb.context.redaction.secret_shapes import GUESSABLE, NAME_HINTS, SHAPES, Shape

MARK_HEX, GUESSABLE_HEX = 4, 3
DEAR = 64
"""Guessable secrets of one text that get marks of their own; later ones share a mark by their kind."""
BEFORE = 80
"""Characters before literals that are put together, which may name what they make."""
VALUES = 500
"""Characters below a line that names a secret in which the values of its names may stand."""
REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Redacted:
    """`found` lists (kind, mark) in order of appearance, each mark once."""

    text: str
    found: tuple[tuple[str, str], ...]


def redact(text: str, *, allow: frozenset[str] = frozenset()) -> Redacted:
    """`text` with secrets replaced by marks such as `[redacted:anthropic-key:3f2a]`.

    `allow` holds what must stay: a mark, a kind, or the secret's own text. Redacting twice changes nothing more.
    """
    key = _key(text)
    if key in _CLEAN:
        return Redacted(text, ())
    result = _redacted(text, allow)
    if result.text == text and not allow:
        _remember(key)
    return result


_CLEAN: dict[bytes, None] = {}
"""Digests of texts that hold no secret even where nothing is allowed. Oldest first."""


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _remember(key: bytes) -> None:
    _CLEAN[key] = None
    if len(_CLEAN) > REMEMBERED:
        with contextlib.suppress(StopIteration, KeyError, RuntimeError):  # another thread may drop the same one
            del _CLEAN[next(iter(_CLEAN))]


def named_secrets(
    pairs: Iterable[tuple[object, object]], text: str, *, allow: frozenset[str]
) -> dict[str, tuple[str, str]]:
    """Return the secrets in the text by the name of the variable that holds them -> (kind, mark). Short values are left
    out: they would be found in other words."""
    out: dict[str, tuple[str, str]] = {}
    for name, value in pairs:
        if type(name) is str and type(value) is str and 8 <= len(value) <= 500 and names_secret(name) and value in text:
            found = redact(f"{name} = {value!r}", allow=allow).found
            out |= {value: found[0]} if len(found) == 1 else {}
    return out


def names_secret(name: str) -> bool:
    """Tell whether a variable of this name may hold a secret."""
    lowered = name.lower()
    return any(hint in lowered for hint in NAME_HINTS)


def cut_point(text: str, place: int, *, reach: int = 300) -> tuple[int, int]:
    """Return where to cut a text at `place` so that no half of a secret stays unrecognised. The first number ends the
    first part, the second begins what comes after. `reach` characters around are looked at."""
    first = max(0, place - reach)
    across = [m for m in _secrets_in(text[first : place + reach]) if m.start() < place - first < m.end()]
    begin = min((first + match.start("secret") for match in across), default=place)
    return min(begin, place), max((first + match.end() for match in across), default=place)


def _secrets_in(text: str) -> list[re.Match[str]]:
    return [match for match, shape in _matches(text) if shape.judge(match["secret"])]


def _matches(text: str) -> Iterator[tuple[re.Match[str], Shape]]:
    """Return what looks like a secret, not yet judged."""
    lowered = text.lower()
    near = (shape for shape in SHAPES if any(hint in lowered for hint in shape.hints))
    return ((match, shape) for shape in near for match in shape.pattern.finditer(text))


def _redacted(text: str, allow: frozenset[str]) -> Redacted:
    taken = _Taken(allow=allow)
    text = _over_lines(_by_shape(text, taken, SHAPES[:1]), taken)  # a private key has lines of its own
    text = _by_shape(_by_place(_in_parts(text, taken), taken), taken)
    order = sorted(taken.found.items(), key=lambda item: text.find(item[0]))
    return Redacted(text, tuple((kind, mark) for mark, kind in order))


@dataclass(slots=True)
class _Taken:
    allow: frozenset[str]
    found: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # what one shape was told to leave, a later one leaves too
    dear: set[str] = field(default_factory=set)


def _by_shape(text: str, taken: _Taken, shapes: Sequence[Shape] = SHAPES) -> str:
    lowered = text.lower()
    for shape in shapes:
        if any(hint in lowered for hint in shape.hints):
            replace = partial(_replaced, shape=shape, taken=taken)
            clean = _in_lines(text, lowered, shape, replace) if shape.in_lines else shape.pattern.sub(replace, text)
            lowered = lowered if clean == text else clean.lower()
            text = clean
    return text


def _in_lines(text: str, lowered: str, shape: Shape, replace: Callable[[re.Match[str]], str]) -> str:
    """Return the shape replaced in lines that hold a hint of it. Trying it at every character would take most of the
    time."""
    if len(lowered) != len(text):  # a letter that is two when small
        return shape.pattern.sub(replace, text)
    pieces, done = [], 0
    for begin, end in _lines_with(lowered, shape.hints):
        pieces += [text[done:begin], shape.pattern.sub(replace, text[begin:end])]
        done = end
    return "".join([*pieces, text[done:]])


def _lines_with(lowered: str, hints: Iterable[str]) -> list[tuple[int, int]]:
    """Return the spans of lines with one of the hints, each with the line after it. Spans that meet become one."""
    found = sorted(span for hint in hints for span in _lines_of(lowered, hint))
    merged: list[tuple[int, int]] = []
    for begin, end in found:
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def _lines_of(lowered: str, hint: str) -> Iterator[tuple[int, int]]:
    place = lowered.find(hint)
    while place >= 0:
        end = _line_end(lowered, place)
        yield lowered.rfind("\n", 0, place) + 1, _line_end(lowered, end)
        place = lowered.find(hint, end)


def _line_end(text: str, place: int) -> int:
    return text.find("\n", place) + 1 or len(text)


def _over_lines(text: str, taken: _Taken) -> str:
    """Return the text without secrets that go on in the next line: the mark stands where they begin."""
    found = [item for broken in rejoined(text) for item in _crossing(broken, taken)]
    for places, mark in sorted(found, reverse=True):
        if "[redacted:" not in text[places[0][0] : places[-1][1]]:
            for first, last in reversed(places[1:]):
                text = f"{text[:first]}{text[last:]}"
            text = f"{text[: places[0][0]]}{mark}{text[places[0][1] :]}"
    return text


def _crossing(broken: Rejoined, taken: _Taken) -> Iterator[tuple[list[tuple[int, int]], str]]:
    """Secrets that stand on both sides of a break, each by where it stands, with its mark."""
    done: list[tuple[int, int]] = []
    for match, shape in _matches(broken.text):
        start, end = match.span("secret")
        # Words that only name a secret stand before many a line; what an address says of it does not.
        if any(start < last and first < end for first, last in done) or not broken.crosses(
            *match.span("secret" if shape.in_lines else 0)
        ):
            continue
        mark = _mark_for(match["secret"], shape, taken)
        if mark is not None:
            done.append((start, end))
            yield list(broken.places(start, end)), mark


def _in_parts(text: str, taken: _Taken) -> str:
    """Return the text without the secrets that its code puts together from literals: the first holds the mark
    instead."""
    for found in sorted(assembled(text), key=lambda item: item.start, reverse=True):
        clean = _in_one_piece(text, found, taken)
        if clean is not None:
            text = f"{text[: found.start]}{with_text(text[found.start : found.end], clean)}{text[found.end :]}"
    return text


def _by_place(text: str, taken: _Taken) -> str:
    """Return the text without secrets that one assignment gives to several names: each is looked at beside its own."""
    lowered = text.lower()
    lines = _lines_with(lowered, NAME_HINTS) if len(lowered) == len(text) else [(0, len(text))]
    for begin, end in reversed(lines):
        free = end + VALUES
        for name, first, last in sorted(unpacked(text[begin:free]), key=lambda item: -item[1]):
            if begin + last > free:
                continue
            clean = _value_of(name, text[begin + first : begin + last], taken)
            if clean is not None:
                text, free = f"{text[: begin + first]}{clean}{text[begin + last :]}", begin + first
    return text


def _value_of(name: str, literal: str, taken: _Taken) -> str | None:
    """Return the literal that a name gets, with a mark in it; None where it is no secret."""
    trial = _Taken(allow=taken.allow, dear=taken.dear)
    head = f"{name} = "
    clean = _by_shape(f"{head}{literal}", trial)
    if not trial.found or not clean.startswith(head):
        return None
    taken.found.update(trial.found)
    return clean[len(head) :]


def _in_one_piece(text: str, found: Assembled, taken: _Taken) -> str | None:
    """Return what the literals make together, with a mark in it. None where even in one piece they are no secret."""
    before = text[max(0, found.start - BEFORE) : found.start].rpartition("\n")[2]
    quote = "'" if '"' in found.text else '"'
    trial = _Taken(allow=taken.allow, dear=taken.dear)
    whole = _by_shape(f"{before}{quote}{found.text}{quote}", trial)
    if not trial.found or not whole.startswith(before):
        return None
    taken.found.update(trial.found)
    return whole[len(before) + 1 : -1]


def _replaced(match: re.Match[str], *, shape: Shape, taken: _Taken) -> str:
    mark = _mark_for(match["secret"], shape, taken)
    if mark is None:
        return match.group()
    start, end = match.span("secret")
    return match.group()[: start - match.start()] + mark + match.group()[end - match.start() :]


def _mark_for(secret: str, shape: Shape, taken: _Taken) -> str | None:
    """Return the mark that stands for what a shape took. None where it is no secret, or is to stay."""
    if "[redacted:" in secret or any(kept in secret for kept in taken.kept) or not shape.judge(secret):
        return None
    mark = _mark(shape.kind, secret, taken)
    if not taken.allow.isdisjoint({secret, mark, shape.kind}):
        taken.kept.add(secret)
        return None
    taken.found[mark] = shape.kind
    return mark


def _mark(kind: str, secret: str, taken: _Taken) -> str:
    if kind in GUESSABLE:
        if len(taken.dear) >= DEAR and secret not in taken.dear:
            return f"[redacted:{kind}]"
        taken.dear.add(secret)
    return mark_of(kind, secret)


def mark_of(kind: str, secret: str) -> str:
    """Return the mark that stands for a secret."""
    raw = secret.encode("utf-8", "replace")
    if kind in GUESSABLE:
        return f"[redacted:{kind}:{_dear_digest(raw)[:GUESSABLE_HEX]}]"
    return f"[redacted:{kind}:{hashlib.sha256(raw).hexdigest()[:MARK_HEX]}]"


@lru_cache(1024)
def _dear_digest(secret: bytes) -> str:
    """A digest takes about 10 ms. So a million passwords take hours, and 12 bits fit hundreds of them."""
    return hashlib.scrypt(secret, salt=b"agentnb mark", n=2**12, r=8, p=1, dklen=8).hex()
