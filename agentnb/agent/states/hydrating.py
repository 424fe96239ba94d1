"""HYDRATING: where a turn hangs, which segment it goes on with, and the blocks that it adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from agentnb import canonical
from agentnb.agent.conversation.attachments import Pictures, pictures_of
from agentnb.agent.conversation.threads import EARLIER, folded, left_out
from agentnb.agent.conversation.turn_blocks import closed, scrubbed
from agentnb.agent.deps import Services
from agentnb.agent.hydration.notebook_context import cell_entries, room_for_definitions
from agentnb.agent.kernel_context import with_changed
from agentnb.agent.request import Request
from agentnb.agent.segments.segments import ChosenSegment, Segments
from agentnb.agent.segments.window import context_room
from agentnb.agent.state import AgentState, HeldDefinition, LeftOut, Segment, Step, StepEvent, is_agents
from agentnb.agent.tools.policy import allowed_tools
from agentnb.agent.tools.tool import pick
from agentnb.context.selection import Chosen, Selection
from agentnb.errors import InputError
from agentnb.models import catalog
from agentnb.models.layers import Block
from agentnb.models.messages import Text
from agentnb.models.tokens import TokenCounter
from agentnb.prompt.blocks import TurnParts, receipt_entry, semi_static_block, static_blocks, turn_blocks
from agentnb.prompt.thread import Turn, held_definitions, is_branch, parent_for, removed_definitions


class Hydrating:
    """Opens a turn and fills it. Nothing here asks a model."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = services.threads
        self._segments = Segments(services)
        self._machine = services.machine

    def opening(self, request: Request, run_id: str) -> tuple[AgentState, dict[str, str]]:
        """The state and the tags of step 0."""
        pick(
            allowed_tools(request.allow), self._services.tools
        )  # a misspelt --allow must not look like a refusal later on
        kind, source = self._kind(request), self._source(request)
        turns = self._threads.turns(request.thread)
        parent = _parent(turns, request, source)
        path = self._threads.path_to(turns, parent)
        if source is not None and source.kind == kind:
            begun = self._segments.take_up(source, path, request=request)
        else:
            begun = self._segments.choose(turns, path, kind=kind, request=request)
        state = replace(
            self._asked(request, _segment_of(begun, run_id)),
            parent=parent.run_id if parent else None,
            turn=len(path) + 1,
            branch=source is not None or is_branch(turns, cell=request.cell, execution=request.execution),
            kind=kind,
            inherited=closed(source.blocks) if source else (),
        )
        if source is not None and begun.root:  # a new segment was never sent before: nothing of it is a request's end
            state = replace(state, previous_end=source.previous_end, previous_message=source.previous_message)
        retired = catalog.retirement(self._services.model(state.address), self._services.clock.now())
        return state.noted(begun.why, "" if state.simulated else retired), _tags(state, request)

    def _asked(self, request: Request, segment: Segment) -> AgentState:
        """Return the state of what was asked for, of whom, and within which limits."""
        model = self._services.model(request.model)
        options = replace(
            request.options,
            tools=tuple(sorted(set(request.tools))),
            allow=tuple(sorted(request.allow)),
            max_tokens=min(request.max_tokens, model.max_output),
            context_tokens=context_room(model, request),
        )
        return AgentState(
            task=self._services.scrub(request.task),
            thread=request.thread,
            options=options,
            segment=segment,
            purse=request.purse,
            notebook=bool(request.execution),
            label=model.label,
            simulated=catalog.is_simulated(request.model),
            token_factor=self._services.counter(request.model).factor,
        )

    def _source(self, request: Request) -> AgentState | None:
        """The state that `--from RUN:STEP` goes on from."""
        if request.origin is None:
            return None
        run_id, step = request.origin
        context = self._machine.context_at(run_id, step)
        if not is_agents(context):
            raise InputError("the run is not one of %%agent's", about=run_id, todo="Choose one from %agent_runs list.")
        state = AgentState.from_json(context)
        if state.thread != request.thread:
            raise InputError(
                f"the run belongs to the conversation {state.thread}",
                about=run_id,
                todo="Leave -t out: the task goes on there.",
            )
        return state

    def _kind(self, request: Request) -> str:
        """Model, tools and instructions: what a segment freezes by its own. A change of any begins a new one."""
        specs = [tool.spec for tool in pick(request.tools, self._services.tools).values()]
        return canonical.digest_of([request.model, [block.digest for block in static_blocks(specs)]])

    def __call__(self, state: AgentState) -> Step:
        """Fill the turn, and say how much it holds."""
        started = self._services.clock.monotonic()
        self._machine.current.emit("phase", text="finding the definitions that the task touches")
        state = self.fill(state, self._machine.current.run_id)
        held, new = len(state.definitions), sum(1 for item in state.definitions if item["new"])
        self._machine.current.attach(
            seconds=round(self._services.clock.monotonic() - started, 6),
            what=f"{held} definition{'' if held == 1 else 's'} held, {new} new",
        )
        return StepEvent.HYDRATED, state

    def fill(self, state: AgentState, run_id: str) -> AgentState:
        """The state with the turn's own blocks, the segment's where this run begins it, and what is held."""
        services = self._services
        path = self._threads.path_of(state)
        inherited = list(state.inherited or ())
        if not inherited:
            state = self._with_last_request(state, path)
        hot: tuple[Chosen, ...] = ()
        if state.segment.root == run_id and not state.segment.base:
            frozen, hot = self._new_segment(state, path, inherited)
            state = replace(state, segment=replace(state.segment, blocks=frozen))
            inherited = folded(inherited)
        before = [*self._threads.before(state), *inherited]
        pictures = self._pictures(state, before)
        parts = self._parts(state, path, before, pictures, hot)
        blocks = [scrubbed(block, services.scrub) for block in turn_blocks(parts, before)]
        return replace(
            state,
            inherited=None,
            blocks=(*inherited, *blocks),
            definitions=_receipt(before, blocks, parts.selection),
            cells=cell_entries(held_definitions([*before, *blocks]), parts.cell_entries, parts.involved),
            left_out=tuple(LeftOut(name=name, reason=reason) for name, reason in parts.selection.left_out),
            images=pictures.listed,
            redactions=tuple(services.scrub.report()),
        ).noted(*parts.selection.notes, *pictures.notes)

    def _with_last_request(self, state: AgentState, path: Sequence[Turn]) -> AgentState:
        """Where this segment's last request ended, and which reply the provider may compare the next one with."""
        threads = self._threads
        end, message = threads.end_of_last_request(path, state.segment.root, base=threads.base_of(state))
        message = message or threads.last_reply(path, state.address)
        return replace(state, previous_end=end, previous_message=message)

    def _parts(
        self,
        state: AgentState,
        path: Sequence[Turn],
        before: Sequence[Block],
        pictures: Pictures,
        hot: Sequence[Chosen],
    ) -> TurnParts:
        """Find what the task touches, what became of what the thread holds, and what is `hot`: edited of late."""
        hydrator, count, mode, task = (
            self._services.hydrator,
            self._counter(state).count,
            state.options.context,
            state.task,
        )
        held, budget = held_definitions(before), state.options.context_tokens
        fresh = hydrator.refresh(held, count, gone=removed_definitions(before))
        added = hydrator.additions(task, _earlier_task(before), held, mode=mode, count=count, budget=budget)
        room = min(budget - added.tokens, room_for_definitions(budget))
        found = hydrator.select(task, mode=mode, count=count, budget=max(0, room))
        selection = with_changed(found, (*fresh.changed, *self._dropped(state, path), *hot), fresh.notes)
        return TurnParts(
            task=task,
            selection=selection,
            values=hydrator.describe_values(task, mode=mode, involved=added.names),
            images=pictures.new,
            failure=_told_once(hydrator.failure(mode=mode, selection=selection), before, added.texts),
            parts=(*fresh.parts, *hydrator.of_project.skills_named(task, count)) if mode != "none" else (),
            removed=fresh.removed,
            cells=added.texts,
            cell_entries=added.holds,
            involved=added.involved,
            told=frozenset(hydrator.notebook.cells_told(held, added.holds)),
        )

    def _counter(self, state: AgentState) -> TokenCounter:
        """The estimator as it was calibrated when the run began: a replay must count as the run did."""
        return TokenCounter(self._services.model(state.address).tokenizer, state.token_factor)

    def _pictures(self, state: AgentState, before: Sequence[Block]) -> Pictures:
        """The pictures that the task names: sent where the model takes pictures and the thread lacks them."""
        rules = self._services.model(state.address).images
        if rules is None:
            return Pictures()
        return pictures_of(self._services.hydrator.draw_pictures(state.task, mode=state.options.context), before, rules)

    def _dropped(self, state: AgentState, path: Sequence[Turn]) -> tuple[Chosen, ...]:
        """Return what the other segment held, as it is now, where this run begins one that keeps a part of it."""
        base = state.segment.base
        if base is None:
            return ()
        sent = [*self._threads.segment(base.root), *self._threads.as_sent(path, root=base.root, kind=state.kind)]
        return self._services.hydrator.as_they_are(held_definitions(sent), self._counter(state).count)

    def _new_segment(
        self, state: AgentState, path: Sequence[Turn], inherited: Sequence[Block]
    ) -> tuple[tuple[Block, ...], tuple[Chosen, ...]]:
        """STATIC and SEMI_STATIC of a segment that begins here: what the thread held and has not changed of late is
        folded into it. What was edited lately is returned: it goes to the thread's end, where the next edit makes
        little out of date."""
        services = self._services
        count = self._counter(state).count
        specs = [services.tools[name].spec for name in state.options.tools]
        held = held_definitions([*self._threads.whole(path), *inherited])
        sent = path[left_out(state, path) :]
        if len(sent) < len(path):
            touched = set().union(*(self._threads.touched(turn) for turn in sent))
            held = {name: item for name, item in held.items() if name in touched}
        now = services.hydrator.as_they_are(held, count)
        edited = self._threads.edited(path)
        changed = {one.definition.name for one in now if one.definition.digest != held[one.definition.name]["digest"]}
        hot = tuple(one for one in now if one.definition.name in edited | changed)
        steady = tuple(one for one in now if one not in hot)
        project = replace(services.hydrator.snapshot(count, folded=steady), left_out=len(path) - len(sent))
        outline = semi_static_block(project)
        blocks = [*static_blocks(specs), *([outline] if outline else [])]
        return tuple(scrubbed(block, services.scrub) for block in blocks), hot


