"""Stop a run at any moment with one clear message, after finishing what is being put away."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from agentnb.errors import RunInterrupted


@contextlib.contextmanager
def told(what: str, *, todo: str = "") -> Iterator[None]:
    """Make an interrupt inside RunInterrupted, with these words instead of a traceback through our frames."""
    try:
        yield
    except KeyboardInterrupt:
        raise RunInterrupted(what, todo=todo) from None


def before_the_run() -> contextlib.AbstractContextManager[None]:
    """Guard all that comes before the first step, the first imports among it."""
    return told("interrupted before the run began; nothing was sent", todo="Ask again.")


class Held:
    """Holds interrupts back: in `with Held() as held:` one waits until the block is over; `held.interrupted` says that
    one came.

    Only for what ends soon by itself. A second interrupt inside goes through: nothing may keep a person waiting. On
    another thread than the main one nothing is held: Python delivers interrupts to the main thread only.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._before: object = None
        self._installed = False

    def __enter__(self) -> Held:
        with contextlib.suppress(ValueError):  # not the main thread
            self._before = signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._before)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
