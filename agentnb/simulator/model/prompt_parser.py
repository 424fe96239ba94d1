"""Read the conversation: the cells, definitions and values that it holds, the open question, the tools used. Pure.

Our tags are read whatever their attributes; in text without tags functions and classes are found by their heads.
"""

from __future__ import annotations

import difflib
import html
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agentnb.simulator.model.dialogue import Said

_NAMES = "cell|notebook|markdown|definition|outline|tree|file|schema|packages|names|values|variables|error|task"
_TAG = re.compile(rf'<({_NAMES})\b((?:"[^"]*"|[^">])*)(?<!/)>(.*?)</\1\s*>', re.DOTALL)
_CONDENSED = re.compile(r"<condensed>\n(.*?)\n</condensed>", re.DOTALL)
_INNER = re.compile(r"<(output|error)\b[^>]*>(.*?)</\1\s*>", re.DOTALL)
_FRAME = re.compile(r"</?(?:source|output|error|picture|image)\b[^<>]*>")
_REMOVED = re.compile(r'<removed\s[^>]*?name="([^"]*)"[^>]*>')
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_HEAD = re.compile(r"^([ \t]*)(?:async[ \t]+def|def|class)[ \t]+([A-Za-z_]\w*)[ \t]*[(:]", re.MULTILINE)
_VALUE = re.compile(r"^[\s*`-]*([A-Za-z_]\w*)`?\s*[:=(,\s-]")
_CODE = re.compile(r": (?:function|class)$")  # such names are told as definitions
_ENTRY = re.compile(r"^(\d{1,6}): (.*(?:\n .*)*)", re.MULTILINE)  # of a notebook's outline
_UNKNOWN = re.compile(r"(?:NameError: name|AttributeError: .*? has no attribute) '([A-Za-z_]\w*)'")
_ARROW = re.compile(r"^-*>?\s*\d+\s+")  # how a traceback marks its lines


@dataclass(frozen=True, kw_only=True)
class SeenDefinition:
    """Holds a definition that the conversation holds, in its newest version."""

    name: str
    source: str
    place: str = ""
    full: bool = True


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Holds a cell of the notebook: its number, its source and what stands below it."""

    number: int
    source: str
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Hold what the model was given, in the newest versions, and the question that is open.

    `values` are lines that describe live values, by name. `failure` is the last error as it was told. `calls` and
    `results` came since the question; `rounds` counts the replies that called tools.
    """

    question: str = ""
    definitions: dict[str, SeenDefinition] = field(default_factory=dict)
    cells: dict[int, Cell] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    calls: tuple[Said, ...] = ()
    results: tuple[Said, ...] = ()
    rounds: int = 0
    tutors: bool = False

    def find(self, name: str) -> str:
        """Return the full name of the definition that `name` means, the newest where several do, or an empty string.

        `networkx.density` means `networkx.classes.function.density`: packages offer names where users find them.
        """
        if name in self.definitions:
            return name
        first, _, rest = name.partition(".")
        ends = [full for full in self.definitions if full.endswith(f".{name}") or name.endswith(f".{full}")]
        offered = [full for full in self.definitions if full.startswith(f"{first}.") and full.endswith(f".{rest}")]
        return (ends or (offered if rest else []) or [""])[-1]


def read(said: Sequence[Said]) -> Conversation:
    """Read a whole conversation."""
    start = max((i + 1 for i in _answers(said)), default=0)
    since = said[start:]
    asked = [item.text for item in since if item.kind == "text" and item.role == "user"]
    tasks = [body for text in asked for name, _, body in _TAG.findall(text) if name == "task"]
    plain = [rest for text in asked if (rest := _TAG.sub("", text).strip())]
    summed = _summed_up(asked)
    known = [(call.name, call.arguments) for call in summed]
    begun = [item for i, item in enumerate(since) if item.kind == "call" and (not i or since[i - 1].kind != "call")]
    held = Conversation(
        question=(tasks or plain or [""])[-1].strip(),
        calls=(*summed, *(item for item in since if item.kind == "call")),
        results=tuple(item for item in since if item.kind == "result"),
        rounds=len(summed) + len([call for call in begun if (call.name, call.arguments) not in known]),
        failure=_failure(said, since),
        tutors=any(item.role == "system" and "You are a tutor" in item.text for item in said),
    )
    for item in said:
        if item.kind in ("text", "result") and item.role != "assistant":
            _take(held, item)
    return held


def _summed_up(asked: Sequence[str]) -> list[Said]:
    """Read the calls that a summary lists, as this model writes one."""
    bodies = [body for text in asked for body in _CONDENSED.findall(text)]
    return [
        Said(kind="call", role="assistant", name=name, arguments=json.loads(arguments))
        for body in bodies
        for name, arguments in _CALLED.findall(body)
    ]


_CALLED = re.compile(r"^- called (\S+) (\{.*\})$", re.MULTILINE)


def _failure(said: Sequence[Said], since: Sequence[Said]) -> str:
    """Return the newest error that is told whole, where the question brings one: it may say "unchanged"."""
    told = [[body for name, _, body in _TAG.findall(item.text) if name == "error"] for item in (*said, *since)]
    whole = [body for bodies in told[: len(said)] for body in bodies if _error(body)]
    return whole[-1] if whole and any(told[len(said) :]) else ""


