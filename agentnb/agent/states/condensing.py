"""Handle CONDENSING: make old results stubs, or old steps a summary; the run begins a segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agentnb.agent.conversation import memory
from agentnb.agent.conversation.drift import told_again
from agentnb.agent.conversation.memory import Leaving, Sized
from agentnb.agent.conversation.summary import INSTRUCTION, as_text, outline, with_summary
from agentnb.agent.conversation.turn_blocks import prompt_tokens, thoughts_kept
from agentnb.agent.deps import Services
from agentnb.agent.request_planner import Preparing
from agentnb.agent.segments.window import CERTAIN, REFUSED
from agentnb.agent.state import AgentState, Segment, Step, StepEvent
from agentnb.agent.states.thinking import Thinking
from agentnb.errors import PromptTooLong
from agentnb.models import prices
from agentnb.models.layers import Block, Layer
from agentnb.models.messages import Role, Text, Usage
from agentnb.prompt.thread import held_definitions

FIRST = "Condensed "
"""Beginning of the sentence that tells of it; a run keeps the newest one in its notes."""


class Condensing:
    """Takes out of the record what the next requests need not send. The record before it stays in the journal."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._machine = services.machine
        self._preparing = Preparing(services)
        self._thinking = Thinking(services)

    def __call__(self, state: AgentState) -> Step:
        """Condense by one stage; whether that is enough the next step will find.

        What goes hangs on the estimates of the moment. So a replay takes it from the journal.
        """
        current = self._machine.current
        if current.replaying:
            return StepEvent.CONDENSED, AgentState.from_json(self._machine.context_at(current.run_id, current.step))
        current.emit("phase", text="condensing the conversation")
        call, _ = self._preparing.prepare(state)
        sized, rates = self._preparing.sized(state, call)
        cut = memory.due(sized, rates)
        state = replace(state, waits=state.waits + 1)
        if cut is None:
            return StepEvent.CONDENSED, state
        if cut.summary:
            whole, cut = cut, self._readable(state, sized, cut)
            if sum(sized.tokens[index] for index in cut.gone) >= memory.LEAST:
                text, state = self._summed_up(state, sized, cut)
            else:  # one step is more than can be read at once: so little would be summed up for ever
                cut, text = whole, outline([sized.blocks[index] for index in whole.gone])
            blocks = with_summary(sized, cut, text)
        else:
            blocks = memory.with_stubs(sized.blocks, cut.gone)
        state = self._told(self._onward(state, sized, blocks), sized, cut, blocks)
        return StepEvent.CONDENSED, told_again(state)

    def _onward(self, state: AgentState, sized: Sized, blocks: Sequence[Block]) -> AgentState:
        """Return the state in a segment that this run begins here: the same frame, then these blocks alone."""
        whole = (*self._services.threads.before(state), *state.blocks)
        frame = whole[: len(whole) - len(sized.blocks)]
        run_id = self._machine.current.run_id
        held = held_definitions([*frame, *blocks])
        known = {(name, item["digest"]) for name, item in held.items()}
        return replace(
            thoughts_kept(state),
            segment=Segment(root=run_id, begins=True, first=run_id, blocks=frame),
            blocks=tuple(blocks),
            previous_end=min(state.previous_end, len(frame) + memory.common(sized.blocks, blocks)),
            definitions=tuple(item for item in state.definitions if (item["name"], item["digest"]) in known),
            cells=tuple(item for item in state.cells if f"cell:{item['cell']}" in held),
        )

    def _told(self, state: AgentState, sized: Sized, cut: Leaving, blocks: Sequence[Block]) -> AgentState:
        """Tell it in one sentence, in the list of steps and in the run's notes."""
        model, counter = self._services.model(state.address), self._services.counter(state.address)
        before = sum(sized.tokens[index] for index in cut.gone)
        old = {block.digest for block in sized.blocks}
        after = sum(prompt_tokens([b for b in blocks if b.digest not in old], counter, model.images, after=Role.USER))
        saves = prices.cost_of(model, Usage(cache_read=max(before - after, 0))).total
        steps = len(memory.steps_in(sized.blocks[index] for index in cut.gone))
        what = f"{'' if cut.summary else 'the results of '}{steps} step{'' if steps == 1 else 's'}"
        by_price = "" if saves is None else f"; saves ≈ ${saves:.4f} a call"
        sentence = f"{FIRST}{what}: {before:,} tokens became {after:,}{by_price}."
        condensed = {"before": before, "after": after, "steps": steps, "replies": state.replies}
        self._machine.current.attach(what=sentence, condensed=condensed)
        kept = tuple(note for note in state.notes if not note.startswith(FIRST))
        return replace(state, notes=(*kept, sentence))

    # --- the summary ------------------------------------------------------------------------------------------------

    def _readable(self, state: AgentState, sized: Sized, cut: Leaving) -> Leaving:
        """Return the cut, or as much of its beginning as the model that sums up can read at once."""
        if not self._apart(state, sized):
            return cut
        model = self._services.model(state.options.compact_model or state.address)
        most = model.window * CERTAIN - min(state.options.max_tokens, model.max_output)
        room = min(most, state.refused * REFUSED or most) * REFUSED
        gone: list[int] = []
        for index in cut.gone:
            room -= sized.tokens[index]
            if room < 0 and gone:
                break
            gone.append(index)
        return replace(cut, gone=tuple(memory.whole_steps(sized.blocks, gone, cut.gone)))

    def _apart(self, state: AgentState, sized: Sized) -> bool:
        """Tell whether the summary has a prompt of its own.

        So it is where another model gives it, and where this prompt is too long or asks for a schema.
        """
        model = self._services.model(state.address)
        other = state.options.compact_model not in ("", state.address) or state.schema is not None
        fits = sized.total + 2 * state.options.max_tokens <= model.window * CERTAIN
        return other or not fits or 0 < state.refused <= sized.total / REFUSED

    def _summed_up(self, state: AgentState, sized: Sized, cut: Leaving) -> tuple[str, AgentState]:
        """Return the summary in a model's words, else an outline; and the state with what that cost."""
        gone = [sized.blocks[index] for index in cut.gone]
        asking, blocks = state, [_instruction(gone)]
        if self._apart(state, sized):
            address = state.options.compact_model or state.address
            model = self._services.model(address)
            options = replace(state.options, model=address, max_tokens=min(state.options.max_tokens, model.max_output))
            asking = replace(state, options=options, previous_message=None, previous_end=0)
            call, _ = self._preparing.prepare(asking, [_alone(gone), *blocks])
        else:
            call, _ = self._preparing.prepare(replace(state, blocks=(*state.blocks, *blocks)))
        try:
            reply, asking = self._thinking.ask_beside(asking, call)
        except PromptTooLong:
            return outline(gone), state
        return reply.text.strip() or outline(gone), replace(state, spending=asking.spending)


def _instruction(gone: Sequence[Block]) -> Block:
    steps = memory.steps_in(gone)
    which = f"steps {steps[0]} to {steps[-1]}" if steps else "what was said before the last task"
    return Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(INSTRUCTION.format(which=which)), label="to sum up")


def _alone(gone: Sequence[Block]) -> Block:
    """Return the stretch as one text, for a model that has not read the conversation."""
    return Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(as_text(gone)), label="the steps to sum up")
