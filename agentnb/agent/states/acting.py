"""Handle ACTING: run the tools that a reply asked for, each within its policy, or wait for a person's word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from agentnb import canonical
from agentnb.agent.approvals import Decision, Proposed
from agentnb.agent.conversation.drift import TIMES, TOLD, reminded, times_before
from agentnb.agent.conversation.turn_blocks import open_calls, result_block, tool_record
from agentnb.agent.deps import Services
from agentnb.agent.state import AgentState, HeldDefinition, Step, StepEvent
from agentnb.agent.states.children import Children
from agentnb.agent.tools.plan import PlanItem
from agentnb.agent.tools.tool import Outcome, Tool, ToolBox, carry_out, pick
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.errors import ActionUnsure, RunInterrupted, RunRepeats
from agentnb.models.messages import ToolCall, ToolResult


class Acting:
    """Carries calls out, on the main thread where they touch the user's namespace."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._machine = services.machine
        self._children = Children(services)

    def __call__(self, state: AgentState) -> Step:
        """Carry out every call of the reply, or none where a person is to be asked first."""
        run_id, approvals = self._machine.current.run_id, state.approvals
        free = {*state.options.allow, *approvals.approved_tools(run_id)}
        box = ToolBox(tools=pick(state.options.tools, self._services.tools), allow=frozenset(free))
        calls = [Proposed(number=n, call=call) for n, call in enumerate(open_calls(state.blocks), 1)]
        asked = approvals.to_ask(run_id, box, calls) if state.options.approval == "ask" else []
        if asked:
            return self._ask(state, asked, box)
        records = []
        started = self._services.clock.monotonic()
        children = self._children.run(state, box, [each for each in calls if _delegates(box, each.call)])
        for proposed in calls:
            word, child = approvals.said_of(run_id, proposed), children.get(proposed.number)
            outcome, seconds = (child.outcome, child.seconds) if child else self._timed(box, proposed, word)
            outcome = self._noticed(state, proposed.call, outcome)
            state = replace(
                state,
                spending=state.spending.with_child(child.spending) if child and child.spending else state.spending,
                plan=state.plan if outcome.plan is None else self._without_secrets(outcome.plan),
                blocks=(*state.blocks, result_block(proposed.call, outcome, step=state.replies)),
                definitions=_holding(state.definitions, outcome),
                proposals=(*state.proposals, *([outcome.proposes] if outcome.proposes else [])),
            )
            record = tool_record(proposed.call, outcome, seconds, word, scrub=self._services.scrub.of_output)
            records.append(record | (child.shown() if child else {}))
        self._machine.current.attach(
            seconds=round(self._services.clock.monotonic() - started, 6),
            what=", ".join(f"{r['name']}{' (refused)' if r['refused'] else ''}" for r in records),
            tools=records,
        )
        state = replace(state, approvals=replace(approvals, asking=()), redactions=tuple(self._services.scrub.report()))
        return StepEvent.CARRIED_OUT, reminded(state)

    def _without_secrets(self, plan: Sequence[PlanItem]) -> tuple[PlanItem, ...]:
        return tuple(replace(item, text=self._services.scrub.of_output(item.text)) for item in plan)

    def _noticed(self, state: AgentState, call: ToolCall, outcome: Outcome) -> Outcome:
        """Return the outcome as it is said, with a word to the model where it came too often.

        Whoever resumes a run lets it go on: from there it is counted anew. Raises RunRepeats.
        """
        current, tools = self._machine.current, self._services.tools
        said = said_once(outcome, state.definitions)
        same = {outcome.text, said.text}
        acts = {name for name, tool in tools.items() if tool.acts}
        times = partial(times_before, state.blocks, call, same, acts)
        before = times()
        if not current.replaying and times(after=self._services.resumed_at.get(current.run_id, -1)) >= TIMES:
            raise RunRepeats(
                f"{call.name} came {before + 1} times with the same arguments and the same result",
                about=canonical.dump(dict(call.arguments)).decode()[:200],
                todo="Nothing is lost. Ask in another way, or let another model try.",
            )
        return replace(said, text=f"{said.text}{TOLD}") if before + 1 >= TIMES else said

    def _ask(self, state: AgentState, calls: Sequence[Proposed], box: ToolBox) -> Step:
        """Let nothing run before a person has spoken: not even the reply's other calls, so that the order stays."""
        if state.options.rehearse:
            # Each after the ones before it, where its tool can try that.
            calls = [self._with_rehearsal(item, calls[:number], box) for number, item in enumerate(calls, 1)]
        self._machine.current.attach(what=f"asked about {', '.join(item.call.name for item in calls)}")
        asking = [tool.name for tool in box.tools.values() if tool.asks]
        asked = state.approvals.asked(calls, self._machine.current.step, asking=asking)
        return StepEvent.MUST_ASK, replace(state, approvals=asked, waits=state.waits + 1)

    def _with_rehearsal(self, item: Proposed, upto: Sequence[Proposed], box: ToolBox) -> Proposed:
        rehearse = box.tools[item.call.name].rehearse
        if rehearse is None:
            return item
        self._machine.current.emit("phase", text=f"trying {item.call.name} in a copy of the kernel")
        same = [each.call.arguments for each in upto if each.call.name == item.call.name]
        outcome = self._services.on_main(lambda: Outcome(text=rehearse(same)))
        return replace(item, rehearsal=self._services.scrub.of_output(outcome.text))

    def _timed(self, box: ToolBox, proposed: Proposed, word: Decision | None) -> tuple[Outcome, float]:
        call = proposed.call
        if self._services.cancelled.is_set():
            raise RunInterrupted("the run was interrupted before a tool ran")
        self._machine.current.emit("phase", text=f"running {call.name}")
        started = self._services.clock.monotonic()
        said = word.outcome if word else None
        if word is not None and said is None:
            proposed = replace(proposed, call=word.call(call))
        outcome = (
            said or box.problem(proposed.call, approved=bool(word)) or self._carry_out(box.tools[call.name], proposed)
        )
        if word is not None and word.edited is not None:
            outcome = replace(outcome, text=f"{_changed(word.edited)}{outcome.text}")
        scrub = self._services.scrub if outcome.holds else self._services.scrub.of_output
        outcome = replace(outcome, text=scrub(outcome.text))
        return outcome, self._services.clock.monotonic() - started

    def _carry_out(self, tool: Tool, proposed: Proposed) -> Outcome:
        call = proposed.call
        if self._machine.current.replaying and not (tool.ours or tool.acts):
            return self._recorded(call)
        if not tool.acts:
            return self._place(tool, call)
        # An acting tool's effect is keyed (run, step, action): after a crash it is reported, never silently repeated.
        action = self._machine.current.action(f"call {proposed.number}")

        def act() -> JsonObject:
            outcome = self._place(tool, call)
            # The journal keeps the result of an action: it too must be without secrets.
            return {"text": self._services.scrub.of_output(outcome.text), "is_error": outcome.is_error}

        try:
            done = action.run(act)
        except ActionUnsure as error:
            raise ActionUnsure(
                f"{tool.name} may have run before this run was cut off, and it was not repeated",
                about=canonical.dump(dict(call.arguments)).decode()[:200],
                todo=f"Look at its effect; then %agent_runs resume {self._machine.current.run_id} --unsure repeat "
                "(or skip).",
            ) from error
        if not isinstance(done, dict) or "text" not in done:
            return Outcome(text=f"{tool.name} was cut off; the person chose not to repeat it.", is_error=True)
        return Outcome(text=done["text"], is_error=done["is_error"])

    def _recorded(self, call: ToolCall) -> Outcome:
        """Return what a user's own tool gave when the step was made: a replay does not call it."""
        current = self._machine.current
        after = AgentState.from_json(self._machine.context_at(current.run_id, current.step))
        results = (block.content for block in after.blocks if isinstance(block.content, ToolResult))
        found = next((result for result in results if result.call_id == call.call_id), None)
        if found is None:
            return Outcome(text=f"{call.name} has no recorded result.", is_error=True)
        return Outcome(text=found.text, is_error=found.is_error)

    def _place(self, tool: Tool, call: ToolCall) -> Outcome:
        if tool.on_main:
            return self._services.on_main(lambda: carry_out(tool, call))
        return carry_out(tool, call)


