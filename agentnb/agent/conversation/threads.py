"""A thread as the journal has it: its turns, a path's blocks as this segment sends them, and where a request ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentnb.agent.conversation.turn_blocks import plain
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import RunUnknown
from agentnb.models import catalog
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Text, ToolResult
from agentnb.prompt.thread import Turn, path_to
from agentnb.providers.promptcache import Sent

EARLIER = "(earlier turn)"
"""Ends the reason of a definition that is held but that the turn did not touch."""
FOLDED = "(This definition now stands in another place of this conversation.)"


class Threads:
    """Reads turns and their blocks. A finished turn never changes, so its blocks are read once."""

    def __init__(self, machine: AgentStateMachine) -> None:
        self._machine = machine
        self._blocks: dict[str, tuple[Block, ...]] = {}
        self._segments: dict[str, tuple[Block, ...]] = {}
        self._bases: dict[str, Mapping[str, Any] | None] = {}
        self._firsts: dict[str, str | None] = {}

    def turns(self, thread: str) -> list[Turn]:
        """The thread's turns in order of their beginning."""
        return [
            Turn(
                run_id=run.run_id,
                parent=run.tags["parent"] or None,
                cell=run.tags["cell"] or None,
                execution=run.tags["execution"],
                kind=run.tags["kind"],
                segment_root=run.tags["root"],
                complete=run.status == "completed",
            )
            for run in self._machine.journal.find(thread=thread)
            if "kind" in run.tags
        ]

    def segment(self, root: str) -> tuple[Block, ...]:
        """The blocks that the segment froze: STATIC and SEMI_STATIC."""
        base = self.base(root)
        if base:
            return self.segment(base["root"])
        if root not in self._segments:
            stored = self._machine.get(root).context["segment_blocks"]
            self._segments[root] = tuple(Block.from_json(item) for item in stored)
        return self._segments[root]

    def base(self, root: str) -> Mapping[str, Any] | None:
        """What the segment keeps of another: `{"root", "kept"}`; None where it froze blocks of its own."""
        if root not in self._bases:
            self._bases[root] = self._machine.get(root).context.get("segment_base")
        return self._bases[root]

    def first(self, root: str) -> str | None:
        """The first turn that the segment sends; None where it sends all of its path."""
        if root not in self._firsts:
            self._firsts[root] = self._machine.get(root).context.get("segment_first")
        return self._firsts[root]

    def as_sent(self, path: Sequence[Turn], *, root: str, kind: str) -> tuple[Block, ...]:
        """The blocks of the path's turns as a segment sends them that has begun already."""
        return self.path(path, root=root, kind=kind, base=self.base(root), first=self.first(root))

    def path(
        self, path: Sequence[Turn], *, root: str, kind: str, base: Mapping[str, Any] | None, first: str | None = None
    ) -> tuple[Block, ...]:
        """The blocks of the path's turns as the segment with this root sends them.

        The segment's own turns go as they were sent. What came before its root is folded: the definitions stand in
        its frozen project section. What another segment sent since keeps its definitions; with another kind its tool
        traffic becomes text. Where the segment has a `base`, the turns up to the last kept one go as that other
        segment sent them. What came before its `first` turn is left out.
        """
        ids = [turn.run_id for turn in path]
        begins = ids.index(root) if root in ids else (0 if any(t.segment_root == root for t in path) else len(path))
        kept = ids.index(base["kept"]) + 1 if base and base["kept"] in ids else 0
        out: list[Block] = []
        if base and kept:
            out += self.as_sent(path[:kept], root=base["root"], kind=kind)
        start = max(kept, _place_of(first, ids, root))
        for number, turn in enumerate(path[start:], start):
            blocks: Sequence[Block] = self.own(turn)
            if number < begins:
                blocks = folded(blocks)
            if turn.kind != kind:
                blocks = plain(blocks)
            out += blocks
        return tuple(out)

    def whole(self, path: Sequence[Turn]) -> list[Block]:
        """All that the segments of the path sent and did not leave out since, in order: for what the thread holds."""
        out: list[Block] = []
        roots: set[str] = set()
        for turn in path:
            if turn.segment_root not in roots:
                roots.add(turn.segment_root)
                if self.first(turn.segment_root):
                    out.clear()  # what it did not carry over is not held any more
                # A segment with a base froze nothing of its own: what it would repeat here is older than the turns.
                out += () if self.base(turn.segment_root) else self.segment(turn.segment_root)
            out += self.own(turn)
        return out

    def end_of_last_request(
        self, path: Sequence[Turn], root: str, *, base: Mapping[str, Any] | None
    ) -> tuple[int, str | None]:
        """How many leading blocks this segment's last request on the path sent, and its reply's id; else (0, None)."""
        for turn in reversed(path):
            if turn.segment_root == root:
                return self.end_of(turn.run_id), self._machine.get(turn.run_id).context["previous_message"]
        return (self.end_of(base["kept"]), None) if base else (0, None)

    def last_reply(self, path: Sequence[Turn], address: str) -> str | None:
        """The id of the path's last reply where it came from the same provider: what that can compare a request with,
        to say why a new segment missed."""
        before = self._machine.get(path[-1].run_id).context if path else None
        same = before is not None and _whom(before["model"]) == _whom(address)
        return before["previous_message"] if before is not None and same else None

    def end_of(self, run_id: str) -> int:
        """How many leading blocks the turn's last request sent."""
        return int(self._machine.get(run_id).context["previous_end"])

    def own(self, turn: Turn) -> tuple[Block, ...]:
        """The turn's own blocks, as they were sent and answered."""
        if turn.run_id not in self._blocks:
            context = self._machine.get(turn.run_id).context
            self._blocks[turn.run_id] = tuple(Block.from_json(item) for item in context["blocks"])
        return self._blocks[turn.run_id]

    def touched(self, turn: Turn) -> set[str]:
        """The names of the definitions that the turn's task touched, or that were sent with it."""
        definitions = self._machine.get(turn.run_id).context.get("definitions", ())
        return {str(item["name"]) for item in definitions if not str(item["reason"]).endswith(EARLIER)}


