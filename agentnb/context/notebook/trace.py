"""Record what a cell really ran: the user's functions that were executed, in the order of their first call.

Recording changes nothing that the cell does. On Python 3.12 and later `sys.monitoring` reports each function once; then
it is off and costs nothing. On 3.11 a profile hook makes calls about four times slower.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from agentnb.errors import AgentnbError

RAN_LIMIT = 5_000
"""Functions that are kept; a cell that runs more is not told better by all of them."""
FRAMES_LIMIT = 200
"""Frames that are looked at to tell a function's depth: beyond, deeper makes no difference."""
_OURS = str(Path(__file__).parents[2])
_CELL = ("<module>", "<cell line:")
"""Names of a cell's own code; older IPythons name it after its line."""


@dataclass(frozen=True, slots=True)
class Ran:
    """Holds a function that ran. `depth` counts the calls from the cell to its first call (1: by the cell).

    `reason` says how that is known. `failed`: the user's own, and in the traceback of an error, where `depth` is the
    distance from the failure. `library`: of somebody else's, and in that traceback.
    """

    code: CodeType
    depth: int
    reason: str = "it ran"
    failed: bool = False
    library: bool = False

    @property
    def raised(self) -> bool:
        """Tell whether an error was raised in it."""
        return self.reason == RAISED


@dataclass(slots=True)
class Recording:
    """Holds what ran so far. `of_interest` says of a file name whether its functions are kept."""

    of_interest: Callable[[str], bool]
    _found: list[Ran] = field(default_factory=list)
    _seen: dict[int, CodeType] = field(default_factory=dict)  # by id: hashing a code object reads all of it
    _files: dict[str, bool] = field(default_factory=dict)

    @property
    def ran(self) -> tuple[Ran, ...]:
        """Return what ran, in the order of the first calls."""
        return tuple(self._found)

    def saw(self, code: CodeType, frame: FrameType | None) -> None:
        """Note a call of `code` by `frame`; only the first one counts."""
        if id(code) in self._seen:
            return
        self._seen[id(code)] = code
        if self.counts(code) and len(self._found) < RAN_LIMIT:
            callers = (above.f_code for above in islice(_frames(frame), FRAMES_LIMIT))
            near = takewhile(lambda above: not above.co_name.startswith(_CELL), callers)
            self._found.append(Ran(code, 1 + sum(map(self.counts, near))))

    def counts(self, code: CodeType) -> bool:
        """Comprehensions, lambdas and the cell's own code are no functions that a reader looks up."""
        kept = self._files.get(code.co_filename)
        if kept is None:
            kept = self._files[code.co_filename] = self.of_interest(code.co_filename)
        return kept and code.co_name[0] != "<"


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames above. The depth counts those up to the cell, or to the module that is being imported."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def is_user_or_package(file: str) -> bool:
    """Accept cells, the project and packages; not Python's own library, generated code, or this package."""
    if _is_generated(file) or _OWN in file:
        return False
    return not file.startswith(_STDLIB) or bool(below_packages(file))


def is_users(file: str) -> bool:
    """Tell whether it is the user's own code: cells, his project, and files outside of installed packages."""
    return not (is_library(file) or _is_generated(file))


def _is_generated(file: str) -> bool:
    """Know code that stands in no file: the import machinery's own, a named tuple's. A cell's does in older
    IPythons."""
    return file.startswith("<") and not file.startswith("<ipython-input-")


@lru_cache(4096)
def is_library(file: str) -> bool:
    """Know Python's own library and installed packages, Cython's frames too: not the user's code.

    agentnb is a library in a checkout too: its lessons stand beside it, and are not about its code.
    """
    if file.endswith((".pyx", ".pxi")) or _OWN in file:
        return True
    return file.startswith(_STDLIB) or bool(below_packages(file))


def below_packages(file: str) -> str:
    """Return `numpy/ma/core.py`: where a file lies among installed packages; empty for one that does not."""
    return _PACKAGES.split(file)[-1].replace("\\", "/") if _PACKAGES.search(file) else ""


_PACKAGES = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
"""Debian's own Python has its packages in `dist-packages`."""

_OWN = __file__.rpartition("context")[0]
_STDLIB = threading.__file__.rpartition("threading")[0]


@contextmanager
def recording(of_interest: Callable[[str], bool] = is_users) -> Iterator[Recording]:
    """Record the user's functions that the body of the `with` runs, in any thread that it starts too."""
    watch = watching(Recording(of_interest))
    try:
        yield watch.record
    finally:
        watch.stop()


def watching(record: Recording) -> Watch | ProfileHook:
    """Return a recording that has begun: by `sys.monitoring` where that can be had, else by a profile hook."""
    watch = Watch(record)
    if not unavailable() and watch.start():
        return watch
    hook = ProfileHook(record)
    hook.start()
    return hook


