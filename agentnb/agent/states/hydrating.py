"""Handle HYDRATING: where a turn hangs, which segment it goes on with, and the blocks that it adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

from agentnb.agent.conversation.attachments import Pictures, pictures_of
from agentnb.agent.conversation.threads import folded
from agentnb.agent.conversation.turn_blocks import closed, plain, scrubbed
from agentnb.agent.deps import Services
from agentnb.agent.hydration.notebook_context import cell_entries, room_for_definitions
from agentnb.agent.kernel_context import Freshness, with_changed
from agentnb.agent.request import Request, title_of
from agentnb.agent.segments.segments import ChosenSegment, Segments
from agentnb.agent.segments.window import context_room
from agentnb.agent.state import EARLIER, AgentState, HeldDefinition, LeftOut, Segment, Step, StepEvent, is_agents
from agentnb.agent.states.kept_answers import kept_answer
from agentnb.agent.states.other_model import segment_kind
from agentnb.agent.tools.policy import allowed_tools
from agentnb.agent.tools.tool import pick
from agentnb.canonical import JsonMapping
from agentnb.context.notebook.basis import values_in, values_told
from agentnb.context.selection import Chosen, Selection
from agentnb.durable.journal.records import FAILED, RunSummary
from agentnb.errors import InputError
from agentnb.models import catalog, prices
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Role, Text, ToolSpec
from agentnb.models.tokens import TokenCounter
from agentnb.prompt.blocks import TurnParts, receipt_entry, semi_static_block, static_blocks, turn_blocks
from agentnb.prompt.project_parts import HeldParts
from agentnb.prompt.thread import (
    Turn,
    held_definitions,
    is_branch,
    leaves_answers,
    parent_for,
    removed_definitions,
)


class Hydrating:
    """Opens a turn and fills it. Nothing here asks a model."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = services.threads
        self._segments = Segments(services)
        self._machine = services.machine

    def opening(self, request: Request, run_id: str) -> tuple[AgentState, dict[str, str]]:
        """Return the state and the tags of step 0."""
        pick(allowed_tools(request.allow), self._services.tools)  # a misspelt --allow must not look like a refusal
        kind, turns = self._kind(request), self._threads.turns(request.thread)
        failed = None if request.origin else self._failed(turns, request)
        origin = request.origin or failed
        source = self._source(request, origin) if origin else None
        parent = _parent(turns, request, source)
        path = self._threads.path_to(turns, parent)
        if source is not None and source.kind == kind:
            begun = self._segments.take_up(source, path, request=request)
        else:
            begun = self._segments.choose(turns, path, kind=kind, request=request)
        self._services.hydrator.keep(run_id, begun.fresh)
        state = replace(
            self._asked(request, _segment_of(begun, run_id)),
            parent=parent.run_id if parent else None,
            turn=len(path) + 1,
            branch=request.origin is not None or is_branch(turns, cell=request.cell, execution=request.execution),
            kind=kind,
            inherited=_inherited(source, kind, failed) if source else (),
            source="{}:{}".format(*origin) if origin else "",
            replies=source.replies if source else self._threads.replies(parent),
        )
        if source is not None and begun.root:  # a new segment was never sent before: nothing of it is a request's end
            state = replace(state, previous_end=source.previous_end, previous_message=source.previous_message)
        model = self._services.model(state.address)
        retired = catalog.retirement(model, self._services.clock.now())
        effort = catalog.refused_effort(model, state.options.effort)
        taken = f"Goes on from {failed[0]}, which ended without an answer: what it had found is kept." if failed else ""
        again = _asked_again(turns, request, state.turn)
        told = ("" if state.simulated else retired, effort, prices.unchecked(model))
        return state.noted(again, begun.why, taken, *told), _tags(state, request)

    def kept(self, request: Request) -> RunSummary | None:
        """Return the run whose answer to this request still holds; None where it has to be asked."""
        asked = replace(self._asked(request, Segment(root="")), kind=self._kind(request))
        return kept_answer(self._services, request, asked)

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
            schema=request.schema,
            notebook=bool(request.execution),
            label=model.label,
            simulated=catalog.is_simulated(request.model),
            token_factor=self._services.counter(request.model).factor,
        )

    def _failed(self, turns: Sequence[Turn], request: Request) -> tuple[str, int] | None:
        """Return the run and step of the newest turn, where that failed after the model had said something in it.

        A cell that asks again makes a new attempt instead.
        """
        last = turns[-1] if turns else None
        if last is None or last.complete or is_branch(turns, cell=request.cell, execution=request.execution):
            return None
        run = self._machine.get(last.run_id)
        said = any(block.role is Role.ASSISTANT for block in AgentState.from_json(run.context).blocks)
        return (run.run_id, run.step) if run.status == FAILED and said else None

    def _source(self, request: Request, origin: tuple[str, int]) -> AgentState:
        """Return the state that the run goes on from: that of `--from RUN:STEP`, or of the run that failed."""
        run_id, step = origin
        context = self._machine.context_at(run_id, step)
        if not is_agents(context):
            raise InputError("the run is not one of %%agent's", about=run_id, todo="Choose one from %agent_runs list.")
        state = self._threads.numbered(AgentState.from_json(context))
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
        return segment_kind(request.model, self._static(specs, request.model, request.style, request.schema))

    def _static(
        self, specs: Sequence[ToolSpec], address: str, style: str, answer: JsonMapping | None
    ) -> tuple[Block, ...]:
        course, small = self._services.hydrator.course() if style else "", self._services.model(address).small
        return static_blocks(specs, style=style, course=course, answer=answer, small=small)

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
        """Return the state with the turn's own blocks, the segment's where this run begins it, and what is held."""
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
        held, hydrator = self._threads.read(before).held, services.hydrator
        fresh = hydrator.kept(run_id, held) or hydrator.refresh(held, self._counter(state).count)
        parts = self._parts(state, path, before, fresh, pictures, hot)
        blocks = [scrubbed(block, services.scrub) for block in turn_blocks(parts, held)]
        after = held_definitions(blocks, held)
        return replace(
            state,
            inherited=None,
            blocks=(*inherited, *blocks),
            values=values_told(parts.values),
            definitions=_receipt(after, blocks, parts.selection),
            cells=cell_entries(after, parts.cell_entries, parts.involved),
            left_out=tuple(LeftOut(name=name, reason=reason) for name, reason in parts.selection.left_out),
            images=pictures.listed,
            redactions=tuple(services.scrub.report()),
        ).noted(*parts.selection.notes, *pictures.notes)

    def _with_last_request(self, state: AgentState, path: Sequence[Turn]) -> AgentState:
        """Return the state with where this segment's last request ended, and the reply to compare the next one with."""
        threads = self._threads
        end, message = threads.end_of_last_request(path, state.segment.root, base=threads.base_of(state))
        message = message or threads.last_reply(path, state.address)
        return replace(state, previous_end=end, previous_message=message)

    def _parts(
        self,
        state: AgentState,
        path: Sequence[Turn],
        before: Sequence[Block],
        fresh: Freshness,
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
        held, budget = fresh.held, state.options.context_tokens
        changed = (*fresh.changed, *hydrator.defined_again(removed_definitions(before), count))
        earlier = _earlier_tasks(before)
        added = hydrator.additions(task, earlier, held, mode=mode, count=count, budget=budget, lines=fresh.lines)
        room = min(budget - added.tokens, room_for_definitions(budget))
        hydrator = hydrator if added.about_last else hydrator.without_last()
        found = hydrator.select(task, mode=mode, count=count, budget=max(0, room), used=added.used)
        selection = with_changed(found, (*changed, *self._dropped(state, path), *hot), (*fresh.notes, *added.notes))
        return TurnParts(
            task=task,
            selection=selection,
            values=hydrator.describe_values(task, mode=mode, involved=added.names),
            standing=tuple(values_in(text) for text in _tasks(before)),
            images=pictures.new,
            failure=_told_once(hydrator.failure(mode=mode, selection=selection), before, added.texts),
            parts=(*fresh.parts, *hydrator.of_project.skills_named(task, count)) if mode != "none" else (),
            removed=fresh.removed,
            cells=added.texts,
            cell_entries=added.holds,
            involved=added.involved,
            meant=added.meant,
            told=frozenset(hydrator.notebook.cells_told(held, added.holds)),
        )

    def _counter(self, state: AgentState) -> TokenCounter:
        """Return the estimator as it was calibrated when the run began: a replay must count as the run did."""
        return TokenCounter(self._services.model(state.address).tokenizer, state.token_factor)

    def _pictures(self, state: AgentState, before: Sequence[Block]) -> Pictures:
        """Return the pictures that the task names: sent where the model takes pictures and the thread lacks them."""
        rules = self._services.model(state.address).images
        if rules is None:
            return Pictures()
        return pictures_of(self._services.hydrator.draw_pictures(state.task, mode=state.options.context), before, rules)

    def _dropped(self, state: AgentState, path: Sequence[Turn]) -> tuple[Chosen, ...]:
        """Return what the other segment held, as it is now, where this run's segment keeps only a part of it."""
        base = state.segment.base
        if base is None:
            return ()
        sent = [*self._threads.segment(base.root), *self._threads.as_sent(path, root=base.root, kind=state.kind)]
        return self._services.hydrator.as_they_are(held_definitions(sent), self._counter(state).count)

    def _new_segment(
        self, state: AgentState, path: Sequence[Turn], inherited: Sequence[Block]
    ) -> tuple[tuple[Block, ...], tuple[Chosen, ...]]:
        """Return the segment that begins here, with its STATIC and SEMI_STATIC. What the thread held and has not
        changed of late is folded in. What was edited lately is returned: at the thread's end its next edit makes little
        out of date."""
        services = self._services
        count = self._counter(state).count
        specs = [services.tools[name].spec for name in state.options.tools]
        held = held_definitions([*self._threads.whole(path), *inherited])
        now = services.hydrator.as_they_are(held, count)
        edited = self._threads.edited(path)
        changed = {one.definition.name for one in now if one.definition.digest != held[one.definition.name]["digest"]}
        hot = tuple(one for one in now if one.definition.name in edited | changed)
        steady = tuple(one for one in now if one not in hot)
        outline = semi_static_block(services.hydrator.snapshot(count, folded=steady))
        blocks = [
            *self._static(specs, state.address, state.options.style, state.schema),
            *([outline] if outline else []),
        ]
        return tuple(scrubbed(block, services.scrub) for block in blocks), hot


def _inherited(source: AgentState, kind: str, failed: tuple[str, int] | None) -> tuple[Block, ...]:
    """Return what the source's run had said, with an end to it; as plain text where another model goes on."""
    blocks = closed(source.blocks) if source.kind == kind else tuple(plain(closed(source.blocks)))
    return (*blocks, CUT_OFF) if failed else blocks


CUT_OFF = Block(
    layer=Layer.DYNAMIC,
    role=Role.USER,
    content=Text("(An error ended the work on this task here, before its answer.)"),
    label="cut off",
)
SAME_ERROR = "<error>The error told last still stands: its cell has not run well since.</error>"


def _tasks(before: Sequence[Block]) -> Iterator[str]:
    """Yield the earlier turns' tasks with what stands beside them, the newest first."""
    for block in reversed(before):
        if block.label == "task" and isinstance(block.content, Text):
            yield block.content.text


def _earlier_tasks(before: Sequence[Block]) -> tuple[str, ...]:
    """Return what was asked last, the newest first: a follow-up may speak of it."""
    tasks = (text.rpartition("<task>\n")[2].removesuffix("\n</task>") for text in _tasks(before))
    return tuple(islice(tasks, EARLIER_TASKS))


EARLIER_TASKS = 4


def _told_once(failure: str, before: Sequence[Block], cells: Sequence[str] = ()) -> str:
    """Leave out an error that was told and has not changed since, and one that its cell tells as well."""
    inner = failure.removeprefix("<error>\n").removesuffix("\n</error>")
    if inner and any(inner in text for text in cells):
        return ""
    texts = (block.content.text for block in before if isinstance(block.content, Text))
    told = [text for text in texts if "<error>\n" in text]
    return SAME_ERROR if failure and told and failure in told[-1] else failure


def _parent(turns: Sequence[Turn], request: Request, source: AgentState | None) -> Turn | None:
    """Return the turn that the new one follows; None for the first."""
    if source is None:
        return parent_for(turns, cell=request.cell, execution=request.execution)
    return next((turn for turn in turns if turn.run_id == source.parent), None)


def _asked_again(turns: Sequence[Turn], request: Request, turn: int) -> str:
    """Say that answers to later questions are no part of what the model now sees; nothing where there are none."""
    if request.origin or not leaves_answers(turns, cell=request.cell, execution=request.execution):
        return ""
    return f"Re-asked question {turn}; later answers stay in the old branch."


def _segment_of(begun: ChosenSegment, run_id: str) -> Segment:
    """Return the segment that the turn goes on with or begins."""
    if begun.root is not None:
        return Segment(root=begun.root)
    first = None if begun.first is None else run_id
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
        "task": title_of(state.task),
    }


def _receipt(held: HeldParts, own: Sequence[Block], selection: Selection) -> tuple[HeldDefinition, ...]:
    """List what the context holds after this turn's `own` blocks: every definition once, in its newest version."""
    new = {str(item["name"]) for block in own for item in block.holds}
    reasons = {chosen.definition.name: chosen.reason for chosen in selection.chosen}
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
