"""Read a thread from the journal: its turns, a path's blocks as this segment sends them, where a request ended.

Nothing of a conversation is kept beside the journal. Each turn is a run, and its run keeps the blocks that it added, as
they were sent and answered. So a kernel that comes new to a thread sends the very same bytes, and the provider's prompt
cache hits. A finished turn never changes; it is read once and remembered.

A request is put together from three places. The segment's root has the frozen blocks: tools, instructions, project. The
path from the thread's root to this turn has the turns' own blocks. This turn adds the last ones.

Three cases break the plain order. Each keeps a prefix warm, or leaves out text that would only cost.

- A turn from before the segment began is folded. Its definitions stand in the frozen section already, so their old text
  gives way to one sentence.
- A turn of another kind (another model, other tools) goes on as plain text. Its tool traffic names tools that this
  request does not offer.
- A segment with a base sends the kept turns as the base did. The provider still holds those bytes.

Do not build a path by what the turns' own segments sent: those may differ in every block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agentnb.agent.conversation.turn_blocks import block_weight, plain
from agentnb.agent.state import AgentState, Base, is_agents
from agentnb.durable.journal.records import COMPLETED
from agentnb.durable.machine import AgentStateMachine
from agentnb.errors import JournalError, RunUnknown
from agentnb.models import catalog
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Text, ToolResult
from agentnb.prompt.thread import ReadBlocks, Turn, path_to
from agentnb.providers.promptcache import Sent

STEADY = 8
"""Turns for which a definition must have stood unchanged to be written into the project section again."""
MOST_PATHS = 32
"""Paths that are kept: those of the turns that runs are just at work on."""
FOLDED = "(This definition now stands in another place of this conversation.)"


class Threads:
    """Reads turns and their blocks. A finished turn never changes, so its state is read once."""

    def __init__(self, machine: AgentStateMachine) -> None:
        self._machine = machine
        self._finished: dict[str, AgentState] = {}
        self._paths: dict[str, tuple[Turn, ...]] = {}
        self._read = ReadBlocks()

    def read(self, blocks: Sequence[Block]) -> ReadBlocks:
        """Return what these blocks hold, and what is out of date. Of a prompt that grew, only the end is read."""
        known, blocks = self._read, tuple(blocks)
        known = known if blocks[: len(known.blocks)] == known.blocks else ReadBlocks()
        new = blocks[len(known.blocks) :]
        self._read = read = known.then(new, [block_weight(block.content) for block in new]) if new else known
        return read

    def _state(self, run_id: str) -> AgentState:
        """Return the state of a turn as it stands. Raises RunUnknown."""
        if run_id in self._finished:
            return self._finished[run_id]
        run = self._machine.get(run_id)
        state = self.numbered(AgentState.from_json(run.context))
        if run.status == COMPLETED:
            self._finished[run_id] = state
        return state

    def numbered(self, state: AgentState) -> AgentState:
        """Return the state with its replies numbered, as older journals have them not."""
        return state if state.replies else state.numbered(self._state(state.parent).replies if state.parent else 0)

    def turns(self, thread: str) -> list[Turn]:
        """Return the thread's turns in order of their beginning."""
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
        """Return the blocks that the segment froze: STATIC and SEMI_STATIC."""
        frozen = self._state(root).segment
        if frozen.base:
            return self.segment(frozen.base.root)
        if frozen.blocks is None:
            raise JournalError(
                "the run ended before it had read the notebook", about=root, todo="Ask its task anew in a cell."
            )
        return frozen.blocks

    def base(self, root: str) -> Base | None:
        """Return what the segment keeps of another; None where it froze blocks of its own."""
        return self._state(root).segment.base

    def first(self, root: str) -> str | None:
        """Return the first turn that the segment sends; None where it sends all of its path."""
        return self._state(root).segment.first

    def as_sent(self, path: Sequence[Turn], *, root: str, kind: str) -> tuple[Block, ...]:
        """Return the blocks of the path's turns as a segment sends them that has begun already."""
        return self.path(path, root=root, kind=kind, base=self.base(root), first=self.first(root))

    def path(
        self, path: Sequence[Turn], *, root: str, kind: str, base: Base | None, first: str | None = None
    ) -> tuple[Block, ...]:
        """Return the blocks of the path's turns as the segment with this root sends them.

        The segment's own turns go as they were sent. What came before its root is folded: the definitions stand in its
        frozen project section. What another segment sent since keeps its definitions; with another kind its tool
        traffic becomes text. Where the segment has a `base`, the turns up to the last kept one go as the base sent
        them. What came before its `first` turn is left out. So is what came before a turn whose own blocks hold it
        condensed.
        """
        ids = [turn.run_id for turn in path]
        begins = ids.index(root) if root in ids else (0 if any(t.segment_root == root for t in path) else len(path))
        kept = ids.index(base.kept) + 1 if base and base.kept in ids else 0
        out: list[Block] = []
        if base and kept:
            out += self.as_sent(path[:kept], root=base.root, kind=kind)
        start = max(kept, _place_of(first, ids, root), self._condensed(path))
        for number, turn in enumerate(path[start:], start):
            blocks: Sequence[Block] = self.own(turn)
            if number < begins:
                blocks = folded(blocks)
            if turn.kind != kind:
                blocks = plain(blocks)
            out += blocks
        return tuple(out)

    def _condensed(self, path: Sequence[Turn]) -> int:
        """Return the place on the path of the last turn whose own blocks hold what came before; 0: none does."""
        places = (n for n in range(len(path) - 1, 0, -1) if self._state(path[n].run_id).segment.first == path[n].run_id)
        return next(places, 0)

    def replies(self, turn: Turn | None) -> int:
        """Count the replies that the conversation has had up to the end of this turn."""
        return self._state(turn.run_id).replies if turn else 0

    def whole(self, path: Sequence[Turn]) -> list[Block]:
        """Return all that the path's segments sent and still send, in order: for what the thread holds."""
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

    def edited(self, path: Sequence[Turn]) -> set[str]:
        """Return the definitions that were sent in a new version within the last STEADY turns of the path."""
        versions: dict[str, str] = {}
        found: set[str] = set()
        for number, turn in enumerate(path):
            for item in (item for block in self.own(turn) for item in block.holds):
                name, digest = str(item["name"]), str(item["digest"])
                if versions.get(name, digest) != digest and number >= len(path) - STEADY:
                    found.add(name)
                versions[name] = digest
        return found

    def end_of_last_request(self, path: Sequence[Turn], root: str, *, base: Base | None) -> tuple[int, str | None]:
        """Return how many leading blocks this segment's last request on the path sent, and its reply's id; else (0,
        None)."""
        for turn in reversed(path):
            if turn.segment_root == root:
                return self.end_of(turn.run_id), self._state(turn.run_id).previous_message
        return (self.end_of(base.kept), None) if base else (0, None)

    def last_reply(self, path: Sequence[Turn], address: str) -> str | None:
        """Return the id of the path's last reply where it came from the same provider. By it a provider can say why a
        new segment missed."""
        before = self._state(path[-1].run_id) if path else None
        return before.previous_message if before and _whom(before.address) == _whom(address) else None

    def end_of(self, run_id: str) -> int:
        """Return how many leading blocks the turn's last request sent."""
        return self._state(run_id).previous_end

    def own(self, turn: Turn) -> tuple[Block, ...]:
        """Return the turn's own blocks, as they were sent and answered."""
        return self._state(turn.run_id).blocks

    # The turn of a state, which may be at work

    def path_to(self, turns: Sequence[Turn], parent: Turn | None) -> tuple[Turn, ...]:
        """Return the turns up to `parent`. They are kept for the steps of the turn that follows: a path never
        changes."""
        before = self._paths.get(parent.parent or "", ()) if parent is not None else ()
        if parent is not None and before and all(turn.run_id in self._finished for turn in before):
            path = (*before, self._as_it_went(parent))
        else:
            path = tuple(self._as_it_went(turn) for turn in path_to(turns, parent))
        if parent is not None:
            self._paths = {**dict(list(self._paths.items())[-MOST_PATHS:]), parent.run_id: path}
        return path

    def _as_it_went(self, turn: Turn) -> Turn:
        """Return the turn, in the segment that it ended in: a run may begin one in its middle."""
        state = self._state(turn.run_id)
        kind, root = state.kind or turn.kind, state.segment.root
        same = (kind, root) == (turn.kind, turn.segment_root)
        return turn if same else replace(turn, kind=kind, segment_root=root)

    def path_of(self, state: AgentState) -> tuple[Turn, ...]:
        """Return the turns before this one."""
        if state.parent is None:
            return ()
        if state.parent not in self._paths:
            turns = self.turns(state.thread)
            return self.path_to(turns, next((turn for turn in turns if turn.run_id == state.parent), None))
        return self._paths[state.parent]

    def before(self, state: AgentState) -> tuple[Block, ...]:
        """Return what this turn's requests begin with: its segment's frozen blocks, and the turns before it.

        Where the turn begins its segment, its own state tells of that.
        """
        segment, path, base = state.segment, self.path_of(state), self.base_of(state)
        first = segment.first if segment.begins else self.first(segment.root)
        frozen = segment.blocks
        if frozen is None:
            frozen = self.segment(base.root if base else segment.root)
        return (*frozen, *self.path(path, root=segment.root, kind=state.kind, base=base, first=first))

    def base_of(self, state: AgentState) -> Base | None:
        """Return what this turn's segment keeps of another, from its own state where it begins the segment."""
        return state.segment.base if state.segment.begins else self.base(state.segment.root)

    def sent(self, sent: Sent | None) -> tuple[Block, ...]:
        """Return the blocks of a sent request, as the journal has them; () where its run is not in this journal."""
        if sent is None:
            return ()
        try:
            context = self._machine.get(sent.run_id).context
        except RunUnknown:
            return ()
        if not is_agents(context):
            return ()
        state = AgentState.from_json(context)
        return (*self.before(state), *state.blocks)[: len(sent.chain)]


def _place_of(first: str | None, ids: Sequence[str], root: str) -> int:
    """Return the place on the path of the first turn that a segment sends. A segment may begin with its own root. While
    its first request is made, that root is not on the path yet."""
    if first in ids:
        return ids.index(first)
    return len(ids) if first == root else 0


def _whom(address: str) -> tuple[str, bool]:
    simulated, provider, name = catalog.split_address(address)
    row = catalog.find(name, provider)
    return provider or (row.provider if row else ""), simulated


def folded(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks without their definitions, which a new segment's project section holds in their present
    version."""
    out = []
    for block in blocks:
        if not block.holds:
            out.append(block)
        elif isinstance(block.content, ToolResult):
            out.append(replace(block, layer=Layer.DYNAMIC, content=replace(block.content, text=FOLDED), holds=()))
        elif not isinstance(block.content, Text):
            out.append(replace(block, holds=()))
    return out
