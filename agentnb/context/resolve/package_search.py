"""A bare name that nothing in the notebook leads to -> its definition in a package in use, by the index of packages.

The index may be stale: each place is looked up in its file as it is now, and counts only if the name is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from agentnb.context.resolve.packages import Place
from agentnb.context.resolve.text import Texts
from agentnb.context.static.definitions import Definition

SHORT = 150
"""Lines of what a word of the text may bring from the index: a longer class is hardly what the word is about."""
WORDS, BROUGHT = 300, 5
"""Words of one task that are looked up, and definitions that they may bring: a pasted log is full of names."""
_LOOKED_AT = 6


class PackageNames(Protocol):
    """Who knows where names are defined: `indexer.Indexer`."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of the packages in use."""

    def named(self, name: str) -> list[Place]:
        """Where a name is defined in them, likeliest first."""


class IndexedNames:
    """The index as one question needs it."""

    def __init__(self, texts: Texts, names: PackageNames | None) -> None:
        self._texts = texts
        self._names = names
        self._asked = 0
        self._brought = 0

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of the packages in use."""
        return self._names.packages if self._names else ()

    def likeliest(self, name: str) -> Definition | None:
        """The one definition of that name, or the one that stands out: public, at its module's top, no test."""
        found = self._best(name)
        return found[0] if len(found) == 1 else None

    def only(self, name: str) -> Definition | None:
        """The one definition of that name outside of tests, if it is short; and only so many of them in one task."""
        self._asked += 1
        if self._asked > WORDS or self._brought >= BROUGHT:
            return None
        places = self._named(name)
        found = self._present(places) if len(places) == 1 else []
        if not found or found[0].lines[1] - found[0].lines[0] >= SHORT:
            return None
        self._brought += 1
        return found[0]

    def candidates(self, name: str) -> list[str]:
        """The full names among which `likeliest` cannot choose."""
        return [definition.name for definition in self._best(name)]

    def _best(self, name: str) -> list[Definition]:
        places = self._named(name)
        return self._present([place for place in places if place.rank == places[0].rank])

    def _named(self, name: str) -> list[Place]:
        """Packages' tests are nobody's question unless it names one."""
        found = self._names.named(name) if self._names else []
        return [place for place in found if not place.rank[0] or name.lower().startswith("test")]

    def _present(self, places: Sequence[Place]) -> list[Definition]:
        found = []
        for place in places[:_LOOKED_AT]:
            file = self._texts.read(Path(place.path), place.module)
            if file is not None and place.qualified in file.chosen:
                found.append(file.by_name[place.qualified])
        return found