SAME_ERROR = "<error>The error told last still stands: no cell has run without one since.</error>"


def _earlier_task(before: Sequence[Block]) -> str:
    """Return what was asked last: a follow-up may speak of it."""
    texts = (
        block.content.text for block in reversed(before) if block.label == "task" and isinstance(block.content, Text)
    )
    return next(texts, "").rpartition("<task>\n")[2].removesuffix("\n</task>")


def _told_once(failure: str, before: Sequence[Block], cells: Sequence[str] = ()) -> str:
    """Leave out an error that was told and has not changed since, and one that its cell tells as well."""
    inner = failure.removeprefix("<error>\n").removesuffix("\n</error>")
    if inner and any(inner in text for text in cells):
        return ""
    texts = (block.content.text for block in before if isinstance(block.content, Text))
    told = [text for text in texts if "<error>\n" in text]
    return SAME_ERROR if failure and told and failure in told[-1] else failure


def _parent(turns: Sequence[Turn], request: Request, source: AgentState | None) -> Turn | None:
    """The turn that the new one follows; None for the first."""
    if source is None:
        return parent_for(turns, cell=request.cell, execution=request.execution)
    return next((turn for turn in turns if turn.run_id == source.parent), None)


def _segment_of(begun: ChosenSegment, run_id: str) -> Segment:
    """The segment that the turn goes on with or begins."""
    if begun.root is not None:
        return Segment(root=begun.root)
    first = begun.first if begun.first != "" else run_id
    return Segment(root=run_id, begins=True, base=begun.base, replaced=begun.replaced, first=first)