class ProfileHook:
    """Recording by a profile hook between `start` and `stop`, in this thread and in those that are begun meanwhile."""

    def __init__(self, record: Recording) -> None:
        self.record = record
        self._before: tuple[Any, Any] | None = None

    def start(self) -> None:
        self._before = sys.getprofile(), threading.getprofile()
        sys.setprofile(self._saw)
        threading.setprofile(self._saw)

    def stop(self) -> None:
        """Give the hook back to whoever had it. Does nothing the second time."""
        if self._before is None:
            return
        (here, later), self._before = self._before, None
        threading.setprofile(later)
        is_a_hook = here is None or callable(here)
        sys.setprofile(here if is_a_hook else None)
        if not is_a_hook:
            here.enable()  # cProfile's: no callable, but it knows how

    def _saw(self, frame: FrameType, event: str, argument: object) -> None:
        if self._before is None:
            sys.setprofile(None)  # a thread that outlives the recording
        elif event == "call":
            self.record.saw(frame.f_code, frame.f_back)


TOOLS = (4, 3, 5)
"""Ids of `sys.monitoring` that may be taken: those of debuggers, coverage and profilers are left to them."""
_NAME = "agentnb"


def unavailable() -> str:
    """Tell why what runs cannot be recorded at next to no cost: a sentence; empty where it can be."""
    monitoring: Any = vars(sys).get("monitoring")
    if monitoring is None:
        return f"recording every cell needs Python 3.12 or later (this is {sys.version_info[0]}.{sys.version_info[1]})"
    holders = [monitoring.get_tool(tool) for tool in TOOLS]
    if None in holders:
        return ""
    return f"what ran was not recorded: {', '.join(map(str, holders))} hold every free id of sys.monitoring"


class Watch:
    """Recording by `sys.monitoring` between `start` and `stop`; each function is reported once, in any thread."""

    def __init__(self, record: Recording) -> None:
        self.record = record
        self._monitoring: Any = vars(sys).get("monitoring")
        self._tool: int | None = None

    def start(self) -> bool:
        """Take a free tool id and begin; False where others hold them all."""
        for tool in TOOLS:
            if self._take(tool):
                self._tool = tool
                self._monitoring.register_callback(tool, self._monitoring.events.PY_START, self._started)
                self._monitoring.restart_events()
                self._monitoring.set_events(tool, self._monitoring.events.PY_START)
                return True
        return False

    def stop(self) -> None:
        """Give the tool id back. Does nothing the second time, or where somebody took the id away."""
        tool, self._tool = self._tool, None
        if tool is None or self._monitoring.get_tool(tool) != _NAME:
            return
        self._monitoring.set_events(tool, 0)
        self._monitoring.register_callback(tool, self._monitoring.events.PY_START, None)
        self._monitoring.free_tool_id(tool)

    def _take(self, tool: int) -> bool:
        try:
            self._monitoring.use_tool_id(tool, _NAME)
        except ValueError:
            return False
        return True

    def _started(self, code: CodeType, offset: int) -> Any:
        if self.record.counts(code):
            self.record.saw(code, sys._getframe(2))
        return self._monitoring.DISABLE


CAUSES = 3
"""Errors of a chain (`raise … from error`, a group's parts) that are followed."""
RAISED, PASSED = "the error was raised in it", "the error passed through it"


def chain_of(error: BaseException) -> list[BaseException]:
    """Return the error, then what it was raised from or what its group holds; at most CAUSES more, each once. What
    an error of agentnb's own was raised from is its own affair."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) <= CAUSES:
        one = waiting.pop(0)
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        if isinstance(one, AgentnbError):
            continue
        waiting.append(one.__cause__ or (None if one.__suppress_context__ else one.__context__))
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return found


def frames_from_cell(error: BaseException) -> list[tuple[FrameType, int]]:
    """Return the frames of a traceback with their lines, outermost first. What stands above the cell, and what runs
    a magic of it, is the kernel's. In agentnb's own code an error of its own is not looked at further."""
    found: list[tuple[FrameType, int]] = []
    step = error.__traceback__
    in_cell = False
    own = isinstance(error, AgentnbError)
    while step is not None:
        if own and step.tb_frame.f_code.co_filename.startswith(_OURS):
            break
        if step.tb_frame.f_code.co_name.startswith(_CELL) and not in_cell:
            in_cell = True
            found.clear()
        if not below_packages(step.tb_frame.f_code.co_filename).startswith(("IPython/core/", "ipykernel/")):
            found.append((step.tb_frame, step.tb_lineno))
        step = step.tb_next
    return found


def frames_of(error: BaseException, of_interest: Callable[[str], bool] = is_user_or_package) -> tuple[Ran, ...]:
    """Return the functions in a traceback and its causes, the user's own first, each from the innermost on.

    They are where the answer lies, and cost nothing to record. Of a library's, return only the one that the user's code
    called and the one that raised. What lies between is the library's own affair.
    """
    reasons: dict[CodeType, str] = {}
    called: set[CodeType] = set()
    for one in reversed(chain_of(error)):
        codes = [frame.f_code for frame, _ in frames_from_cell(one)]
        called.update(after for before, after in pairwise(codes) if not is_library(before.co_filename))
        for place, code in enumerate(reversed(codes)):
            if not code.co_name.startswith("<") and of_interest(code.co_filename):
                reasons.setdefault(code, PASSED)
                reasons[code] = reasons[code] if place else RAISED
    libraries = {code: is_library(code.co_filename) for code in reasons}
    told = (code for code in reasons if not libraries[code] or code in called or reasons[code] == RAISED)
    ordered = sorted(told, key=lambda code: libraries[code])
    return tuple(
        Ran(code, i, reasons[code], failed=not libraries[code], library=libraries[code])
        for i, code in enumerate(ordered, 1)
    )
