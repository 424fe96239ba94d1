"""Take secrets out of text, before anything leaves the kernel: a stable mark stands for each.

A mark is made from the secret itself. The same key gives the same mark in any kernel and on any machine, so prefixes
hold. Of a key that was generated, a plain digest tells nothing. A password can be guessed, so its mark is dear to
compute (scrypt). It is short, so that many guesses fit. Where nothing was found, that is remembered by digest. So what
goes with every turn, a file or a definition, is searched once.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

from agentnb.context.redaction.line_unwrap import Rejoined, rejoined
from agentnb.context.redaction.literal_folding import Assembled, assembled, unpacked, with_text
from agentnb.context.redaction.secret_shapes import AROUND, COLUMNS, GUESSABLE, NAME_HINTS, SHAPES, Shape
from agentnb.context.redaction.table_cells import named_cells

MARK_HEX, GUESSABLE_HEX = 4, 3
DEAR = 64
"""Guessable secrets of one text that get marks of their own; later ones share a mark by their kind."""
BEFORE = 80
"""Characters before literals that are put together, which may name what they make."""
NAMES = 1000
"""Characters before and after the name of a secret in which the others of its assignment may stand."""
VALUES = 500
"""Characters below a line that names a secret in which the values of its names may stand."""
REMEMBERED = 20_000
_MARK = re.compile(r"\[redacted:[\w-]+(?::\w+)?\]")


@dataclass(frozen=True, slots=True)
class Redacted:
    """Holds the text without secrets. `found` lists (kind, mark) in order of appearance, each mark once."""

    text: str
    found: tuple[tuple[str, str], ...]


def redact(text: str, *, allow: frozenset[str] = frozenset()) -> Redacted:
    """Return `text` with secrets replaced by marks such as `[redacted:anthropic-key:3f2a]`.

    `allow` holds what must stay: a mark, a kind, or the secret's own text. Redacting twice changes nothing more.
    """
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    if key in _CLEAN:
        return Redacted(text, ())
    result = _redacted(text, allow)
    if result.text == text and not allow:
        _CLEAN[key] = None
        if len(_CLEAN) > REMEMBERED:
            with contextlib.suppress(StopIteration, KeyError, RuntimeError):  # another thread may drop the same one
                del _CLEAN[next(iter(_CLEAN))]
    return result


_CLEAN: dict[bytes, None] = {}
"""Digests of texts that hold no secret even where nothing is allowed. Oldest first."""


def named_secrets(
    pairs: Iterable[tuple[object, object]], text: str, *, allow: frozenset[str]
) -> dict[str, tuple[str, str]]:
    """Return the secrets in the text by the name of the variable that holds them -> (kind, mark). Short values are left
    out: they would be found in other words."""
    out: dict[str, tuple[str, str]] = {}
    for name, given in pairs:
        value = given.decode("latin-1") if type(given) is bytes and len(given) <= 500 and given.isascii() else given
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
    """Yield what looks like a secret, not yet judged."""
    places = Places(text)
    return ((match, shape) for shape in SHAPES for match in places.matches(shape))


def _redacted(text: str, allow: frozenset[str]) -> Redacted:
    taken = _Taken(allow=allow)
    places = _by_column(_by_shape(Places(text), taken, SHAPES[:1]), taken)  # a private key has lines of its own
    places = _over_lines(places, taken)
    text = _by_shape(_by_place(_in_parts(places, taken), taken), taken).text
    order = dict.fromkeys([*(mark for mark in _MARK.findall(text) if mark in taken.found), *taken.found])
    return Redacted(text, tuple((taken.found[mark], mark) for mark in order))


@dataclass(slots=True)
class _Taken:
    allow: frozenset[str]
    found: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # what one shape was told to leave, a later one leaves too
    dear: set[str] = field(default_factory=set)


_HINTS = frozenset(hint for shape in SHAPES for hint in shape.hints).union(NAME_HINTS)
_HINT_LETTERS = frozenset(letter for hint in _HINTS for letter in hint)
"""Much data lacks some of them, base64 for one: it is not searched for the hints that have them."""


class Places:
    """Holds where in a text the shapes' hints stand: only there a pattern is tried. Each hint is looked for once."""

    def __init__(self, text: str) -> None:
        self.text = text
        lowered = self._lowered = _lowered(text)
        absent = {letter for letter in _HINT_LETTERS if letter not in lowered}
        self._here = {hint for hint in _HINTS if absent.isdisjoint(hint) and hint in lowered}
        self._known: dict[str, list[int]] = {}
        self._found: dict[tuple[tuple[str, ...], re.Pattern[str] | None], list[int]] = {}
        self._besides: dict[re.Pattern[str], list[tuple[int, int]]] = {}

    def of(self, hint: str) -> list[int]:
        """Return where the hint begins, in small letters or large ones."""
        if (found := self._known.get(hint)) is None:
            found = self._known[hint] = []
            place = self._lowered.find(hint) if hint in self._here else -1
            while place >= 0:
                found.append(place)
                place = self._lowered.find(hint, place + 1)
        return found

    def all_of(self, hints: tuple[str, ...], ends: re.Pattern[str] | None = None) -> list[int]:
        """Return where one of the hints begins, in order: where `ends` is there too, if that is asked for."""
        if (found := self._found.get((hints, ends))) is None:
            places = sorted({place for hint in hints for place in self.of(hint)})
            found = places if ends is None else [place for place in places if ends.match(self.text, place)]
            self._found[hints, ends] = found
        return found

    def matches(self, shape: Shape) -> Iterator[re.Match[str]]:
        """Yield what the shape matches, from the left, none over another."""
        if self._here.isdisjoint(shape.hints):
            return
        if shape.before is None:
            yield from shape.pattern.finditer(self.text)
            return
        done = 0
        for place in self.all_of(shape.hints, shape.ends):
            first = max(done, place - shape.before)
            starts: Iterable[int] = range(first, place + 1)
            if shape.begins is not None:
                starts = (begin.start() for begin in shape.begins.finditer(self.text, first, place + 1))
            match = next(filter(None, (shape.pattern.match(self.text, start) for start in starts)), None)
            done = max(done, place + 1) if match is None else match.end()
            if match is not None and (shape.beside is None or self._beside(shape, shape.beside, match)):
                yield match

    def _beside(self, shape: Shape, wanted: re.Pattern[str], match: re.Match[str]) -> bool:
        """Tell whether that stands beside it. It is looked for once in the whole text: dense lines ask often."""
        if not shape.judge(match["secret"]):
            return False
        if (found := self._besides.get(wanted)) is None:
            found = self._besides[wanted] = [one.span() for one in wanted.finditer(self.text)]
        first = bisect_left(found, (match.start() - AROUND, 0))
        return first < len(found) and found[first][1] <= match.end() + AROUND

    def edited(self, edits: Iterable[tuple[int, int, str]]) -> Places:
        """Return the text with each (start, end, instead) put in; of two over each other the first stands."""
        pieces, done = [], 0
        for start, end, instead in sorted(edits):
            if start >= done:
                pieces += [self.text[done:start], instead]
                done = end
        return Places("".join([*pieces, self.text[done:]])) if pieces else self


