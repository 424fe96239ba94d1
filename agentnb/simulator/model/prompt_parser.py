"""Reading the conversation: which definitions it holds, what was asked, which tools were used since. Pure."""

from __future__ import annotations

import ast
import html
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from agentnb.simulator.model.dialogue import Said

_DEFINITION = re.compile(r'<definition\b([^>]*\bname="[^>]*)>(.*?)</definition\s*>', re.DOTALL)
_OUTLINE = re.compile(r"<outline\b([^>]*)>(.*?)</outline\s*>", re.DOTALL)
_REMOVED = re.compile(r'<removed\s+name="([^"]*)"\s*/>')
_VALUES = re.compile(r"<values>\n?(.*?)\n?</values>", re.DOTALL)
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_TASK = re.compile(r"<task\b[^>]*>(.*?)</task\s*>", re.DOTALL)
_HEAD = re.compile(r"^([ \t]*)(?:async[ \t]+def|def|class)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Held:
    """A definition that the conversation holds, in its newest version. `listed`: only an outline names it."""

    name: str
    source: str
    place: str = ""
    lines: str = ""
    full: bool = True
    replaces: str = ""
    listed: bool = False

    @property
    def short(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def where(self) -> str:
        """`tides.py, lines 10-31`, as far as it is known."""
        first, _, last = self.lines.partition("-")
        lines = f"line {first}" if first and last in ("", first) else f"lines {self.lines}" if self.lines else ""
        return ", ".join(part for part in (self.place, lines) if part)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What can be told of a definition from its source alone, without running it."""

    kind: str
    head: str
    doc: str
    required: tuple[str, ...] = ()
    optional: tuple[tuple[str, str], ...] = ()
    returns: str = ""
    calls: tuple[str, ...] = ()
    raises: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The question that is open: its text, the calls and results since, and how many rounds of calls there were.

    `start` is where it begins in the conversation; `earlier` counts the questions that were answered before it;
    `values` are descriptions of live values that came beside it.
    """

    question: str
    start: int
    values: tuple[str, ...]
    calls: tuple[Said, ...]
    results: tuple[Said, ...]
    rounds: int
    earlier: int


def definitions(said: Sequence[Said]) -> dict[str, Held]:
    """Every definition in the conversation by name; a later version stands in for an earlier one."""
    held: dict[str, Held] = {}
    for item in said:
        if item.kind in ("text", "result") and item.role != "assistant":
            for found in _found_in(item):
                _keep(held, found)
            for name in _REMOVED.findall(item.text):
                held.pop(html.unescape(name), None)
    return held


def _found_in(item: Said) -> Iterator[Held]:
    """What one text defines. Bare code in the system prompt only lists: nobody asked about it."""
    yield from _marked(item.text)
    for attributes, body in _OUTLINE.findall(item.text):
        place = _attributes(attributes).get("file", "")
        yield from (replace(found, place=place, full=False, listed=True) for found in _bare(body))
    rest = _OUTLINE.sub("", _DEFINITION.sub("", item.text))
    listed = item.role == "system"
    yield from (replace(found, full=not listed, listed=listed) for found in _bare(rest))


def _attributes(text: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(text)}


def _keep(held: dict[str, Held], found: Held) -> None:
    # A signature sent after the full source (an index, say) does not make us forget the source.
    before = held.get(found.name)
    if before is None or found.full or not before.full or found.replaces:
        held[found.name] = found


def _marked(text: str) -> Iterator[Held]:
    for match in _DEFINITION.finditer(text):
        given = _attributes(match.group(1))
        yield Held(
            name=given["name"],
            source=match.group(2).strip("\n"),
            place=given.get("file") or given.get("cell", ""),
            lines=given.get("lines", ""),
            full=given.get("form", "full") == "full",
            replaces=given.get("replaces", ""),
        )


def _bare(text: str) -> Iterator[Held]:
    """Functions and classes in plain text, so that clients which mark nothing are understood too."""
    end = 0
    for match in _HEAD.finditer(text):
        if match.start() >= end:
            source = _block(text[match.start() :], match.group(1))
            end = match.start() + len(source)
            if outline(source) is not None:
                yield Held(name=match.group(2), source=textwrap.dedent(source))


def _block(text: str, indent: str) -> str:
    """The lines of the definition that `text` begins with: until one stands no deeper than its head."""
    lines = text.splitlines(keepends=True)
    deeper = re.compile(rf"{indent}[ \t]+\S|\s*$|{indent}\)")
    taken = next((i for i, line in enumerate(lines) if i and not deeper.match(line)), len(lines))
    return "".join(lines[:taken]).rstrip()


def turn(said: Sequence[Said]) -> Turn:
    """The open question. `<task>` marks it where it stands; else it is the last user text that is not a definition."""
    start = _turn_start(said)
    asked = [item for item in said[start:] if item.kind == "text" and item.role == "user"]
    tasks = [match for item in asked for match in _TASK.findall(item.text)]
    plain = [rest for item in asked if (rest := _VALUES.sub("", _DEFINITION.sub("", item.text)).strip())]
    question = (tasks or plain or [""])[-1].strip()
    return Turn(
        question=question,
        start=start,
        values=tuple(line for item in asked for found in _VALUES.findall(item.text) for line in found.splitlines()),
        calls=tuple(item for item in said[start:] if item.kind == "call"),
        results=tuple(item for item in said[start:] if item.kind == "result"),
        rounds=_rounds(said[start:]),
        earlier=sum(1 for _ in _closed_turns(said)),
    )


def _turn_start(said: Sequence[Said]) -> int:
    """After the last assistant message that called no tool: where the present turn begins."""
    return max((i + 1 for i in _closed_turns(said)), default=0)


def _closed_turns(said: Sequence[Said]) -> Iterator[int]:
    """The index of each assistant text that is followed by the user's next text rather than by a call's result.

    Thoughts and their signatures may stand between: Gemini's follow the text.
    """
    for i, item in enumerate(said):
        follower = next((later for later in said[i + 1 :] if later.kind != "other"), None)
        if item.role == "assistant" and item.kind == "text" and follower is not None and follower.role == "user":
            yield i


def _rounds(said: Sequence[Said]) -> int:
    """How many assistant messages in `said` called tools."""
    kinds = [item.kind if item.kind == "call" else "" for item in said]
    return sum(1 for i, kind in enumerate(kinds) if kind and (i == 0 or not kinds[i - 1]))


@lru_cache(maxsize=1024)
def outline(source: str) -> Outline | None:
    """What `source` tells of itself; None where it is not Python, or more than this can read."""
    node = _parse(source)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return _function(node)
    if isinstance(node, ast.ClassDef):
        return _class(node)
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return Outline(kind="constant", head=_clip(ast.unparse(node)), doc="")
    return None


def _parse(source: str) -> ast.stmt | None:
    """The definition in `source`: its last function or class, else its last assignment."""
    try:
        body = ast.parse(textwrap.dedent(source)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    blocks = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    assignments = [node for node in body if isinstance(node, ast.Assign | ast.AnnAssign)]
    return next(iter([*blocks[-1:], *assignments[-1:]]), None)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Outline:
    required, optional = _parameters(node.args)
    inside = [item for statement in node.body for item in ast.walk(statement)]
    local = _local_names(node, inside)
    given_back = [ast.unparse(item.value) for item in inside if isinstance(item, ast.Return) and item.value is not None]
    return Outline(
        kind="function",
        head=_head(node),
        doc=_doc(node),
        required=required,
        optional=optional,
        returns=next((text for text in reversed(given_back) if len(text) <= 70 and text != "None"), ""),
        calls=_unique(
            name
            for item in inside
            if isinstance(item, ast.Call) and (name := _dotted(item.func)).partition(".")[0] not in local
        ),
        raises=_unique(_raised(item) for item in inside if isinstance(item, ast.Raise)),
    )


def _local_names(node: ast.FunctionDef | ast.AsyncFunctionDef, inside: Sequence[ast.AST]) -> set[str]:
    """Parameters and what is assigned inside: a method of theirs tells nothing of other definitions."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    stored = [item.id for item in inside if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)]
    return {argument.arg for argument in arguments} | set(stored)


def _class(node: ast.ClassDef) -> Outline:
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    return Outline(
        kind="class",
        head=f"class {node.name}({bases})" if bases else f"class {node.name}",
        doc=_doc(node),
        members=tuple(method.name for method in methods),
    )


def _head(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def _doc(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    text = ast.get_docstring(node) or ""
    return text.strip().splitlines()[0] if text.strip() else ""


def _parameters(args: ast.arguments) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(names without a default, (name, default) of the others); `self` and `cls` left out."""
    placed = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(placed) - len(args.defaults))
    pairs = [
        *zip(placed, [*defaults, *args.defaults], strict=True),
        *zip(args.kwonlyargs, args.kw_defaults, strict=True),
    ]
    named = [(arg.arg, default) for arg, default in pairs if arg.arg not in ("self", "cls")]
    required = tuple(name for name, default in named if default is None)
    return required, tuple((name, ast.unparse(default)) for name, default in named if default is not None)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _raised(node: ast.Raise) -> str:
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return _dotted(raised) if raised is not None else ""


def _unique(names: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _clip(text: str, limit: int = 100) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