def _tags(state: AgentState, request: Request) -> dict[str, str]:
    """Return the tags that the journal finds the run by."""
    return {
        **request.tags,
        "thread": state.thread,
        "cell": request.cell or "",
        "execution": request.execution,
        "parent": state.parent or "",
        "kind": state.kind,
        "root": state.segment.root,
        "model": state.address,
        "task": " ".join(state.task.split())[:80],
    }


def _receipt(path: Sequence[Block], own: Sequence[Block], selection: Selection) -> tuple[HeldDefinition, ...]:
    """List what the context holds after this turn's blocks: every definition once, in its newest version."""
    new = {str(item["name"]) for block in own for item in block.holds}
    reasons = {chosen.definition.name: chosen.reason for chosen in selection.chosen}
    held = held_definitions([*path, *own])
    listed = [
        dict(item) | {"new": name in new, "reason": reasons.get(name, f"{item['reason']} {EARLIER}")}
        for name, item in held.items()
        if item["form"] in ("full", "signature")
    ]
    outlined = [
        receipt_entry(chosen) | {"new": False, "reason": f"{chosen.reason}; the project's outline shows its signature"}
        for chosen in selection.chosen
        if chosen.definition.name not in held
    ]
    return tuple(cast(HeldDefinition, item) for item in (*listed, *outlined))
