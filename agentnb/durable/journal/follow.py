"""Follow a journal from anywhere: every event once and in order, whatever becomes of the messages that tell of it.

A message only says that there is something to read. It comes over Redis, or the journal is looked at now and then. What
is shown comes from the journal. So a message that is lost, doubled, late or forged changes when an event is shown, and
never what. Signals, which are kept nowhere, are shown while their step is in flight, and may be lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol, TypeAlias

from agentnb.durable.events import Bus, Callback, Event
from agentnb.durable.journal.protocol import Journal
from agentnb.errors import AgentnbError

LOOK_EVERY = 1.0
"""Seconds after which the journal is looked at without a message: a lost one delays no longer."""
POLL_EVERY = 0.05
"""Seconds between two looks where there are no messages at all."""
SOON = (0.01, 0.02, 0.04, 0.08, 0.16)
"""Seconds between looks for an event that was told of and cannot be read yet: its transaction is committing."""

Message: TypeAlias = int | Event
"""The `seq` of an event that is in the journal, or a signal."""


class Ears(Protocol):
    """Tells where messages come from."""

    def hear(self, seconds: float) -> Sequence[Message]:
        """Return what has come, at the latest after `seconds`; nothing where nothing came."""

    def close(self) -> None:
        """Close, from any thread: who hears now hears nothing more, and soon."""


class ShownEvents:
    """Remembers what has been shown of a journal, and so what is shown next. Pure but for `read`, the journal's
    `follow`."""

    def __init__(self, read: Callable[[int], Sequence[Event]], after: int = 0) -> None:
        self._read = read
        self._looks = 0
        self._steps: dict[str, int] = {}
        self.seq = after
        """The last event shown."""
        self.told = after
        """The last event that any message told of."""

    def take(self, messages: Sequence[Message]) -> Iterator[Event]:
        """Yield what there is to show after these messages; none at all are a reason to look, too."""
        told = max((message for message in messages if isinstance(message, int)), default=0)
        if told > self.told:
            self.told, self._looks = told, 0
        signals = [message for message in messages if isinstance(message, Event)]
        ahead = (signal.step - 1 > self._steps.get(signal.run_id, -1) for signal in signals)
        if not messages or self.told > self.seq or any(ahead):
            yield from self._events()
        for signal in signals:
            if self._steps.setdefault(signal.run_id, signal.step - 1) == signal.step - 1:
                yield signal

    def _events(self) -> Iterator[Event]:
        while batch := self._read(self.seq):
            for event in batch:
                self.seq, self._steps[event.run_id] = event.seq, event.step
                yield event
        self._looks += 1

    def patience(self, usual: float) -> float:
        """Return the seconds to wait for a message: few while an event it told of could not be read."""
        return SOON[self._looks - 1] if self.told > self.seq and 0 < self._looks <= len(SOON) else usual


class Polling:
    """Hears no messages: there is only a look at the journal every `seconds`."""

    def __init__(self, seconds: float = POLL_EVERY) -> None:
        self._seconds = seconds
        self._closed = threading.Event()

    def hear(self, seconds: float) -> Sequence[Message]:
        self._closed.wait(min(seconds, self._seconds))
        return ()

    def close(self) -> None:
        self._closed.set()


class Follower:
    """Tells what happens to runs, here or in other processes, from a thread that begins with the first subscriber.

    `after` is the `seq` after which events are told, by default the last one now. `trouble` is why the journal could
    not be read at the last look. It is looked at again, and nothing is left out.
    """

    def __init__(self, journal: Journal, ears: Ears | None = None, *, after: int | None = None) -> None:
        self._shown = ShownEvents(journal.follow, newest(journal) if after is None else after)
        self._ears = ears or Polling()
        self._bus = Bus()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="agentnb follower", daemon=True)
        self.trouble: AgentnbError | None = None

    def subscribe(
        self, callback: Callback, *, kinds: Collection[str] | None = None, run_id: str | None = None
    ) -> Callable[[], None]:
        """Subscribe as on a machine's bus: `callback(event)` from now on; gives the function that ends it."""
        end = self._bus.subscribe(callback, kinds=kinds, run_id=run_id)
        if not self._thread.is_alive() and not self._ended.is_set():
            self._thread.start()
        return end

    def close(self) -> None:
        """End it: nothing is told after this, unless it is called by what is being told."""
        self._ended.set()
        self._ears.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        messages: Sequence[Message] = ()
        while not self._ended.is_set():
            self._tell(messages)
            messages = self._ears.hear(self._shown.patience(LOOK_EVERY))

    def _tell(self, messages: Sequence[Message]) -> None:
        try:
            for event in self._shown.take(messages):
                if self._ended.is_set():
                    return
                self._bus.emit(event)
            self.trouble = None
        except AgentnbError as error:  # a locked file, a server that restarts: the next look reads what is missing
            if self.trouble is None and not self._ended.is_set():
                logging.getLogger(__name__).warning("the journal cannot be read just now: %s", error)
            self.trouble = error


def newest(journal: Journal) -> int:
    """Return the `seq` of the last event of all; 0 where there is none. In some dozens of short questions, however
    many."""
    below, step = 0, 1
    while found := journal.follow(below + step - 1, limit=1):
        below, step = found[0].seq, 2 * step
    while step > 1:
        step //= 2
        found = journal.follow(below + step - 1, limit=1)
        below = found[0].seq if found else below
    return below
