"""ACTING: the tools that a reply asked for, each within its policy; and the wait for a person's word on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from agentnb import canonical
from agentnb.agent.approvals import Decision, Proposed
from agentnb.agent.conversation.turn_blocks import open_calls, result_block, tool_record
from agentnb.agent.deps import Services
from agentnb.agent.state import AgentState, HeldDefinition, Step, StepEvent
from agentnb.agent.tools.tool import Outcome, Tool, ToolBox, carry_out, pick
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.errors import ActionUnsure, RunInterrupted
from agentnb.models.messages import ToolCall


class Acting:
    """Carries calls out, on the main thread where they touch the user's namespace."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._machine = services.machine

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
        for proposed in calls:
            word = approvals.said_of(run_id, proposed)
            outcome, seconds = self._timed(box, proposed, word)
            outcome = said_once(outcome, state.definitions)
            state = replace(
                state,
                blocks=(*state.blocks, result_block(proposed.call, outcome)),
                definitions=_holding(state.definitions, outcome),
                proposals=(*state.proposals, *([outcome.proposes] if outcome.proposes else [])),
            )
            records.append(tool_record(proposed.call, outcome, seconds, word, scrub=self._services.scrub.of_output))
        self._machine.current.attach(
            seconds=round(self._services.clock.monotonic() - started, 6),
            what=", ".join(f"{r['name']}{' (refused)' if r['refused'] else ''}" for r in records),
            tools=records,
        )
        return StepEvent.CARRIED_OUT, replace(
            state, approvals=replace(approvals, asking=()), redactions=tuple(self._services.scrub.report())
        )

    def _ask(self, state: AgentState, calls: Sequence[Proposed], box: ToolBox) -> Step:
        """Nothing runs before a person has spoken: not even the reply's other calls, so that the order stays."""
        self._machine.current.attach(what=f"asked about {', '.join(item.call.name for item in calls)}")
        asking = [tool.name for tool in box.tools.values() if tool.asks]
        asked = state.approvals.asked(calls, self._machine.current.step, asking=asking)
        return StepEvent.MUST_ASK, replace(state, approvals=asked, waits=state.waits + 1)

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


def _changed(arguments: JsonMapping) -> str:
    """What the model is told of a call that the person changed before it ran."""
    shown = arguments["code"] if set(arguments) == {"code"} else canonical.dump(dict(arguments)).decode()
    return f"The person changed the call before it ran:\n{shown}\n\nIt gave:\n"


def said_once(outcome: Outcome, held: Sequence[HeldDefinition]) -> Outcome:
    """The outcome; or, where the conversation holds these definitions in full as they are now, where they stand."""
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
