"""What went wrong in a cell, for the model: the error, where it passed through, and the locals of the innermost frames.

Bounded and stable: no absolute path, no address, no process id. Nobody's code is run to describe a local.
"""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType

from agentnb.context.values import describe

FRAMES = 8
"""Innermost frames that are told."""
FRAMES_WITH_LOCALS = 2
LOCALS = 8
MESSAGE = 2000


def describe_failure(error: BaseException, *, project: Path | None = None) -> str:
    """The failure as an `<error>` element; the innermost frame last, as Python prints it."""
    frames = _frames(error.__traceback__)
    lines = [f"{type(error).__name__}: {_message(error)}"]
    if len(frames) > FRAMES:
        lines.append(f"({len(frames) - FRAMES} outer frames left out)")
    kept = frames[-FRAMES:]
    for number, (frame, line) in enumerate(kept):
        lines += _frame(frame, line, project, with_locals=number >= len(kept) - FRAMES_WITH_LOCALS)
    return "<error>\n" + "\n".join(lines) + "\n</error>"


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - `__str__` of an exception is the user's code
        return "(its message cannot be shown)"
    return text if len(text) <= MESSAGE else f"{text[:MESSAGE]} […]"


def _frames(trace: TracebackType | None) -> list[tuple[FrameType, int]]:
    """The frames from the cell on: what stands above it is the kernel's."""
    found: list[tuple[FrameType, int]] = []
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "<module>" and "__builtins__" in trace.tb_frame.f_globals:
            found.clear()
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _frame(frame: FrameType, line: int, project: Path | None, *, with_locals: bool) -> list[str]:
    code = frame.f_code
    source = linecache.getline(code.co_filename, line).strip()
    place = f"{shown_file(code.co_filename, project)}, line {line}"
    lines = [f"{place}, in {code.co_name}" if code.co_name != "<module>" else place]
    lines += [f"    {source}"] if source else []
    if with_locals and code.co_name != "<module>":
        lines += [f"    # {text}" for text in _locals(frame.f_locals)]
    return lines


def _locals(names: Mapping[str, object]) -> list[str]:
    kept = [(name, value) for name, value in names.items() if not name.startswith("_")][:LOCALS]
    return [describe(name, value, limit=160).replace("\n", " ") for name, value in kept]


def shown_file(file: str, project: Path | None) -> str:
    """A file's name that is the same on every machine."""
    path = Path(file)
    if "site-packages" in path.parts:
        return "/".join(path.parts[path.parts.index("site-packages") + 1 :])
    if project is not None and path.is_relative_to(project):
        return path.relative_to(project).as_posix()
    if file.startswith("<") or any(part.startswith("ipykernel_") for part in path.parts):
        return "cell"
    return path.name