class Listening:
    """AWAITING_APPROVAL: one delivered word. The first on a call counts; one on any other call changes nothing."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._machine = services.machine

    def __call__(self, state: AgentState) -> Step:
        """Take the word that woke the run."""
        current, event, approvals = self._machine.current, self._machine.current.event, state.approvals
        scrub = self._services.scrub
        word = approvals.decision(current.run_id, event.data, at=event.at, scrub=scrub.of_output) if event else None
        if word:
            approvals = replace(approvals, decisions=(*approvals.decisions, word))
            state = replace(state, approvals=approvals, redactions=tuple(scrub.report()))
            said = "answered" if word.question.asks else "approved" if word.approved else "denied"
            current.attach(what=f"{said} {word.question.tool} ({word.by})", decision=word.to_json())
        state = replace(state, waits=state.waits + 1)
        return StepEvent.HEARD if state.waiting(current.run_id) else StepEvent.ALL_SAID, state


def _delegates(box: ToolBox, call: ToolCall) -> bool:
    return call.name in box.tools and box.tools[call.name].delegates


def _changed(arguments: JsonMapping) -> str:
    """Return what the model is told of a call that the person changed before it ran."""
    shown = arguments["code"] if set(arguments) == {"code"} else canonical.dump(dict(arguments)).decode()
    return f"The person changed the call before it ran:\n{shown}\n\nIt gave:\n"


def said_once(outcome: Outcome, held: Sequence[HeldDefinition]) -> Outcome:
    """Return the outcome; or, where the conversation holds these definitions in full as they are now, where they
    stand."""
    known = {(item["name"], item["digest"]) for item in held if item["form"] == "full"}
    if not outcome.holds or not all((item["name"], item["digest"]) in known for item in outcome.holds):
        return outcome
    names = ", ".join(f'<definition name="{item["name"]}">' for item in outcome.holds)
    return replace(outcome, text=f"Already above, in full and unchanged since: {names}.", holds=())


def _holding(held: Sequence[HeldDefinition], outcome: Outcome) -> tuple[HeldDefinition, ...]:
    """Return what the conversation holds after the outcome: what that brought takes the place of what was."""
    for item in outcome.holds:
        entry = cast(HeldDefinition, dict(item) | {"new": True})
        held = (*(other for other in held if other["name"] != item["name"]), entry)
    return tuple(held)