def _lowered(text: str) -> str:
    """Return the text in small letters, as long as it is: a letter that is two when small stays."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)


def _by_shape(places: Places, taken: _Taken, shapes: Sequence[Shape] = SHAPES) -> Places:
    for shape in shapes:
        found = ((match, _mark_for(match["secret"], shape, taken)) for match in places.matches(shape))
        places = places.edited([(*match.span("secret"), mark) for match, mark in found if mark is not None])
    return places


def _by_column(places: Places, taken: _Taken) -> Places:
    """Return the text without secrets that stand below their name, in tables."""
    edits: list[tuple[int, int, str]] = []
    for name, start, end in named_cells(places.text, places.all_of(NAME_HINTS), lambda name: _column(name) is not None):
        shape = _column(name)
        mark = _mark_for(places.text[start:end], shape, taken) if shape is not None else None
        edits += [(start, end, mark)] if mark is not None else []
    return places.edited(edits)


def _column(name: str) -> Shape | None:
    return next((shape for shape in COLUMNS if shape.pattern.fullmatch(name)), None)


def _over_lines(places: Places, taken: _Taken) -> Places:
    """Return the text without secrets that go on in the next line: the mark stands where they begin."""
    edits: list[tuple[int, int, str]] = []
    for spans, mark in _crossing(list(rejoined(places.text)), taken):
        if "[redacted:" not in places.text[spans[0][0] : spans[-1][1]]:
            edits += [(*span, "" if n else mark) for n, span in enumerate(spans)]
    return places.edited(edits)


def _crossing(broken: Sequence[Rejoined], taken: _Taken) -> Iterator[tuple[list[tuple[int, int]], str]]:
    """Yield secrets that stand on both sides of a break, each by where it stands, with its mark."""
    begins = list(accumulate((len(one.text) + 1 for one in broken), initial=0))
    done: dict[int, list[tuple[int, int]]] = {}
    for match, shape in _matches("\n".join(one.text for one in broken)):
        number = bisect_right(begins, match.start()) - 1
        one, base = broken[number], begins[number]
        start, end = (place - base for place in match.span("secret"))
        over = any(start < last and first < end for first, last in done.get(number, ()))
        # Words that only name a secret stand before many a line; what an address says of it does not.
        whole = (start, end) if shape.named else (match.start() - base, match.end() - base)
        if over or end > len(one.text) or not one.crosses(*whole) or (shape.named and _ASSIGNS.match(one.text, end)):
            continue
        mark = _mark_for(match["secret"], shape, taken)
        if mark is not None:
            done.setdefault(number, []).append((start, end))
            yield list(one.places(start, end)), mark


_ASSIGNS = re.compile(r"[ \t]{0,4}[:=]")
"""After a name: the next line begins with one, and no value goes on there."""


def _in_parts(places: Places, taken: _Taken) -> Places:
    """Return the text without secrets that its code puts together from literals: the first holds the mark."""
    text, edits = places.text, []
    made = [(one, _line_of(text, one)) for one in assembled(text)]
    for one, line in (made[number] for number in _suspect([before + literal for _, (before, literal) in made])):
        clean = _in_one_piece(*line, taken)
        if clean is not None:
            edits.append((one.start, one.end, with_text(text[one.start : one.end], clean)))
    return places.edited(edits)


def _suspect(lines: Sequence[str]) -> list[int]:
    """Return which of the lines hold what looks like a secret. All are looked through at once, for that is fast."""
    begins = list(accumulate((len(line) + 1 for line in lines), initial=0))
    touched = (
        range(bisect_right(begins, match.start()) - 1, bisect_left(begins, match.end()))
        for match, _ in _matches("\n".join(lines))
    )
    return sorted({number for numbers in touched for number in numbers})


def _line_of(text: str, made: Assembled) -> tuple[str, str]:
    """Return what stands on the line before literals, and what they make as one literal."""
    before = text[max(0, made.start - BEFORE) : made.start].rpartition("\n")[2]
    quote = "'" if '"' in made.text else '"'
    return before, f"{quote}{made.text}{quote}"


def _by_place(places: Places, taken: _Taken) -> Places:
    """Return the text without secrets that one assignment gives to several names: each is looked at beside its own."""
    text, edits = places.text, []
    for begin, end in _windows(places):
        for name, first, last in unpacked(text[begin:end]):
            clean = _value_of(name, text[begin + first : begin + last], taken) if names_secret(name) else None
            if clean is not None:
                edits.append((begin + first, begin + last, clean))
    return places.edited(edits)


def _windows(places: Places) -> Iterator[tuple[int, int]]:
    """Yield what stands around names of secrets and may be an assignment, up to the end of its values."""
    text, done = places.text, 0
    for place in places.all_of(NAME_HINTS):
        if place < done:
            continue
        begin = max(done, text.rfind("\n", max(0, place - NAMES), place) + 1, place - NAMES)
        done = _line_end(text, _line_end(text, place, place + NAMES), place + NAMES)
        end = done + VALUES
        if text.find("=", begin, end) >= 0 and (text.find('"', begin, end) >= 0 or text.find("'", begin, end) >= 0):
            yield begin, end


def _line_end(text: str, place: int, limit: int) -> int:
    return text.find("\n", place, limit) + 1 or min(limit, len(text))


def _value_of(name: str, literal: str, taken: _Taken) -> str | None:
    """Return the literal that a name gets, with a mark in it; None where it is no secret."""
    trial = _Taken(allow=taken.allow, dear=taken.dear)
    head = f"{name} = "
    clean = _by_shape(Places(f"{head}{literal}"), trial).text
    if not trial.found or not clean.startswith(head):
        return None
    taken.found.update(trial.found)
    return clean[len(head) :]


def _in_one_piece(before: str, literal: str, taken: _Taken) -> str | None:
    """Return what the literals make together, with a mark in it. None where even in one piece they are no secret."""
    trial = _Taken(allow=taken.allow, dear=taken.dear)
    whole = _by_shape(Places(before + literal), trial).text
    if not trial.found or not whole.startswith(before):
        return None
    taken.found.update(trial.found)
    return whole[len(before) + 1 : -1]


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
    """Return a digest that takes about 10 ms. So a million passwords take hours, and 12 bits fit hundreds of them."""
    return hashlib.scrypt(secret, salt=b"agentnb mark", n=2**12, r=8, p=1, dklen=8).hex()
