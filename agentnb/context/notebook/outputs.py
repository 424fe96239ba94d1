"""Tell what a cell printed, returned, showed or raised, as text of bounded size. Frozen values; pure on recorded
data."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from agentnb.canonical import JsonMapping

RUN = "application/vnd.agentnb.run.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
KEPT = 60_000
"""Characters of one output that are kept: its beginning and its end."""
WIDGET_WORDS = 160
"""Characters of a widget's description."""
OutputKind = Literal["printed", "warnings", "result", "shown", "table", "figure", "widget", "error"]

HEAD_SHARE = 0.6
UNTOLD = "<Figure size"
"""Begins matplotlib's words for a figure that nobody described: they tell its size alone."""
LINE = 500
"""Characters of one line; of a longer one the beginning and the end are kept."""
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{4,16}(?=>)|(?<=\bobject) at 0x[0-9a-fA-F]{4,16}")
_CELL_FILE = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^\s\"'<>:/\\]+[/\\])*ipykernel_\d+[/\\]\d+\.py")
"""The file that ipykernel makes up for a cell: its name holds the process id."""
_SHAPE = re.compile(r"\[?(\d[\d,]*) rows x (\d[\d,]*) columns\]?|^shape: \(([\d, _]+)\)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Holds one output of a cell. `name` is a display's id, under which it may be shown anew; `size` is what a table
    says."""

    kind: OutputKind
    text: str
    name: str = ""

    @property
    def title(self) -> str:
        """Return one phrase for an outline: `table 100 x 5`, `error KeyError`, `printed 12 lines`."""
        if self.kind == "table":
            size = shape_in(self.text)
            return f"table {size}" if size else "table"
        if self.kind == "error":
            return f"error {first_line(self.text, 60)}"
        if self.kind in ("figure", "widget"):
            return self.kind if self.text.startswith(UNTOLD) else first_line(self.text, 60) or self.kind
        lines = self.text.count("\n") + 1
        if lines == 1:
            return first_line(self.text, 40)
        return f"{self.kind} {lines} lines"


def settle(text: str) -> str:
    """Return the text as a screen shows it in the end: carriage returns and backspaces carried out, escape codes
    gone."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\r" in text:
        text = "\n".join(
            _overwritten(line) if "\r" in line else line for line in text.replace("\r\n", "\n").split("\n")
        )
    while "\x08" in text:
        shorter = re.sub("[^\x08\n]\x08", "", text)
        text = shorter if shorter != text else text.replace("\x08", "")
    if "ipykernel_" in text:
        text = _CELL_FILE.sub("cell", text)
    return _ADDRESS.sub("", text)


_SPAN = r"[\d.,]+\s?(?:ns|[µμu]s|ms|s|sec(?:ond)?s?|min(?:ute)?s?|h|hours?)"
_VOLATILE = re.compile(
    rf"(?<![\d.,]){_SPAN}(?: {_SPAN})?(?: ± {_SPAN}(?: {_SPAN})?)? per loop \([^()\n]*\)"  # %timeit
    rf"|The slowest run took [\d.]+ times longer than the fastest\.[^\n]*\n"
    rf"|\b(?:CPU times|Wall time): [^\n]*"  # %time
    rf"|\b(?:took|taken|elapsed|done in|finished in|completed in|runtime)\b[^\n\d]{{0,20}}{_SPAN}\b"
    r"|\[\d+:\d\d(?::\d\d)?<[^\]\n]{1,30}\]"  # tqdm
    r"|\b\d+s \d+[mµu]?s/(?:step|epoch|sample)\b"  # keras
    r"|\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.,]\d{3,9}\b",  # the time of a log's line
    re.IGNORECASE,
)


def steady(text: str) -> str:
    """Return the text to compare by, without what differs at each run of the same code: timings, the time.

    What is told keeps them: people ask which of two is faster.
    """
    return _VOLATILE.sub("#", text)


def _overwritten(line: str) -> str:
    """Return a line that a carriage return begins anew; what is longer than its successor shows behind it."""
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown.rstrip()


def cut(text: str, *, lines: int, characters: int) -> str:
    """Return the head and the tail of a text, and between them how much was left out."""
    rows = text.rstrip("\n").split("\n")
    crowded = sum(map(len, rows)) + len(rows) > characters + 1
    rows = [_short(row, min(LINE, characters // (1 + (len(rows) > 1))) if crowded else LINE) for row in rows]
    kept = len(rows) if len(rows) <= lines + 1 else max(lines, 2)
    first = round(kept * HEAD_SHARE) or 1
    head, tail = rows[:first], rows[len(rows) - kept + first :]
    while crowded and sum(map(len, head + tail)) + len(head + tail) > characters + 1 and len(head + tail) > 2:
        (head.pop() if len(head) * (1 - HEAD_SHARE) >= len(tail) * HEAD_SHARE else tail.pop(0))
    gone = _lines_in(rows[len(head) : len(rows) - len(tail)])
    return "\n".join([*head, *([f"[… {gone:,} line{'s' * (gone > 1)} left out …]"] if gone else []), *tail])


def _lines_in(rows: Iterable[str]) -> int:
    """Return how many lines these are, those counted that were not kept."""
    return sum(int(found[1].replace(",", "")) if (found := _NOT_KEPT.fullmatch(row)) else 1 for row in rows)


_NOT_KEPT = re.compile(r"\[… ([\d,]+) lines were not kept …\]")


def _short(row: str, most: int) -> str:
    if len(row) <= most + len(" [… 00 characters left out …] "):
        return row
    head = most * 2 // 3
    return f"{row[:head]} [… {len(row) - most:,} characters left out …] {row[len(row) - (most - head) :]}"


def first_line(text: str, limit: int) -> str:
    line = " ".join(text.strip().partition("\n")[0].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def shape_in(text: str) -> str:
    """Return `100 x 5` where a table's text says its size; else an empty text."""
    found = _SHAPE.search(text)
    if found is None:
        return ""
    if found.group(3):
        return " x ".join(part.strip() for part in found.group(3).split(","))
    return f"{found.group(1)} x {found.group(2)}"


def joined(outputs: Iterable[Output]) -> tuple[Output, ...]:
    """Streams that follow each other, as one; those that show nothing left out."""
    out: list[Output] = []
    for item in outputs:
        if out and item.kind == out[-1].kind and item.kind in ("printed", "warnings"):
            out[-1] = Output(kind=item.kind, text=out[-1].text + item.text)
        else:
            out.append(item)
    settled = (Output(kind=item.kind, text=settle(item.text).strip("\n"), name=item.name) for item in out)
    return tuple(item for item in settled if item.text)


FEW_ROWS = 8
"""Rows of a table that anybody counts."""
_OBJECT = re.compile(r"<[\w.]+(?: object)?(?: at 0x[0-9a-fA-F]+)?>\Z")
_HTML_ROW = re.compile(r"</?(?:tr|p|div|li|ul|ol|h\d|table|caption|pre|br)\b[^>]*>", re.IGNORECASE)
_HTML_SKIPPED = re.compile(r"<(style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_HTML_CELL_END = re.compile(r"</t[dh]>\s*(?=<t[dh]\b)", re.IGNORECASE)
_HTML_TAG = re.compile(r"<[^>]*>")
_HTML_AS_TYPED = re.compile(r"(<pre\b.*?</pre\s*>)", re.IGNORECASE | re.DOTALL)


def output_of(data: JsonMapping, *, result: bool, figure: str | None = None, name: str = "") -> Output | None:
    """Return a mime bundle as an output. `figure` are the words of what is one, else None; our own runs are no
    output."""
    if RUN in data:
        return None
    plain = _text(data, "text/plain")
    if figure is not None:
        return Output(kind="figure", text=figure or plain or "figure", name=name)
    if WIDGET in data:
        return Output(kind="widget", text=first_line(plain, WIDGET_WORDS) or "widget", name=name)
    page = _text(data, "text/html")
    is_table = "<table" in page[:KEPT] or bool(shape_in(plain[-200:]))
    if not plain or _OBJECT.match(plain):
        plain = _text(data, "text/markdown") or _text(data, "text/latex") or of_html(page) or _json(data) or plain
    rows = page.partition("<tbody")[2].count("<tr")
    if rows > FEW_ROWS and not shape_in(plain[-200:]) and not shape_in(plain[:200]):
        plain += f"\n\n[{rows:,} rows]"  # pandas tells it only of a table that it cuts itself
    return Output(kind="table" if is_table else "result" if result else "shown", text=bounded(plain), name=name)


def _text(data: JsonMapping, kind: str) -> str:
    found = data.get(kind, "")
    if isinstance(found, list):
        found = "".join(part for part in found if isinstance(part, str))
    return found if isinstance(found, str) else ""


def _json(data: JsonMapping) -> str:
    found = data.get("application/json")
    return json.dumps(found, ensure_ascii=False, default=str)[:KEPT] if found is not None else ""


def of_html(page: str) -> str:
    """Return the words of a page, a line for each of its rows and for each line of preformatted text."""
    parts = _HTML_AS_TYPED.split(_HTML_SKIPPED.sub("", page[:KEPT]))
    flowing = "".join(part if place % 2 else part.replace("\n", " ") for place, part in enumerate(parts))
    text = _HTML_ROW.sub("\n", _HTML_CELL_END.sub(" | ", flowing))
    text = html.unescape(_HTML_TAG.sub(" ", text))
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def bounded(text: str) -> str:
    """Return a text as it is kept. Of a longer one keep the beginning and the end, cut between lines if there are
    any."""
    if len(text) <= KEPT:
        return text
    half = KEPT // 2
    head, tail = text[:half], text[len(text) - half :]
    head, tail = head[: head.rfind("\n") + 1] or head, tail[tail.find("\n") + 1 :]
    gone = text[len(head) : len(text) - len(tail)]
    lines = f"{_lines_in(gone.splitlines()):,} lines" if gone.count("\n") > 1 else f"{len(gone):,} characters"
    return f"{head}[… {lines} were not kept …]\n{tail}"
