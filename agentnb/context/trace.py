"""What a cell really ran: the functions that were executed, in the order of their first call, with their depth.

Recording changes nothing that the cell does. On Python 3.12 and later `sys.monitoring` reports each function once and
is then switched off for it, which costs about nothing; on 3.11 a profile hook makes calls about four times slower.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

RAN_LIMIT = 5_000
"""Functions that are kept; a cell that runs more is not told better by all of them."""
_TRANSPARENT = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>", "<module>"})


@dataclass(frozen=True, slots=True)
class Ran:
    """One executed function; `depth` counts the calls between the cell and it, at its first call (1: by the cell)."""

    code: CodeType
    depth: int


@dataclass(slots=True)
class Recording:
    """What ran so far. `of_interest` says of a file name whether its functions are kept."""

    of_interest: Callable[[str], bool]
    found: dict[CodeType, int] = field(default_factory=dict)
    _seen: set[CodeType] = field(default_factory=set)

    @property
    def ran(self) -> tuple[Ran, ...]:
        """In the order of the first calls."""
        return tuple(Ran(code, depth) for code, depth in self.found.items())

    def saw(self, code: CodeType, frame: FrameType | None) -> None:
        if code in self._seen:
            return
        self._seen.add(code)
        if self.counts(code) and len(self.found) < RAN_LIMIT:
            self.found[code] = 1 + sum(1 for above in _frames(frame) if self.counts(above.f_code))

    def counts(self, code: CodeType) -> bool:
        return code.co_name not in _TRANSPARENT and self.of_interest(code.co_filename)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames above, up to the cell (or the module that is being imported): the kernel's own do not count."""
    while frame is not None and frame.f_code.co_name != "<module>":
        yield frame
        frame = frame.f_back


def is_user_or_package(file: str) -> bool:
    """Cells, the project and packages; not Python's own library, generated code, or this package."""
    if file.startswith("<") or f"{_OWN}" in file:
        return False
    return not file.startswith(_STDLIB) or "site-packages" in file


_OWN = __file__.rpartition("context")[0]
_STDLIB = threading.__file__.rpartition("threading")[0]


@contextmanager
def recording(of_interest: Callable[[str], bool] = is_user_or_package) -> Iterator[Recording]:
    """Record the functions that the body of the `with` runs in this thread (3.11) or in any thread (3.12+)."""
    record = Recording(of_interest)
    start = _monitor if sys.version_info >= (3, 12) else _profile
    stop = start(record)
    try:
        yield record
    finally:
        stop()


def _profile(record: Recording) -> Callable[[], None]:
    def hook(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            record.saw(frame.f_code, frame.f_back)

    before = sys.getprofile()
    sys.setprofile(hook)
    return lambda: sys.setprofile(before)


def _monitor(record: Recording) -> Callable[[], None]:
    monitoring: Any = vars(sys)["monitoring"]
    tool = next(number for number in (4, 3, 5) if monitoring.get_tool(number) is None)

    def started(code: CodeType, offset: int) -> Any:
        record.saw(code, sys._getframe(2))
        return monitoring.DISABLE

    monitoring.use_tool_id(tool, "agentnb")
    monitoring.register_callback(tool, monitoring.events.PY_START, started)
    monitoring.restart_events()
    monitoring.set_events(tool, monitoring.events.PY_START)

    def stop() -> None:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, monitoring.events.PY_START, None)
        monitoring.free_tool_id(tool)

    return stop


def frames_of(error: BaseException, of_interest: Callable[[str], bool] = is_user_or_package) -> tuple[Ran, ...]:
    """The functions in a traceback, innermost first, with their distance from the failure as depth.

    They are where the answer lies, and cost nothing to record. What stands above the cell is the kernel's.
    """
    found: dict[CodeType, None] = {}
    step = error.__traceback__
    in_cell = False
    while step is not None:
        code = step.tb_frame.f_code
        if code.co_name == "<module>" and not in_cell:
            in_cell = True
            found.clear()
        if code.co_name not in _TRANSPARENT and of_interest(code.co_filename):
            found[code] = None
        step = step.tb_next
    return tuple(Ran(code, i) for i, code in enumerate(reversed(found), 1))
