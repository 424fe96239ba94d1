"""Keep the append-only conversation: what is new goes to the end, and nothing that was sent is ever rewritten.

A thread is a tree of turns. Each turn knows its parent and the cell that asked. Running a cell again branches from the
parent of that cell's last turn. Later cells go on from the newest branch. A path from root to leaf only grows. So a
request's prefix is the previous request on its path, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from agentnb.errors import JournalError
from agentnb.models.layers import Block


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Holds one turn of a thread: the run that carried it, where it hangs, and who asked.

    `execution` tells two runs of the same cell apart; `complete` says whether it can be built upon. `kind` is the
    digest of what a segment freezes by its own (model, tools, instructions). `segment_root` is the run that holds the
    segment's frozen blocks, and so the segment's name.
    """

    run_id: str
    parent: str | None
    cell: str | None
    execution: str
    kind: str
    segment_root: str
    complete: bool


def parent_for(turns: Sequence[Turn], *, cell: str | None, execution: str) -> Turn | None:
    """Return the turn that a new turn of `cell` continues, or None at the root. `turns` are in order of their
    beginning."""
    again = _first_of_last_execution(turns, cell=cell, execution=execution)
    if again is None:
        return next((turn for turn in reversed(turns) if turn.complete), None)
    by_id = {turn.run_id: turn for turn in turns}
    return by_id.get(again.parent) if again.parent else None


def is_branch(turns: Sequence[Turn], *, cell: str | None, execution: str) -> bool:
    """Tell whether a new turn of `cell` would be a re-run, and so begin a branch."""
    return _first_of_last_execution(turns, cell=cell, execution=execution) is not None


def leaves_answers(turns: Sequence[Turn], *, cell: str | None, execution: str) -> bool:
    """Tell whether a new turn of `cell` would be a re-run that leaves later answers in the old branch."""
    if not is_branch(turns, cell=cell, execution=execution):
        return False
    last = next(turn for turn in reversed(turns) if turn.cell == cell)
    return any(turn.parent == last.run_id and turn.complete for turn in turns)


def _first_of_last_execution(turns: Sequence[Turn], *, cell: str | None, execution: str) -> Turn | None:
    """Return the first turn of the cell's last execution, unless that execution is the present one (two %agent
    lines)."""
    if cell is None:
        return None
    last = next((turn for turn in reversed(turns) if turn.cell == cell), None)
    if last is None or last.execution == execution:
        return None
    return next(turn for turn in turns if turn.cell == cell and turn.execution == last.execution)


def path_to(turns: Iterable[Turn], leaf: Turn | None) -> tuple[Turn, ...]:
    """Return the turns from the root to `leaf`, in order. Raises JournalError when a parent is missing."""
    by_id = {turn.run_id: turn for turn in turns}
    out: list[Turn] = []
    while leaf is not None:
        out.append(leaf)
        if leaf.parent is None:
            break
        if leaf.parent not in by_id:
            raise JournalError(
                "a turn of this thread is missing from the journal",
                about=leaf.parent,
                todo="Begin afresh with %%agent -t new.",
            )
        leaf = by_id[leaf.parent]
    return tuple(reversed(out))


def segment_for(turns: Sequence[Turn], path: Sequence[Turn], kind: str) -> str | None:
    """Return the root of the segment that a new turn of this kind goes on with. None when it must begin one.

    On a path it is the newest segment of the same kind on that path. At the root of the thread it is the newest of its
    kind that the thread has. What another branch froze is as good, and its prefix may still be warm.
    """
    known = path or turns
    return next((turn.segment_root for turn in reversed(known) if turn.kind == kind and turn.complete), None)


def held_definitions(
    blocks: Iterable[Block], before: Mapping[str, Mapping[str, object]] = MappingProxyType({})
) -> dict[str, Mapping[str, object]]:
    """Return what the thread holds: the newest version of each definition by name; a removed one is not held.

    `before` is what is held before these blocks.
    """
    held = dict(before)
    for block in blocks:
        for item in block.holds:
            name = str(item["name"])
            if item.get("form") == "removed":
                held.pop(name, None)
            elif not _is_weaker(item, held.get(name)):
                held[name] = item
    return held


def removed_definitions(blocks: Iterable[Block]) -> tuple[str, ...]:
    """Return the names that the thread last said were removed: it must take that back where they are there again."""
    last = {str(item["name"]): item.get("form") for block in blocks for item in block.holds}
    return tuple(name for name, form in last.items() if form == "removed")


@dataclass(frozen=True, slots=True)
class ReadBlocks:
    """Holds what was read of the blocks that a prompt begins with. Of a prompt that grew, only its end is read again.

    `weights` are the blocks' own, and `stale` is how much of each later blocks made out of date. `newest` has
    the digest that was sent last, by name, and the weights of its texts, by their block's place.
    """

    blocks: tuple[Block, ...] = ()
    weights: tuple[float, ...] = ()
    held: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    newest: Mapping[str, tuple[str, tuple[tuple[int, float], ...]]] = field(default_factory=dict)
    stale: tuple[float, ...] = ()

    def then(self, blocks: Sequence[Block], weights: Sequence[float]) -> ReadBlocks:
        """Return the same with these blocks behind the others."""
        newest, stale = dict(self.newest), [*self.stale, *(0.0 for _ in blocks)]
        for number, (block, total) in enumerate(zip(blocks, weights, strict=True), len(self.blocks)):
            for item, weight in _weighed(block, total) if block.holds else ():
                name, digest = str(item["name"]), str(item["digest"])
                before, places = newest.get(name, (digest, ()))
                if before != digest:
                    _add(stale, places)
                    places = ()
                newest[name] = digest, (*places, (number, weight))
        held = held_definitions(blocks, self.held)
        return ReadBlocks((*self.blocks, *blocks), (*self.weights, *weights), held, newest, tuple(stale))

    def stale_weights(self, current: Mapping[str, str]) -> list[float]:
        """Return how much of each block is out of date: replaced, removed, or other than in `current`: digest by name.

        A definition's count when it was sent gives only its share of its block. Estimates of different times must not
        be compared. A name that `current` does not list is taken as unchanged.
        """
        stale = list(self.stale)
        for name, (digest, places) in self.newest.items():
            if current.get(name, digest) != digest:
                _add(stale, places)
        return stale


def _add(stale: list[float], places: Iterable[tuple[int, float]]) -> None:
    for number, weight in places:
        stale[number] += weight


def _weighed(block: Block, weight: float) -> Iterator[tuple[Mapping[str, object], float]]:
    """Return each definition of the block with its part of the block's weight."""
    whole = sum(_tokens_of(item) for item in block.holds)
    return ((item, weight * _tokens_of(item) / whole if whole else 0.0) for item in block.holds)


def _tokens_of(item: Mapping[str, object]) -> int:
    tokens = item.get("tokens", 0)
    return tokens if isinstance(tokens, int) else 0


def _is_weaker(item: Mapping[str, object], present: Mapping[str, object] | None) -> bool:
    """Tell whether this adds nothing: a signature, sent after the full text of the same version."""
    return present is not None and present["digest"] == item["digest"] and present["form"] == "full"


def needed(item_digest: str, form: str, held: Mapping[str, object] | None) -> bool:
    """Tell whether a definition must be sent: it is new, changed, or held by signature while the full is wanted."""
    if held is None or held["digest"] != item_digest:
        return True
    return form == "full" and held["form"] == "signature"
