"""Define the record of everything that happens to runs, and the bus that tells it.

An event is the history row written in the transition's own transaction. What a subscriber hears has happened. Signals
that are not journaled (a reply's text as it streams in) travel on the same bus with `seq` 0.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agentnb.canonical import JsonMapping, JsonObject

EVENT_VERSION = 1
COMPLETED, FAILED = "COMPLETED", "FAILED"
NOTED = "noted"

JOURNALED_KINDS = frozenset(
    {"created", "step", "failed", "retried", "paused", "resumed", "cancelled", "delayed", "woken", NOTED, "answered"}
)
"""Kinds that the journal keeps. Every other kind is a signal: heard by who listens now, kept nowhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Holds one thing that happened. `at` is seconds since the epoch; `seq` is the cursor in the journal, 0 for a
    signal.

    `state` is where the run was and `next_state` where it is now. `data` is JSON: what the handler attached, the error
    of a failure, the reason of a pause.
    """

    run_id: str
    step: int
    kind: str
    state: str
    next_state: str
    at: float
    data: JsonMapping = field(default_factory=dict)
    seq: int = 0
    version: int = EVENT_VERSION

    def as_dict(self) -> JsonObject:
        """Return the event as JSON-able values, for another process or a widget."""
        return {name: getattr(self, name) for name in self.__slots__} | {"data": dict(self.data)}


Callback: TypeAlias = Callable[[Event], object] | Callable[[Event], Coroutine[Any, Any, object]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Subscriber:
    callback: Callback
    kinds: frozenset[str] | None
    run_id: str | None
    loop: asyncio.AbstractEventLoop | None

    def wants(self, event: Event) -> bool:
        return (self.kinds is None or event.kind in self.kinds) and self.run_id in (None, event.run_id)

    def tell(self, event: Event) -> None:
        if self.loop is None:
            self.callback(event)
        else:
            self.loop.call_soon_threadsafe(self._begin, event)

    def _begin(self, event: Event) -> None:
        result = self.callback(event)
        if inspect.isawaitable(result) and self.loop is not None:
            task = self.loop.create_task(_wait_for(result))
            _RUNNING.add(task)
            task.add_done_callback(_RUNNING.discard)


# A loop holds its tasks weakly: without this set, one that waits could vanish in the middle.
_RUNNING: set[asyncio.Task[object]] = set()


async def _wait_for(result: Awaitable[object]) -> object:
    return await result


class Bus:
    """Tells events to subscribers, in the order of subscription, in the thread that made the event.

    A subscriber that fails never breaks the run: its error goes to `failures` (the newest 20) and to the log.
    """

    def __init__(self) -> None:
        self._subscribers: tuple[_Subscriber, ...] = ()
        self.heard = False
        """True while anybody listens; who makes events in a hurry asks first."""
        self.failures: deque[tuple[Event, BaseException]] = deque(maxlen=20)

    def subscribe(
        self, callback: Callback, *, kinds: Collection[str] | None = None, run_id: str | None = None
    ) -> Callable[[], None]:
        """Call `callback(event)` from now on; gives the function that ends it.

        `kinds` and `run_id` narrow what is told. A coroutine function runs on the loop that runs at subscription.
        """
        loop = asyncio.get_running_loop() if inspect.iscoroutinefunction(callback) else None
        chosen = None if kinds is None else frozenset(kinds)
        subscriber = _Subscriber(callback=callback, kinds=chosen, run_id=run_id, loop=loop)
        self._set((*self._subscribers, subscriber))
        return lambda: self._set(tuple(s for s in self._subscribers if s is not subscriber))

    def unsubscribe(self, callback: Callback) -> None:
        """End every subscription of `callback`."""
        self._set(tuple(s for s in self._subscribers if s.callback != callback))

    def emit(self, event: Event) -> None:
        """Tell `event` to everyone who wants it."""
        for subscriber in self._subscribers:
            if subscriber.wants(event):
                self._tell(subscriber, event)

    def _tell(self, subscriber: _Subscriber, event: Event) -> None:
        try:
            subscriber.tell(event)
        except Exception as error:  # noqa: BLE001 - foreign code; a listener must not break the run
            self.failures.append((event, error))
            logging.getLogger(__name__).warning("a subscriber failed on %s: %r", event.kind, error)

    def _set(self, subscribers: tuple[_Subscriber, ...]) -> None:
        self._subscribers = subscribers  # always a new tuple: emit may be walking the old one
        self.heard = bool(subscribers)
