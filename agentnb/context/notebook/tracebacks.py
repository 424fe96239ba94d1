"""Tell the model what went wrong in a cell: the error and its causes, where they passed, and locals.

Bounded and stable: no absolute path, no address, no process id. Nobody's code is run to describe a local.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType

from agentnb.context.notebook.trace import below_packages, chain_of, frames_from_cell, is_library
from agentnb.context.redaction.redactor import redact
from agentnb.context.static.excerpts import Spans, excerpt, excerpt_of_cell
from agentnb.context.values import static_inspect
from agentnb.context.values.description import describe
from agentnb.context.values.text_format import beginning
from agentnb.models.framing import framed

FRAMES = 8
"""Frames of one error that are told: the user's own first, then the innermost of others."""
OWN_FRAMES = 6
FRAMES_WITH_LOCALS = 2
"""The user's innermost functions with all their locals, and the frame in which the error was raised. Of the user's
other frames those are told that stand in the line."""
LOCALS = 8
USED, UNUSED = 320, 160
"""Characters of a local that stands in the failing line, and of any other."""
CELL_LINES = 20
"""Of a cell that failed, around the line: what stands there is told nowhere else."""
MESSAGE = 2000
NOTES = 6
"""Notes (PEP 678) of one error that are told."""
_NAME = re.compile(r"[^\W\d]\w*")
_UNNAMED = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
"""Frames that the user did not write as functions. Before Python 3.12 each comprehension has one."""
_Frame = tuple[FrameType, int]


def describe_failure(error: BaseException, *, project: Path | None = None, short: Collection[str] = ()) -> str:
    """Return the failure as an `<error>` element: the error with its frames, the innermost last as Python prints them.
    Then comes what it was raised from or consists of.

    `short` are functions that the model does not have in full. Their locals come with the statements around the line.
    """
    lines: list[str] = []
    chain = chain_of(error)
    for one in chain:
        lines += [_relation(one, chain)] if lines else []
        lines += [*_headline(one, project), *_told(frames_from_cell(one), project, short)]
    return framed("error", "\n".join(lines))


def told_briefly(error: BaseException) -> str:
    """Return the failure as a cell's output has it: the error and its causes, the user's frames, no locals."""
    lines: list[str] = []
    chain = chain_of(error)
    for one in chain:
        lines += [_relation(one, chain)] if lines else []
        lines += _headline(one, None)
        frames = frames_from_cell(one)
        own = [number for number, (frame, _) in enumerate(frames) if not is_library(frame.f_code.co_filename)]
        kept = sorted({*own[-OWN_FRAMES:], *([len(frames) - 1] if frames else [])})
        lines += [text for number in kept for text in _frame(*frames[number], None)]
    return "\n".join(lines)


def _headline(error: BaseException, project: Path | None) -> list[str]:
    """Return the error's type, message and notes; of code that could not be read also its place and line."""
    notes = [steady(note[:MESSAGE]) for note in getattr(error, "__notes__", ()) if type(note) is str][:NOTES]
    if not isinstance(error, SyntaxError) or not error.filename or _COMPILED.fullmatch(error.filename):
        return [f"{type(error).__name__}: {_message(error)}", *notes]
    line = [f"    {error.text.strip()}"] if error.text and error.text.strip() else []
    place = f"{shown_file(error.filename, project)}, line {error.lineno}"
    return [f"{type(error).__name__}: {steady(error.msg or '')[:MESSAGE]}", place, *line, *notes]


def _relation(error: BaseException, chain: Sequence[BaseException]) -> str:
    """Return how an error of the chain belongs to those before it."""
    if any(error is other.__cause__ for other in chain):
        return "It was raised from:"
    if any(error is other.__context__ for other in chain):
        return "It was raised while this was handled:"
    return "One part of the group:"


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - `__str__` of an exception is the user's code
        return "(its message cannot be shown)"
    return steady(text if len(text) <= MESSAGE else f"{beginning(text, MESSAGE)} […]")


