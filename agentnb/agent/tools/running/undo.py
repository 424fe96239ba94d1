"""Take back what a model's code did to the notebook's names: bindings, and what small containers and tables hold.

Files, the network, and changes deeper inside objects stay as they are.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field

from agentnb.agent.tools.running.names import Changes, NameHeld, changes, listed, names_in, restored, snapshot
from agentnb.agent.tools.tool import Outcome

STAYS = "Files, the network, and changes deeper inside objects stay as they are."
KEPT = 10
"""Pieces of code that can be taken back, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RanCode:
    """Holds code that ran: what it did, and what the names that it touched held before and after."""

    code: str
    did: Changes
    was: Mapping[str, NameHeld]
    left: Mapping[str, NameHeld]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """Tells what was taken back of a piece of code. Names that something else has changed since were not."""

    code: str
    did: Changes
    since: tuple[str, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Undo:
    """Holds the code that ran in one namespace, as far as it can be taken back. Use it where the code runs."""

    _ran: deque[RanCode] = field(default_factory=lambda: deque(maxlen=KEPT))
    _notes: list[str] = field(default_factory=list)

    def noting(self, namespace: Mapping[str, object], code: str, run: Callable[[], Outcome]) -> Outcome:
        """Run the code, and remember what it did, however it ends."""
        mentioned = names_in(code)
        was = snapshot(namespace, mentioned)
        try:
            return run()
        finally:
            with contextlib.suppress(Exception):  # what the code gave counts, though it cannot be taken back
                self._note(code, was, namespace, mentioned)

    def _note(
        self, code: str, was: Mapping[str, NameHeld], namespace: Mapping[str, object], mentioned: frozenset[str]
    ) -> None:
        did = changes(was, namespace, mentioned)
        left = snapshot(namespace, frozenset({*did.made, *did.changed}))
        self._ran.append(
            RanCode(
                code=code,
                did=did,
                was={name: was[name] for name in (*did.changed, *did.deleted)},
                left={name: left[name] for name in (*did.made, *did.changed)},
            )
        )

    def undo(self, namespace: MutableMapping[str, object]) -> Undone | None:
        """Take the newest piece back; None where there is none. What was changed since is left as it is."""
        if not self._ran:
            return None
        ran = self._ran.pop()
        since = tuple(name for name, held in ran.left.items() if not _holds(namespace, name, held))
        since += tuple(name for name in ran.did.deleted if name in namespace)
        for name in {*ran.left} - {*since}:
            del namespace[name]
        for name in {*ran.was} - {*since}:
            namespace[name] = restored(ran.was[name])
        back = sorted(({*ran.left} | {*ran.was}) - {*since})
        if back:
            self._notes.append(f"What run_code did to {listed(back)} was taken back: it is as before that code.")
        return Undone(code=ran.code, did=ran.did, since=tuple(sorted(since)), more=len(self._ran))

    def take_notes(self) -> tuple[str, ...]:
        """Return what the model is to be told of it, once."""
        notes = tuple(self._notes)
        self._notes.clear()
        return notes


def _holds(namespace: Mapping[str, object], name: str, held: NameHeld) -> bool:
    return name in namespace and held.is_still(namespace[name])
