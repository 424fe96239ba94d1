"""A thread as the journal has it: its turns, a path's blocks as this segment sends them, and where a request ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentnb.prompt.layers import Block, Layer
from agentnb.prompt.thread import Turn, path_to
from agentnb.providers.messages import Text, ToolResult
from agentnb.runs.conversation import plain
from agentnb.runs.machine import AgentStateMachine

FOLDED = "(This definition now stands in the project section.)"


class Threads:
    """Reads turns and their blocks. A finished turn never changes, so its blocks are read once."""

    def __init__(self, machine: AgentStateMachine) -> None:
        self._machine = machine
        self._blocks: dict[str, tuple[Block, ...]] = {}
        self._segments: dict[str, tuple[Block, ...]] = {}

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
        if root not in self._segments:
            stored = self._machine.get(root).context["segment_blocks"]
            self._segments[root] = tuple(Block.from_json(item) for item in stored)
        return self._segments[root]

    def path(self, path: Sequence[Turn], *, root: str, kind: str) -> tuple[Block, ...]:
        """The blocks of the path's turns as the segment with this root sends them.

        The segment's own turns go as they were sent. What came before its root is folded: the definitions stand in
        its frozen project section. What another segment sent since keeps its definitions; with another kind its tool
        traffic becomes text.
        """
        ids = [turn.run_id for turn in path]
        begins = ids.index(root) if root in ids else (0 if any(t.segment_root == root for t in path) else len(path))
        out: list[Block] = []
        for number, turn in enumerate(path):
            blocks: Sequence[Block] = self._own(turn.run_id)
            if number < begins:
                blocks = folded(blocks)
            if turn.kind != kind:
                blocks = plain(blocks)
            out += blocks
        return tuple(out)

    def whole(self, path: Sequence[Turn]) -> list[Block]:
        """Everything that any segment of the path sent, in order: for what the thread holds."""
        out: list[Block] = []
        roots: set[str] = set()
        for turn in path:
            if turn.segment_root not in roots:
                roots.add(turn.segment_root)
                out += self.segment(turn.segment_root)
            out += self._own(turn.run_id)
        return out

    def end_of_last_request(self, path: Sequence[Turn], root: str) -> tuple[int, str | None]:
        """How many leading blocks this segment's last request on the path sent, and its reply's id; else (0, None)."""
        for turn in reversed(path):
            if turn.segment_root == root:
                context = self._machine.get(turn.run_id).context
                return context["previous_end"], context["previous_message"]
        return 0, None

    def _own(self, run_id: str) -> tuple[Block, ...]:
        if run_id not in self._blocks:
            context = self._machine.get(run_id).context
            self._blocks[run_id] = tuple(Block.from_json(item) for item in context["blocks"])
        return self._blocks[run_id]


def path_of(threads: Threads, context: Mapping[str, Any]) -> tuple[Turn, ...]:
    """The turns before the one whose context this is."""
    turns = threads.turns(context["thread"])
    parent = next((turn for turn in turns if turn.run_id == context["parent"]), None)
    return path_to(turns, parent)


def path_blocks(threads: Threads, context: Mapping[str, Any]) -> tuple[Block, ...]:
    """The blocks of the turns before this one, as this segment sends them."""
    return threads.path(path_of(threads, context), root=context["segment_root"], kind=context["kind"])


def segment_blocks(threads: Threads, context: Mapping[str, Any]) -> tuple[Block, ...]:
    """The frozen blocks of the segment, from this turn's own context where it begins one."""
    stored = context.get("segment_blocks")
    if stored is None:
        return threads.segment(context["segment_root"])
    return tuple(Block.from_json(item) for item in stored)


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