_COMPILED = re.compile(r"<(?!ipython-input)[^>]*>")
"""Names of code that was made from a text, as `ast.parse` gives them."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{4,16}(?=>)")
_SET = re.compile(r"\{[^{}:\n]{2,400}\}")


def steady(text: str) -> str:
    """Return a message without what differs from run to run though nothing has changed. That is addresses of objects,
    and the order of sets, which follows PYTHONHASHSEED."""
    return _SET.sub(_in_order, _ADDRESS.sub("", text))


def _in_order(match: re.Match[str]) -> str:
    try:
        found = ast.literal_eval(match.group())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return match.group()
    return f"{{{', '.join(sorted(map(repr, found)))}}}" if type(found) is set else match.group()


def _told(frames: Sequence[_Frame], project: Path | None, short: Collection[str]) -> Iterator[str]:
    own = [number for number, (frame, _) in enumerate(frames) if not is_library(frame.f_code.co_filename)]
    kept = _kept(len(frames), own)
    named = [number for number in own if frames[number][0].f_code.co_name not in _UNNAMED]
    with_locals = {*named[-FRAMES_WITH_LOCALS:], *own[-1:], len(frames) - 1}
    before = -1
    for number in kept:
        if number - before > 1:
            yield f"({number - before - 1} frames left out)"
        yield from _frame(*frames[number], project)
        yield from _inside(*frames[number], short) if number in with_locals else _used(*frames[number], number in own)
        before = number


def _kept(count: int, own: Sequence[int]) -> list[int]:
    """Return the numbers of the frames that are told, in order."""
    first = own[-OWN_FRAMES:]
    others = [number for number in reversed(range(count)) if number not in first]
    return sorted([*first, *others[: FRAMES - len(first)]])


def _frame(frame: FrameType, line: int, project: Path | None) -> list[str]:
    code = frame.f_code
    source = linecache.getline(code.co_filename, line).strip()
    place = f"{shown_file(code.co_filename, project)}, line {line}"
    return [
        f"{place}, in {code.co_name}" if code.co_name != "<module>" else place,
        *([f"    {source}"] if source else []),
    ]


def _inside(frame: FrameType, line: int, short: Collection[str]) -> list[str]:
    """Return what surrounds the line where the model does not have it, and the locals."""
    code = frame.f_code
    source = linecache.getline(code.co_filename, line)
    if code.co_name == "<module>":
        known = _data_in(source, frame.f_globals)
        return [*_around_in_cell(code, line), *(f"    # {text}" for text in _locals(known, source))]
    is_short = any(f".{name}".endswith(f".{code.co_qualname}") for name in short)
    around = _around(code, line) if is_short else []
    return [*around, *(f"    # {text}" for text in _locals(frame.f_locals, source))]


def _used(frame: FrameType, line: int, is_own: bool) -> list[str]:
    """Return the values that stand in the line of an outer frame of the user's."""
    source = linecache.getline(frame.f_code.co_filename, line)
    known = _data_in(source, frame.f_locals) if is_own else {}
    return [f"    # {text}" for text in _locals(known, source)]


def _data_in(source: str, names: Mapping[str, object]) -> dict[str, object]:
    """Return those names in a cell's line that are data: all that a cell knows is too much."""
    used = dict.fromkeys(_NAME.findall(source))
    return {name: names[name] for name in used if name in names and not static_inspect.is_a(names[name], _CODE)}


_CODE = (type, ModuleType, FunctionType, *static_inspect.COMPILED)


def _around(code: CodeType, line: int) -> list[str]:
    lines = linecache.getlines(code.co_filename)
    return _shown(lines, excerpt(lines, code.co_firstlineno, line), code.co_name)


def _around_in_cell(code: CodeType, line: int) -> list[str]:
    if shown_file(code.co_filename, None) != "cell":
        return []
    lines = linecache.getlines(code.co_filename)
    found = excerpt_of_cell(lines, line, most=CELL_LINES)
    return _shown(lines, found, "the cell") if found != ((line, line),) else []


def _shown(lines: Sequence[str], spans: Spans, name: str) -> list[str]:
    """Return an excerpt as it is told. Where lines of a statement are left out it says so, and no half of a secret
    stays."""
    lines = lines if len(spans) < 2 else _clean(lines)
    if not spans or len(lines) < spans[-1][1]:
        return []
    told = [f"    excerpt of {name}, lines {spans[0][0]} to {spans[-1][1]}:"]
    before = spans[0][0] - 1
    for first, last in spans:
        told += [f"[… {first - before - 1} lines of this statement left out …]"] if first - before > 1 else []
        told += [text.rstrip() for text in lines[first - 1 : last]]
        before = last
    return told


def _clean(lines: Sequence[str]) -> list[str]:
    """Return the lines without secrets; none where one goes over lines, as a private key does."""
    found = redact("".join(lines)).text.splitlines(keepends=True)
    return found if len(found) == len(lines) else []


def _locals(names: Mapping[str, object], line: str) -> list[str]:
    """Descriptions of the locals, those that stand in the line first."""
    used = set(_NAME.findall(line))
    shown = (name for name in names if name.isidentifier() and not name.startswith("_"))
    known = sorted(shown, key=lambda name: name not in used)
    return [
        describe(name, names[name], limit=USED if name in used else UNUSED).replace("\n", " ")
        for name in known[:LOCALS]
    ]


def shown_file(file: str, project: Path | None) -> str:
    """Return a file's name that is the same on every machine."""
    path = Path(file)
    if below_packages(file):
        return below_packages(file)
    if project is not None and path.is_relative_to(project):
        return path.relative_to(project).as_posix()
    if file.startswith("<") or any(part.startswith("ipykernel_") for part in path.parts):
        return "cell"
    return path.name