def _answers(said: Sequence[Said]) -> Iterator[int]:
    """Yield the index of each assistant text that the user's next text follows, rather than a call's result.

    Thoughts and their signatures may stand between: Gemini's follow the text.
    """
    for i, item in enumerate(said):
        follower = next((later for later in said[i + 1 :] if later.kind != "other"), None)
        if item.role == "assistant" and item.kind == "text" and follower is not None and follower.role == "user":
            yield i


def _take(held: Conversation, item: Said) -> None:
    """Add what one text holds. Code in the system prompt that has no tag defines nothing: nobody asked about it."""
    for name, attributes, body in _TAG.findall(item.text):
        given = {key: html.unescape(value) for key, value in _ATTRIBUTE.findall(attributes)}
        if name == "cell":
            _take_cell(held, given, body)
        elif name == "definition" and given.get("name"):
            full = given.get("form", "full") == "full"
            cell = given.get("cell", "").removeprefix("In[").removesuffix("]")
            place = given.get("file") or (f"cell {cell}" if cell else "")
            _keep(held, SeenDefinition(name=given["name"], source=body.strip("\n"), place=place, full=full), given)
        elif name == "outline":
            _take_code(held, body, given.get("file", ""), full=False)
        elif name == "notebook":
            for number, told in _ENTRY.findall(body):
                does, _, shown = told.partition("\n -> " if "\n" in told else " -> ")
                does, shown = does.replace("\n ", "\n"), shown.replace("\n ", "\n")
                held.cells.setdefault(int(number), Cell(number=int(number), source=does, output=shown))
        elif name in ("names", "values", "variables"):
            _take_values(held, given, body)
    for name in _REMOVED.findall(item.text):
        held.definitions.pop(html.unescape(name), None)
    if item.role != "system":
        _take_code(held, _TAG.sub("", item.text), "")


def _take_values(held: Conversation, given: dict[str, str], body: str) -> None:
    lines = [line.strip() for line in body.splitlines() if not _CODE.search(line)]
    held.values.update((match[1], line) for line in lines if (match := _VALUE.match(line)))
    for gone in given.get("removed", "").split(", "):
        held.values.pop(gone, None)


def _take_cell(held: Conversation, given: dict[str, str], body: str) -> None:
    named = [given.get("number", ""), *(value for key, value in given.items() if key not in ("digest", "replaces"))]
    number = next((int(value) for value in named if re.fullmatch(r"\d{1,6}", value)), None)
    if number is None:
        return
    output = "\n".join(_FRAME.sub("", text).strip("\n") for _, text in _INNER.findall(body))
    source = _FRAME.sub("", _INNER.sub("", body)).strip("\n")
    if (replaced := given.get("replaces", "")).isdecimal():
        held.cells.pop(int(replaced[:6]), None)
    held.cells[number] = Cell(number=number, source=source, output=output)
    _take_code(held, source, f"cell {number}")


def _take_code(held: Conversation, text: str, place: str, *, full: bool = True) -> None:
    end = 0
    for match in _HEAD.finditer(text):
        if match.start() >= end:
            source = _block(text[match.start() :], match[1])
            end = match.start() + len(source)
            _keep(held, SeenDefinition(name=match[2], source=textwrap.dedent(source), place=place, full=full), {})


def _keep(held: Conversation, found: SeenDefinition, given: dict[str, str]) -> None:
    """Keep a definition. A signature that is sent after the full source does not make the source forgotten, unless it
    replaces it."""
    before = held.definitions.get(found.name)
    if before is None or found.full or not before.full or given.get("replaces"):
        held.definitions[found.name] = found


def _block(text: str, indent: str) -> str:
    """Return the lines of the definition that `text` begins with: until one stands no deeper than its head."""
    lines = text.splitlines(keepends=True)
    deeper = re.compile(rf"{indent}[ \t]+\S|\s*$|{indent}\)")
    taken = next((i for i, line in enumerate(lines) if i and not deeper.match(line)), len(lines))
    return "".join(lines[:taken]).rstrip()


def failing(held: Conversation) -> tuple[str, str, str]:
    """Return (the source that failed, its failing line, the error's type): of all shown lines the innermost held.

    The texts are empty where nothing held has failed.
    """
    told = held.failure or next((cell.output for cell in reversed(held.cells.values()) if _error(cell.output)), "")
    sources = [*(one.source for one in held.definitions.values()), *(one.source for one in held.cells.values())]
    lines = [*map(str.strip, reversed(told.splitlines()))]
    for line in sorted(lines, key=lambda text: not text.startswith("-")):  # where an arrow points, the error is
        bare = _ARROW.sub("", line)
        found = next((source for source in sources if bare and bare in map(str.strip, source.splitlines())), "")
        if found and not bare.startswith("#"):
            return found, bare, _error(told)
    return "", "", _error(told)


def misspelled(held: Conversation) -> tuple[str, str]:
    """Return (the name that the last error does not know, the held name most like it), or empty texts."""
    told = held.failure or next((cell.output for cell in reversed(held.cells.values()) if _error(cell.output)), "")
    unknown = _UNKNOWN.search(told)
    if unknown is None:
        return "", ""
    known = [*held.values, *(name.rpartition(".")[2] for name in held.definitions)]
    alike = difflib.get_close_matches(unknown[1], sorted({*known} - {unknown[1]}), n=1)
    return (unknown[1], alike[0]) if alike else ("", "")


def _error(text: str) -> str:
    """Return the type of the error that a text tells."""
    found = re.findall(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Iteration|Warning))\b", text, re.MULTILINE)
    return found[0] if found else ""
