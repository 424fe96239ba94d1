"""Hold what a state asks for beyond its handler: retries, a timeout, a version."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from agentnb.durable.contexts import Context
from agentnb.errors import StateTimeout

T = TypeVar("T")

Handler: TypeAlias = Callable[[Context], tuple[str, Context]]
"""`(context) -> (next_state, context)`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """Says how often a state is tried, and the wait between: `delay`, then `factor` times as much each time.

    Attempts are counted in the journal, so a crash does not begin them anew.

    >>> retry = agentnb.Retry(attempts=3, delay=0.5, on=(OSError,))
    >>> retry.wait_after(1), retry.wait_after(2), retry.allows(3, OSError())
    (0.5, 1.0, False)
    >>> retry.factor, retry.longest, retry.attempts, retry.delay, retry.on
    (2.0, 60.0, 3, 0.5, (<class 'OSError'>,))
    """

    attempts: int = 3
    """Attempts in all."""
    delay: float = 1.0
    """Seconds to wait after the first attempt."""
    factor: float = 2.0
    """Each wait is so many times the one before."""
    longest: float = 60.0
    """Seconds that no wait is longer than."""
    on: tuple[type[Exception], ...] = (Exception,)
    """Errors that are worth another attempt."""

    def wait_after(self, attempt: int) -> float:
        """Return the seconds to wait after this attempt (1 is the first) has failed."""
        return float(min(self.longest, self.delay * self.factor ** (attempt - 1)))

    def allows(self, attempt: int, error: Exception) -> bool:
        """Tell whether there is another attempt after this one failed with `error`."""
        return attempt < self.attempts and isinstance(error, self.on)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class State:
    """Holds a registered state."""

    name: str
    handler: Handler
    retry: Retry | None = None
    timeout: float | None = None
    waits: float | None = None
    """For a state AWAITING_...: how long it waits for its event, in seconds."""
    version: str = "1"
    leads_to: tuple[str, ...] = field(default=())
    """States it may go to, where the writer of the machine says so: for the drawing."""

    def call(self, context: object) -> Any:
        """Return the handler's answer. Raises what it raises, and StateTimeout."""
        if self.timeout is None:
            return self.handler(context)
        return call_within(self.timeout, lambda: self.handler(context), about=self.name)


def call_within(seconds: float, work: Callable[[], T], *, about: str) -> T:
    """Return the result of `work`, run in a thread. After `seconds` it is given up: StateTimeout, and its result is
    lost.

    Python cannot end a thread. A handler that goes on after its time can change nothing of the run any more. Its
    effects outside still happen, so a long one should look at `machine.current.over` now and then.
    """
    box: list[T] = []
    errors: list[BaseException] = []

    def keep() -> None:
        try:
            box.append(work())
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(keep,), name=about, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise StateTimeout(f"the state did not end within {seconds:g} s", about=about, todo="Give it a longer timeout.")
    if errors:
        raise errors[0]
    return box[0]