def _place_of(first: str | None, ids: Sequence[str], root: str) -> int:
    """Where on the path the first turn stands that a segment sends. A segment may begin with its own root, which is
    not on the path yet while its first request is made."""
    if first in ids:
        return ids.index(first)
    return len(ids) if first == root else 0


def _whom(address: str) -> tuple[str, bool]:
    simulated, provider, name = catalog.split_address(address)
    row = catalog.find(name, provider)
    return provider or (row.provider if row else ""), simulated


def path_of(threads: Threads, context: Mapping[str, Any]) -> tuple[Turn, ...]:
    """The turns before the one whose context this is."""
    turns = threads.turns(context["thread"])
    parent = next((turn for turn in turns if turn.run_id == context["parent"]), None)
    return path_to(turns, parent)


def path_blocks(threads: Threads, context: Mapping[str, Any]) -> tuple[Block, ...]:
    """The blocks of the turns before this one, as this segment sends them."""
    root, kind, path = context["segment_root"], context["kind"], path_of(threads, context)
    if begins_segment(context):
        first = context.get("segment_first")
        return threads.path(path, root=root, kind=kind, base=context.get("segment_base"), first=first)
    return threads.as_sent(path, root=root, kind=kind)


def begins_segment(context: Mapping[str, Any]) -> bool:
    """Whether this turn begins its segment, of which its own context tells then."""
    return "segment_base" in context or "segment_blocks" in context


def left_out(context: Mapping[str, Any], path: Sequence[Turn]) -> int:
    """How many of the path's oldest turns the segment that this turn begins does not send."""
    return _place_of(context.get("segment_first"), [turn.run_id for turn in path], context["segment_root"])


def base_of(threads: Threads, context: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What this turn's segment keeps of another, from its own context where it begins the segment."""
    if "segment_base" in context:
        found: Mapping[str, Any] | None = context["segment_base"]
        return found
    return None if "segment_blocks" in context else threads.base(context["segment_root"])


def segment_blocks(threads: Threads, context: Mapping[str, Any]) -> tuple[Block, ...]:
    """The frozen blocks of the segment, from this turn's own context where it begins one."""
    stored = context.get("segment_blocks")
    if stored is None:
        base = base_of(threads, context)
        return threads.segment(base["root"] if base else context["segment_root"])
    return tuple(Block.from_json(item) for item in stored)


def sent_blocks(threads: Threads, machine: AgentStateMachine, sent: Sent | None) -> tuple[Block, ...]:
    """The blocks of a request that was sent, as the journal has them; () where its run is not in this journal."""
    try:
        context = machine.get(sent.run_id).context if sent else {}
    except RunUnknown:
        return ()
    if sent is None or "blocks" not in context:
        return ()
    own = (Block.from_json(item) for item in context["blocks"])
    return (*segment_blocks(threads, context), *path_blocks(threads, context), *own)[: len(sent.chain)]


def folded(blocks: Sequence[Block]) -> list[Block]:
    """Blocks without their definitions, which a new segment's project section holds in their present version."""
    out = []
    for block in blocks:
        if not block.holds:
            out.append(block)
        elif isinstance(block.content, ToolResult):
            out.append(replace(block, layer=Layer.DYNAMIC, content=replace(block.content, text=FOLDED), holds=()))
        elif not isinstance(block.content, Text):
            out.append(replace(block, holds=()))
    return out
