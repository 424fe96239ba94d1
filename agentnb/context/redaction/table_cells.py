"""Find the cells of printed tables by the names of their columns: CSV, Markdown, and columns set by spaces. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

LONGEST = 2000
"""Characters of a line that may be a table's."""
_NAME = re.compile(r"[\w.#-]?(?:[\w .#-]{0,40}[\w.#-])?")
_ALIGNED = re.compile(r"(?<![^ \t])[\w.#-]+(?: [\w.#-]+)*(?=  |\t|[ ]*$)")
_WORD = re.compile(r"\S+")
_LIST = re.compile(
    r"(?<!\w)(?<!\w )(?P<name>[A-Za-z][\w.-]{0,40})[\"']?[ \t]{0,4}[:=][ \t]{0,4}"
    r"[\[({](?P<items>[^\[\](){}\n]{1,2000})[\])}]"
)
_ITEM = re.compile(r"(?P<quote>[\"'])(?P<item>[^\"'\n]{4,300})(?P=quote)(?!:)")
_ROW = re.compile(r"[ \t]{0,40}(?P<name>[\w.-]{1,40})(?: {2}|\t)(?P<values>.+)")
_SERIES = re.compile(r"Name: (?P<name>[\w .-]{1,40}), (?:Length|dtype): ")
_VALUE = re.compile(r"\S[^\n]*?[ \t]{2,}(?P<value>\S+)[ \t]*$")
_RULE = re.compile(r"[\s|:+=-]*")
_Span = tuple[int, int]
_Cell = tuple[str, int, int]


def named_cells(text: str, hints: Sequence[int], wanted: Callable[[str], bool]) -> Iterator[_Cell]:
    """Yield the cells that a wanted name of a column or row names: (name, start, end). Such a name stands at a hint."""
    done = below = 0
    for hint in hints:
        if hint < done:
            continue
        line = text.rfind("\n", max(done, hint - LONGEST), hint) + 1 or done, _line_end(text, hint)
        done = line[1] + 1
        yield from _listed(text, line, wanted)
        if line[1] - line[0] <= LONGEST:
            yield from _beside(text, line, wanted)
            yield from _above(text, line, wanted)
            if line[0] > below or not below:
                cells, below = _parted(text, line, wanted) or _aligned(text, line, wanted) or ([], below)
                yield from cells


def _listed(text: str, line: _Span, wanted: Callable[[str], bool]) -> Iterator[_Cell]:
    """Yield the texts of a list or dict with the name: `{'password': {0: 'x', 1: 'y'}}`, `passwords = ["x", "y"]`."""
    for names in _LIST.finditer(text, *line):
        if wanted(names["name"]):
            for item in _ITEM.finditer(text, *names.span("items")):
                yield names["name"], *item.span("item")


def _beside(text: str, line: _Span, wanted: Callable[[str], bool]) -> Iterator[_Cell]:
    """Yield the values of a row with the name, as of a Series or a table on its side."""
    row = _ROW.match(text, *line)
    if row and wanted(row["name"]):
        for word in _WORD.finditer(text, *row.span("values")):
            yield row["name"], *word.span()


def _above(text: str, line: _Span, wanted: Callable[[str], bool]) -> Iterator[_Cell]:
    """Yield the values of a Series whose name stands below them."""
    series = _SERIES.match(text, *line)
    end = line[0] - 1
    while series and wanted(series["name"]) and end > 0:
        begin = text.rfind("\n", max(0, end - LONGEST), end) + 1
        row = _VALUE.match(text, begin, end)
        if row is None:
            return
        yield series["name"], *row.span("value")
        end = begin - 1


def _line_end(text: str, place: int) -> int:
    end = text.find("\n", place)
    return len(text) if end < 0 else end


def _below(text: str, end: int) -> Iterator[_Span]:
    """Yield the lines below one that ends there, but for a rule between the names and the rows."""
    first = True
    while end < len(text):
        begin, end = end + 1, _line_end(text, end + 1)
        if end - begin > LONGEST:
            return
        if not first or not _RULE.fullmatch(text, begin, end):
            yield begin, end
        first = False


def _parted(text: str, line: _Span, wanted: Callable[[str], bool]) -> tuple[list[_Cell], int] | None:
    """Return the wanted cells of a table whose columns a sign parts, and where its last row ends."""
    for sign in ",\t|;":
        names = _cells(text, line, sign)
        if len(names) > 1 and all(_NAME.fullmatch(text, *name) for name in names):
            columns = {number: name for number, name in enumerate(text[a:b] for a, b in names) if wanted(name)}
            return _rows(text, line[1], sign, len(names), columns) if columns else None
    return None


def _rows(text: str, end: int, sign: str, width: int, columns: Mapping[int, str]) -> tuple[list[_Cell], int]:
    found: list[_Cell] = []
    for row in _below(text, end):
        cells = _cells(text, row, sign)
        if len(cells) != width:
            break
        found += [(name, *cells[number]) for number, name in columns.items()]
        end = row[1]
    return found, end


def _cells(text: str, line: _Span, sign: str) -> list[_Span]:
    """Return where the cells of a line stand, without quotes and spaces around them."""
    found, place = [], line[0]
    for cell in text[slice(*line)].split(sign):
        bare = cell.strip(" \r\"'")
        begin = place + cell.find(bare)
        found.append((begin, begin + len(bare)))
        place += len(cell) + 1
    return found


def _aligned(text: str, line: _Span, wanted: Callable[[str], bool]) -> tuple[list[_Cell], int] | None:
    """Return the wanted cells below names that begin or end where they do, and where the last row ends."""
    begin, end = line
    names = {(name.start() - begin, name.end() - begin): name.group() for name in _ALIGNED.finditer(text, *line)}
    columns = {span: name for span, name in names.items() if wanted(name)}
    if not columns or not re.search(r"\S  |  \S|\t", text[begin:end]):
        return None
    found: list[_Cell] = []
    for row in _below(text, end):
        words = [word.span() for word in _WORD.finditer(text, *row)]
        here = [
            (name, first, last)
            for (start, stop), name in columns.items()
            for first, last in words
            if first - row[0] == start or last - row[0] == stop
        ]
        if (not here and found) or "[redacted:" in text[slice(*row)]:
            break
        if not here and row[0] > end + 1:
            return None
        found += here
        end = row[1] if here else end
    return found, end
